"""Figures that need only the inner products of features: computed once, used for every half.

A half of a set is a choice of rows and columns. So a thousand features of any length are multiplied
once, and each of the random halves costs no more than a look-up.
"""

import dataclasses
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigvalsh, svdvals

from scangan.evaluation.near_equal import near_equal, share_within

Features = npt.NDArray[np.floating]  # [N, D]
Indices = npt.NDArray[np.intp]
Matrix = npt.NDArray[np.float64]

PRECISION_NEAREST = 3  # k of Kynkäänniemi et al. 2019
DENSITY_NEAREST = 5  # k of Naeem et al. 2020
FEWEST = DENSITY_NEAREST + 1  # scans of a half, as each needs a k-th neighbour
SIZES = 8  # sample sizes in the extrapolation to infinitely many scans
PRECISE = 1e-8  # error of a sum of singular values, to the sum, that a shortcut may have


class Pairwise:
    """Inner products of all pairs of scans.

    Parameters
    ----------
    features : ndarray
        float [N, D].

    Attributes
    ----------
    products : ndarray
        float64 [N, N]: inner products of the centred features.
    """

    def __init__(self, features: Features) -> None:
        # Centred, so that the difference of large numbers costs no digits.
        rows = features.astype(np.float64)
        rows -= rows.mean(axis=0)
        self.products: Matrix = rows @ rows.T

    def of(self, a: Indices, b: Indices) -> "TwoSamples":
        """Look up two samples: real scans, and those to compare with them."""
        aa, bb, ab = (block(self.products, i, j) for i, j in ((a, a), (b, b), (a, b)))
        return TwoSamples(aa, bb, ab)


@dataclasses.dataclass(frozen=True)
class TwoSamples:
    """Figures of real scans `a` and other scans `b`.

    Parameters
    ----------
    aa, bb, ab : ndarray
        float64 [len(a), len(a)] and so on: inner products of the centred features.
    """

    aa: Matrix
    bb: Matrix
    ab: Matrix

    def frechet(self) -> float:
        """Compute the Fréchet distance of both samples, FID of Heusel et al. 2017.

        Tr (Σa Σb)^½ is the sum of the singular values of Xa Xbᵀ / √((n - 1)(m - 1)) for centred
        samples Xa and Xb, which is a small matrix however long the features are.
        """
        aa, bb, ab = self.aa, self.bb, self.ab
        means = aa.mean() + bb.mean() - 2 * ab.mean()
        spread = sum((np.trace(own) - len(own) * own.mean()) / (len(own) - 1) for own in (aa, bb))
        centred = ab - ab.mean(axis=0) - ab.mean(axis=1, keepdims=True) + ab.mean()
        shared = sum_of_singular_values(centred)
        return float(means + spread - 2 * shared / np.sqrt((len(aa) - 1) * (len(bb) - 1)))

    def frechet_infinite(self, whole: float | None = None) -> float:
        """Extrapolate the Fréchet distance to infinitely many scans (Chong and Forsyth 2020).

        With many more scans than features, its bias falls as 1 / n, so a line through the distances of
        smaller samples over 1 / n meets the axis at no bias. With fewer, a part of the bias stays. The
        scans must be in random order.

        Parameters
        ----------
        whole : float, optional
            ``frechet()``, if already known.
        """
        shares = 1 / np.linspace(1, 4, SIZES)  # even steps in 1 / n, down to a quarter
        values = [self.frechet() if whole is None else whole]
        values += [self._first(share).frechet() for share in shares[1:]]
        return float(np.polyfit(1 / shares, values, 1)[1])

    def _first(self, share: float) -> "TwoSamples":
        n, m = (max(2, round(share * len(own))) for own in (self.aa, self.bb))
        return TwoSamples(self.aa[:n, :n], self.bb[:m, :m], self.ab[:n, :m])

    @cached_property
    def distances(self) -> tuple[Matrix, Matrix, Matrix]:
        """Euclidean distances within a, within b, and from a to b."""
        a, b = np.diagonal(self.aa), np.diagonal(self.bb)
        found = []
        for x, y, products in ((a, a, self.aa), (b, b, self.bb), (a, b, self.ab)):
            squares = np.add.outer(x, y)
            squares -= 2 * products
            np.maximum(squares, 0, out=squares)
            found.append(np.sqrt(squares, out=squares))
        for own in found[:2]:
            np.fill_diagonal(own, 0)
        return found[0], found[1], found[2]

    def neighbours(self) -> dict[str, float]:
        """Compute precision, recall, density and coverage of `b`.

        Precision and recall with k = 3 (Kynkäänniemi et al. 2019), density and coverage with k = 5
        (Naeem et al. 2020).
        """
        own_a, own_b, between = self.distances
        radii, wide = _radii(own_a, PRECISION_NEAREST, DENSITY_NEAREST)
        (radii_b,) = _radii(own_b, PRECISION_NEAREST)
        inside = between < wide[:, None]
        return {
            "precision": float((between <= radii[:, None]).any(axis=0).mean()),
            "recall": float((between <= radii_b).any(axis=1).mean()),
            "density": float(inside.sum(axis=0).mean() / DENSITY_NEAREST),
            "coverage": float(inside.any(axis=1).mean()),
        }

    def variety(self) -> float:
        """Return the mean distance of pairs of distinct scans of `b`, divided by that of `a`.

        Not finite if all scans of `a` are the same.
        """
        spread_a, spread_b = (own.sum() / (len(own) * (len(own) - 1)) for own in self.distances[:2])
        with np.errstate(divide="ignore", invalid="ignore"):
            return float(spread_b / spread_a)

    def near_pairs(self) -> float:
        """Return the share of pairs of distinct scans of `b` that are nearer than 99% of those of `a`.

        Scans that repeat each other, which the mean distance of `variety` hardly notices.
        """
        own_a, own_b = self.distances[:2]
        return share_within(own_b, near_equal(own_a))


def _radii(own: Matrix, *nearest: int) -> list[Matrix]:
    """Return the distance of each scan to its k-th neighbour, for some k in rising order."""
    # Each row holds the distance to itself, 0, so the k-th neighbour is at index k.
    few = np.partition(own, nearest[-1], axis=1)[:, : nearest[-1] + 1]
    few = np.sort(few, axis=1)
    return [few[:, k] for k in nearest]


def block(matrix: Matrix, rows: Indices, columns: Indices) -> Matrix:
    """Return some rows and columns of a matrix; three times as fast as ``matrix[np.ix_(...)]``."""
    return np.take(np.take(matrix, rows, axis=0), columns, axis=1)


def sum_of_singular_values(centred: Matrix) -> float:
    """Sum the singular values of a matrix whose rows and columns sum to 0.

    The roots of the eigenvalues of its square take half the time. Squaring costs small singular values
    their digits, so where those matter, this decomposes the matrix itself.
    """
    small = centred if len(centred) <= centred.shape[1] else centred.T
    # Centring makes one of them 0.
    squares = eigvalsh(small @ small.T, overwrite_a=True, check_finite=False)[1:]
    roots = np.sqrt(np.maximum(squares, 0))
    error = np.finfo(np.float64).eps * squares.max(initial=0)  # of each square, about
    lost = (error / np.maximum(roots, np.sqrt(error) + 1e-300)).sum()
    if lost <= PRECISE * roots.sum():
        return float(roots.sum())
    return float(svdvals(centred, check_finite=False).sum())


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
