"""Scores on real scans."""

import json

import numpy as np
import pytest

from scangan.artifacts.records import to_told
from scangan.artifacts.scores import LOW_VARIETY
from scangan.core.errors import EvaluationError
from scangan.evaluation import metrics
from scangan.runtime import ScanGenerator

pytestmark = pytest.mark.usefixtures("once")


@pytest.fixture(scope="module")
def reference(prepared):
    return metrics.RealReference(prepared.images, prepared.labels, prepared.classes)


@pytest.fixture
def held_back(prepared):
    """A third of the scans of every class."""
    return np.arange(len(prepared.labels)) % 3 == 0


def _pixels(images):
    """A feature extractor that costs nothing."""
    return images[:, ::4, ::4].reshape(len(images), -1).astype(np.float32) / 255


def _with_noise(images, where):
    changed = np.array(images)
    noise = np.random.default_rng(0).integers(0, 256, images.shape, dtype=np.uint8)
    changed[where] = noise[where]
    return changed


def test_real_scans_score_as_real(reference, prepared):
    scores = reference.score(prepared.images, prepared.labels)
    assert scores.n == 240
    # Under the real-versus-real figure of halves and then some: the same scans on both sides.
    assert scores.kid < 0.05
    assert scores.mean_agreement > 0.9
    assert all(0.9 < v < 1.1 for v in scores.variety.values())
    assert all(0.002 < share < 0.03 for share in scores.near_pairs.values())
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


def test_one_scan_over_and_over_has_no_variety_and_recalls_only_itself(reference, prepared):
    labels = np.repeat(np.arange(4), 5)
    firsts = np.stack([prepared.images[prepared.labels == k][0] for k in labels])
    scores = reference.score(firsts, labels)
    assert max(scores.variety.values()) < 1e-3
    assert set(scores.near_pairs.values()) == {1.0}
    assert scores.mean_precision == 1  # each is a real scan
    assert max(scores.recall.values()) <= 2 / 60


def test_only_classes_under_half_the_variety_are_lacking(reference, prepared):
    collapsed = np.array(prepared.images)
    of_class = prepared.labels == 2
    collapsed[of_class] = collapsed[of_class][0]
    variety = reference.score(collapsed, prepared.labels).variety
    assert [name for name, share in variety.items() if share < LOW_VARIETY] == [prepared.classes[2]]


def test_other_real_scans_come_near_the_anchors(prepared):
    third = np.arange(len(prepared.labels)) % 3
    known, others = third < 2, third == 2
    images, labels, held_back = (x[known] for x in (prepared.images, prepared.labels, third == 0))
    reference = metrics.RealReference(images, labels, prepared.classes, held_back=held_back)
    scores = reference.score(prepared.images[others], prepared.labels[others])
    assert scores.kid == pytest.approx(reference.real_kid, abs=0.05)
    assert scores.mean_precision == pytest.approx(reference.real_precision, abs=0.1)
    assert scores.mean_recall == pytest.approx(reference.real_recall, abs=0.1)
    assert reference.real_precision > 0.7 < reference.real_recall


def test_anchors_are_the_scores_of_the_scans_that_training_sees(prepared, held_back):
    reference = metrics.RealReference(
        prepared.images, prepared.labels, prepared.classes, _pixels, held_back=held_back
    )
    scores = reference.score(prepared.images[~held_back], prepared.labels[~held_back])
    assert reference.real_kid == pytest.approx(scores.kid)
    assert reference.real_precision == pytest.approx(scores.mean_precision)
    assert reference.real_recall == pytest.approx(scores.mean_recall)


def test_anchors_put_no_more_scans_in_the_place_of_synthetic_ones_than_a_tick(monkeypatch):
    counts = []

    def counted(real, synthetic):
        counts.append((len(real.features), len(synthetic.features)))
        return 1.0, 1.0

    monkeypatch.setattr(metrics, "precision_recall", counted)
    images = np.random.default_rng(0).integers(0, 256, (200, 8, 8), dtype=np.uint8)
    metrics.RealReference(
        images, np.zeros(200, np.int64), ("all",), _pixels, held_back=np.arange(200) < 20
    )
    assert counts == [(20, metrics.PER_TICK)]


