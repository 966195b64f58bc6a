"""Compiled kernels: contrast-limited adaptive histogram equalisation (CLAHE).

Zuiderveld, Graphics Gems IV (1994), VIII.5, with the choices of OpenCV's ``createCLAHE``: reflection
extends the image to whole tiles, the clip limit is a whole number of pixels and at least one, and
clipped counts are spread evenly, with the remainder over evenly spaced bins.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from scangan.preprocessing.kernels.jit import kernel

Array = npt.NDArray[Any]

BINS = 256


@kernel
def tile_shape(height: int, width: int, tiles: int) -> tuple[int, int]:
    """Return the rows and columns of a tile, as in OpenCV.

    If one side is not a multiple of `tiles`, OpenCV extends both, the other side by `tiles` pixels.
    """
    if height % tiles == 0 and width % tiles == 0:
        return height // tiles, width // tiles
    return height // tiles + 1, width // tiles + 1


@kernel
def limit_contrast(counts: Array, area: int, clip: float) -> None:
    """Clip a histogram in place and redistribute the excess."""
    limit = np.uint32(max(int(clip * area / BINS), 1))
    clipped = np.int64(0)
    for i in range(BINS):
        if counts[i] > limit:
            clipped += np.int64(counts[i] - limit)
            counts[i] = limit
    for i in range(BINS):
        counts[i] += np.uint32(clipped // BINS)
    rest = int(clipped % BINS)
    if rest:
        step = max(BINS // rest, 1)
        for i in range(0, min(rest * step, BINS), step):
            counts[i] += np.uint32(1)


@kernel
def tile_tables(image: Array, tiles: int, clip: float) -> Array:
    """Compute the table of every tile of uint8 [H, W]: float32 [tiles, tiles, 256], whole levels 0..255."""
    height, width = image.shape
    rows, columns = tile_shape(height, width, tiles)
    tables = np.empty((tiles, tiles, BINS), np.float32)
    scale = np.float32(BINS - 1) / np.float32(rows * columns)
    counts = np.empty((4, BINS), np.uint32)
    for ty in range(tiles):
        for tx in range(tiles):
            count_tile(image, 0, ty * rows, tx * columns, rows, columns, counts)
            limit_contrast(counts[0], rows * columns, clip)
            total = 0
            for i in range(BINS):
                total += counts[0, i]
                tables[ty, tx, i] = min(np.rint(np.float32(total) * scale), np.float32(255))
    return tables


@kernel
def count_tile(
    keys: Array, shift: int, top: int, left: int, rows: int, columns: int, counts: Array
) -> None:
    """Count ``keys >> shift`` in one tile, reflected at borders, into ``counts[0]`` of four."""
    height, width = keys.shape
    inside = max(0, min(left + columns, width) - left) // 4 * 4
    step = np.uint32(shift)
    counts[:] = 0
    for y in range(top, top + rows):
        row = keys[reflected(y, height)]
        whole = row[left : left + inside]
        for x in range(0, whole.size, 4):
            counts[0, np.uint32(whole[x]) >> step] += np.uint32(1)
            counts[1, np.uint32(whole[x + 1]) >> step] += np.uint32(1)
            counts[2, np.uint32(whole[x + 2]) >> step] += np.uint32(1)
            counts[3, np.uint32(whole[x + 3]) >> step] += np.uint32(1)
        for x in range(left + inside, left + columns):
            counts[0, np.uint32(row[reflected(x, width)]) >> step] += np.uint32(1)
    for i in range(BINS):
        counts[0, i] += counts[1, i] + counts[2, i] + counts[3, i]


@kernel
def reflected(i: int, length: int) -> int:
    """Reflect index `i` into 0..length-1, without repeating the border pixel."""
    if i < length:
        return i
    if length == 1:
        return 0
    period = 2 * (length - 1)
    i %= period
    return i if i < length else period - i


@kernel
def blend_tables(keys: Array, tables: Array, out: Array) -> None:
    """Look up every pixel in the tables of the four nearest tiles, with bilinear interpolation.

    `keys` (uint8 or uint16 [H, W]) are indices into `tables` [tiles, tiles, ...]; the result is
    rounded to the type of `out`.
    """
    height, width = keys.shape
    tiles = tables.shape[0]
    rows, columns = tile_shape(height, width, tiles)
    weight = np.empty(width, np.float32)
    for x in range(width):
        at = np.float32(x) * (np.float32(1) / np.float32(columns)) - np.float32(0.5)
        # Floor with integers, as below for the tile: rounding may put `at` just under it.
        weight[x] = max(at - np.float32((2 * x - columns) // (2 * columns)), np.float32(0))
    for y in range(height):
        at = np.float32(y) * (np.float32(1) / np.float32(rows)) - np.float32(0.5)
        upper = int(np.floor(at))
        down = at - np.float32(upper)
        up = np.float32(1) - down
        above, below = max(upper, 0), min(upper + 1, tiles - 1)
        x = 0
        for tile in range(-1, tiles):
            # Columns right of the centre of this tile.
            stop = min(width, (tile + 1) * columns + (columns + 1) // 2)
            left, right = max(tile, 0), min(tile + 1, tiles - 1)
            a, b = tables[above, left], tables[above, right]
            c, d = tables[below, left], tables[below, right]
            # Slices show the compiler that no index is negative.
            row, far, target = keys[y, x:stop], weight[x:stop], out[y, x:stop]
            for i in range(row.size):
                key = row[i]
                near = np.float32(1) - far[i]
                value = (a[key] * near + b[key] * far[i]) * up
                value += (c[key] * near + d[key] * far[i]) * down
                target[i] = np.rint(value)
            x = max(x, stop)
