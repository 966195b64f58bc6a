"""The two-sample test against the regression that others use."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from scangan.evaluation.folds import folds_of
from scangan.evaluation.two_sample import FOLDS, two_sample_accuracy


def by_scikit_learn(features, a, b, groups):
    """The same with scikit-learn, from the features themselves."""
    rows, sample = features[np.concatenate([a, b])], np.repeat([-1, 1], [len(a), len(b)])
    fold = np.concatenate(
        [folds_of(groups[side], FOLDS, np.random.default_rng(0)) for side in (a, b)]
    )
    middle = (features[a].mean(axis=0) + features[b].mean(axis=0)) / 2
    spread = [np.square(features[side] - middle).sum(axis=1).mean() for side in (a, b)]
    ridge = Ridge(alpha=np.mean(spread), fit_intercept=True)
    weight, named = np.where(sample < 0, len(b), len(a)) / len(rows), np.empty(len(rows))
    for number in range(FOLDS):
        learn, test = fold != number, fold == number
        ridge.fit(rows[learn], sample[learn], sample_weight=weight[learn])
        named[test] = np.sign(ridge.predict(rows[test]))
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
    features = rows[np.argsort(order)]
    a, b, groups = order[:n], order[n:], np.arange(n + m) // 2
    got = two_sample_accuracy(features @ features.T, a, b, groups)
    assert got == pytest.approx(by_scikit_learn(features, a, b, groups))
    assert got > 0.9 or apart < 5


@pytest.mark.parametrize(("n", "m"), [(300, 300), (900, 60), (60, 900)])
def test_samples_that_differ_are_told_apart_whatever_their_sizes(n, m):
    rng = np.random.default_rng(0)
    for apart, low, high in ((0, 0.4, 0.6), (8, 0.99, 1)):
        rows = rng.normal(size=(n + m, 50))
        rows[:n, 0] += apart
        rows -= rows.mean(axis=0)  # as the inner products of all scans are made
        a, b = np.arange(n), np.arange(n, n + m)
        assert low <= two_sample_accuracy(rows @ rows.T, a, b, np.arange(n + m)) <= high


def test_scans_that_are_all_equal_cannot_be_told_apart():
    a, b = np.arange(12), np.arange(12, 24)
    assert two_sample_accuracy(np.zeros((24, 24)), a, b, np.arange(24)) == 0.5


def test_too_few_scans_or_groups_give_no_figure():
    products, a, b = np.eye(40), np.arange(20), np.arange(20, 40)
    assert two_sample_accuracy(products, a[:9], b, np.arange(40)) is None
    assert two_sample_accuracy(products, a, b, np.arange(40) // 20) is None
