"""Write the scans at some positions of a request into a folder: a file each, or many in a file."""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from scangan.artifacts.request import Span
from scangan.artifacts.scan_folder import Plan
from scangan.core.address import Address, Place
from scangan.core.files import is_there, write_bytes
from scangan.core.png import encode_png
from scangan.core.sheet import NOTICE
from scangan.core.threads import in_order
from scangan.runtime.generator import ScanGenerator

PUTS_AT_ONCE = 16  # objects of one batch, as a store takes its time for each
Advance = Callable[[int], None]
Begin = Callable[[], None]
Work = Callable[[Plan, Place, range, Advance, Begin], int]  # `write_positions` of a generator
Images = npt.NDArray[np.uint8]


def write_positions(
    generator: ScanGenerator,
    plan: Plan,
    out: Place,
    positions: range,
    advance: Advance = lambda count: None,
    begin: Begin = lambda: None,
    *,
    look: bool = True,
) -> int:
    """Write the scans at some positions whose files are not there.

    Parameters
    ----------
    generator : ScanGenerator
        The model.
    plan : Plan
        The request and its files.
    out : Path or Address
        The folder, which `write_scans` has claimed.
    positions : range
        Of the scans; of whole shards, if scans share files.
    advance : callable
        Called with the number of scans finished since the last call.
    begin : callable
        Called before anything is written; not at all if nothing is missing.
    look : bool
        Look first which files are there; else all are written.

    Returns
    -------
    int
        Number of scans made.
    """
    work = _write_shards if plan.sharded else _write_files
    return work(generator, plan, out, positions, advance, begin, look)


def _write_files(
    generator: ScanGenerator,
    plan: Plan,
    out: Place,
    positions: range,
    advance: Advance,
    begin: Begin,
    look: bool,
) -> int:
    """Write one file per scan; the workers write the files."""
    encode, request = _encoder(plan), plan.request

    def work(span: Span) -> int:
        which = plan.position(span.number)
        names = [plan.file_name(which, index) for index in span.indices]
        missing = np.flatnonzero([not there(which, name) for name in names])
        if len(missing):
            begin()
            images = generator.make([span], request.draw)

            def write(i: int) -> None:
                write_file(names[i], encode(which, images[i], span.start + i))

            for _ in each(write, missing.tolist()):
                pass
        return len(missing)

    spans = request.between(positions.start, positions.stop, generator.batch)
    made = 0
    workers = generator.threads if request.total > generator.batch else 0
    with contextlib.ExitStack() as opened:
        there = _already(out, plan, positions) if look else _nothing_is_there
        each: Callable[..., Iterable[None]] = map
        if isinstance(out, Address):
            each = opened.enter_context(ThreadPoolExecutor(PUTS_AT_ONCE)).map
        write_file = _writer(out)
        # Closing stops the workers after an error, before the folder is unlocked.
        results = opened.enter_context(contextlib.closing(in_order(work, spans, workers)))
        for span, written in results:
            made += written
            advance(span.count)
    return made


def _writer(out: Place) -> Callable[[str, bytes], None]:
    """Return what writes a file into a folder, by its name."""
    if isinstance(out, Address):
        return lambda name, data: write_bytes(out / name, data, once=True)
    return lambda name, data: write_bytes(f"{out}/{name}", data)  # a Path for each takes longer


def _already(out: Place, plan: Plan, positions: range) -> Callable[[int, str], bool]:
    """Return what tells whether a scan of a span is there, by its file's name; makes the folders."""
    if isinstance(out, Address):
        present = present_in(out, plan, positions)
        return lambda _, name: bool(present[(plan.position_of(name) or 0) - positions.start])
    fresh = make_folders(out, plan)
    return lambda which, name: which not in fresh and is_there(f"{out}/{name}")


def _nothing_is_there(_span: int, _name: str) -> bool:
    return False


