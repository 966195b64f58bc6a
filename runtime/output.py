"""Write generated scans to a folder; a stopped command resumes and leaves no half-written file.

The folder is on disk or in an object store. On disk, locks keep other commands out. In a store, a
request is claimed by putting `request.json` on the condition that there is none, and so is each scan.
"""

import contextlib
import functools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scangan.artifacts.request import Part, Request
from scangan.artifacts.scan_folder import MANIFEST, REQUEST, SHEET, Plan, refuse_inside_scans
from scangan.core.address import Address, Place
from scangan.core.errors import GenerationError
from scangan.core.files import is_there, matching, only_writer, remove, write_bytes, written_whole
from scangan.core.png import encode_png
from scangan.core.sheet import NOTICE, contact_sheet
from scangan.runtime.about import sheet_page, tell_readers
from scangan.runtime.generator import ScanGenerator
from scangan.runtime.writing import Advance, Work, write_positions

ON_SHEET = 8  # scans per class
LOCK = ".gen-scans-lock"
Images = npt.NDArray[np.uint8]


def write_scans(
    generator: ScanGenerator,
    request: Request,
    out: Place,
    *,
    part: Part | None = None,
    force: bool = False,
    sheet: bool = True,
    work: Work | None = None,
    advance: Advance = lambda count: None,
) -> int:
    """Write the scans of a request, keeping those that an earlier, stopped call wrote.

    Parameters
    ----------
    generator : ScanGenerator
        The model.
    request : Request
        What to make.
    out : Path or Address
        Folder to write to: new, empty, or with the same request.
    part : Part, optional
        Make only this part. Several parts can write to one folder; `merge` joins them.
    force : bool
        Make existing scans again, and replace those of another request.
    sheet : bool
        Write a contact sheet.
    work : callable, optional
        What writes the scans at some positions; by default `write_positions`, in this process.
    advance : callable
        Called with the number of scans finished since the last call.

    Returns
    -------
    int
        Number of scans made, without those that were there already.

    Raises
    ------
    GenerationError
        `out` holds something else.
    StoreError
        The object store refuses or does not answer.
    OSError
        `out` cannot be written, or the disk is full.
    ModuleNotFoundError
        pydicom is not installed, for DICOM.
    """
    part, plan = part or Part(), Plan.of(generator.sha256, generator.classes, request)
    _refuse_foreign(out)
    if request.format == "dicom":
        import pydicom  # noqa: F401  (fails before the folder is claimed)
    with only_writers(out, part, lambda: _claim(out, plan, part, force=force)):
        if isinstance(out, Path):
            for path in _existing(out, plan, part, "."):  # temporary files of a killed command
                path.unlink(missing_ok=True)
        positions = range(*request.positions(part))
        work = work or functools.partial(write_positions, generator)
        begin = functools.cache(lambda: _not_whole(out, plan, part))  # once is enough
        made = work(plan, out, positions, advance, begin)
        if sheet and part.i == 0 and not is_there(out / SHEET):
            picture = encode_png(make_sheet(generator, plan), {"Comment": NOTICE})
            write_bytes(out / SHEET, sheet_page(plan, picture))
        # Written last: it marks the part as complete.
        write_lines(out / plan.manifest_name(part), plan.manifest(positions.start, positions.stop))
        if part.n == 1:
            drop_part_manifests(out)
    return made


@contextlib.contextmanager
def only_writers(
    out: Place, part: Part, claim: Callable[[], object] = lambda: None
) -> Iterator[None]:
    """Lock a folder: parts with the same n can share it; a whole request has it to itself.

    `claim` is called while no other command can enter. A store has no locks: there, commands of the
    same request put the same bytes, and others are refused by `claim`.

    Raises
    ------
    ScanganError
        Another command is writing something else to the folder.
    """
    if isinstance(out, Address):
        claim()
        yield
        return
    own = LOCK if part.n == 1 else f"{LOCK}-{part.i}-of-{part.n}"
    with contextlib.ExitStack() as held:
        with only_writer(out / f"{LOCK}-gate", wait=60):  # commands take turns here
            for other in sorted(out.glob(f"{LOCK}*")):
                name = other.name
                shared = part.n > 1 and name.endswith(f"-of-{part.n}")
                if not (shared or name.endswith("-gate") or name == own):
                    with only_writer(other):  # fails if its writer is still running
                        pass
            held.enter_context(only_writer(out / own))
            claim()
        yield


def _not_whole(out: Place, plan: Plan, part: Part) -> None:
    """Remove the manifests that mark the scans as complete."""
    for name in {MANIFEST, plan.manifest_name(part)}:
        remove(out / name)


