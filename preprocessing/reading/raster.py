"""Shared by the image readers: limits of size and shape, transparency, orientation."""

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from scangan.core.errors import Damaged, Rejected
from scangan.preprocessing.reading.scan import Scan

MOST_PIXELS = 1 << 27  # 134 megapixels: more than any radiograph, but fits a laptop's memory
MOST_ASPECT = 50.0  # of a pixel

Frames: TypeAlias = Iterator[tuple[int, Scan | Rejected]]


def check_size(height: int, width: int) -> None:
    """Reject an image without pixels, or with more than `MOST_PIXELS`, before it is decoded."""
    if height <= 0 or width <= 0:
        raise Damaged(f"declares {width}x{height} pixels")
    if height * width > MOST_PIXELS:
        raise Rejected(
            f"declares {width}x{height} pixels; at most {MOST_PIXELS} are read; shrink it"
        )


def pixel_aspect(across: float, down: float) -> float:
    """Return the height of a pixel over its width, from densities across and down in the same unit.

    It is 1 if one is missing or they are not credible, as scanners and editors write nonsense there.
    """
    if across <= 0 or down <= 0:
        return 1.0
    aspect = across / down
    return aspect if 1 / MOST_ASPECT <= aspect <= MOST_ASPECT else 1.0


def turned_aspect(aspect: float, orientation: int) -> float:
    """Return the aspect of an image after `upright`."""
    return 1 / aspect if orientation in (5, 6, 7, 8) else aspect


def over_black(grey: npt.NDArray[Any], alpha: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Blend `grey` with black by its `alpha`; both uint8 or both uint16, [H, W]."""
    opaque = int(np.iinfo(grey.dtype).max)
    if alpha.min() == opaque:
        return grey
    product = grey.astype(np.uint32) * alpha  # 65535 * 65535 fits
    return np.asarray((product + opaque // 2) // opaque, grey.dtype)


def upright(pixels: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Rotate and mirror [H, W] by an orientation tag, 1 to 8 (TIFF 6.0, Exif 2.3)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.T
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)
