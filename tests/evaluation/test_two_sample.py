"""The two-sample test against the regression that others use."""

import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge

from scangan.evaluation.folds import folds_of
from scangan.evaluation.two_sample import FOLDS, two_sample_accuracy


def by_scikit_learn(products, a, b, groups):
    """The same with scikit-learn, which checks its input for each fold and so is slower."""
    rows, sample = np.concatenate([a, b]), np.repeat([-1, 1], [len(a), len(b)])
    fold = np.concatenate(
        [folds_of(groups[side], FOLDS, np.random.default_rng(0)) for side in (a, b)]
    )
    kernel = products[np.ix_(rows, rows)]
    ridge = KernelRidge(alpha=np.diagonal(kernel).mean(), kernel="precomputed")
    weight, named = np.where(sample < 0, len(b), len(a)) / len(rows), np.empty(len(rows))
    for number in range(FOLDS):
        learn, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        ridge.fit(kernel[np.ix_(learn, learn)], sample[learn], sample_weight=weight[learn])
        named[test] = np.sign(ridge.predict(kernel[np.ix_(test, learn)]))
    right = named == sample
    return (right[sample < 0].mean() + right[sample > 0].mean()) / 2


@pytest.mark.parametrize(("n", "m"), [(10, 10), (12, 40), (70, 30)])
@pytest.mark.parametrize("apart", [0, 0.5, 5])
def test_it_is_that_of_scikit_learn(n, m, apart):
    rng = np.random.default_rng(n)
    rows = rng.normal(size=(n + m, 20))
    rows[:n] += apart
    rows -= rows.mean(axis=0)
    order = rng.permutation(n + m)  # the samples lie anywhere among the scans
    products = (rows @ rows.T)[np.ix_(np.argsort(order), np.argsort(order))]
    a, b, groups = order[:n], order[n:], np.arange(n + m) // 2
    got = two_sample_accuracy(products, a, b, groups)
    assert got == pytest.approx(by_scikit_learn(products, a, b, groups))
    assert got > 0.9 or apart < 5


def test_scans_that_are_all_equal_cannot_be_told_apart():
    a, b = np.arange(12), np.arange(12, 24)
    assert two_sample_accuracy(np.zeros((24, 24)), a, b, np.arange(24)) == 0.5


def test_too_few_scans_or_groups_give_no_figure():
    products, a, b = np.eye(40), np.arange(20), np.arange(20, 40)
    assert two_sample_accuracy(products, a[:9], b, np.arange(40)) is None
    assert two_sample_accuracy(products, a, b, np.arange(40) // 20) is None
