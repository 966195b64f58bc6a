"""The kernels as functions of images, with checks and threads.

Numba is imported at the first call. benchmarks/results/preprocessing.md compares the speed with
OpenCV and scikit-image; docs/kernels.md explains its limits. Rows and areas are summed in float32, so
a prepared pixel that covers over a million source pixels may be inexact.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from scangan.core.errors import PreprocessingError

Images = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
Window = tuple[int, int]

WHOLE: Window = (0, 65535)


def equalize(images: Images, *, window: Window | None = None, threads: int | None = None) -> Images:
    """Equalise the histogram of each image, with one bin for every value of its type.

    Parameters
    ----------
    images : ndarray
        uint8 or uint16, [H, W] or [N, H, W].
    window : (int, int), optional
        uint16 only: the values of black and white; values beyond count as these. Black above white
        inverts the image. By default, the whole range.
    threads : int, optional
        Number of images to process at once; by default, one.

    Returns
    -------
    ndarray
        Same type and shape, over the whole range of the type:
        ``round(top * (cdf[v] - cdf_min) / (H * W - cdf_min))`` (Gonzalez and Woods, 3.3, with the
        offset of OpenCV's ``equalizeHist``; equal to it on uint8). A constant uint8 image is
        returned unchanged, a constant uint16 one as black (white if the window inverts).

    Raises
    ------
    PreprocessingError
        Wrong type, shape or window.
    """
    from scangan.preprocessing.kernels import histogram

    def one(image: Images) -> Images:
        out = np.empty_like(image)
        if image.dtype == np.uint8:
            histogram.look_up(image, _table(image), out)
        else:
            table, low = _deep_table(image, window, 65535.0)
            histogram.look_up_deep(image, table, low, _inverts(window), out)
        return out

    done: Images = _each(one, _checked(images, window), threads)
    return done


def clahe(
    images: Images,
    *,
    clip: float = 2.0,
    tiles: int = 8,
    window: Window | None = None,
    threads: int | None = None,
) -> Images:
    """Apply contrast-limited adaptive histogram equalisation (CLAHE) to each image.

    Parameters
    ----------
    images, window, threads
        As for `equalize`.
    clip : float
        Maximum count of a bin of a tile's histogram, relative to the mean, 1 to 1000.
    tiles : int
        Number of tiles along each side, 1 to 64.

    Returns
    -------
    ndarray
        Same type and shape, over the whole range of the type. uint8: as OpenCV's ``createCLAHE``.
        uint16: 256 bins over the window, with linear interpolation (``kernels/adaptive_deep.py``
        explains why not 65,536 bins, as in OpenCV).

    Raises
    ------
    PreprocessingError
        Wrong type, shape, window, clip or tiles.
    """
    from scangan.preprocessing.kernels import adaptive, adaptive_deep

    if not 1 <= clip <= 1000 or not 1 <= tiles <= 64:
        raise PreprocessingError(
            f"clip {clip}, tiles {tiles}: CLAHE takes a clip of 1 to 1000 and 1 to 64 tiles"
        )

    def one(image: Images) -> Images:
        out = np.empty_like(image)
        if image.dtype == np.uint8:
            tables = adaptive.tile_tables(image, tiles, float(clip))
            adaptive.blend_tables(image, tables, out)
        else:
            low, high = sorted(window or WHOLE)
            # `out` holds the steps until they are overwritten, pixel by pixel.
            adaptive_deep.steps_of(image, low, high, _inverts(window), out)
            tables = adaptive_deep.deep_tables(out, tiles, float(clip))
            adaptive.blend_tables(out, tables, out)
        return out

    done: Images = _each(one, _checked(images, window), threads)
    return done


def shrink(
    images: Images,
    shape: tuple[int, int],
    *,
    equalized: bool = False,
    window: Window | None = None,
    threads: int | None = None,
) -> npt.NDArray[np.uint8]:
    """Shrink each image to 8 bits by averaging over areas, optionally equalising it on the way.

    Each source pixel is read once, or twice if a histogram is needed.

    Parameters
    ----------
    images, window, threads
        As for `equalize`.
    shape : (int, int)
        Rows and columns of the result, at most those of the images.
    equalized : bool
        Equalise as `equalize` does. uint16: at full precision, rounding once after averaging.
        uint8: like OpenCV's ``equalizeHist``, then ``resize(INTER_AREA)``.

    Returns
    -------
    ndarray
        uint8 [rows, columns] or [N, rows, columns]; for uint16 images, the window is 0..255.

    Raises
    ------
    PreprocessingError
        Wrong type, shape or window.
    """
    images = _checked(images, window)
    rows, columns = shape
    if not (1 <= rows <= images.shape[-2] and 1 <= columns <= images.shape[-1]):
        height, width = images.shape[-2:]
        raise PreprocessingError(f"cannot shrink {height}x{width} pixels to {rows}x{columns}")

    def one(image: Images) -> npt.NDArray[np.uint8]:
        out = np.empty((rows, columns), np.uint8)
        if image.dtype == np.uint8:
            _shrink_8(image, _table(image) if equalized else np.arange(256, dtype=np.uint8), out)
        else:
            _shrink_16(image, window, equalized, out)
        return out

    done: npt.NDArray[np.uint8] = _each(one, images, threads)
    return done


def _shrink_8(image: Images, table: npt.NDArray[np.uint8], out: npt.NDArray[np.uint8]) -> None:
    from scangan.preprocessing.kernels import area

    height, width = image.shape
    if width % 2:  # the kernel looks up two pixels at once
        wider = np.zeros((height, width + 1), np.uint8)
        wider[:, :width] = image
        image = wider
    pairs = image.view(np.uint16)
    factors = height / out.shape[0], width / out.shape[1]
    if factors == (4, 4):
        area.shrink_by_4(pairs, table, out)
    elif factors == (2, 2):
        area.shrink_by_2(pairs, table, out)
    else:
        area.shrink_pairs(pairs, width, table, out)


def _shrink_16(
    image: Images, window: Window | None, equalized: bool, out: npt.NDArray[np.uint8]
) -> None:
    from scangan.preprocessing.kernels import area

    if equalized:
        table, low = _deep_table(image, window, 255.0)
        black, white = (255.0, 0.0) if _inverts(window) else (0.0, 255.0)
        area.shrink_deep(image, low, low + table.size - 1, table, black, white, out)
    else:
        low, high = sorted(window or WHOLE)
        black, white = window or WHOLE
        none = np.empty(0, np.float32)
        area.shrink_deep(image, low, high, none, float(black), float(white), out)


def _table(image: Images) -> npt.NDArray[np.uint8]:
    from scangan.preprocessing.kernels import histogram

    flat = image.reshape(-1)
    paired = flat.size // 2 * 2 if flat.size >= histogram.PAIRED_FROM else 0
    counts = histogram.count_levels(flat[paired:])
    if paired:
        counts += histogram.count_levels_by_pairs(flat[:paired].view(np.uint16))
    return histogram.equalizing_table(counts, flat.size)


def _deep_table(
    image: Images, window: Window | None, top: float
) -> tuple[npt.NDArray[np.float32], int]:
    """Return the equalising table of a uint16 image, and the value it starts at."""
    from scangan.preprocessing.kernels import histogram

    low, high = sorted(window or WHOLE)
    lowest, highest = histogram.value_range(image)
    low, high = max(low, min(lowest, high)), min(high, max(highest, low))
    return histogram.deep_table(image, low, high, top), low


def _inverts(window: Window | None) -> bool:
    return window is not None and window[0] > window[1]


def _checked(images: Images, window: Window | None) -> Images:
    if images.dtype not in (np.uint8, np.uint16) or images.ndim not in (2, 3) or not images.size:
        raise PreprocessingError(
            f"{images.dtype} of shape {images.shape}: "
            f"kernels take uint8 or uint16 images, [H, W] or [N, H, W]"
        )
    if window is not None and not (
        images.dtype == np.uint16
        and all(isinstance(end, int | np.integer) and 0 <= end <= 65535 for end in window)
        and window[0] != window[1]
    ):
        raise PreprocessingError(
            f"window {window}: it takes two different whole values in 0..65535, and uint16 images"
        )
    contiguous: Any = np.ascontiguousarray(images)
    return contiguous  # type: ignore[no-any-return]


def _each(function: Callable[[Any], Any], images: Any, threads: int | None) -> Any:
    """Apply `function` to the image, or to each of several, on `threads` threads."""
    if images.ndim == 2:
        return function(images)
    if threads is None or threads == 1:
        return np.stack([function(image) for image in images])
    with ThreadPoolExecutor(threads) as pool:
        return np.stack(list(pool.map(function, images)))
