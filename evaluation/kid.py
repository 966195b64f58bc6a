"""Kernel inception distance (Binkowski et al. 2018), over classes and inside each."""

import numpy as np
import numpy.typing as npt

Features = npt.NDArray[np.floating]  # [N, D]


def polynomial_kernel(a: Features, b: Features) -> npt.NDArray[np.float64]:
    """The kernel of KID, (a·b / D + 1)^3, for all pairs: float64 [len(a), len(b)]."""
    base = a.astype(np.float64, copy=False) @ b.astype(np.float64, copy=False).T
    base /= a.shape[1]
    base += 1.0
    return np.asarray(base * base * base)  # ** 3 calls pow for every pair, many times slower


def kernel_distances(
    real: list[Features],
    synthetic: list[Features],
    real_kernels: npt.NDArray[np.float64] | None = None,
) -> tuple[float, npt.NDArray[np.float64]]:
    """KID over all classes, and inside each.

    Parameters
    ----------
    real, synthetic : list of ndarray
        Features of each class, [N_k, D], at least two a class; float64 ones are not copied.
    real_kernels : ndarray, optional
        ``mean_kernels(real)``, where it is known already.

    Returns
    -------
    kid : float
        Unbiased squared MMD between the mixtures in which every class weighs the same, whatever
        its count.
    class_kid : ndarray
        float64 [K]: unbiased squared MMD inside each class. Either may come out below zero.
    """
    rr = mean_kernels(real) if real_kernels is None else real_kernels
    ss = mean_kernels(synthetic)
    rs = np.array([[polynomial_kernel(a, b).mean() for b in synthetic] for a in real])
    difference = rr + ss - rs - rs.T
    return float(difference.mean()), np.diagonal(difference).copy()


def mean_kernels(groups: list[Features]) -> npt.NDArray[np.float64]:
    """Mean kernel between every two groups; a sample is never paired with itself."""
    means = np.empty((len(groups), len(groups)))
    for i, a in enumerate(groups):
        for j, b in enumerate(groups[: i + 1]):
            kernel = polynomial_kernel(a, b)
            if i == j:
                n = len(a)
                means[i, i] = (kernel.sum() - np.trace(kernel)) / (n * (n - 1))
            else:
                means[i, j] = means[j, i] = kernel.mean()
    return means
