"""Compiled kernels: CLAHE of 16-bit images.

OpenCV uses 65,536 bins per tile. A tile has fewer pixels than that, so hardly any bin reaches the clip
limit and contrast is not limited. Here, the window low..high has 256 bins, as in 8-bit CLAHE, with
linear interpolation of the distribution function between their edges. So contrast is limited as
usual, and values in the same bin stay distinct. With the window 0..255, this is 8-bit CLAHE.

The function is tabulated at 4,096 steps of the window, so a pixel costs four look-ups. This is exact
up to 12 bits. Beyond, an input is off by at most 1/8192 of the window, and the result by a tenth of a
grey level at a clip of 2.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from scangan.preprocessing.kernels.adaptive import BINS, count_tile, limit_contrast, tile_shape
from scangan.preprocessing.kernels.jit import kernel

Array = npt.NDArray[Any]

STEPS = 4096
STEPS_A_BIN = STEPS // BINS
SHIFT = 4  # from a step to its bin


@kernel
def steps_of(image: Array, low: int, high: int, inverted: bool, out: Array) -> None:
    """Write the window step, 0..4095, of each value of uint16 [H, W] to `out`."""
    scale = np.float32(STEPS / (high - low + 1))
    first, last = np.int32(low), np.int32(high)
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            value = min(max(np.int32(image[y, x]), first), last)
            through = last - value + 1 if inverted else value - first + 1
            out[y, x] = np.uint16(max(np.float32(through) * scale - np.float32(0.5), np.float32(0)))


@kernel
def deep_tables(steps: Array, tiles: int, clip: float) -> Array:
    """Compute every tile's distribution function per step: float32 [tiles, tiles, 4096], 0..65535."""
    height, width = steps.shape
    rows, columns = tile_shape(height, width, tiles)
    tables = np.empty((tiles, tiles, STEPS), np.float32)
    counts = np.empty((4, BINS), np.uint32)
    scale = np.float32(65535) / np.float32(rows * columns)
    for ty in range(tiles):
        for tx in range(tiles):
            count_tile(steps, SHIFT, ty * rows, tx * columns, rows, columns, counts)
            limit_contrast(counts[0], rows * columns, clip)
            table = tables[ty, tx]
            total = np.float32(0)
            for i in range(BINS):
                rise = np.float32(counts[0, i]) * scale / np.float32(STEPS_A_BIN)
                for k in range(STEPS_A_BIN):
                    table[i * STEPS_A_BIN + k] = total + rise * np.float32(k + 1)
                total += np.float32(counts[0, i]) * scale
    return tables
