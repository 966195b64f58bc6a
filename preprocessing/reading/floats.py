"""Convert floating-point pixels for a `Scan`."""

from typing import Any

import numpy as np
import numpy.typing as npt

from scangan.core.errors import Rejected

LARGEST = np.finfo(np.float32).max


def to_float32(pixels: npt.NDArray[Any], smallest: float | None = None) -> npt.NDArray[np.float32]:
    """Convert to finite float32 values of the same shape.

    Values that are not finite become `smallest`, by default the smallest finite value of `pixels`.
    Values out of range become the nearest float32.

    Raises
    ------
    Rejected
        No value is finite, and there is no `smallest`.
    """
    good = np.isfinite(pixels)
    if smallest is None:
        if not good.any():
            raise Rejected("no finite value; leave the file out with --exclude")
        smallest = float(pixels.min(where=good, initial=np.inf))
    filled = pixels if good.all() else np.where(good, pixels, smallest)
    return np.asarray(np.clip(filled, -LARGEST, LARGEST), np.float32, order="C")
