"""KID against its slow twin."""

import naive
import numpy as np
import pytest
from cpu_torchvision import import_torchvision

from scangan.evaluation.kid import kernel_distances, mean_kernels


def _features(seed, n, shift=0.0):
    return (np.random.default_rng(seed).normal(size=(n, 7)) + shift).astype(np.float32)


def test_kid_of_each_class_is_the_naive_one():
    real, synthetic = [_features(0, 9), _features(1, 12)], [_features(2, 5, 1), _features(3, 8)]
    _, by_class = kernel_distances(real, synthetic)
    want = [naive.kernel_distance(a, b) for a, b in zip(real, synthetic)]
    assert by_class == pytest.approx(want, rel=1e-9)


def test_kid_of_one_class_is_the_naive_one():
    kid, _ = kernel_distances([_features(0, 9)], [_features(2, 6, 1)])
    assert kid == pytest.approx(naive.kernel_distance(_features(0, 9), _features(2, 6, 1)))


def test_kid_weighs_classes_alike_whatever_their_counts():
    few, many = [_features(0, 40), _features(1, 4000, 3)], [_features(2, 4000), _features(3, 40, 3)]
    same_mixture, _ = kernel_distances(few, many)
    moved, _ = kernel_distances(few, [many[0], many[1] + 2])
    assert abs(same_mixture) < 0.1 * moved


def test_known_kernels_change_nothing():
    real, synthetic = [_features(0, 9), _features(1, 12)], [_features(2, 5), _features(3, 8)]
    known = kernel_distances(real, synthetic, mean_kernels(real))
    fresh = kernel_distances(real, synthetic)
    assert known[0] == fresh[0] and np.array_equal(known[1], fresh[1])


def test_kid_is_that_of_torchmetrics():
    import torch

    import_torchvision()
    from torchmetrics.image.kid import poly_mmd

    a, b = _features(0, 40).astype(np.float64), _features(1, 40, 0.5).astype(np.float64)
    theirs = float(poly_mmd(torch.tensor(a), torch.tensor(b)))
    assert kernel_distances([a], [b])[0] == pytest.approx(theirs, rel=1e-6)
