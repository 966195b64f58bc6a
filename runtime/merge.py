"""Join the parts of a request that several commands made."""

import contextlib
import itertools
import os
import re
from collections.abc import Sequence
from pathlib import Path

from scangan.artifacts.request import Part
from scangan.artifacts.scan_folder import MANIFEST, SHEET, Plan
from scangan.core.address import Place
from scangan.core.errors import GenerationError
from scangan.core.files import is_there, opened_lines, read_bytes, write_bytes
from scangan.runtime.about import tell_readers
from scangan.runtime.output import (
    claim_new,
    drop_part_manifests,
    has_request,
    only_writers,
    part_manifests,
    write_lines,
)
from scangan.runtime.writing import Advance, missing_files


def merge(folders: Sequence[Place], out: Place, advance: Advance = lambda count: None) -> Plan:
    """Check that the folders hold every part of one request exactly once, and join them.

    Links files if possible, else copies them; files that are in `out` already stay. The result is
    byte for byte what one command would have made.

    Parameters
    ----------
    folders : sequence of Path or Address
        Outputs of ``gen-scans --shard``; several parts may share a folder.
    out : Path or Address
        Where to join them; may be one of the folders.
    advance : callable
        Called with the number of scans joined since the last call.

    Raises
    ------
    GenerationError
        There are no folders, the requests differ, or a part or a file is missing or doubled. Nothing
        is written then.
    """
    folders = list(dict.fromkeys(folders))
    if not folders:
        raise GenerationError("there is nothing to merge; give the folders of the parts")
    plan = Plan.read(folders[0])
    for folder in folders[1:]:
        difference = Plan.read(folder).difference(plan)
        if difference:
            raise GenerationError(
                f"{folder} holds a different request from {folders[0]} ({difference}); leave one out"
            )
    with only_writers(out, Part()):  # so that no part is written meanwhile
        if out in folders and is_there(out / MANIFEST):
            # Merged before, but perhaps killed before the parts' manifests were removed.
            _check(plan, Part(), out)
            drop_part_manifests(out)
            tell_readers(out, plan)
            return plan
        parts = _find_parts(folders)
        for part, folder in parts:
            _check(plan, part, folder)
        _claim(plan, out, folders)
        for part, folder in parts:
            _copy_part(plan, part, folder, out)
            first, last = plan.request.positions(part)
            advance(last - first)
        for _, folder in parts:
            # Compare, to replace a sheet that was damaged in an earlier copy.
            if is_there(folder / SHEET) and not _same(folder / SHEET, out / SHEET):
                write_bytes(out / SHEET, read_bytes(folder / SHEET))
        write_lines(out / MANIFEST, plan.manifest(0, plan.request.total))
        drop_part_manifests(out)
    return plan


def _claim(plan: Plan, out: Place, folders: Sequence[Place]) -> None:
    if out in folders:
        tell_readers(out, plan)
        return
    if not has_request(out):
        claim_new(out, plan)
        return
    difference = plan.difference(Plan.read(out))
    if difference:
        raise GenerationError(f"{out} holds another request ({difference}); choose another --out")
    tell_readers(out, plan)


def _find_parts(folders: Sequence[Place]) -> list[tuple[Part, Place]]:
    found: dict[Part, Place] = {}
    for folder in folders:
        if is_there(folder / MANIFEST):
            raise GenerationError(
                f"{folder} is already complete, it has a {MANIFEST}; leave it out"
            )
        for name in part_manifests(folder):
            match = re.fullmatch(r"manifest-(\d{1,15})-of-(\d{1,15})\.jsonl", name)
            if match is None or int(match[1]) >= int(match[2]):
                continue
            part = Part(int(match[1]), int(match[2]))
            if part in found:
                raise GenerationError(
                    f"part {part.i}/{part.n} is both in {found[part]} and in {folder}; leave one out"
                )
            found[part] = folder
    totals = sorted({part.n for part in found})
    # A folder may hold parts of several divisions, such as of an earlier array of jobs. Any of them that
    # reaches into every folder will do: the one with the fewest parts missing, then with the most parts.
    by_total = {n: {part: found[part] for part in found if part.n == n} for n in totals}
    fitting = [n for n in totals if {*by_total[n].values()} == {*found.values()}]
    if fitting:
        totals = [min(fitting, key=lambda n: (n - len(by_total[n]), -n))]
        found = by_total[totals[0]]
    if len(totals) > 1:
        raise GenerationError(
            f"parts of {' and parts of '.join(map(str, totals))} do not fit together; merge one set"
        )
    if not found:
        raise GenerationError(
            f"no finished part in {', '.join(map(str, folders))}; make the parts with --shard"
        )
    (total,) = totals
    if len(found) < total:
        missing = (f"{i}/{total}" for i in range(total) if Part(i, total) not in found)
        few = list(itertools.islice(missing, 9))
        raise GenerationError(
            f"not finished: {'part' if len(few) == 1 else 'parts'} {', '.join(few[:8])}"
            f"{', ...' if len(few) > 8 else ''}; generate with --shard, or add the folder"
        )
    return sorted(found.items(), key=lambda item: item[0].i)


def _check(plan: Plan, part: Part, folder: Place) -> None:
    positions = plan.request.positions(part)
    file = folder / plan.manifest_name(part)
    expected = (line.encode("ascii") for line in plan.manifest(*positions))
    with opened_lines(file) as lines:
        same = all(line == next(expected, None) for line in lines) and next(expected, None) is None
    again = "generate its scans again"
    if part.n > 1:
        again = f"generate part {part.i}/{part.n} again (--shard)"
    if not same:
        raise GenerationError(f"{file} does not list the scans it should; {again}")
    for name in missing_files(folder, plan, range(*positions)):
        raise GenerationError(f"{folder / name} is missing; {again}")


def _copy_part(plan: Plan, part: Part, folder: Place, out: Place) -> None:
    if folder == out:
        return
    for name in missing_files(out, plan, range(*plan.request.positions(part))):
        source, target = folder / name, out / name
        if isinstance(target, Path):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
        _link_or_copy(source, target)


def _link_or_copy(source: Place, target: Place) -> None:
    if isinstance(source, Path) and isinstance(target, Path):
        with contextlib.suppress(OSError):  # on another file system, or one without links
            os.link(source, target)
            return
    write_bytes(target, read_bytes(source), once=True)


def _same(one: Place, two: Place) -> bool:
    return is_there(two) and read_bytes(one) == read_bytes(two)
