"""Classifier two-sample test: how often a classifier tells synthetic scans from real ones."""

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve

from scangan.evaluation.folds import FOLDS, fold_count, folds_of

FEWEST = 2 * FOLDS  # scans of a sample

Indices = npt.NDArray[np.intp]


def two_sample_accuracy(
    products: npt.NDArray[np.float64],
    a: Indices,
    b: Indices,
    groups: npt.NDArray[np.int64],
) -> float | None:
    """Return how often a linear classifier names the sample of a scan that it did not learn from.

    Classifier two-sample test (Lopez-Paz and Oquab 2017), with a ridge classifier and cross-validation
    in up to 5 folds that keep groups whole. Both samples count the same.

    Parameters
    ----------
    products : ndarray
        float64 [N, N]: inner products of standardised features.
    a, b : ndarray
        Indices of the two samples.
    groups : ndarray
        int64 [N]: scans with the same number are in the same fold.

    Returns
    -------
    float or None
        0.5 if they cannot be told apart, 1 if they always can; None if a sample has fewer than 10
        scans or only one group.
    """
    folds = fold_count(groups[a], groups[b])
    if min(len(a), len(b)) < FEWEST or folds < 2:
        return None
    rows = np.concatenate([a, b])
    sample = np.repeat([-1, 1], [len(a), len(b)])
    kernel = products[np.ix_(rows, rows)]
    # The kernel's mean diagonal: a typical direction keeps half of its weight. It is 0 if all are equal.
    alpha = float(np.diagonal(kernel).mean()) or 1.0
    weight = np.where(sample < 0, len(b), len(a)) / len(rows)
    right = np.zeros(len(rows), bool)
    fold = np.concatenate(
        [folds_of(groups[side], folds, np.random.default_rng(0)) for side in (a, b)]
    )
    for number in range(folds):
        learn, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        # Kernel ridge regression; a scan of weight w counts as w scans (Saunders et al. 1998).
        gram = kernel[np.ix_(learn, learn)]
        gram[np.diag_indices_from(gram)] += alpha / weight[learn]
        dual = solve(gram, sample[learn], overwrite_a=True, check_finite=False, assume_a="pos")
        right[test] = np.sign(kernel[np.ix_(test, learn)] @ dual) == sample[test]
    return float((right[sample < 0].mean() + right[sample > 0].mean()) / 2)
