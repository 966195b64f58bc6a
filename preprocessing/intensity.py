"""From the values of a file to grey: which window, and how it is applied."""

import dataclasses
import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from scangan.preprocessing.options import PrepOptions
from scangan.preprocessing.reading.scan import Scan

Window = tuple[float, float]  # physical values shown black and white

TAILS = 0.001  # share of the pixels beyond each end of a robust window
SAMPLED = 1 << 16  # pixels of a scan that are looked at
FARTHEST = 1e9  # values; beyond, nothing fits 16 bits
LEAST = 1e-30  # of a value; what is less counts as 0
ROUNDABLE = 1024  # values; of a wider window the ends may be rounded to whole values


class Survey:
    """A histogram of physical values over many scans, in which every scan weighs the same.

    A value is counted by the upper 20 bits of its float32: sign, exponent and 11 bits, in order of
    size. So any range of values is held to 0.05 % in 8 MiB, and the order of adding does not matter.
    Safe to share between threads.
    """

    def __init__(self) -> None:
        self.scans = 0
        self._weights = np.zeros(1 << 20, np.int64)
        self._seen: set[bytes] = set()
        self._lock = threading.Lock()

    def add(self, scan: Scan) -> None:
        """Count a scan."""
        keys = _ordered_keys(_sample(scan))
        with self._lock:
            np.add.at(self._weights, keys, SAMPLED * 16 // len(keys))
            self.scans += 1

    def is_new(self, sha256: bytes) -> bool:
        """Whether a file of these bytes comes for the first time."""
        with self._lock:
            before = len(self._seen)
            self._seen.add(sha256)
            return len(self._seen) > before

    def window(self) -> Window:
        """Robust percentiles (0.1 and 99.9 %) over all scans that were added."""
        share = np.cumsum(self._weights) / self._weights.sum()
        low = int(np.searchsorted(share, TAILS, "right"))
        high = int(np.searchsorted(share, 1 - TAILS, "left"))
        return _widened(_value(low), _value(high))


def thinned(scan: Scan) -> Scan:
    """The scan with no more pixels than a survey looks at."""
    flat = scan.pixels.reshape(1, -1)
    return dataclasses.replace(scan, pixels=flat[:, :: -(-flat.size // SAMPLED)].copy())


def own_window(scan: Scan) -> Window:
    """Robust percentiles (0.1 and 99.9 %) of one scan."""
    low, high = np.quantile(_sample(scan), [TAILS, 1 - TAILS])
    return _widened(float(low), float(high))


def choose_window(scan: Scan, options: PrepOptions, dataset: Window | None) -> Window | None:
    """Say which physical values of a deep scan are black and white.

    Parameters
    ----------
    scan : Scan
        With more than 8 bits, or with a window of its own.
    options : PrepOptions
        Its `window` decides.
    dataset : (float, float), optional
        The window over all scans, where it is known.

    Returns
    -------
    (float, float) or None
        None: it is the window over all scans, and that is not known yet.
    """
    if options.window_range is not None:
        return options.window_range
    if options.window == "image":
        return own_window(scan)
    if options.window in ("auto", "dicom") and scan.window is not None:
        return scan.window
    return dataset


def to_uint16(scan: Scan, window: Window) -> tuple[npt.NDArray[np.uint16], tuple[int, int]]:
    """Bring a scan to 16 bits without losing any of its values in the window.

    Returns
    -------
    pixels : ndarray
        uint16 [H, W].
    ends : (int, int)
        The pixels that are black and white; black is above white where the scan is inverted.
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
    """Grey from 0 (`black` and beyond) to 1 (`white` and beyond)."""
    return ((pixels.astype(np.float64) - black) / (white - black)).clip(0, 1)


def _sample(scan: Scan) -> npt.NDArray[np.float32]:
    flat = scan.pixels.reshape(-1)
    some = flat[:: -(-flat.size // SAMPLED)].astype(np.float64)
    return (some * scan.slope + scan.intercept).astype(np.float32)


def _ordered_keys(values: npt.NDArray[np.float32]) -> npt.NDArray[np.uint32]:
    """Upper 20 bits of each float32, arranged so that greater values have greater keys."""
    bits = values.view(np.uint32)
    negative = bits >> 31 == 1
    return np.where(negative, ~bits, bits | np.uint32(0x80000000)) >> np.uint32(12)


def _value(key: int) -> float:
    """The middle of the values that have this key."""
    ordered = np.uint32((key << 12) + (1 << 11))
    bits = ordered & np.uint32(0x7FFFFFFF) if ordered >> 31 else ~ordered
    value = float(np.uint32(bits).view(np.float32))
    return value if abs(value) > LEAST else 0.0


def _widened(low: float, high: float) -> Window:
    """A window that is not empty."""
    return (low, high) if low < high else (low, low + max(1e-6 * abs(low), 1e-6))
