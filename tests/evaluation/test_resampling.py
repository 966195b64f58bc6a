"""Figures of a classifier against scikit-learn, and their intervals."""

import numpy as np
import pytest
from scipy.stats import t
from sklearn import metrics

from scangan.evaluation.resampling import Resampler, estimate, holm, p_value


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
        again = np.repeat(np.arange(90), scans._weights[draw].astype(int))
        each = [
            metrics.balanced_accuracy_score(labels[again], one[again].argmax(1)) for one in scores
        ]
        areas = [
            metrics.roc_auc_score(labels[again], one[again], multi_class="ovr") for one in scores
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
    values = np.append(0.98, np.random.default_rng(0).normal(0.98, 0.1, 1000))
    assert estimate(values, 0).high == 1 and estimate(-values, 0).low == 0
    assert estimate(-values).low == -1


def test_scans_of_one_subject_widen_the_interval(found):
    """Each subject has ten scans that are right or wrong together."""
    rng = np.random.default_rng(1)
    labels, groups = np.repeat(rng.integers(0, 2, 20), 10), np.repeat(np.arange(20), 10)
    right = np.repeat(rng.random(20) < 0.7, 10)
    scores = np.eye(2)[np.where(right, labels, 1 - labels)][None]
    together, alone = (
        estimate(Resampler(labels, g, 2, 1).measure(scores)["accuracy"])
        for g in (groups, np.arange(200))
    )
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_a_confusion_matrix_counts_every_test_scan(found):
    labels, scores = found
    table = Resampler(labels, np.arange(90), 3, 2).confusion(scores)
    want = np.mean([metrics.confusion_matrix(labels, one.argmax(1)) for one in scores], axis=0)
    assert table == pytest.approx(want)


def test_p_values():
    rng = np.random.default_rng(2)
    nothing, much = rng.normal(0, 1, 1001), rng.normal(5, 1, 1001)
    assert p_value(nothing) > 0.8 and p_value(much) == pytest.approx(2 / 1001)
    assert p_value(np.zeros(1001)) == 1.0
    # Worked by hand: 0.01 x 3, 0.02 x 2 and 0.04 x 1, and never falling.
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
