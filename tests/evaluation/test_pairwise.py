"""Figures from inner products against slow twins and against the libraries that others use."""

import numpy as np
import pytest
from cpu_torchvision import import_torchvision
from prdc import compute_prdc
from scipy.linalg import sqrtm, svdvals

from scangan.evaluation.pairwise import Pairwise, joined, standardised, sum_of_singular_values

A, B = np.arange(70), np.arange(70, 150)


@pytest.fixture(scope="module")
def features():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(150, 40)) * np.exp(-np.arange(40) / 10) * 5 + 30
    rows[70:] += rng.normal(size=40) * 0.3
    return rows


@pytest.fixture(scope="module")
def pairs(features):
    return Pairwise(features)


def _frechet(x, y):
    a, b = np.cov(x.T), np.cov(y.T)
    mean = ((x.mean(0) - y.mean(0)) ** 2).sum()
    return mean + np.trace(a + b - 2 * sqrtm(a @ b).real)


@pytest.mark.parametrize("length", [3, 40])
def test_frechet_is_the_naive_one(features, length):
    rows = features[:, :length]
    assert Pairwise(rows).of(A, B).frechet() == pytest.approx(_frechet(rows[A], rows[B]), rel=1e-6)


def test_frechet_is_that_of_torchmetrics(features, pairs):
    import torch

    import_torchvision()
    from torchmetrics.image.fid import _compute_fid

    x, y = (torch.tensor(features[i]) for i in (A, B))
    theirs = _compute_fid(x.mean(0), torch.cov(x.T), y.mean(0), torch.cov(y.T))
    assert pairs.of(A, B).frechet() == pytest.approx(float(theirs), rel=1e-6)


def test_frechet_of_features_longer_than_the_sample_is_the_naive_one():
    rows = np.random.default_rng(1).normal(size=(24, 60)) + 4
    a, b = np.arange(10), np.arange(10, 24)
    # sqrtm is no help for singular matrices: the eigenvalues of the product are.
    one, two = np.cov(rows[a].T), np.cov(rows[b].T)
    shared = np.sqrt(np.maximum(np.linalg.eigvals(one @ two).real, 0)).sum()
    means = ((rows[a].mean(0) - rows[b].mean(0)) ** 2).sum()
    want = means + np.trace(one) + np.trace(two) - 2 * shared
    assert Pairwise(rows).of(a, b).frechet() == pytest.approx(want, rel=1e-5)


def test_frechet_of_a_sample_with_itself_is_nothing(pairs):
    assert pairs.of(A, A).frechet() == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("kept", [40, 69, 5])
def test_small_singular_values_keep_their_digits(kept):
    """However fast they fall, and whatever number of them is 0, the sum is that of the values."""
    rng = np.random.default_rng(3)
    for fall in (0.01, 0.3, 2):
        rows, columns = (np.linalg.qr(rng.normal(size=(n, kept)))[0] for n in (70, 80))
        centred = (rows * np.exp(-fall * np.arange(kept))) @ columns.T
        centred -= centred.mean(axis=0)
        centred -= centred.mean(axis=1, keepdims=True)
        for each in (centred, centred.T):
            assert sum_of_singular_values(each) == pytest.approx(svdvals(each).sum(), rel=1e-8)
    assert sum_of_singular_values(np.zeros((8, 8))) == 0


def test_a_known_distance_changes_nothing_in_the_extrapolation(pairs):
    known = pairs.of(A, B).frechet_infinite(pairs.of(A, B).frechet())
    assert known == pairs.of(A, B).frechet_infinite()


def test_extrapolation_removes_most_of_the_bias():
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(1200, 30))  # one distribution: the true distance is 0
    pairs, a, b = Pairwise(rows), np.arange(600), np.arange(600, 1200)
    assert abs(pairs.of(a, b).frechet_infinite()) < 0.2 * pairs.of(a, b).frechet()


@pytest.mark.parametrize(
    ("k", "names"), [(3, ("precision", "recall")), (5, ("density", "coverage"))]
)
def test_neighbours_are_those_of_prdc(features, pairs, capsys, k, names):
    theirs = compute_prdc(features[A], features[B], nearest_k=k)
    found = pairs.of(A, B).neighbours()
    assert {n: found[n] for n in names} == pytest.approx({n: theirs[n] for n in names})


def test_equal_scans_resemble_each_other():
    """A ball of radius 0 holds its centre (Kynkäänniemi et al. 2019, equation 1)."""
    kinds = np.repeat(np.random.default_rng(0).normal(size=(8, 5)), 5, axis=0)
    pairs = Pairwise(np.concatenate([kinds, kinds]))
    found = pairs.of(np.arange(40), np.arange(40, 80)).neighbours()
    assert found["precision"] == found["recall"] == 1


def test_variety_is_the_ratio_of_the_mean_distances_of_pairs(features, pairs):
    spread_a, spread_b = (
        np.mean([np.linalg.norm(x - y) for i, x in enumerate(rows) for y in rows[:i]])
        for rows in (features[A], features[B])
    )
    assert pairs.of(A, B).variety() == pytest.approx(spread_b / spread_a)


def test_near_pairs_are_those_nearer_than_a_hundredth_of_the_real_ones(features, pairs):
    apart = [
        sorted(np.linalg.norm(x - y) for i, x in enumerate(rows) for y in rows[:i])
        for rows in (features[A], features[B])
    ]
    limit = np.quantile(apart[0], 0.01, method="lower")
    assert pairs.of(A, A).near_pairs() == pytest.approx(0.01, abs=0.001)
    assert pairs.of(A, B).near_pairs() == np.mean(np.array(apart[1]) <= limit)
    # Where more than a hundredth of the real pairs are equal, only equal ones are as near.
    copies = np.concatenate([A, np.repeat(A[:1], 30)])
    assert pairs.of(copies, np.repeat(B[:1], 40)).near_pairs() == 1
    assert pairs.of(copies, B).near_pairs() == 0
    # Three scans, each repeated: most pairs are far apart, and a third are the same scan.
    few = np.repeat(B[:3], 40)
    assert pairs.of(A, few).near_pairs() == pytest.approx(3 * 40 * 39 / (120 * 119), abs=0.001)


def test_standardised_features_have_one_scale_and_constants_vanish(features):
    rows = np.concatenate([features, np.full((150, 1), 7.0)], axis=1)
    scaled = standardised(rows, by=rows)
    assert np.allclose(scaled[:, :-1].std(axis=0), 1) and np.allclose(scaled.mean(axis=0), 0)
    assert not scaled[:, -1].any()


def test_each_start_of_joined_classes_has_all_of_them():
    some = joined([np.arange(40), np.arange(100, 110)])
    assert len(some) == 50 and (some[:10] >= 100).sum() == 2