def make_folders(out: Place, plan: Plan) -> set[int]:
    """Make the folders of the classes; return which spans had none, where no scan can be yet."""
    fresh: set[int] = set()
    if plan.sharded or isinstance(out, Address):
        return fresh
    for which, folder in enumerate(plan.folders):
        with contextlib.suppress(FileExistsError):
            (out / folder).mkdir()
            fresh.add(which)
    return fresh


def present_in(out: Address, plan: Plan, positions: range) -> npt.NDArray[np.bool_]:
    """List a store once: which files of the scans at some positions are there, and not empty."""
    from scangan.core import store

    in_file = plan.request.shard_size if plan.sharded else 1
    present = np.zeros(-(-len(positions) // in_file), np.bool_)
    for name, size, _ in store.below(out):
        at = plan.position_of(name) if size else None
        if at is not None and at in positions:
            present[(at - positions.start) // in_file] = True
    return present


def _encoder(plan: Plan) -> Callable[[int, Images, int], bytes]:
    if plan.request.format == "dicom":
        from scangan.runtime.dicom import encode_dicom

        return lambda which, image, index: encode_dicom(image, plan, which, index)
    texts = [plan.record_text(which) for which in range(len(plan.folders))]
    return lambda which, image, index: encode_png(
        image, {"Comment": NOTICE, "scangan": texts[which].of(index)}
    )


def _write_shards(
    generator: ScanGenerator,
    plan: Plan,
    out: Place,
    positions: range,
    advance: Advance,
    begin: Begin,
    look: bool,
) -> int:
    """Write many scans per file: workers make and encode them, this thread writes shard after shard."""
    from scangan.runtime.shards import SHARDS, TarEntries

    request, size = plan.request, plan.request.shard_size
    entries = [TarEntries(plan, which) for which in range(len(plan.folders))]

    def spans() -> Iterator[tuple[Place, int, Span]]:
        present = None
        if look and isinstance(out, Address):
            present = present_in(out, plan, positions)
        for number, start in enumerate(positions[::size]):
            end = min(start + size, positions.stop)
            path = out / plan.shard_name(start // size)
            if look and (is_there(path) if present is None else present[number]):
                advance(end - start)
                continue
            begin()
            for span in request.between(start, end, generator.batch):
                yield path, end - start, span

    def work(task: tuple[Place, int, Span]) -> Any:
        span = task[2]
        images = generator.make([span], request.draw)
        if request.format == "npz":
            return images
        entry = entries[plan.position(span.number)]
        members = (entry.of(image, i) for image, i in zip(images, span.indices, strict=True))
        return b"".join(members)

    made = 0
    with contextlib.closing(in_order(work, spans(), generator.threads)) as results:
        for (path, count), group in groupby(results, key=lambda result: result[0][:2]):
            with SHARDS[request.format](path, plan, count) as add:
                for (_, _, span), content in group:
                    add(span, content)
                    made += span.count
                    advance(span.count)
    return made


def missing_ranges(out: Place, plan: Plan, positions: range, most: int) -> Iterator[range]:
    """Yield the positions whose files are not there, or empty, at most `most` at once; or shards."""
    in_file = plan.request.shard_size if plan.sharded else 1
    if isinstance(out, Address):
        absent = ~present_in(out, plan, positions)
    else:
        names = plan.files(positions.start, positions.stop)
        absent = np.fromiter((not is_there(f"{out}/{name}") for name in names), np.bool_)
    files = np.flatnonzero(absent)
    together = 1 if plan.sharded else most
    for run in np.split(files, np.flatnonzero(np.diff(files) > 1) + 1):
        for first in run[::together].tolist():
            last = min(first + together, int(run[-1]) + 1)
            start = positions.start + first * in_file
            yield range(start, min(positions.start + last * in_file, positions.stop))


def missing_files(out: Place, plan: Plan, positions: range) -> Iterator[str]:
    """Yield the names of the files of the scans at some positions that are not there, or empty."""
    names = plan.files(positions.start, positions.stop)
    if isinstance(out, Address):
        return itertools.compress(names, ~present_in(out, plan, positions))
    return (name for name in names if not is_there(f"{out}/{name}"))
