"""Floating-point pixels as a `Scan` holds them."""

from typing import Any

import numpy as np
import numpy.typing as npt

from scangan.core.errors import Rejected

LARGEST = np.finfo(np.float32).max


def to_float32(pixels: npt.NDArray[Any], smallest: float | None = None) -> npt.NDArray[np.float32]:
    """float32 of the same shape, all finite.

    What is not finite becomes `smallest`, by default the smallest finite value of `pixels`; what
    float32 cannot hold becomes the nearest value that it can.

    Raises
    ------
    Rejected
        No value is finite, and no `smallest` is given.
    """
    good = np.isfinite(pixels)
    if smallest is None:
        if not good.any():
            raise Rejected("no finite value")
        smallest = float(pixels.min(where=good, initial=np.inf))
    filled = pixels if good.all() else np.where(good, pixels, smallest)
    return np.asarray(np.clip(filled, -LARGEST, LARGEST), np.float32, order="C")