def make_sheet(generator: ScanGenerator, plan: Plan) -> Images:
    """Lay out the first scans of each class as a contact sheet: uint8 [H, W]."""
    draw, rows, at = plan.request.draw, [], 0
    for span, folder in zip(plan.request.spans, plan.folders, strict=True):
        few = plan.request.between(at, at + min(span.kept, ON_SHEET), generator.batch)
        rows.append((folder, np.concatenate([generator.make([one], draw) for one in few])))
        at += span.kept
    return contact_sheet(rows, f"synthetic scans, seed {draw.seed}")


def write_lines(path: Place, lines: Iterable[str]) -> None:
    """Write lines to a text file, completely or not at all."""
    with written_whole(path) as beside, beside.open("w", encoding="ascii", newline="\n") as file:
        file.writelines(lines)


def _refuse_foreign(out: Place) -> None:
    """Refuse a file, or a folder with contents that gen-scans did not write."""
    if isinstance(out, Path) and out.exists() and not out.is_dir():
        raise GenerationError(f"{out} is a file; choose another --out")
    if has_request(out):
        return
    refuse_inside_scans(out)
    # Asked again: another part may have claimed the folder since, and writes its request first.
    if _has_files(out) and not has_request(out):
        raise GenerationError(f"{out} has files that gen-scans did not write; choose another --out")


def has_request(out: Place) -> bool:
    """Return whether a request has claimed a folder."""
    return is_there(out / REQUEST) if isinstance(out, Address) else (out / REQUEST).exists()


def _has_files(out: Place) -> bool:
    """Return whether a folder holds anything that is not hidden."""
    if isinstance(out, Address):
        from scangan.core import store

        return any(not entry.name.startswith(".") for entry in store.below(out))
    return out.exists() and any(not entry.name.startswith(".") for entry in out.iterdir())


def claim_new(out: Place, plan: Plan) -> None:
    """Claim an empty folder for a request."""
    _refuse_foreign(out)
    if isinstance(out, Path):
        out.mkdir(parents=True, exist_ok=True)
    plan.write(out, once=True)
    tell_readers(out, plan)


def _claim(out: Place, plan: Plan, part: Part, *, force: bool) -> None:
    """Claim the folder for this request, or refuse with how the request in it differs."""
    if not has_request(out):
        claim_new(out, plan)
        return
    before = Plan.read(out)
    difference = plan.difference(before)
    if difference and not (force and part.n == 1):
        advice = "" if part.n > 1 else ", or --force to replace them"
        raise GenerationError(
            f"{out} holds the scans of another request ({difference}); choose another --out{advice}"
        )
    if force:
        _remove(out, before, part)
    if difference:
        plan.write(out)
    tell_readers(out, plan)


def _remove(out: Place, plan: Plan, part: Part) -> None:
    """Remove the scans of a request or a part, and nothing else."""
    if isinstance(out, Address):
        _remove_objects(out, plan, part)
        return
    links = [name for name in plan.folders if (out / name).is_symlink()]
    if links:
        raise GenerationError(f"{out / links[0]} is a link; remove it, or choose another --out")
    # The manifests go first: after an interrupted removal, the folder must not look complete.
    _not_whole(out, plan, part)
    if part.i == 0:
        (out / SHEET).unlink(missing_ok=True)
    for path in _existing(out, plan, part):
        path.unlink(missing_ok=True)
    if part.n == 1:
        drop_part_manifests(out)
        for name in plan.folders:
            with contextlib.suppress(OSError):  # not empty: it holds other files
                (out / name).rmdir()


def _remove_objects(out: Address, plan: Plan, part: Part) -> None:
    from scangan.core import store

    _not_whole(out, plan, part)
    first, last = plan.request.positions(part)
    if part.i == 0:
        remove(out / SHEET)
    at = ((name, plan.position_of(name)) for name, _, _ in store.below(out))
    store.remove(out / name for name, place in at if place is not None and first <= place < last)
    if part.n == 1:
        drop_part_manifests(out)


def _existing(out: Path, plan: Plan, part: Part, start: str = "") -> Iterator[Path]:
    """Find the files of a part on disk, finished or not, with names that start with `start`."""
    first, last = plan.request.positions(part)
    # List the folder rather than every possible name: a request may have 10^12 scans.
    for folder in [""] if plan.sharded else plan.folders:
        with contextlib.suppress(FileNotFoundError), os.scandir(out / folder) as entries:
            for entry in entries:
                if not entry.name.startswith(start):
                    continue
                whole = entry.name.removeprefix(".").removesuffix(".part")
                at = plan.position_of(f"{folder}/{whole}" if folder else whole)
                if at is not None and first <= at < last:
                    yield Path(entry.path)


def drop_part_manifests(out: Place) -> None:
    """Remove the parts' manifests; the joined folder has its own."""
    for name in part_manifests(out):
        remove(out / name)


def part_manifests(out: Place) -> list[str]:
    """List the parts' manifests in a folder, in order."""
    return matching(out, "manifest-*-of-*.jsonl")
