"""Compiled kernels: histograms and equalising look-up tables."""

from typing import Any

import numpy as np
import numpy.typing as npt

from scangan.preprocessing.kernels.jit import kernel

Array = npt.NDArray[Any]

# Pixels; for fewer, clearing and folding 65,536 counters costs more than it saves.
PAIRED_FROM = 1 << 16


@kernel
def count_levels(flat: Array) -> Array:
    """Compute the histogram of uint8 [N], C-contiguous: int64 [256].

    It alternates between four counters. A single one would wait for its last store whenever
    neighbours are equal, as in every black background.
    """
    counts = np.zeros((4, 256), np.uint32)
    whole = flat.size // 4 * 4
    for i in range(0, whole, 4):
        counts[0, flat[i]] += np.uint32(1)
        counts[1, flat[i + 1]] += np.uint32(1)
        counts[2, flat[i + 2]] += np.uint32(1)
        counts[3, flat[i + 3]] += np.uint32(1)
    for i in range(whole, flat.size):
        counts[0, flat[i]] += np.uint32(1)
    total = np.zeros(256, np.int64)
    for k in range(4):
        for level in range(256):
            total[level] += counts[k, level]
    return total


@kernel
def count_levels_by_pairs(pairs: Array) -> Array:
    """Compute the histogram of uint8 pixels viewed as uint16 [N/2], two per element: int64 [256].

    This halves the stores, which are the bottleneck (one per cycle). Neighbours are similar, so the
    counters in use are near the diagonal of the 256 KiB table and stay in the cache.
    """
    counts = np.zeros(65536, np.uint32)
    for pair in pairs:
        counts[pair] += np.uint32(1)
    total = np.zeros(256, np.int64)
    for high in range(256):
        of_high = np.int64(0)
        for low in range(256):
            count = np.int64(counts[high * 256 + low])
            of_high += count
            total[low] += count
        total[high] += of_high
    return total


@kernel
def equalizing_table(counts: Array, pixels: int) -> Array:
    """Compute the equalising table, uint8 [256], of OpenCV's ``equalizeHist``.

    ``round(255 * (cdf[v] - cdf_min) / (pixels - cdf_min))`` in float32; constant images stay as they are.
    """
    table = np.zeros(256, np.uint8)
    lowest = 0
    while counts[lowest] == 0:
        lowest += 1
    if counts[lowest] == pixels:
        table[lowest] = lowest
        return table
    scale = np.float32(255) / np.float32(pixels - counts[lowest])
    below = 0
    for level in range(lowest + 1, 256):
        below += counts[level]
        table[level] = np.uint8(np.rint(np.float32(below) * scale))
    return table


@kernel
def value_range(image: Array) -> tuple[int, int]:
    """Return the minimum and maximum of uint16 [H, W]; vectorised, a tenth of a cycle per pixel."""
    low = np.uint16(65535)
    high = np.uint16(0)
    for y in range(image.shape[0]):
        row = image[y]
        for x in range(row.size):
            low = min(low, row[x])
            high = max(high, row[x])
    return int(low), int(high)


@kernel
def place(value: Any, low: Any, high: Any) -> Any:
    """Return the position of the value in low..high (uint32), from 0; values outside are clipped.

    Unsigned, as an index that may be negative costs a comparison.
    """
    return min(max(np.uint32(value), low), high) - low


@kernel
def deep_table(image: Array, low: int, high: int, top: float) -> Array:
    """Compute a table float32 [high - low + 1] that equalises uint16 [H, W] to 0 .. `top`.

    Every value from `low` to `high` has its own bin; values outside count as these ends. Only these
    bins are cleared, filled and summed, not all 65,536: a 12-bit scan has 4,096.
    """
    first, last = np.uint32(low), np.uint32(high)
    counts = np.zeros((2, high - low + 1), np.uint32)
    for y in range(image.shape[0]):
        row = image[y]
        whole = row.size // 2 * 2
        for x in range(0, whole, 2):
            counts[0, place(row[x], first, last)] += np.uint32(1)
            counts[1, place(row[x + 1], first, last)] += np.uint32(1)
        if whole < row.size:
            counts[0, place(row[whole], first, last)] += np.uint32(1)
    table = np.zeros(high - low + 1, np.float32)
    lowest = 0
    while counts[0, lowest] + counts[1, lowest] == 0:
        lowest += 1
    fewest = np.int64(counts[0, lowest]) + np.int64(counts[1, lowest])
    if fewest == image.size:
        return table
    scale = top / (image.size - fewest)
    below = np.int64(0)
    for level in range(lowest + 1, table.size):
        below += np.int64(counts[0, level]) + np.int64(counts[1, level])
        table[level] = below * scale
    return table


@kernel
def look_up(image: Array, table: Array, out: Array) -> None:
    """Write ``table[image]`` (uint8 [H, W]) to `out`."""
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            out[y, x] = table[image[y, x]]


@kernel
def look_up_deep(image: Array, table: Array, low: int, inverted: bool, out: Array) -> None:
    """Write ``table[image - low]``, clipped to the table and rounded, to uint16 `out`."""
    first, last = np.uint32(low), np.uint32(low + table.size - 1)
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            level = table[place(image[y, x], first, last)]
            out[y, x] = np.uint16(np.rint(np.float32(65535) - level if inverted else level))
