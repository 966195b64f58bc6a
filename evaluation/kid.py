"""Kernel inception distance (Binkowski et al. 2018), over all classes and within each."""

import numpy as np
import numpy.typing as npt

Features = npt.NDArray[np.floating]  # [N, D]


def polynomial_kernel(a: Features, b: Features) -> npt.NDArray[np.float64]:
    """Compute the kernel of KID, (a·b / D + 1)^3, for all pairs: float64 [len(a), len(b)]."""
    base = a.astype(np.float64, copy=False) @ b.astype(np.float64, copy=False).T
    base /= a.shape[1]
    base += 1.0
    return np.asarray(base * base * base)  # ** 3 calls pow for every pair and is many times slower


def kernel_distances(
    real: list[Features],
    synthetic: list[Features],
    real_kernels: npt.NDArray[np.float64] | None = None,
) -> tuple[float, npt.NDArray[np.float64]]:
    """Compute KID over all classes and within each.

    Parameters
    ----------
    real, synthetic : list of ndarray
        Features of each class, [N_k, D], at least two rows per class; float64 ones are not copied.
    real_kernels : ndarray, optional
        ``mean_kernels(real)``, if already known.

    Returns
    -------
    kid : float
        Unbiased squared MMD between mixtures in which every class has the same weight.
    class_kid : ndarray
        float64 [K]: unbiased squared MMD within each class. Both can be negative.
    """
    rr = mean_kernels(real) if real_kernels is None else real_kernels
    ss = mean_kernels(synthetic)
    rs = np.array([[polynomial_kernel(a, b).mean() for b in synthetic] for a in real])
    difference = rr + ss - rs - rs.T
    return float(difference.mean()), np.diagonal(difference).copy()


def mean_kernels(groups: list[Features]) -> npt.NDArray[np.float64]:
    """Compute the mean kernel between every two groups; no sample is paired with itself."""
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
