"""Divide scans into folds for cross-validation, without tearing a group apart."""

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.int64]

FOLDS = 5


def fold_count(*groups: Labels) -> int:
    """Return how many folds can each have a group of every sample, at most 5; 1 is too few to test."""
    return min(FOLDS, *(len(np.unique(each)) for each in groups))


def folds_of(groups: Labels, count: int, rng: np.random.Generator) -> Labels:
    """Deal out groups to folds at random, large ones first: the fold of each scan, int64 [N]."""
    _, number, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    fold = np.empty(len(sizes), np.int64)
    order = rng.permutation(len(sizes))
    fold[order[np.argsort(-sizes[order], kind="stable")]] = np.arange(len(sizes)) % count
    return np.asarray(fold[number])
