"""Compiled kernels: shrinking by area averaging, with a look-up on the way.

A prepared pixel is the mean of the source pixels under it, weighted at its edges by the part it covers
(OpenCV's ``INTER_AREA``). Each source row is read once and added to a row of sums. A row shared by two
prepared rows is added to both, by its parts. Then the row of sums is averaged along its length.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from scangan.preprocessing.kernels.histogram import place
from scangan.preprocessing.kernels.jit import kernel

Array = npt.NDArray[Any]

SLIVER = 1e-6  # of a pixel; an edge this close to a pixel boundary counts as on it


@kernel
def _columns(width: int, wanted: int) -> tuple[Array, Array, Array, Array]:
    """Return the first and last source column under each prepared one, and the parts it covers."""
    first = np.empty(wanted, np.int64)
    last = np.empty(wanted, np.int64)
    of_first = np.empty(wanted, np.float32)
    of_last = np.empty(wanted, np.float32)
    scale = width / wanted
    for i in range(wanted):
        left = i * scale
        right = min(left + scale, width)
        first[i] = int(left + SLIVER)
        last[i] = int(np.ceil(right - SLIVER)) - 1
        of_first[i] = min(right, first[i] + 1) - left
        of_last[i] = right - last[i] if last[i] > first[i] else 0
    return first, last, of_first, of_last


@kernel
def _along(
    sums: Array, columns: tuple[Array, Array, Array, Array], gain: float, out: Array
) -> None:
    """Average a row of sums along its length: ``round(gain * sum)`` to uint8 or uint16 [wanted]."""
    first, last, of_first, of_last = columns
    factor = np.float32(gain)
    for i in range(out.size):
        total = sums[first[i]] * of_first[i] + sums[last[i]] * of_last[i]
        for x in range(first[i] + 1, last[i]):
            total += sums[x]
        out[i] = np.rint(total * factor)


@kernel
def sums_of_pairs(table: Array) -> Array:
    """Make a table uint16 [65536]: for two neighbours as one uint16, the sum of their levels."""
    sums = np.empty(65536, np.uint16)
    for high in range(256):
        for low in range(256):
            sums[high * 256 + low] = np.uint16(table[low]) + np.uint16(table[high])
    return sums


@kernel
def levels_of_pairs(table: Array) -> Array:
    """Make a table uint32 [65536]: for two neighbours as one uint16, their levels, 16 bits each."""
    levels = np.empty(65536, np.uint32)
    for high in range(256):
        for low in range(256):
            levels[high * 256 + low] = np.uint32(table[low]) | (np.uint32(table[high]) << 16)
    return levels


@kernel
def shrink_by_2(pairs: Array, table: Array, out: Array) -> None:
    """Halve uint8 pixels, viewed as uint16 [2H, W], through a table: uint8 [H, W].

    Halves are rounded up, as in OpenCV at this factor only.
    """
    sums = sums_of_pairs(table)
    for y in range(out.shape[0]):
        a, b = pairs[2 * y], pairs[2 * y + 1]
        for x in range(out.shape[1]):
            out[y, x] = (np.uint32(sums[a[x]]) + np.uint32(sums[b[x]]) + np.uint32(2)) >> 2


@kernel
def shrink_by_4(pairs: Array, table: Array, out: Array) -> None:
    """Shrink uint8 pixels, viewed as uint16 [4H, 2W], by four through a table: uint8 [H, W].

    Takes eight look-ups for sixteen pixels, and stores only the result.
    """
    sums = sums_of_pairs(table)
    for y in range(out.shape[0]):
        a, b, c, d = pairs[4 * y], pairs[4 * y + 1], pairs[4 * y + 2], pairs[4 * y + 3]
        for x in range(out.shape[1]):
            i = 2 * x
            total = np.uint32(sums[a[i]]) + np.uint32(sums[a[i + 1]])
            total += np.uint32(sums[b[i]]) + np.uint32(sums[b[i + 1]])
            total += np.uint32(sums[c[i]]) + np.uint32(sums[c[i + 1]])
            total += np.uint32(sums[d[i]]) + np.uint32(sums[d[i + 1]])
            out[y, x] = np.uint8(np.rint(np.float32(total) * np.float32(1 / 16)))


@kernel
def shrink_pairs(pairs: Array, width: int, table: Array, out: Array) -> None:
    """Shrink uint8 pixels, viewed as uint16 [H, ceil(width / 2)], through a table by any factors.

    Whole rows are summed two pixels at a time, in the two halves of 32 bits. These hold 257 rows, so
    longer sums are moved away before they overflow.
    """
    height, half = pairs.shape
    levels = levels_of_pairs(table)
    columns = _columns(width, out.shape[1])
    scale = height / out.shape[0]
    packed = np.empty(half, np.uint32)
    sums = np.empty(2 * half, np.float32)
    carried = np.zeros(2 * half, np.float32)  # the part of the last shared row for this one
    gain = out.shape[0] * out.shape[1] / (height * width)
    y = 0
    for row in range(out.shape[0]):
        bottom = min((row + 1) * scale, height)
        whole = int(bottom + SLIVER)
        sums[:] = carried
        carried[:] = 0
        while y < whole:
            packed[:] = 0
            stop = min(whole, y + 256)
            while y < stop:
                source = pairs[y]
                for i in range(half):
                    packed[i] += levels[source[i]]
                y += 1
            for i in range(half):
                sums[2 * i] += np.float32(packed[i] & np.uint32(0xFFFF))
                sums[2 * i + 1] += np.float32(packed[i] >> np.uint32(16))
        part = np.float32(bottom - whole)
        if part > SLIVER:
            source = pairs[y]
            for i in range(half):
                packed[i] = levels[source[i]]
            for i in range(half):
                left = np.float32(packed[i] & np.uint32(0xFFFF))
                right = np.float32(packed[i] >> np.uint32(16))
                sums[2 * i] += part * left
                sums[2 * i + 1] += part * right
                carried[2 * i] = left - part * left
                carried[2 * i + 1] = right - part * right
            y += 1
        _along(sums, columns, gain, out[row])


@kernel
def shrink_deep(
    image: Array, low: int, high: int, table: Array, black: float, white: float, out: Array
) -> None:
    """Shrink uint16 [H, W] by any factors; values are clipped to low..high, then looked up.

    An empty `table` leaves values unchanged, which vectorises. The result is linear between `black` (0)
    and `white` (255).
    """
    height, width = image.shape
    columns = _columns(width, out.shape[1])
    scale = height / out.shape[0]
    lowest, highest = np.uint32(low), np.uint32(high)
    levels = np.empty(width, np.float32)
    sums = np.empty(width, np.float32)
    carried = np.zeros(width, np.float32)
    gain = out.shape[0] * out.shape[1] / (height * width)
    y = 0
    for row in range(out.shape[0]):
        bottom = min((row + 1) * scale, height)
        whole = int(bottom + SLIVER)
        part = np.float32(bottom - whole)
        stop = whole + 1 if part > SLIVER else whole
        sums[:] = carried
        carried[:] = 0
        for source in range(y, stop):
            if table.size:
                for x in range(width):
                    levels[x] = table[place(image[source, x], lowest, highest)]
            else:
                for x in range(width):
                    levels[x] = min(max(np.int32(image[source, x]), np.int32(low)), np.int32(high))
            if source < whole:
                for x in range(width):
                    sums[x] += levels[x]
            else:
                for x in range(width):
                    sums[x] += part * levels[x]
                    carried[x] = levels[x] - part * levels[x]
        y = stop
        _along_window(sums, columns, gain, black, white, out[row])


@kernel
def _along_window(
    sums: Array,
    columns: tuple[Array, Array, Array, Array],
    gain: float,
    black: float,
    white: float,
    out: Array,
) -> None:
    """Average a row of sums along its length, then map black..white to 0..255."""
    first, last, of_first, of_last = columns
    slope = np.float32(gain * 255 / (white - black))
    offset = np.float32(-black * 255 / (white - black))
    for i in range(out.size):
        total = sums[first[i]] * of_first[i] + sums[last[i]] * of_last[i]
        for x in range(first[i] + 1, last[i]):
            total += sums[x]
        level = total * slope + offset
        out[i] = np.rint(min(max(level, np.float32(0)), np.float32(255)))
