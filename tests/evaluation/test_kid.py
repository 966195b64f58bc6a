"""KID against its slow twin."""

import naive
import numpy as np
import pytest
from cpu_torchvision import import_torchvision

from scangan.evaluation.kid import KernelTable, kernel_distances, mean_kernels


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


@pytest.mark.parametrize("sizes", [(1,) * 9, (3, 3, 3)])
def test_scans_of_one_subject_are_not_paired(sizes):
    """With equally many scans of each, this takes off all the bias."""
    rng = np.random.default_rng(0)
    groups = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    real, synthetic = _features(0, 9), _features(2, 6, 1)
    want = naive.kernel_distance(real, synthetic, groups)
    table = KernelTable(np.concatenate([real, synthetic]), np.append(groups, 20 + np.arange(6)))
    assert table.kid([np.arange(9)], [np.arange(9, 15)]) == pytest.approx(want)
    kid, _ = kernel_distances([real], [synthetic], mean_kernels([real], [groups]))
    assert kid == pytest.approx(want)
    _, (kid,) = kernel_distances([synthetic], [real], synthetic_groups=[groups])
    assert kid == pytest.approx(want)


def test_a_subject_in_two_classes_is_not_paired_with_itself():
    first, second = _features(0, 8), _features(1, 8)
    groups = [np.arange(8), np.arange(8)]
    apart = ~np.eye(8, dtype=bool)
    kernel = (first.astype(float) @ second.T / 7 + 1) ** 3
    assert mean_kernels([first, second], groups)[0, 1] == pytest.approx(kernel[apart].mean())


def test_a_class_of_one_subject_has_no_kid_in_reports_and_that_of_its_scans_in_training():
    real, synthetic, groups = _features(0, 9), _features(2, 6, 1), np.zeros(9, np.int64)
    table = KernelTable(np.concatenate([real, synthetic]), np.append(groups, 1 + np.arange(6)))
    assert np.isnan(table.kid([np.arange(9)], [np.arange(9, 15)]))
    kid, _ = kernel_distances([real], [synthetic], mean_kernels([real], [groups]))
    assert kid == pytest.approx(naive.kernel_distance(real, synthetic))


def test_subjects_with_many_scans_may_differ_from_others():
    """Whoever is ill has more scans, and they look other; each side is a random half of the subjects."""
    found, alone = [], []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        sizes = np.where(rng.random(200) < 0.3, 4, 1)
        ill = np.repeat(sizes > 1, sizes)[:, None]
        looks = np.repeat(rng.normal(size=(200, 16)), sizes, axis=0) + ill
        rows = looks + 0.3 * rng.normal(size=looks.shape)
        groups = np.repeat(np.arange(200), sizes)
        sides = [np.flatnonzero(groups < 100)], [np.flatnonzero(groups >= 100)]
        found.append(KernelTable(rows, groups).kid(*sides))
        alone.append(KernelTable(rows, np.arange(len(rows))).kid(*sides))
    # To leave out the pairs of one subject alone would give -0.08.
    assert np.mean(alone) > 0.3 and abs(np.mean(found)) < 0.05


def test_a_perfect_generator_has_a_kid_of_0_however_few_the_subjects():
    """Thirty subjects with five scans each: if those were paired, it would be 0.1."""
    found, covered = [], 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        real = np.sqrt(0.7) * np.repeat(rng.normal(size=(30, 32)), 5, axis=0)
        real += np.sqrt(0.3) * rng.normal(size=real.shape)
        groups = np.append(np.repeat(np.arange(30), 5), 30 + np.arange(150))
        table = KernelTable(np.concatenate([real, rng.normal(size=real.shape)]), groups)
        sides = [np.arange(150)], [np.arange(150, 300)]
        found.append(table.kid(*sides))
        low, high = table.interval(*sides, found[-1])
        covered += low <= 0 <= high
    assert abs(np.mean(found)) < 0.01 and covered >= 52


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
