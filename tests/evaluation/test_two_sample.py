"""The classifier two-sample test against scikit-learn's ridge regression."""

import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge

from scangan.evaluation.folds import folds_of
from scangan.evaluation.two_sample import two_sample_accuracy


def _naive(products, a, b, groups, folds=5):
    rows, sample = np.concatenate([a, b]), np.repeat([-1, 1], [len(a), len(b)])
    kernel = products[np.ix_(rows, rows)]
    ridge = KernelRidge(alpha=np.diagonal(kernel).mean(), kernel="precomputed")
    weight = np.where(sample < 0, len(b), len(a)) / len(rows)
    fold = np.concatenate([folds_of(groups[i], folds, np.random.default_rng(0)) for i in (a, b)])
    named = np.zeros(len(rows))
    for test in (fold == number for number in range(folds)):
        ridge.fit(kernel[np.ix_(~test, ~test)], sample[~test], sample_weight=weight[~test])
        named[test] = np.sign(ridge.predict(kernel[np.ix_(test, ~test)]))
    return np.mean([(named == sample)[sample == side].mean() for side in (-1, 1)])


@pytest.mark.parametrize(("count", "shift"), [(40, 0.0), (40, 0.4), (25, 0.4), (90, 2.0)])
def test_it_is_the_ridge_classifier_of_scikit_learn(count, shift):
    rng = np.random.default_rng(count)
    rows = rng.normal(size=(200, 60))
    rows[100:] += shift
    rows -= rows.mean(axis=0)
    products, groups = rows @ rows.T, rng.integers(0, 60, 200) + 1000 * (np.arange(200) >= 100)
    a, b = rng.permutation(100)[:count], 100 + rng.permutation(100)[: 2 * count // 3]
    told = two_sample_accuracy(products, a, b, groups)
    assert told == pytest.approx(_naive(products, a, b, groups))
    assert told > 0.95 if shift == 2 else told < 0.95


def test_scans_without_any_difference_cannot_be_told_apart():
    assert (
        two_sample_accuracy(np.zeros((40, 40)), *np.split(np.arange(40), 2), np.arange(40)) == 0.5
    )


def test_too_few_scans_or_groups_give_no_figure():
    products, a, b = np.eye(40), np.arange(20), np.arange(20, 40)
    assert two_sample_accuracy(products, a[:9], b, np.arange(40)) is None
    assert two_sample_accuracy(products, a, b, np.arange(40) // 20) is None
