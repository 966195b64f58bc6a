"""Classifier two-sample test: how often a classifier tells synthetic scans from real ones."""

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve

from scangan.evaluation.folds import FOLDS, fold_count, folds_of
from scangan.evaluation.pairwise import block

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
    in up to 5 folds that keep groups whole. Both samples count the same, whatever their sizes.

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
    fold = np.concatenate(
        [folds_of(groups[side], folds, np.random.default_rng(0)) for side in (a, b)]
    )
    order = np.argsort(fold, kind="stable")  # a fold is a slice
    rows = np.concatenate([a, b])[order]
    sample = np.repeat([-1, 1], [len(a), len(b)])[order]
    kernel = block(products, rows, rows)
    # Half the weight on each sample: their spread around the middle of both, however many scans each has.
    even = np.where(sample < 0, 0.5 / len(a), 0.5 / len(b))
    alpha = even @ np.diagonal(kernel) - even @ kernel @ even  # a typical direction keeps half
    least = np.finfo(np.float64).eps * np.diagonal(kernel).max(initial=0)
    if alpha <= least:  # all scans are the same
        return 0.5
    # A weighted ridge regression is a plain one with rows and targets times the roots of the weights.
    root = np.sqrt(np.where(sample < 0, len(b), len(a)) / len(rows))
    kernel *= root[:, None]
    kernel *= root
    np.fill_diagonal(kernel, np.diagonal(kernel) + alpha)
    right = np.zeros(len(rows), bool)
    ends = np.bincount(fold).cumsum()
    for test in map(slice, [0, *ends[:-1]], ends):
        learn = np.delete(np.delete(kernel, test, axis=0), test, axis=1)
        # Its transpose is the same matrix, in the order that LAPACK overwrites instead of copying.
        factor = cho_factor(learn.T, overwrite_a=True, check_finite=False)
        # With an intercept, which is not penalised: else the boundary would pass through the mean of all
        # scans, which lies amid the larger sample.
        learnt, one = np.delete(root * sample, test), np.delete(root, test)
        solved = cho_solve(factor, np.stack([learnt, one], axis=1), check_finite=False)
        intercept = (one @ solved[:, 0]) / (one @ solved[:, 1])
        weights = np.zeros(len(rows))
        weights[np.delete(np.arange(len(rows)), test)] = solved @ (1, -intercept)
        named = np.sign(kernel[test] @ weights + root[test] * intercept)
        right[test] = named == sample[test]
    return float((right[sample < 0].mean() + right[sample > 0].mean()) / 2)
