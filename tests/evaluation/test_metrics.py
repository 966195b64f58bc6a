"""Scores against slow twins, and on real scans."""

import naive
import numpy as np
import pytest

from scangan.evaluation import metrics
from scangan.evaluation.errors import EvaluationError


@pytest.fixture(scope="module")
def reference(prepared):
    return metrics.RealReference(prepared.images, prepared.labels, prepared.classes)


def _features(seed, n, shift=0.0):
    return (np.random.default_rng(seed).normal(size=(n, 7)) + shift).astype(np.float32)


def test_kid_of_each_class_is_the_naive_one():
    real, synthetic = [_features(0, 9), _features(1, 12)], [_features(2, 5, 1), _features(3, 8)]
    _, by_class = metrics.kernel_distances(real, synthetic)
    want = [naive.kernel_distance(a, b) for a, b in zip(real, synthetic)]
    assert by_class == pytest.approx(want, rel=1e-9)


def test_kid_of_one_class_is_the_naive_one():
    kid, _ = metrics.kernel_distances([_features(0, 9)], [_features(2, 6, 1)])
    assert kid == pytest.approx(naive.kernel_distance(_features(0, 9), _features(2, 6, 1)))


def test_kid_weighs_classes_alike_whatever_their_counts():
    few, many = [_features(0, 40), _features(1, 4000, 3)], [_features(2, 4000), _features(3, 40, 3)]
    same_mixture, _ = metrics.kernel_distances(few, many)
    moved, _ = metrics.kernel_distances(few, [many[0], many[1] + 2])
    assert abs(same_mixture) < 0.1 * moved


def test_known_kernels_change_nothing():
    real, synthetic = [_features(0, 9), _features(1, 12)], [_features(2, 5), _features(3, 8)]
    known = metrics.kernel_distances(real, synthetic, metrics.mean_kernels(real))
    fresh = metrics.kernel_distances(real, synthetic)
    assert known[0] == fresh[0] and np.array_equal(known[1], fresh[1])


def test_mean_pairwise_distance_is_the_naive_one():
    x = _features(0, 8)
    want = np.mean(
        [np.linalg.norm(a - b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j]
    )
    assert metrics.mean_pairwise_distance(x) == pytest.approx(want)


def test_real_scans_score_as_real(reference, prepared):
    scores = reference.score(prepared.images, prepared.labels)
    assert scores.n == 240
    # Under the real-versus-real figure of halves and then some: the same scans on both sides.
    assert scores.kid < 0.05
    assert scores.mean_agreement > 0.9
    assert all(0.9 < v < 1.1 for v in scores.variety.values())
    assert reference.probe_accuracy > 0.5  # chance is 0.25; 48 scans a class to learn from


def test_noise_scores_worse_than_half_blurred_scans(reference, prepared):
    noise = np.random.default_rng(0).integers(0, 256, prepared.images.shape, dtype=np.uint8)
    faded = prepared.images // 2 + 20
    assert reference.score(noise, prepared.labels).kid > reference.score(faded, prepared.labels).kid


def test_right_scans_under_wrong_names_are_seen_by_class_and_not_by_kid(reference, prepared):
    wrong = (prepared.labels + 1) % 4
    right, swapped = (reference.score(prepared.images, y) for y in (prepared.labels, wrong))
    assert swapped.kid == pytest.approx(right.kid, abs=0.02)
    assert swapped.mean_class_kid > right.mean_class_kid + 0.1
    assert swapped.mean_agreement < 0.1


def test_one_scan_over_and_over_has_no_variety(reference, prepared):
    labels = np.repeat(np.arange(4), 5)
    firsts = np.stack([prepared.images[prepared.labels == k][0] for k in labels])
    assert max(reference.score(firsts, labels).variety.values()) < 1e-3


def test_scores_are_the_same_every_time(reference, prepared):
    again = metrics.RealReference(prepared.images, prepared.labels, prepared.classes)
    images, labels = prepared.images[::3], prepared.labels[::3]
    assert again.score(images, labels) == reference.score(images, labels)


def test_too_small_a_class_is_named(prepared):
    labels = prepared.labels.copy()
    labels[labels == 2] = 1
    labels[0] = 2
    with pytest.raises(EvaluationError, match=r"'no_tumor' has 1 scans.*at least 8"):
        metrics.RealReference(prepared.images, labels, prepared.classes)


def test_one_class_has_no_agreement(prepared):
    zeros = np.zeros(len(prepared.labels), np.int64)
    scores = metrics.RealReference(prepared.images, zeros, ("all",)).score(prepared.images, zeros)
    assert scores.mean_agreement is None and scores.agreement == {}


def test_extractor_does_not_mind_the_batch(prepared):
    from scangan.evaluation.features import FeatureExtractor

    extract = FeatureExtractor(threads=1)
    together = extract(prepared.images[:40])
    alone = np.concatenate([extract(prepared.images[i : i + 1]) for i in range(40)])
    assert together.shape == (40, 1280)
    np.testing.assert_allclose(together, alone, atol=1e-4)
