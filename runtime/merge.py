"""Join the parts of a request that several commands made."""

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from scangan.runtime.errors import GenerationError
from scangan.runtime.files import only_writer, write_json
from scangan.runtime.output import is_there, write_lines
from scangan.runtime.plan import MANIFEST, REQUEST, SHEET, Plan
from scangan.runtime.request import Part


def merge(
    folders: Sequence[Path],
    out: Path,
    advance: Callable[[int], None] = lambda count: None,
) -> Plan:
    """Check that the parts in some folders are all of one request, once each, and join them.

    Files are linked where they can be and copied where not; those that are in `out` already stay.
    What comes out is byte for byte what one command would have made.

    Parameters
    ----------
    folders : sequence of Path
        Outputs of ``gen-scans --shard``; several parts may share one.
    out : Path
        Where to join them; it may be one of the folders.
    advance : callable
        Told how many more files are in place.

    Raises
    ------
    GenerationError
        Requests differ, a part or a file is missing or there twice; nothing is written then.
    """
    folders = list(dict.fromkeys(folders))
    plan = Plan.read(folders[0])
    for folder in folders[1:]:
        difference = Plan.read(folder).difference(plan)
        if difference:
            raise GenerationError(
                f"{folder} is of another request than {folders[0]} ({difference}); leave one out"
            )
    parts = _find_parts(folders)
    for part, folder in parts:
        _check(plan, part, folder)
    with only_writer(out / ".lock"):
        if out not in folders and (out / REQUEST).exists():
            difference = plan.difference(Plan.read(out))
            if difference:
                raise GenerationError(
                    f"{out} holds another request ({difference}); choose another --out"
                )
        for part, folder in parts:
            _bring(plan, part, folder, out, advance)
        if out not in folders:
            write_json(out / REQUEST, plan.to_dict())
        for _, folder in parts:
            if (folder / SHEET).exists() and not (out / SHEET).exists():
                shutil.copyfile(folder / SHEET, out / SHEET)
        write_lines(out / MANIFEST, plan.manifest(0, plan.request.total))
        for part, _ in parts:
            (out / plan.manifest_name(part)).unlink(missing_ok=True)
    return plan


def _find_parts(folders: Sequence[Path]) -> list[tuple[Part, Path]]:
    found: dict[Part, Path] = {}
    for folder in folders:
        if (folder / MANIFEST).exists():
            raise GenerationError(f"{folder} is whole already, it has a {MANIFEST}; leave it out")
        for file in sorted(folder.glob("manifest-*-of-*.jsonl")):
            match = re.fullmatch(r"manifest-(\d+)-of-(\d+)\.jsonl", file.name)
            if match is None:
                continue
            part = Part(int(match[1]), int(match[2]))
            if part in found:
                raise GenerationError(
                    f"part {part.i}/{part.n} is doubled: in {found[part]} and in {folder}; leave one out"
                )
            found[part] = folder
    totals = sorted({part.n for part in found})
    if len(totals) > 1:
        raise GenerationError(
            f"parts of {' and of '.join(map(str, totals))} do not fit together; merge one kind"
        )
    total = totals[0] if totals else 0
    missing = [f"{i}/{total}" for i in range(total) if Part(i, total) not in found]
    if missing or not found:
        raise GenerationError(
            f"not finished: part{'s' if len(missing) > 1 else ''} {', '.join(missing[:8])}"
            f"{', ...' if len(missing) > 8 else ''}; make with --shard, or name the folder"
            if found
            else f"{', '.join(map(str, folders))}: no finished part in it; make them with --shard"
        )
    return sorted(found.items(), key=lambda item: item[0].i)


def _check(plan: Plan, part: Part, folder: Path) -> None:
    positions = plan.request.positions(part)
    file = folder / plan.manifest_name(part)
    with file.open(encoding="ascii") as lines:
        expected = plan.manifest(*positions)
        same = all(line == next(expected, None) for line in lines) and next(expected, None) is None
    if not same:
        raise GenerationError(
            f"{file} lists other scans than part {part.i}/{part.n}; make it again"
        )
    for name in plan.files(*positions):
        if not is_there(folder / name):
            raise GenerationError(
                f"{folder / name} is missing; make part {part.i}/{part.n} again (--shard)"
            )


def _bring(plan: Plan, part: Part, folder: Path, out: Path, advance: Callable[[int], None]) -> None:
    for name in plan.files(*plan.request.positions(part)):
        target = out / name
        if folder != out and not is_there(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            _link_or_copy(folder / name, target)
        advance(1)


def _link_or_copy(source: Path, target: Path) -> None:
    with contextlib.suppress(OSError):  # another file system, or one without links
        os.link(source, target)
        return
    beside = target.with_name(f".{target.name}.part")
    shutil.copyfile(source, beside)
    beside.replace(target)
