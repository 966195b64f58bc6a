"""OpenCV for the readers: silent decoding, and colour to grey."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from scangan.core.errors import Rejected

WEIGHTS = {"R": 0.299, "G": 0.587, "B": 0.114}

# Keep OpenCV's messages about damaged files off the terminal; failures become `Rejected` here.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def decode(encoded: bytes, shape: tuple[int, int]) -> npt.NDArray[Any] | None:
    """Decode an image file as stored, colours as BGR; None if it does not have `shape`."""
    pixels = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    return None if pixels is None or pixels.shape[:2] != shape else np.asarray(pixels)


def luma(pixels: npt.NDArray[Any], order: str = "RGB") -> npt.NDArray[Any]:
    """Convert colours [H, W, C] to grey [H, W] of the same dtype (ITU-R BT.601).

    `order` is ``RGB``, ``BGR``, ``RGBA`` or ``BGRA``, as in OpenCV; alpha is ignored. Pixels are
    uint8, uint16, float32, or uint32 (which OpenCV cannot convert).

    Raises
    ------
    Rejected
        The pixels have another dtype.
    """
    if pixels.dtype in (np.uint8, np.uint16, np.float32):
        code = getattr(cv2, f"COLOR_{order}2GRAY")
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(pixels), code))
    if pixels.dtype != np.uint32:
        raise Rejected(f"colours of type {pixels.dtype}, which are not supported; save it as grey")
    weights = np.array([WEIGHTS.get(channel, 0.0) for channel in order])
    return np.asarray(np.rint(pixels @ weights), np.uint32)
