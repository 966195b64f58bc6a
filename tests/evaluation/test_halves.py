"""Random halves, and the intervals that they give."""

import numpy as np
import pytest

from scangan.evaluation.draws import Draw, Draws, error_variance, interval
from scangan.evaluation.folds import fold_count, folds_of
from scangan.evaluation.halves import group_halves, halved


@pytest.fixture
def scans():
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 60, 200)
    return rng.integers(0, 3, 60)[groups], groups  # a group has one class


def test_no_group_is_torn_and_every_class_is_halved(scans):
    labels, groups = scans
    for seed in range(20):
        first = group_halves(labels, groups, np.random.default_rng(seed))
        assert not set(groups[first]) & set(groups[~first])
        for k in range(3):
            largest = np.bincount(groups[labels == k]).max()
            of_class = labels == k
            assert abs((first & of_class).sum() - (~first & of_class).sum()) <= largest


def test_halves_differ_from_time_to_time_and_not_from_run_to_run(scans):
    synthetic = np.arange(90) % 3, np.arange(90)
    runs = [[h.real[0].tolist() for h in halved(scans, synthetic, 5, seed=1)] for _ in range(2)]
    assert runs[0] == runs[1]
    assert len({tuple(sorted(half)) for half in runs[0]}) == 5


def test_real_halves_have_the_proportions_of_the_synthetic_ones():
    real = np.repeat([0, 1], [400, 100]), np.arange(500)
    synthetic = np.repeat([0, 1], [40, 40]), np.arange(80)
    for halves in halved(real, synthetic, 3):
        counts = [[len(i) for i in side] for side in (halves.real, halves.other_real)]
        assert counts == [[50, 50], [50, 50]]
        for side in (halves.synthetic, halves.other_synthetic, halves.beside):
            assert [len(i) for i in side] == [20, 20]
        assert not set(np.concatenate(halves.real)) & set(np.concatenate(halves.beside))
        assert not set(np.concatenate(halves.synthetic)) & set(
            np.concatenate(halves.other_synthetic)
        )


def test_the_halves_of_a_mean_give_its_standard_error():
    values = np.random.default_rng(3).normal(size=400)
    rng, pairs = np.random.default_rng(4), []
    for _ in range(400):
        order = rng.permutation(400)
        pairs.append((values[order[:200]].mean(), values[order[200:]].mean()))
    assert np.mean(pairs) == pytest.approx(values.mean())
    assert error_variance(pairs) ** 0.5 == pytest.approx(values.std() / 20, rel=0.1)


def _ratio(pairs, real):
    draws = Draws(())
    for pair, beside in zip(pairs, real):
        draws.add("fid", None, Draw(pair, beside, 10, 10))
    return draws.real_over_synthetic("fid").overall


def test_errors_of_a_ratio_cancel_as_far_as_both_figures_move_together():
    rng = np.random.default_rng(0)
    pairs = [tuple(pair) for pair in rng.normal(100, 5, (20, 2))]
    means = np.array([np.mean(pair) for pair in pairs])
    apart = means[rng.permutation(20)]
    reach = {}
    for name, real in {"together": means, "apart": apart, "against": 200 - means}.items():
        ratio = _ratio(pairs, real)
        assert ratio.value == pytest.approx(real.mean() / means.mean())
        reach[name] = ratio.high - ratio.value
    assert reach["together"] < reach["apart"] < reach["against"]
    error, spread = error_variance(pairs) ** 0.5, means.std(ddof=1)
    assert reach["together"] == pytest.approx(2.093 * abs(error - spread) / 100, rel=0.02)


def test_figures_that_are_the_same_in_all_halves_have_a_ratio_without_an_error():
    ratio = _ratio([(4.0, 4.0)] * 3, [2.0] * 3)
    assert (ratio.low, ratio.value, ratio.high) == (0.5, 0.5, 0.5)


def test_scans_that_are_all_the_same_have_no_ratio():
    assert _ratio([(0.0, 0.0)] * 3, [2.0] * 3) is None


def test_a_share_stays_within_0_and_1_and_always_has_an_interval():
    assert interval(0.95, 0.01, 20, 50) == (pytest.approx(0.741, abs=0.01), 1.0)
    low, high = interval(1.0, 0.0, 20, 50)
    assert high == 1.0 and low == pytest.approx(0.929, abs=0.001)  # Wilson's for 50 of 50
    assert interval(3.0, 0.0, 20) == (3.0, 3.0)


@pytest.mark.parametrize(("metric", "counted"), [("recall", 4), ("precision", 10)])
def test_a_share_of_real_scans_counts_their_groups(metric, counted):
    draws = Draws(())
    for _ in range(20):
        draws.add(metric, None, Draw((0.0, 0.0), 0.0, 100, 10, groups=4))
    found = draws.figures()[metric].overall
    assert (found.low, found.high) == interval(0.0, 0.0, 20, counted)


def test_every_fold_has_a_group_of_each_sample_and_tears_none(scans):
    _, groups = scans
    few = np.repeat([4, 9, 2], [10, 3, 5])
    count = fold_count(groups, few)
    assert count == 3
    for each in (groups, few):
        fold = folds_of(each, count, np.random.default_rng(0))
        assert set(fold) == {0, 1, 2}
        assert all(len(set(fold[each == group])) == 1 for group in set(each))
    assert fold_count(groups) == 5 and fold_count(groups, np.zeros(8, int)) == 1
