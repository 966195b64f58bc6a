"""Prepare one file."""

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterator
from tempfile import SpooledTemporaryFile, gettempdir
from typing import IO, Any, NamedTuple

import numpy as np

from scangan.artifacts.dataset_records import Window
from scangan.core.address import Place
from scangan.core.errors import PreprocessingError, Rejected, StoreError, Unreadable
from scangan.core.folders import why_no_scan
from scangan.core.reading import read_file
from scangan.core.terminal import is_missing_package
from scangan.preprocessing.duplicates import perceptual_hash
from scangan.preprocessing.geometry import is_square, place_of
from scangan.preprocessing.intensity import choose_window, nearly_blank, thinned
from scangan.preprocessing.journal import FrameLine
from scangan.preprocessing.options import PrepOptions
from scangan.preprocessing.reading.depth import may_be_deep
from scangan.preprocessing.reading.reader import read_scans
from scangan.preprocessing.reading.scan import Scan
from scangan.preprocessing.reading.wanted import Wanted
from scangan.preprocessing.transforms import prepare_scan

MOST_ASPECT = 50  # of a pixel; thick slices with fine pixels reach 20
SPACINGS = 1e-4, 1e4  # millimetres; values outside this range are not credible
MOST_VALUE = 1e30  # leaves room to compute in float32
LEAST_SLOPE = 1e-20
IN_MEMORY = 1 << 20  # bytes of prepared scans per file; more go to disk


def _spool() -> IO[bytes]:
    return SpooledTemporaryFile(IN_MEMORY)


