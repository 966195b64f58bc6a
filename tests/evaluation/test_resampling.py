"""Figures of a classifier against scikit-learn, and their intervals."""

import numpy as np
import pytest
from scipy.stats import t
from sklearn import metrics

from scangan.evaluation.resampling import Resampler, holm


@pytest.fixture(scope="module")
def found():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 90)
    scores = rng.dirichlet(np.ones(3), (2, 90)) + 0.6 * np.eye(3)[labels]
    scores = scores.round(2)  # with ties
    return labels, scores / scores.sum(axis=2, keepdims=True)


def test_figures_are_those_of_scikit_learn(found):
    labels, scores = found
    ours = Resampler(labels, np.arange(90), 3, 2).measure(scores)
    named = scores.argmax(axis=2)
    each = {
        "accuracy": metrics.accuracy_score,
        "balanced_accuracy": metrics.balanced_accuracy_score,
        "macro_f1": lambda y, p: metrics.f1_score(y, p, average="macro"),
    }
    for name, theirs in each.items():
        want = np.mean([theirs(labels, one) for one in named])
        assert ours[name][0] == pytest.approx(want), name
    want = np.mean([metrics.roc_auc_score(labels, one, multi_class="ovr") for one in scores])
    assert ours["auroc"][0] == pytest.approx(want)
    recalls = np.mean([metrics.recall_score(labels, one, average=None) for one in named], axis=0)
    assert [ours[f"recall {k}"][0] for k in range(3)] == pytest.approx(recalls)


def test_each_draw_is_scikit_learns_figure_of_the_drawn_scans(found):
    labels, scores = found
    scans = Resampler(labels, np.arange(90), 3, 2)
    ours = scans.measure(scores)
    for draw in (1, 7):
        weights = scans._weights[draw]
        each = [
            metrics.balanced_accuracy_score(labels, one.argmax(1), sample_weight=weights)
            for one in scores
        ]
        areas = [
            metrics.roc_auc_score(labels, one, multi_class="ovr", sample_weight=weights)
            for one in scores
        ]
        share = scans._of_seeds[draw]
        assert ours["balanced_accuracy"][draw] == pytest.approx(share @ each)
        assert ours["auroc"][draw] == pytest.approx(share @ areas)


@pytest.mark.parametrize(("seeds", "close"), [(2, 0.3), (3, 0.15), (8, 0.1)])
def test_the_mean_of_few_trainings_varies_as_student_says(seeds, close):
    scans = Resampler(np.zeros(5, np.int64), np.arange(5), 1, seeds)
    reached = np.random.default_rng(seeds).normal(0.7, 0.02, seeds)
    draws = scans._of_seeds @ reached
    error = reached.std(ddof=1) / np.sqrt(seeds)
    assert draws[0] == pytest.approx(reached.mean())
    for level in (0.025, 0.1, 0.9, 0.975):
        wanted = draws[0] + t.ppf(level, seeds - 1) * error
        assert np.quantile(draws[1:], level) - draws[0] == pytest.approx(
            wanted - draws[0], rel=close
        )


def test_one_training_does_not_vary():
    scans = Resampler(np.zeros(5, np.int64), np.arange(5), 1, 1)
    assert (scans._of_seeds == 1).all()


def test_an_interval_stays_within_its_range():
    scans = Resampler(np.arange(20) % 2, np.arange(20), 2, 1)
    values = np.append(0.98, np.random.default_rng(0).normal(0.98, 0.1, 1000))
    assert scans.estimate("accuracy", values).high == 1
    assert scans.estimate("accuracy", -values).low == 0
    assert scans.difference(-values, 0 * values).low == -1


@pytest.mark.parametrize("groups", [4, 9, 40])
def test_draws_vary_as_much_as_other_subjects_would(groups):
    """The variance of a mean, from the draws, is s² / n however few there are."""
    right = np.arange(groups) % 3 == 0
    weights = Resampler(np.zeros(groups, np.int64), np.arange(groups), 1, 1)._weights[1:]
    means = weights @ right / weights.sum(axis=1)
    assert means.var() == pytest.approx(right.var(ddof=1) / groups, rel=0.15)


