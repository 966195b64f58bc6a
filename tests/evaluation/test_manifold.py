"""Spread, precision and recall against their slow twins."""

import naive
import numpy as np
import pytest

from scangan.evaluation.manifold import Manifold, precision_recall


def _features(seed, n, shift=0.0, scale=1.0):
    return (np.random.default_rng(seed).normal(size=(n, 5)) * scale + shift).astype(np.float32)


def _both(real, synthetic):
    return precision_recall(Manifold(real), Manifold(synthetic))


def test_spread_is_the_naive_mean_over_pairs():
    x = _features(0, 8)
    want = np.mean(
        [np.linalg.norm(a - b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j]
    )
    assert Manifold(x).spread == pytest.approx(want)


@pytest.mark.parametrize(
    ("reals", "synthetics", "shift", "scale"),
    [(30, 100, 0.5, 0.5), (100, 30, 1, 1), (40, 40, 0, 2), (4, 9, 0, 1), (60, 60, 50, 1)],
)
def test_precision_and_recall_are_the_naive_ones(reals, synthetics, shift, scale):
    real, synthetic = _features(0, reals), _features(1, synthetics, shift, scale)
    assert _both(real, synthetic) == pytest.approx(naive.precision_recall(real, synthetic))


def test_precision_one_way_is_recall_the_other_way():
    real, synthetic = _features(0, 50), _features(1, 70, 0.5)
    assert _both(real, synthetic) == _both(synthetic, real)[::-1]


def test_part_of_the_real_scans_is_precise_and_recalls_a_part():
    left, right = _features(0, 40, -20), _features(1, 40, 20)
    assert _both(np.concatenate([left, right]), left) == (1.0, 0.5)
