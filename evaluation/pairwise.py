"""Figures that need only the inner products of features: computed once, used for every half.

A half of a set is a choice of rows and columns. So a thousand features of any length are multiplied
once, and each of the random halves costs no more than a look-up.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.linalg import svdvals

Features = npt.NDArray[np.floating]  # [N, D]
Indices = npt.NDArray[np.intp]
Matrix = npt.NDArray[np.float64]

PRECISION_NEAREST = 3  # k of Kynkäänniemi et al. 2019
DENSITY_NEAREST = 5  # k of Naeem et al. 2020
FEWEST = DENSITY_NEAREST + 1  # scans of a half, as each needs a k-th neighbour
SIZES = 8  # sample sizes in the extrapolation to infinitely many scans


class Pairwise:
    """Inner products and distances of all pairs of scans, real ones first.

    Parameters
    ----------
    features : ndarray
        float [N, D].

    Attributes
    ----------
    products : ndarray
        float64 [N, N]: inner products of the centred features.
    distances : ndarray
        float64 [N, N]: Euclidean distances.
    """

    def __init__(self, features: Features) -> None:
        # Centred, so that the difference of large numbers costs no digits.
        rows = features.astype(np.float64)
        rows -= rows.mean(axis=0)
        self.products: Matrix = rows @ rows.T
        norms = np.diagonal(self.products)
        squares = norms[:, None] + norms - 2 * self.products
        np.fill_diagonal(squares, 0)
        self.distances: Matrix = np.sqrt(np.maximum(squares, 0))

    def frechet(self, a: Indices, b: Indices) -> float:
        """Compute the Fréchet distance of two samples, FID of Heusel et al. 2017.

        Tr (Σa Σb)^½ is the sum of the singular values of Xa Xbᵀ / √((n - 1)(m - 1)) for centred
        samples Xa and Xb, which is a small matrix however long the features are.
        """
        aa, bb = self.products[np.ix_(a, a)], self.products[np.ix_(b, b)]
        ab = self.products[np.ix_(a, b)]
        means = aa.mean() + bb.mean() - 2 * ab.mean()
        spread = sum((np.trace(own) - len(own) * own.mean()) / (len(own) - 1) for own in (aa, bb))
        centred = ab - ab.mean(axis=0) - ab.mean(axis=1, keepdims=True) + ab.mean()
        shared = svdvals(centred, overwrite_a=True, check_finite=False).sum()
        return float(means + spread - 2 * shared / np.sqrt((len(a) - 1) * (len(b) - 1)))

    def frechet_infinite(self, a: Indices, b: Indices) -> float:
        """Extrapolate the Fréchet distance to infinitely many scans (Chong and Forsyth 2020).

        Its bias falls as 1 / n, so a line through the distances of smaller samples over 1 / n meets
        the axis at no bias. The indices must be in random order.
        """
        shares = 1 / np.linspace(1, 4, SIZES)  # even steps in 1 / n, down to a quarter
        values = [
            self.frechet(a[: max(2, round(s * len(a)))], b[: max(2, round(s * len(b)))])
            for s in shares
        ]
        return float(np.polyfit(1 / shares, values, 1)[1])

    def neighbours(self, a: Indices, b: Indices) -> dict[str, float]:
        """Compute precision, recall, density and coverage of the scans `b` for the real scans `a`.

        Precision and recall with k = 3 (Kynkäänniemi et al. 2019), density and coverage with k = 5
        (Naeem et al. 2020).
        """
        own_a, own_b = self.distances[np.ix_(a, a)], self.distances[np.ix_(b, b)]
        between = self.distances[np.ix_(a, b)]
        radii = self._radii(own_a, PRECISION_NEAREST)
        wide = self._radii(own_a, DENSITY_NEAREST)
        inside = between < wide[:, None]
        return {
            "precision": float((between < radii[:, None]).any(axis=0).mean()),
            "recall": float((between < self._radii(own_b, PRECISION_NEAREST)).any(axis=1).mean()),
            "density": float(inside.sum(axis=0).mean() / DENSITY_NEAREST),
            "coverage": float(inside.any(axis=1).mean()),
        }

    @staticmethod
    def _radii(own: Matrix, k: int) -> Matrix:
        # Each row holds the distance to itself, 0, so the k-th neighbour is at index k.
        return np.asarray(np.partition(own, k, axis=1)[:, k])

    def spread(self, a: Indices) -> float:
        """Return the mean distance of all pairs of distinct scans."""
        return float(self.distances[np.ix_(a, a)].sum() / (len(a) * (len(a) - 1)))

    def nearest(self, a: Indices, b: Indices) -> Indices:
        """Return, for each scan of `b`, the scan of `a` that is nearest to it."""
        return np.asarray(a[self.distances[np.ix_(a, b)].argmin(axis=0)])


def joined(parts: Sequence[Indices]) -> Indices:
    """Join the indices of the classes in turns, so that each start of it has all classes."""
    place = np.concatenate([(np.arange(len(p)) + 0.5) / max(len(p), 1) for p in parts])
    return np.asarray(np.concatenate(parts)[np.argsort(place, kind="stable")])


def standardised(features: Features, by: Features) -> npt.NDArray[np.float64]:
    """Scale each feature by its mean and standard deviation over other scans.

    Some networks have a few features that are a hundred times larger than the rest and would
    decide every distance. A feature that is constant there becomes 0.
    """
    scale = by.std(axis=0, dtype=np.float64)
    known = scale > 1e-6 * scale.max()
    centred = features - by.mean(axis=0, dtype=np.float64)
    return np.asarray(np.where(known, centred / np.where(known, scale, 1), 0))