def _answers(labels, right):
    return np.eye(2)[np.where(right, labels, 1 - labels)][None]


def test_where_all_are_right_the_interval_is_that_of_the_number_of_subjects():
    labels, groups = np.repeat([0, 1], 30), np.repeat(np.arange(12), 5)
    scans = Resampler(labels, groups, 2, 1)
    found = scans.measure(_answers(labels, np.ones(60, bool)))
    low = {name: scans.estimate(name, values).low for name, values in found.items()}
    wilson = {n: n / (n + 1.96**2) for n in (6, 12)}
    assert low["accuracy"] == pytest.approx(wilson[12], abs=1e-3)
    assert low["balanced_accuracy"] == low["auroc"] == pytest.approx(wilson[12], abs=1e-3)
    assert low["recall 0"] == pytest.approx(wilson[6], abs=1e-3)
    same = scans.difference(found["accuracy"], found["accuracy"])
    assert same.value == 0 and same.high == -same.low == pytest.approx(1.96 * 2**0.5 / 14)


@pytest.mark.filterwarnings("error")
def test_a_class_of_one_subject_has_an_interval_that_says_nothing():
    labels, groups = np.repeat([0, 1], 10), np.repeat(np.arange(11), [10] + [1] * 10)
    scans = Resampler(labels, groups, 2, 1)
    found = scans.measure(_answers(labels, np.arange(20) % 2 == 0))
    recall = scans.estimate("recall 0", found["recall 0"])
    assert recall.value == 0.5 and recall.high - recall.low > 0.7


@pytest.mark.parametrize("subjects", [2, 3, 5, 8, 20])
def test_equally_good_classifiers_seldom_seem_to_differ(subjects):
    """Each has its luck with each subject; draws alone call two of five "differences" proven."""
    hits, times = 0, 150
    for seed in range(times):
        rng = np.random.default_rng(seed)
        groups = np.repeat(np.arange(subjects), 10)
        labels = np.tile([0, 1], subjects * 5)
        scans = Resampler(labels, groups, 2, 1)
        both = [
            _answers(labels, rng.random(len(labels)) < rng.beta(4, 2, subjects)[groups])
            for _ in range(2)
        ]
        one, other = (scans.measure(each)["balanced_accuracy"] for each in both)
        p = scans.p_value(*both, one - other)
        hits += p < 0.05
        assert p >= 2 / 2**subjects
    assert hits / times <= 0.08


def test_a_classifier_that_is_better_about_most_subjects_is_found():
    rng = np.random.default_rng(0)
    labels, groups = np.tile([0, 1], 50), np.arange(100)
    better, worse = (_answers(labels, rng.random(100) < share) for share in (0.95, 0.6))
    scans = Resampler(labels, groups, 2, 1)
    one, other = (scans.measure(each)["balanced_accuracy"] for each in (better, worse))
    assert scans.p_value(better, worse, one - other) < 0.003
    assert scans.difference(one, other).low > 0
    assert scans.p_value(better, better, one - one) == 1


def test_scans_of_one_subject_widen_the_interval(found):
    """Each subject has ten scans that are right or wrong together."""
    rng = np.random.default_rng(1)
    labels, groups = np.repeat(rng.integers(0, 2, 20), 10), np.repeat(np.arange(20), 10)
    right = np.repeat(rng.random(20) < 0.7, 10)
    scores = np.eye(2)[np.where(right, labels, 1 - labels)][None]
    together, alone = (
        scans.estimate("accuracy", scans.measure(scores)["accuracy"])
        for scans in (Resampler(labels, g, 2, 1) for g in (groups, np.arange(200)))
    )
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_a_confusion_matrix_counts_every_test_scan(found):
    labels, scores = found
    table = Resampler(labels, np.arange(90), 3, 2).confusion(scores)
    want = np.mean([metrics.confusion_matrix(labels, one.argmax(1)) for one in scores], axis=0)
    assert table == pytest.approx(want)


def test_p_values_are_corrected_for_their_number():
    # Worked by hand: 0.01 x 3, 0.02 x 2 and 0.04 x 1, and never falling.
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
