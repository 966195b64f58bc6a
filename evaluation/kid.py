"""Kernel inception distance (Binkowski et al. 2018), over all classes and within each."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from scangan.evaluation.pairwise import block

DRAWS = 1000  # random weights for an interval
Features = npt.NDArray[np.floating]  # [N, D]
Indices = npt.NDArray[np.intp]
Labels = npt.NDArray[np.int64]


def polynomial_kernel(a: Features, b: Features) -> npt.NDArray[np.float64]:
    """Compute the kernel of KID, (a·b / D + 1)^3, for all pairs: float64 [len(a), len(b)]."""
    base = a.astype(np.float64, copy=False) @ b.astype(np.float64, copy=False).T
    base /= a.shape[1]
    base += 1.0
    cubes = base * base  # ** 3 calls pow for every pair and is many times slower
    cubes *= base
    return np.asarray(cubes)


def kernel_distances(
    real: Sequence[Features],
    synthetic: Sequence[Features],
    real_kernels: npt.NDArray[np.float64] | None = None,
    *,
    synthetic_groups: Sequence[Labels] | None = None,
) -> tuple[float, npt.NDArray[np.float64]]:
    """Compute KID over all classes and within each.

    Parameters
    ----------
    real, synthetic : list of ndarray
        Features of each class, [N_k, D], at least two rows per class; float64 ones are not copied.
    real_kernels : ndarray, optional
        ``mean_kernels(real)``, if already known, or with the groups of the real scans.
    synthetic_groups : list of ndarray, optional
        int64 [N_k]: see `mean_kernels`.

    Returns
    -------
    kid : float
        Unbiased squared MMD between mixtures in which every class has the same weight.
    class_kid : ndarray
        float64 [K]: unbiased squared MMD within each class. Both can be negative.
    """
    rr = mean_kernels(real) if real_kernels is None else real_kernels
    ss = mean_kernels(synthetic, synthetic_groups)
    rs = np.array([[polynomial_kernel(a, b).mean() for b in synthetic] for a in real])
    difference = rr + ss - rs - rs.T
    return float(difference.mean()), np.diagonal(difference).copy()


def mean_kernels(
    classes: Sequence[Features], groups: Sequence[Labels] | None = None
) -> npt.NDArray[np.float64]:
    """Compute the mean kernel between every two classes.

    Scans of one group, as of one patient, are alike, so KID would be too high if they counted as
    independent (`unbiased_mean`). In a class of a single group, they do: nothing else is known.

    Parameters
    ----------
    classes : list of ndarray
        Features of each class, [N_k, D], at least two rows.
    groups : list of ndarray, optional
        int64 [N_k]: the groups of the scans of each class; by default, each scan stands alone.

    Returns
    -------
    ndarray
        float64 [K, K].
    """
    if groups is None:
        ends = np.cumsum([len(f) for f in classes])
        groups = np.split(np.arange(ends[-1]), ends[:-1])
    means = np.empty((len(classes), len(classes)))
    for i, a in enumerate(classes):
        for j, b in enumerate(classes[: i + 1]):
            kernel = polynomial_kernel(a, b)
            mean = unbiased_mean(kernel, groups[i], groups[j])
            if np.isnan(mean):
                alone = np.arange(len(a)), np.arange(len(b)) + (0 if i == j else len(a))
                mean = unbiased_mean(kernel, *alone)
            means[i, j] = means[j, i] = mean
    return means


def unbiased_mean(kernel: npt.NDArray[np.float64], groups_a: Labels, groups_b: Labels) -> float:
    """Average a kernel over pairs of scans, without the bias that scans of one group bring.

    The mean kernel is the inner product of the mean features of both sides. If both have scans of the
    same groups, its expectation is too high by the covariance of these means, which is estimated from the
    residuals of the groups (Cochran 1977, chapter 9A: clusters of unequal sizes) and
    taken off. Where each scan stands alone, what is left is the mean over pairs of distinct scans.

    Parameters
    ----------
    kernel : ndarray
        float64 [N, M].
    groups_a, groups_b : ndarray
        int64 [N] and [M]: the groups of its rows and of its columns.

    Returns
    -------
    float
        The mean; nan if all scans are of one group.
    """
    mean = float(kernel.mean())
    shared, count = np.intersect1d(groups_a, groups_b), len(np.union1d(groups_a, groups_b))
    if not len(shared):
        return mean
    if count == 1:
        return float("nan")
    residuals = kernel - kernel.mean(axis=0) - kernel.mean(axis=1, keepdims=True) + mean
    rows, columns = _sums_over(groups_a, shared), _sums_over(groups_b, shared)
    together = columns.multiply(rows @ residuals).sum()
    return float(mean - count / (count - 1) * together / kernel.size)


class KernelTable:
    """The kernels of all pairs of scans: computed once, used for every KID of some of them.

    Parameters
    ----------
    features : ndarray
        float [N, D].
    groups : ndarray
        int64 [N]: groups of the scans, which are independent of each other.
    """

    def __init__(self, features: Features, groups: Labels) -> None:
        self._kernel, self._groups = polynomial_kernel(features, features), groups

    def kid(self, real: Sequence[Indices], synthetic: Sequence[Indices]) -> float:
        """Compute KID over all classes, as `kernel_distances` does, from the indices of each class.

        nan if all scans of a class are of one group.
        """
        rr, ss, rs = (
            np.mean([[self._mean(i, j) for j in b] for i in a])
            for a, b in ((real, real), (synthetic, synthetic), (real, synthetic))
        )
        return float(rr + ss - 2 * rs)

    def _mean(self, a: Indices, b: Indices) -> float:
        return unbiased_mean(block(self._kernel, a, b), self._groups[a], self._groups[b])

    def interval(
        self, real: Sequence[Indices], synthetic: Sequence[Indices], kid: float
    ) -> tuple[float, float]:
        """Estimate the 95% interval of a KID over all classes; nan if a side is one group.

        KID is a U-statistic. Its error has a linear part, which vanishes when both sides have the same
        distribution, and a quadratic part, which is then all there is (Hoeffding's decomposition). A
        plain bootstrap counts the quadratic part three times, so its intervals are almost twice too
        wide for a good generator. This estimates both parts (as Sutherland and Deka 2019 for the
        maximum mean discrepancy) and draws the quadratic one with random weights, as it is skewed.

        Parameters
        ----------
        real, synthetic : list of ndarray
            Indices of the scans of each class.
        kid : float
            ``self.kid(real, synthetic)``.

        Returns
        -------
        low, high : float
            The interval.
        """
        x, y = np.concatenate(real), np.concatenate(synthetic)
        class_x, class_y = (
            np.repeat(np.arange(len(side)), [len(i) for i in side]) for side in (real, synthetic)
        )
        together_x, together_y = (_sums_over(self._groups[i]) for i in (x, y))
        if min(together_x.shape[0], together_y.shape[0]) < 2:
            return float("nan"), float("nan")
        weight_x = 1 / (len(real) * np.bincount(class_x)[class_x])
        weight_y = 1 / (len(synthetic) * np.bincount(class_y)[class_y])
        xx, yy, xy = (block(self._kernel, i, j) for i, j in ((x, x), (y, y), (x, y)))
        np.fill_diagonal(xx, 0)
        np.fill_diagonal(yy, 0)
        # How much each scan moves the figure, compared with the others of its class.
        move_x, move_y = xx @ weight_x - xy @ weight_y, yy @ weight_y - weight_x @ xy
        for move, weight, classes in ((move_x, weight_x, class_x), (move_y, weight_y, class_y)):
            _centre(move, classes)
            move *= 2 * weight
        linear_x, linear_y = (
            np.square(together @ move).sum() * together.shape[0] / (together.shape[0] - 1)
            for together, move in ((together_x, move_x), (together_y, move_y))
        )
        # What is left of each pair when the two scans' own parts are gone.
        for kernel, a, b, weight_a, weight_b in (
            (xx, class_x, class_x, weight_x, weight_x),
            (yy, class_y, class_y, weight_y, weight_y),
            (xy, class_x, class_y, weight_x, weight_y),
        ):
            _centre(kernel, a)
            _centre(kernel.T, b)
            kernel *= weight_a[:, None]
            kernel *= weight_b
        pairs_x = together_x @ xx @ together_x.T
        pairs_y = together_y @ yy @ together_y.T
        pairs_xy = together_x @ xy @ together_y.T
        del xx, yy, xy, kernel  # with thousands of scans, these are most of the memory
        np.fill_diagonal(pairs_x, 0)
        np.fill_diagonal(pairs_y, 0)
        quadratic_x, quadratic_y = 2 * np.square(pairs_x).sum(), 2 * np.square(pairs_y).sum()
        quadratic_xy = 4 * np.square(pairs_xy).sum()
        # The noise of the linear parts has a known expectation.
        linear = linear_x + linear_y - 2 * (quadratic_x + quadratic_y + quadratic_xy)
        # float32 has far more digits than the quantiles of the draws.
        of_x, of_y, of_xy = (part.astype(np.float32) for part in (pairs_x, pairs_y, pairs_xy))
        pairs = np.block([[of_x, -of_xy], [-of_xy.T, of_y]])
        rng = np.random.default_rng(0)
        weights = rng.standard_normal((len(pairs), DRAWS))
        errors = np.einsum("ij,ij->j", weights, pairs @ weights.astype(np.float32))
        errors += rng.standard_normal(DRAWS) * np.sqrt(max(linear, 0))
        low, high = np.quantile(errors, (0.025, 0.975))
        return float(kid - high), float(kid - low)


def _sums_over(groups: Labels, names: Labels | None = None) -> csr_array:
    """Return a matrix that sums rows over groups (all, or those of some names): [groups, rows]."""
    names = np.unique(groups) if names is None else names
    rows = np.flatnonzero(np.isin(groups, names))
    number = np.searchsorted(names, groups[rows])
    return csr_array((np.ones(len(rows)), (number, rows)), shape=(len(names), len(groups)))


def _centre(rows: npt.NDArray[np.float64], classes: Labels) -> None:
    """Subtract from each row the mean of the rows of its class, in place."""
    sums = _sums_over(classes) @ rows
    counts = np.bincount(classes).reshape(-1, *[1] * (rows.ndim - 1))
    rows -= (sums / counts)[classes]
