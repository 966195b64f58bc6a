"""Prepare one file, and many at once."""

import dataclasses
import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from scangan.preprocessing.duplicates import perceptual_hash
from scangan.preprocessing.errors import Rejected
from scangan.preprocessing.intensity import Survey, Window, choose_window
from scangan.preprocessing.options import PrepOptions
from scangan.preprocessing.reading.depth import may_be_deep
from scangan.preprocessing.reading.reader import read_file, read_scans
from scangan.preprocessing.reading.scan import Scan
from scangan.preprocessing.transforms import prepare_scan

T = TypeVar("T")
R = TypeVar("R")

QUEUED = 3  # calls a worker that are made ahead: enough to stay busy, few enough to stay small


class WindowNeeded(Exception):
    """A scan needs the window over all scans, and that is not known yet."""


@dataclasses.dataclass
class Frame:
    """One prepared scan of a file."""

    number: int
    image: npt.NDArray[np.uint8]
    perceptual_hash: str  # 48 hexadecimal digits
    window: Window | None
    subject: str | None


@dataclasses.dataclass
class FileResult:
    """What came of one file: its hash, its scans, and for what is refused (frame or None, reason)."""

    sha256: str | None = None
    frames: list[Frame] = dataclasses.field(default_factory=list)
    refused: list[tuple[int | None, str]] = dataclasses.field(default_factory=list)


def prepare_file(path: str | Path, options: PrepOptions, window: Window | None) -> FileResult:
    """Read a file and prepare its scans; what can't be used is in `refused`, not raised.

    Raises
    ------
    WindowNeeded
        A scan needs `window`, and it is None.
    """
    result = FileResult()
    try:
        data = read_file(path)
        result.sha256 = hashlib.sha256(data).hexdigest()
        for number, scan in read_scans(data, options):
            if isinstance(scan, Rejected):
                result.refused.append((number, str(scan)))
            else:
                result.frames.append(_prepare_frame(number, scan, options, window))
    except Rejected as reason:
        return FileResult(result.sha256, refused=[(None, str(reason))])
    return result


def _prepare_frame(number: int, scan: Scan, options: PrepOptions, dataset: Window | None) -> Frame:
    if options.pixel_spacing is not None and scan.spacing is None:
        raise Rejected("says no pixel spacing; --pixel-spacing needs one")
    window = choose_window(scan, options, dataset) if scan.deep else None
    if scan.deep and window is None:
        raise WindowNeeded
    image = prepare_scan(scan, options, window)
    return Frame(
        number, image, perceptual_hash(image).byteswap().tobytes().hex(), window, scan.subject
    )


def survey_file(path: Path, options: PrepOptions, survey: Survey) -> None:
    """Add the scans of a file that need the window over all scans; what is refused does not count."""
    try:
        if not may_be_deep(path):
            return
        for _, scan in read_scans(read_file(path), options):
            if isinstance(scan, Scan) and scan.deep and choose_window(scan, options, None) is None:
                survey.add(scan)
    except Rejected:
        return  # named when it is prepared


def in_order(function: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[tuple[T, R]]:
    """Apply `function` on `workers` threads; results come in the order of `items`, a few ahead.

    Threads, since decoders and kernels let go of the GIL. Leaving early drops what waits.
    """
    waiting: deque[tuple[T, Future[R]]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for item in items:
            waiting.append((item, pool.submit(function, item)))
            if len(waiting) >= QUEUED * workers:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
