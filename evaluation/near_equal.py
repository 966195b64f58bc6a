"""Near-equal pairs: scans of a class that repeat each other, which their mean distance hardly shows."""

import numpy as np
import numpy.typing as npt

from scangan.artifacts.scores import NEAR_EQUAL

Matrix = npt.NDArray[np.float64]
ROUNDING = 1e-6  # of the mean distance; that of two equal scans is not always computed as 0


def near_equal(distances: Matrix) -> float:
    """Return the distance within which 1% of the pairs of real scans lie.

    Parameters
    ----------
    distances : ndarray
        float64 [N, N]: between all of them, 0 on the diagonal; at least two scans.
    """
    n = len(distances)
    # Each distance is there twice, after the zeros of the diagonal.
    at = n + 2 * int(NEAR_EQUAL * (n * (n - 1) // 2 - 1))
    limit = np.partition(distances, at, axis=None)[at]
    return float(max(limit, ROUNDING * distances.mean()))


def share_within(distances: Matrix, limit: float) -> float:
    """Return the share of the pairs of distinct scans that lie within a distance: 0 to 1."""
    n = len(distances)
    return float(((distances <= limit).sum() - n) / (n * (n - 1)))
