"""Compiled kernel: the correlation of the detail of one scan with that of many others."""

from typing import Any

import numpy as np
import numpy.typing as npt

from scangan.preprocessing.kernels.jit import kernel

Array = npt.NDArray[Any]


@kernel
def likenesses(template: Array, others: Array) -> Array:
    """Correlate a template with each of several scans, at about the shift that fits best.

    As OpenCV's ``TM_CCOEFF_NORMED``, in whole numbers. Every second shift is tried, as on a chessboard,
    then those beside the best.

    Parameters
    ----------
    template : ndarray
        int16 [M, M], -127 to 127, with a mean of about 0.
    others : ndarray
        int8 [C, N, N]; N >= M, and N - M is even.

    Returns
    -------
    ndarray
        float64 [C], at most 1; -1 where a scan shows nothing.
    """
    side = template.shape[0]
    shifts = others.shape[1] - side + 1
    length = np.sqrt(dot(template, template, 0, 0))
    found = np.full(len(others), -1.0)
    lengths = np.empty((shifts, shifts))
    for number in range(len(others)):
        other = others[number].astype(np.int16)
        window_lengths(other, side, lengths)
        lengths *= length
        best, at_y, at_x = -1.0, 0, 0
        for dy in range(shifts):
            for dx in range(dy % 2, shifts, 2):
                if lengths[dy, dx] > 0:
                    fit = dot(template, other, dy, dx) / lengths[dy, dx]
                    if fit > best:
                        best, at_y, at_x = fit, dy, dx
        for dy, dx in ((at_y - 1, at_x), (at_y + 1, at_x), (at_y, at_x - 1), (at_y, at_x + 1)):
            if 0 <= dy < shifts and 0 <= dx < shifts and lengths[dy, dx] > 0:
                best = max(best, dot(template, other, dy, dx) / lengths[dy, dx])
        found[number] = best
    return found


@kernel
def dot(template: Array, other: Array, dy: int, dx: int) -> Any:
    """Sum the products of a template and the window of a scan at a shift; both int16."""
    total = np.int32(0)
    side = template.shape[0]
    for y in range(side):
        one, two = template[y], other[y + dy, dx : dx + side]
        for x in range(side):
            total += np.int32(one[x]) * np.int32(two[x])
    return total


@kernel
def window_lengths(image: Array, side: int, lengths: Array) -> None:
    """Compute the length of each window of int16 [N, N], less its mean: float64 [N - M + 1, N - M + 1]."""
    size, shifts = image.shape[0], image.shape[0] - side + 1
    totals = np.zeros(shifts, np.int64)  # of the rows of a window, so far
    squares = np.zeros(shifts, np.int64)
    row_totals = np.empty((size, shifts), np.int64)
    row_squares = np.empty((size, shifts), np.int64)
    for y in range(size):
        total, square = np.int32(0), np.int32(0)
        for x in range(side):
            value = np.int32(image[y, x])
            total += value
            square += value * value
        for dx in range(shifts):
            if dx:
                new, old = np.int32(image[y, dx + side - 1]), np.int32(image[y, dx - 1])
                total += new - old
                square += new * new - old * old
            row_totals[y, dx], row_squares[y, dx] = total, square
            totals[dx] += total
            squares[dx] += square
            if y >= side:
                totals[dx] -= row_totals[y - side, dx]
                squares[dx] -= row_squares[y - side, dx]
            if y >= side - 1:
                spread = squares[dx] - totals[dx] * totals[dx] / (side * side)
                lengths[y - side + 1, dx] = np.sqrt(max(0.0, spread))
