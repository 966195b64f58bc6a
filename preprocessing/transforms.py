"""Turn a scan of any size and depth into a prepared square."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from scangan.artifacts.dataset_records import Window
from scangan.preprocessing.geometry import Placement
from scangan.preprocessing.intensity import grey_of, to_uint16
from scangan.preprocessing.kernels import clahe, equalize, shrink
from scangan.preprocessing.options import PrepOptions
from scangan.preprocessing.reading.scan import Scan

Grey = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

# 8-bit scans with fewer pixels go through OpenCV: it is as fast there, agrees within one level, and a
# dataset of small scans need not wait for numba. Above, the kernels are 1.5 to 3.5 times faster
# (benchmarks/results/preprocessing.md). Plain resizing of 8-bit scans always uses OpenCV, as decoding
# takes ten times longer anyway.
KERNELS_FROM = 1 << 15


def prepare_scan(
    scan: Scan, place: Placement, options: PrepOptions, window: Window | None = None
) -> npt.NDArray[np.uint8]:
    """Window, equalise and fit one scan.

    Parameters
    ----------
    scan : Scan
        A scan of any size and type.
    place : Placement
        How the scan fills the square (from `place_of`).
    options : PrepOptions
        Its `size`, `equalize`, `clip` and `tiles` are used.
    window : (float, float), optional
        Physical values that become black and white; required for a deep scan (`Scan.deep`).

    Returns
    -------
    ndarray
        uint8 [size, size]. Shrinking averages over areas, which avoids aliasing; enlarging is
        bicubic. Equalisation uses only the visible part of the scan, at its original depth.
    """
    if window is None:
        used = np.ascontiguousarray(scan.pixels[place.source])
        small = _prepare_8(used, options, place.shape)
    else:
        pixels, ends = to_uint16(scan, window)
        used = np.ascontiguousarray(pixels[place.source])
        small = _prepare_16(used, ends, options, place.shape)
    square = np.zeros((options.size, options.size), np.uint8)
    top, left = place.corner
    square[top : top + place.shape[0], left : left + place.shape[1]] = small
    return square


def _prepare_8(image: Grey, options: PrepOptions, shape: tuple[int, int]) -> Grey:
    by_kernels = image.size >= KERNELS_FROM
    if options.equalize == "global":
        if by_kernels and _shrinks(image, shape):
            return shrink(image, shape, equalized=True)
        image = cv2.equalizeHist(image)
    elif options.equalize == "clahe":
        if by_kernels:
            image = clahe(image, clip=options.clip, tiles=options.tiles)
        else:
            image = cv2.createCLAHE(options.clip, (options.tiles, options.tiles)).apply(image)
    return resize(image, shape)


def _prepare_16(
    image: Grey, ends: tuple[int, int], options: PrepOptions, shape: tuple[int, int]
) -> Grey:
    if options.equalize == "clahe":
        image = clahe(image, clip=options.clip, tiles=options.tiles, window=ends)
        ends = (0, 65535)
    if _shrinks(image, shape):
        return shrink(image, shape, equalized=options.equalize == "global", window=ends)
    if options.equalize == "global":
        image = equalize(image, window=ends)
    else:
        image = np.rint(grey_of(image, *ends) * 65535).astype(np.uint16)
    return np.asarray(np.rint(resize(image, shape) / 257), np.uint8)


def _shrinks(image: Grey, shape: tuple[int, int]) -> bool:
    return bool(shape[0] <= image.shape[0] and shape[1] <= image.shape[1])


def resize(image: Grey, shape: tuple[int, int]) -> Grey:
    """Resize uint8 or uint16 [H, W] to `shape` (rows, columns); each side may shrink or grow.

    Shrinking comes first and averages over areas, as bilinear or bicubic shrinking in OpenCV
    aliases. That alone changes FID by 6 (Parmar et al. 2022). Enlarging is bicubic.
    """
    less = min(shape[0], image.shape[0]), min(shape[1], image.shape[1])
    done: Any = image
    if less != image.shape:
        done = cv2.resize(done, less[::-1], interpolation=cv2.INTER_AREA)
    if less != shape:
        done = cv2.resize(done, shape[::-1], interpolation=cv2.INTER_CUBIC)
    result: Any = np.asarray(done, image.dtype).reshape(shape)
    return result  # type: ignore[no-any-return]