@contextlib.contextmanager
def _naming_temporary() -> Iterator[None]:
    """Name the temporary folder in errors without a file name, as the full disk is not the output's."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = "the folder for temporary files (TMPDIR)"
            with contextlib.suppress(OSError):  # there is none
                error.filename = gettempdir()
        raise


@dataclasses.dataclass
class FileResult:
    """The result for one file: its hash, its scans, and the rejects as (frame or None, reason).

    If a scan needs the window over all scans and that is not known yet, only `needs_window` is set.

    `images` holds the pixels of all frames one after another. It moves to disk if it gets large, as
    the slices of a few volumes waiting to be written could fill the memory.
    """

    sha256: str | None = None
    frames: list[FrameLine] = dataclasses.field(default_factory=list)
    images: IO[bytes] = dataclasses.field(default_factory=_spool)
    refused: list[tuple[int | None, str]] = dataclasses.field(default_factory=list)
    needs_window: bool = False

    def __getstate__(self) -> dict[str, Any]:
        """Return what travels to another process: the pixels themselves, for their file."""
        self.images.seek(0)
        return self.__dict__ | {"images": self.images.read()}

    def __setstate__(self, told: dict[str, Any]) -> None:
        pixels, self.__dict__ = told["images"], told | {"images": _spool()}
        self.images.write(pixels)

    def add(self, number: int, scan: Scan, options: PrepOptions, window: Window | None) -> None:
        """Prepare a scan and add it; `window` applies to deep scans."""
        place = place_of(scan, options)
        image = prepare_scan(scan, place, options, window)
        digits = perceptual_hash(image).astype(">u8").tobytes().hex()
        with _naming_temporary():
            self.images.write(image.data)
        squared = options.needs_spacing == "square" and not is_square(scan.aspect)
        self.frames.append(
            FrameLine(
                frame=number,
                identifiers=scan.identifiers,
                window=window,
                perceptual_hash=digits,
                enlarged=place.enlarges,
                aspect=round(scan.aspect, 4) if squared else 1.0,
                blank=nearly_blank(image) if window else "",
                synthetic=scan.synthetic,
                notes=scan.notes,
            )
        )


def prepare_file(
    path: str | Place, options: PrepOptions, wanted: Wanted, window: Window | None, name: str = ""
) -> FileResult:
    """Read a file and prepare its scans; unusable ones end up in `refused` without an error.

    `wanted` and `name` are those of `read_scans`.

    Raises
    ------
    OSError
        The disk for temporary files is full, or too many files are open; not the file's fault.
    StoreError
        The object store refuses or does not answer.
    PreprocessingError
        Memory ran out.
    ModuleNotFoundError
        The package that reads such files is not installed.
    """
    result = FileResult()
    try:
        data = read_file(path)
        result.sha256 = hashlib.sha256(data).hexdigest()
        if reason_by_name := why_no_scan(str(path)):
            raise Rejected(reason_by_name)
        for number, scan in read_scans(data, wanted, name):
            reason, own = scan if isinstance(scan, Rejected) else why_not(scan, options), None
            if reason is None and isinstance(scan, Scan) and scan.deep:
                own = choose_window(scan, options, window)
                # Read to the end anyway, as later damage rejects the whole file.
                result.needs_window |= own is None
                reason = why_blank(scan, own) if own else None
            if reason is not None:
                result.refused.append((number, str(reason)))
            elif isinstance(scan, Scan) and not result.needs_window:
                result.add(number, scan, options, own)
    except (OSError, StoreError):
        raise
    except MemoryError as error:
        raise _too_large(path) from error
    except Rejected as reason:
        return FileResult(result.sha256, refused=[(None, str(reason))])
    except Exception as error:  # one odd file must not stop the others
        if is_missing_package(error):
            raise
        fault = "could not be prepared because of a bug in scangan; please report it with the file"
        return FileResult(result.sha256, refused=[(None, fault)])
    return result


def _too_large(path: str | Place) -> PreprocessingError:
    return PreprocessingError(
        f"{path} does not fit in memory; close other programs, use fewer --workers, or move the "
        f"file away"
    )


def why_not(scan: Scan, options: PrepOptions) -> Rejected | None:
    """Return why a decoded scan cannot be prepared, or None if it can."""
    if options.pixel_spacing is not None:
        if scan.spacing is None:
            return Rejected("has no pixel spacing; --pixel-spacing needs one")
        if not all(SPACINGS[0] <= side <= SPACINGS[1] for side in scan.spacing):
            told = " x ".join(f"{side:g}" for side in scan.spacing)
            return Rejected(
                f"its pixel spacing, {told} mm, is not {SPACINGS[0]:g} to {SPACINGS[1]:g} mm; correct it, "
                f"or leave out --pixel-spacing"
            )
    if options.needs_spacing == "square" and not 1 / MOST_ASPECT <= scan.aspect <= MOST_ASPECT:
        return Rejected(
            f"its pixels would be {scan.aspect:g} times as tall as wide; correct its spacing, or "
            f"prepare the scans without it: --ignore-spacing"
        )
    if scan.deep:
        ends = np.array([*_range(scan), *(scan.window or ())])
        if not abs(ends).max() < MOST_VALUE or not abs(scan.slope) > LEAST_SLOPE:
            return Rejected(
                "its values or its window are far out of range; correct them, or leave the file out with --exclude"
            )
        if options.window == "dicom" and scan.window is None:
            return Rejected("has no window; --window dicom needs one")
    return None


def why_blank(scan: Scan, window: Window) -> Rejected | None:
    """Return why a window leaves a scan blank (all black or all white), or None if it does not."""
    low, high = _range(scan)
    if window[0] < high and low < window[1]:
        return None
    return Rejected(
        f"blank: its values, {low:g} to {high:g}, lie outside of the window "
        f"{window[0]:g} to {window[1]:g}; choose another --window, or leave the file out with --exclude"
    )


def _range(scan: Scan) -> tuple[float, float]:
    ends = (
        float(end) * scan.slope + scan.intercept for end in (scan.pixels.min(), scan.pixels.max())
    )
    low, high = sorted(ends)
    return low, high


class Surveyed(NamedTuple):
    """The scans of a file that need the window over all scans, and the file's SHA-256."""

    sha256: bytes
    scans: list[Scan]


def survey_file(
    path: str | Place, options: PrepOptions, wanted: Wanted, name: str = ""
) -> Surveyed | None:
    """Return a thinned copy of each scan that needs the window over all; None if the file has none.

    `wanted` and `name` are those of `read_scans`. A file that is rejected has none.

    Raises
    ------
    Unreadable
        The file cannot be read, so whether it has such scans is unknown.
    OSError, PreprocessingError
        As in `prepare_file`.
    """
    found: list[Scan] = []
    try:
        if not may_be_deep(path):
            return None
        data = read_file(path)
        for _, scan in read_scans(data, wanted, name):
            if not isinstance(scan, Scan) or not scan.deep or why_not(scan, options) is not None:
                continue
            if choose_window(scan, options, None) is None:
                found.append(thinned(scan))
    except (OSError, StoreError, Unreadable):
        raise
    except MemoryError as error:
        raise _too_large(path) from error
    except Exception as error:  # reported when the file is prepared
        if is_missing_package(error):
            raise
        return None
    return Surveyed(hashlib.sha256(data).digest(), found) if found else None