def test_only_held_back_scans_are_scored_against_and_only_the_others_teach(prepared, held_back):
    def scored(images):
        reference = metrics.RealReference(
            images, prepared.labels, prepared.classes, _pixels, held_back=held_back
        )
        assert reference.not_held_back == ()
        scores = to_told(reference.score(prepared.images // 2, prepared.labels))
        taught = {k: scores.pop(k) for k in ("agreement", "mean_agreement")}
        return scores, taught, reference.probe_accuracy

    scores, taught, accuracy = scored(prepared.images)
    other_scores, same_taught, other_accuracy = scored(_with_noise(prepared.images, held_back))
    assert same_taught == taught and other_accuracy < accuracy
    for measure in ("kid", "class_kid", "variety", "precision", "recall"):
        assert other_scores[measure] != scores[measure]
    same_scores, other_taught, _ = scored(_with_noise(prepared.images, ~held_back))
    assert same_scores == scores and other_taught != taught


def test_class_with_few_held_back_scans_is_scored_against_all_of_them(prepared, held_back):
    few = held_back & ((prepared.labels != 1) | (np.cumsum(prepared.labels == 1) < 20))
    assert (few & (prepared.labels == 1)).sum() == metrics.FEWEST - 1
    partly, never = (
        metrics.RealReference(
            prepared.images, prepared.labels, prepared.classes, _pixels, held_back=mask
        )
        for mask in (few, None)
    )
    assert partly.not_held_back == (prepared.classes[1],)
    assert never.not_held_back == prepared.classes
    images = prepared.images // 2
    one, other = (r.score(images, prepared.labels) for r in (partly, never))
    same = [one.class_kid[k] == pytest.approx(other.class_kid[k]) for k in prepared.classes]
    assert same == [False, True, False, False]


def test_probe_learns_in_the_end_from_every_scan_that_is_not_held_back(
    prepared, held_back, monkeypatch
):
    sizes = []
    train_probe = metrics.train_probe
    monkeypatch.setattr(
        metrics,
        "train_probe",
        lambda groups: sizes.append([*map(len, groups)]) or train_probe(groups),
    )
    for mask in (held_back, None):
        metrics.RealReference(
            prepared.images, prepared.labels, prepared.classes, _pixels, held_back=mask
        )
    assert sizes == [[40] * 4, [48] * 4, [60] * 4]  # of 60 a class


def test_class_with_few_scans_to_train_on_is_scored_against_all_of_them(prepared):
    held_back = np.arange(len(prepared.labels)) >= 5  # the first class keeps five, others none
    reference = metrics.RealReference(
        prepared.images, prepared.labels, prepared.classes, _pixels, held_back=held_back
    )
    assert reference.not_held_back == prepared.classes


def test_scores_are_json_values_with_their_means(reference, prepared):
    scores = reference.score(prepared.images[::2], prepared.labels[::2])
    values = json.loads(json.dumps(to_told(scores)))
    for measure in ("class_kid", "agreement", "precision", "recall"):
        assert tuple(values[measure]) == prepared.classes
        name = f"mean_{measure}"
        assert values[name] == pytest.approx(np.mean(list(values[measure].values())))
        assert values[name] == getattr(scores, name)


def test_too_few_synthetic_scans_are_refused(reference, prepared):
    with pytest.raises(EvaluationError, match="at least 4 synthetic scans of every class"):
        reference.score(prepared.images[:12], np.repeat(np.arange(4), 3))


@pytest.mark.usefixtures("every_time")
def test_scores_are_the_same_every_time(reference, prepared):
    again = metrics.RealReference(prepared.images, prepared.labels, prepared.classes)
    images, labels = prepared.images[::3], prepared.labels[::3]
    assert again.score(images, labels) == reference.score(images, labels)


def test_too_small_a_class_is_named(prepared):
    labels = prepared.labels.copy()
    labels[labels == 2] = 1
    labels[0] = 2
    with pytest.raises(EvaluationError, match=r"'no_tumor' has 1 scan; .*at least 8"):
        metrics.RealReference(prepared.images, labels, prepared.classes)


def test_one_class_has_no_agreement(prepared):
    zeros = np.zeros(len(prepared.labels), np.int64)
    scores = metrics.RealReference(prepared.images, zeros, ("all",)).score(prepared.images, zeros)
    assert scores.mean_agreement is None and scores.agreement == {}


@pytest.mark.usefixtures("every_time")
def test_extractor_does_not_mind_the_batch(prepared):
    from scangan.evaluation.features import FeatureExtractor

    extract = FeatureExtractor(threads=1)
    together = extract(prepared.images[:40])
    alone = np.concatenate([extract(prepared.images[i : i + 1]) for i in range(40)])
    assert together.shape == (40, 1280)
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_without_scans_held_back_no_subject_is_on_both_sides_of_an_anchor():
    """Eight subjects a class with twelve scans each and no sign of a class: nothing can be told of others."""
    rng = np.random.default_rng(2)
    subjects = np.repeat(np.arange(16), 12)
    images = np.repeat(rng.integers(0, 256, (16, 32, 32)), 12, axis=0) // 2
    images = (images + rng.integers(0, 8, images.shape)).astype(np.uint8)
    labels = np.arange(16)[subjects] % 2
    alone, known = (
        metrics.RealReference(images, labels, ("a", "b"), _pixels, groups=groups)
        for groups in (None, subjects)
    )
    assert alone.probe_accuracy == 1 and alone.real_recall > 0.9
    assert known.probe_accuracy < 0.5 and known.real_recall < 0.1


@pytest.mark.parametrize("sizes", [(20,), (18, 2), (17, 1, 1, 1)])
def test_scans_of_nearly_one_subject_have_anchors_all_the_same(sizes):
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    groups = np.concatenate([np.repeat(np.arange(len(sizes)), sizes), 10 + np.arange(20)])
    found = metrics.RealReference(images, np.repeat([0, 1], 20), ("a", "b"), _pixels, groups=groups)
    anchors = found.real_kid, found.real_precision, found.real_recall, found.probe_accuracy
    assert np.isfinite(anchors).all()


def test_a_probe_learns_from_more_than_a_few_scans_if_one_subject_has_nearly_all():
    groups = np.concatenate([np.zeros(95, int), np.arange(1, 6)])
    sides = metrics._Sides(metrics._Scans(np.zeros((100, 3)), groups), None)
    tested, learnt = sides.for_probe()
    assert (len(tested.groups), len(learnt.groups)) == (20, 80)


def test_the_bundled_model_makes_each_class_under_its_name(reference):
    generator = ScanGenerator("brain-mri-64", precision="fp32")
    images = np.concatenate([generator.sample(20, name) for name in reference.classes])
    labels = np.repeat(np.arange(4), 20)
    right = reference.score(images, labels).mean_agreement
    swapped = reference.score(images, np.roll(labels, 20)).mean_agreement
    assert right > 0.45 and swapped < 0.2
    # In every release; float32 differs by a grey level at most between processors.
    assert np.abs(images[::20, 32, 32].astype(int) - [58, 77, 46, 104]).max() <= 1
