"""Map the values of a file to grey: choose the window and apply it."""

import dataclasses
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from scangan.artifacts.dataset_records import Shade, Window
from scangan.preprocessing.options import PrepOptions
from scangan.preprocessing.reading.scan import Scan

DARK = 32  # grey levels, an eighth of all
BLANK = 0.99  # share of pixels at one end from which a scan counts as nearly blank
TAILS = 0.001  # share of pixels beyond each end of a robust window
SAMPLED = 1 << 16  # pixels of a scan to sample
FAR = 6  # half octaves; at least 6 to 8 times the values of the median scan
FEW = 0.05  # share of all scans; more of them are not outliers
FARTHEST = 1e9  # larger values do not fit 16 bits
LEAST = 1e-30  # smaller values count as 0
ROUNDABLE = 1024  # the ends of a wider window may be rounded to whole values


class Survey:
    """Histograms of physical values over many scans, every scan with the same weight.

    The bin of a value is the upper 20 bits of its float32: sign, exponent and 11 bits, in order of
    size. So 8 MiB hold any range of values to 0.05%, and the order of adding does not matter. Files
    of similar magnitude share a histogram. Files with values far beyond all others (a dose grid, an
    undeclared padding value) are left out, as they alone would set the window.
    """

    def __init__(self) -> None:
        self._weights: dict[int, npt.NDArray[np.int64]] = {}
        self._scans: Counter[int] = Counter()  # by magnitude
        self._files: defaultdict[int, list[str]] = defaultdict(list)

    def add(self, scans: Sequence[Scan], file: str = "") -> None:
        """Count the scans of a file."""
        samples = [_sample(scan) for scan in scans]
        if not samples:
            return
        magnitude = max(map(_magnitude, samples))
        if magnitude not in self._weights:  # the system only allocates the pages in use
            self._weights[magnitude] = np.zeros(1 << 20, np.int64)
        for sample in samples:
            np.add.at(self._weights[magnitude], _ordered_keys(sample), SAMPLED * 16 // len(sample))
        self._scans[magnitude] += len(samples)
        self._files[magnitude].append(file)

    @property
    def scans(self) -> int:
        """Number of scans the window is measured over."""
        return sum(self._scans.values()) - sum(self._scans[each] for each in self._outlying())

    @property
    def outliers(self) -> list[str]:
        """The files left out, sorted by name."""
        return sorted(file for each in self._outlying() for file in self._files[each])

    def _outlying(self) -> list[int]:
        """Return rare magnitudes that are far above that of the median scan."""
        if not self._scans:
            return []
        ordered = sorted(self._scans)
        total, below = sum(self._scans.values()), 0
        middle = ordered[-1]
        for magnitude in ordered:
            below += self._scans[magnitude]
            if 2 * below > total:
                middle = magnitude
                break
        far = [each for each in ordered if each - middle >= FAR]
        files = sum(len(self._files[each]) for each in far)
        few = files == 1 or sum(self._scans[each] for each in far) <= FEW * total
        return far if few else []

    def window(self) -> Window:
        """Compute robust percentiles (0.1 and 99.9%) over all scans added and not left out."""
        outlying = set(self._outlying())
        weights = np.zeros(1 << 20, np.int64)
        for magnitude, counted in self._weights.items():
            if magnitude not in outlying:
                weights += counted
        share = np.cumsum(weights) / weights.sum()
        low = int(np.searchsorted(share, TAILS, "right"))
        high = int(np.searchsorted(share, 1 - TAILS, "left"))
        return _widened(_value(low), _value(high))


def thinned(scan: Scan) -> Scan:
    """Return the scan with no more pixels than a survey samples."""
    return dataclasses.replace(scan, pixels=_some(scan.pixels)[None].copy())


def own_window(scan: Scan) -> Window:
    """Compute robust percentiles (0.1 and 99.9%) of one scan."""
    low, high = np.quantile(_sample(scan), [TAILS, 1 - TAILS])
    return _widened(float(low), float(high))


def choose_window(scan: Scan, options: PrepOptions, dataset: Window | None) -> Window | None:
    """Choose the physical values of a deep scan that become black and white.

    Parameters
    ----------
    scan : Scan
        A scan with more than 8 bits, or with its own window.
    options : PrepOptions
        Its `window` decides.
    dataset : (float, float), optional
        The window over all scans, if known.

    Returns
    -------
    (float, float) or None
        The window; None if it is the one over all scans, which is not known yet.
    """
    if options.window_range is not None:
        return options.window_range
    if options.window == "image":
        return own_window(scan)
    if options.window in ("auto", "dicom") and scan.window is not None:
        return scan.window
    return dataset


def nearly_blank(image: npt.NDArray[np.uint8]) -> Shade:
    """Return whether a prepared scan is nearly all black or white; empty if neither.

    Parameters
    ----------
    image : ndarray
        uint8 [H, W].
    """
    dark, bright = np.count_nonzero(image < DARK), np.count_nonzero(image > 255 - DARK)
    if dark >= BLANK * image.size:
        return "black"
    return "white" if bright >= BLANK * image.size else ""


def to_uint16(scan: Scan, window: Window) -> tuple[npt.NDArray[np.uint16], tuple[int, int]]:
    """Convert a scan to 16 bits without losing any values in the window.

    Returns
    -------
    pixels : ndarray
        uint16 [H, W].
    ends : (int, int)
        The pixel values of black and white; black is above white if the scan is inverted.
    """
    black, white = ((value - scan.intercept) / scan.slope for value in window)
    if scan.inverted:
        black, white = white, black
    pixels = scan.pixels
    shift = {"uint8": 0, "uint16": 0, "int16": 32768}.get(pixels.dtype.name)
    if shift is not None and ROUNDABLE <= abs(white - black) < FARTHEST > abs(black):
        ends = round(black) + shift, round(white) + shift
        if min(ends) >= 0 and max(ends) <= 65535:
            unsigned = pixels.view(np.uint16) ^ np.uint16(0x8000) if shift else pixels
            return unsigned.astype(np.uint16, copy=False), ends
    return np.rint(grey_of(pixels, black, white) * 65535).astype(np.uint16), (0, 65535)


def grey_of(pixels: npt.NDArray[Any], black: float, white: float) -> npt.NDArray[np.float64]:
    """Map pixels to grey from 0 (`black` and beyond) to 1 (`white` and beyond)."""
    return ((pixels.astype(np.float64) - black) / (white - black)).clip(0, 1)


def _sample(scan: Scan) -> npt.NDArray[np.float32]:
    some = _some(scan.pixels).astype(np.float64)
    return (some * scan.slope + scan.intercept).astype(np.float32)


def _some(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return at most `SAMPLED` pixels, evenly spread over rows and columns."""
    step, width = -(-pixels.size // SAMPLED), pixels.shape[-1]
    # A common factor would leave out columns, the same in each row.
    while math.gcd(step, width) > 1:
        step += 1
    return pixels.reshape(-1)[::step]


def _magnitude(sample: npt.NDArray[np.float32]) -> int:
    """Return the magnitude of a scan's values, ignoring a few, in half octaves."""
    ends = np.quantile(sample, [TAILS, 1 - TAILS])
    return math.floor(2 * math.log2(max(float(np.abs(ends).max()), LEAST)))


def _ordered_keys(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint32]:
    """Return the upper 20 bits of each float32, so arranged that larger values have larger keys."""
    bits = values.view(np.uint32)
    negative = bits >> 31 == 1
    return np.where(negative, ~bits, bits | np.uint32(0x80000000)) >> np.uint32(12)


def _value(key: int) -> float:
    """Return the middle of the values with this key."""
    ordered = np.uint32((key << 12) + (1 << 11))
    bits = ordered & np.uint32(0x7FFFFFFF) if ordered >> 31 else ~ordered
    value = float(np.uint32(bits).view(np.float32))
    return value if abs(value) > LEAST else 0.0


def _widened(low: float, high: float) -> Window:
    """Widen an empty window."""
    return (low, high) if low < high else (low, low + max(1e-6 * abs(low), 1e-6))
