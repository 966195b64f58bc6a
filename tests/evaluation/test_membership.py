"""Figures of attacks, limits from real scans, and nearest scans in feature space."""

import naive
import numpy as np
import pytest
from scipy.stats import binom
from sklearn.linear_model import Ridge

from scangan.evaluation import membership
from scangan.evaluation import nearest as nearest_module
from scangan.evaluation.calibration import copies_among, nearness, suspects_by_chance, threshold
from scangan.evaluation.folds import folds_of
from scangan.evaluation.membership import attack, blind_attack, blind_scorer
from scangan.evaluation.nearest import nearest, scale_of, scaled
from scangan.evaluation.pairwise import standardised
from scangan.evaluation.privacy_verdict import beats_guessing


def alone(count, start=0):
    return np.arange(start, start + count)


def one_class(*counts):
    return tuple(np.zeros(count, np.int64) for count in counts)


@pytest.mark.parametrize("seed", range(4))
def test_an_attack_agrees_with_its_naive_twin(seed):
    rng = np.random.default_rng(seed)
    # Few digits, so that scores are equal within a side and between the two.
    members, others = rng.normal(0.5, 1, 60).round(1), rng.normal(0, 1, 150).round(1)
    labels = rng.integers(0, 3, 60), rng.integers(0, 3, 150)
    found = attack((members, others), (alone(60), alone(150)), labels, 100)
    share = [np.mean(labels[0] == k) / np.mean(labels[1] == k) for k in labels[1]]
    auc, tpr = naive.attack_success(members, others, share, 0.01)
    assert (found.auc, found.tpr) == (pytest.approx(auc), pytest.approx(tpr))
    assert found.auc_low < found.auc < found.auc_high
    assert (found.members, found.non_members) == (60, 150)


def test_a_class_that_is_more_common_on_one_side_is_no_leak():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [400, 100]), np.repeat([0, 1], [100, 400])
    scores = tuple(rng.normal(0, 1, 500) + 3 * each for each in labels)
    found = attack(scores, (alone(500), alone(500)), labels, 300)
    assert found.auc_low < 0.5 < found.auc_high


def test_a_perfect_attack_and_a_blind_one():
    groups, labels = (alone(50), alone(40)), one_class(50, 40)
    perfect = attack((np.full(50, 1.0), np.zeros(40)), groups, labels, 100)
    assert (perfect.auc, perfect.auc_low, perfect.tpr, perfect.tpr_low) == (1, 1, 1, 1)
    same = attack((np.zeros(50), np.zeros(40)), groups, labels, 100)
    assert (same.auc, same.tpr) == (0.5, 0)


def blind(features, groups):
    return blind_attack(features, groups, one_class(*map(len, features)), 100)


@pytest.mark.parametrize("groups", [1, 2, 3, 8])
def test_the_blind_attack_needs_two_groups_of_each_side(groups):
    rng = np.random.default_rng(0)
    features = rng.normal(0, 1, (60, 8)), rng.normal(3, 1, (24, 8))
    of_groups = alone(60), np.arange(24) % groups
    found = blind(features, of_groups)
    if groups == 1:
        assert found is None
    else:
        assert (found.auc, found.tpr) == pytest.approx((1, 1))  # they differ: every scan is told


def test_a_blind_attack_on_scans_that_are_all_the_same_guesses():
    found = blind((np.full((30, 8), 2.0), np.full((20, 8), 2.0)), (alone(30), alone(20)))
    assert (found.auc, found.tpr) == (0.5, 0)


def test_blind_scores_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    features = rng.normal(0, 1, (50, 30)) + (np.arange(30) < 2), rng.normal(0, 1, (20, 30))
    groups = alone(50) // 2, alone(20) // 2
    scorer = blind_scorer(features, groups)
    sides = np.stack([np.arange(70) < 50, rng.permutation(70) < 50])
    rows = np.concatenate(features)
    rows = scaled(rows, scale_of(rows)).astype(float)
    fold = folds_of(membership._numbered(groups), membership.BLIND_FOLDS, np.random.default_rng(0))
    for scores, side in zip(scorer(sides), sides):
        target = np.where(side, 1 / 50, -1 / 20) * 70
        want = np.empty(70)
        for k in range(membership.BLIND_FOLDS):
            ridge = Ridge(alpha=np.square(rows).sum() / 30).fit(rows[fold != k], target[fold != k])
            want[fold == k] = ridge.predict(rows[fold == k])
        assert scores == pytest.approx(want, abs=1e-5)


def test_a_blind_attack_on_sides_that_are_alike_is_rarely_taken_for_one_that_succeeds(monkeypatch):
    """Few subjects with many scans each; its classifier knows the sides that it is tested on."""
    monkeypatch.setattr(membership, "BY_CHANCE", 400)
    rng, found = np.random.default_rng(0), 0
    groups = np.repeat(alone(20), 8), np.repeat(alone(5), 8)
    for _ in range(40):
        features = tuple(
            np.repeat(rng.normal(0, 1, (len(g) // 8, 30)), 8, axis=0)
            + rng.normal(0, 0.5, (len(g), 30))
            for g in groups
        )
        found += beats_guessing(blind(features, groups))
    assert found <= 2


def test_scans_of_one_group_count_once_in_the_interval():
    rng = np.random.default_rng(0)
    few = rng.normal(0, 1, 30)
    members, others = np.repeat(few, 20), rng.normal(0, 1, 600)
    labels = one_class(600, 600)
    together = attack((members, others), (np.repeat(alone(30), 20), alone(600)), labels, 300)
    apart = attack((members, others), (alone(600), alone(600)), labels, 300)
    assert together.auc == apart.auc
    assert together.auc_high - together.auc_low > 2 * (apart.auc_high - apart.auc_low)


def test_the_interval_covers_guessing_as_often_as_it_says(monkeypatch):
    monkeypatch.setattr(membership, "BY_CHANCE", 1)
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(100):
        scores = rng.normal(0, 1, 80), rng.normal(0, 1, 60)
        found = attack(scores, (alone(80), alone(60)), one_class(80, 60), 100)
        covered += found.auc_low <= 0.5 <= found.auc_high
    assert 0.88 <= covered / 100 <= 0.99


@pytest.mark.parametrize(("others", "subjects"), [(20, 20), (50, 50), (60, 4)])
def test_guessing_is_rarely_taken_for_a_leak(others, subjects, monkeypatch):
    """With under 100 non-members, one of them decides what no false positive means."""
    monkeypatch.setattr(membership, "BY_CHANCE", 400)
    rng = np.random.default_rng(0)
    groups = alone(200) // 10, alone(others) * subjects // others
    found = 0
    for _ in range(40):
        scores = (
            rng.normal(0, 1, 200) + rng.normal(0, 1, 20)[groups[0]],
            rng.normal(0, 1, others) + rng.normal(0, 1, subjects)[groups[1]],
        )
        if subjects == others:  # each scan alone
            scores, apart = (rng.normal(0, 1, 200), rng.normal(0, 1, others)), alone(200)
            found += beats_guessing(attack(scores, (apart, groups[1]), one_class(200, others), 100))
        else:
            found += beats_guessing(attack(scores, groups, one_class(200, others), 100))
    assert found <= 3


def test_a_leak_is_found_with_few_non_members():
    rng = np.random.default_rng(0)
    groups, labels = (alone(200), alone(25)), one_class(200, 25)
    for members in (rng.normal(1.2, 1, 200), np.append(np.full(60, 9.0), rng.normal(0, 1, 140))):
        found = attack((members, rng.normal(0, 1, 25)), groups, labels, 100)
        assert beats_guessing(found)
    assert found.p_tpr < 0.01 < found.tpr  # a third of the members, surely; the others not at all


def test_a_class_that_is_easier_to_recognise_is_no_leak_by_chance():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [150, 50]), np.repeat([0, 1], [10, 50])
    scores = tuple(rng.normal(0, 1, len(each)) + 5 * each for each in labels)
    found = attack(scores, (alone(200), alone(60)), labels, 100)
    assert not beats_guessing(found) and found.p_auc > 0.05


def test_the_blind_classifier_sees_a_difference_of_the_sides_and_nothing_else():
    rng = np.random.default_rng(0)
    groups = alone(300), alone(200)
    for shift, low, high in ((0.0, 0.4, 0.58), (1.0, 0.75, 1.0)):
        rows = rng.normal(0, 1, (300, 40)), rng.normal(0, 1, (200, 40)) + shift * (alone(40) < 3)
        found = blind(tuple(r.astype(np.float32) for r in rows), groups)
        assert low < found.auc < high and beats_guessing(found) == (shift > 0)
    # A group is in one fold: its scans do not help to recognise one another.
    rows = (
        np.repeat(rng.normal(0, 1, (25, 40)), 10, axis=0),
        np.repeat(rng.normal(0, 1, (25, 40)), 10, axis=0),
    )
    groups = np.repeat(alone(25), 10), np.repeat(alone(25), 10)
    rows = tuple(r.astype(np.float32) for r in rows)
    torn = blind(rows, (alone(250), alone(250)))
    whole = blind(rows, groups)
    assert torn.auc > 0.95 and whole.auc < 0.85  # 0.5, give or take 0.11


PLANTED = [np.full(20, 0.99)]


@pytest.mark.parametrize("count", [299, 472, 473, 700, 1000])
def test_the_limit_flags_under_one_percent_of_real_scans_with_95_percent_confidence(count):
    values = np.random.default_rng(0).permutation(count) / count * 0.9
    found = threshold(values, alone(count), PLANTED, "holdout")
    above = int((values > found.similarity).sum())
    assert binom.cdf(above, count, 0.01) <= 0.05 < binom.cdf(above + 1, count, 0.01)
    assert found.flagged == above / count and found.flagged_at_most < 0.01


def test_the_limit_holds_in_simulation():
    rng = np.random.default_rng(0)
    limits = [
        threshold(rng.uniform(0, 0.9, 400), alone(400), PLANTED, "holdout").similarity
        for _ in range(400)
    ]
    assert np.mean(1 - np.array(limits) / 0.9 < 0.01) > 0.93


def test_few_real_scans_give_the_highest_similarity_and_say_what_it_is_worth():
    found = threshold(np.linspace(0, 0.8, 50), alone(50), PLANTED, "train")
    assert found.similarity == 0.8
    assert found.flagged_at_most == pytest.approx(1 - 0.05 ** (1 / 50))


def test_a_group_counts_once():
    values = np.concatenate([np.full(50, 0.85), np.linspace(0, 0.8, 700)])
    together = np.concatenate([np.zeros(50, int), alone(700, 1)])
    assert threshold(values, together, PLANTED, "holdout").similarity < 0.85
    assert threshold(values, alone(750), PLANTED, "holdout").similarity == 0.85


def test_real_scans_that_are_copies_do_not_set_the_limit():
    values = np.concatenate([np.linspace(0, 0.9, 290), np.full(10, 0.998)])
    found = threshold(values, alone(300), PLANTED, "holdout")
    assert (found.similarity, found.copies, found.scans) == (0.9, 10, 290)
    # Where many are that similar, scans of this kind are alike, and the limit must say so.
    values = np.concatenate([np.linspace(0, 0.9, 200), np.full(100, 0.998)])
    found = threshold(values, alone(300), PLANTED, "holdout")
    assert (found.similarity, found.copies) == (0.998, 0)


def test_copies_are_as_similar_as_those_of_the_hardest_change():
    easy, hard = np.linspace(0.995, 1, 101), np.linspace(0.985, 0.99, 101)
    copies, limit = copies_among(np.array([0.5] * 30 + [0.986]), [easy, hard])
    assert limit == pytest.approx(0.98525) and copies.sum() == 1


def test_a_change_that_hides_a_copy_makes_no_copies_of_other_scans():
    """Else the scans that say how alike different people are would not count, and the limit fall."""
    rng = np.random.default_rng(0)
    hidden = [PLANTED[0], np.full(40, 0.85)]
    for _ in range(20):
        real = rng.uniform(0, 0.9, 600)  # 1 in 18 is more similar than the copies that are hidden
        found = threshold(real, alone(600), hidden, "holdout")
        assert found.copies == 0 and 1 - found.similarity / 0.9 < 0.01


@pytest.mark.parametrize("count", [40, 600, 1500])
def test_a_generator_that_copies_nothing_has_no_more_suspects_than_by_chance(count):
    rng, kept, times = np.random.default_rng(0), 0, 300
    for _ in range(times):
        limit = threshold(rng.uniform(0, 0.9, count), alone(count), PLANTED, "holdout")
        suspects = (rng.uniform(0, 0.9, 2000) > limit.similarity).sum()
        kept += suspects <= suspects_by_chance(limit, 2000)
    assert 0.92 <= kept / times <= 0.99


@pytest.mark.parametrize("others", [20, 50, 150, 800])
def test_as_many_real_scans_are_nearer_as_expected(others):
    rng = np.random.default_rng(0)
    found = [
        nearness(rng.normal(9, 1, 500), (rng.normal(9, 1, others), alone(others)))
        for _ in range(400)
    ]
    assert found[0].expected == max(0.01, 1 / (others + 1))
    shares = np.array([each.share for each in found])
    assert np.mean(shares) == pytest.approx(found[0].expected, rel=0.25)
    within = (found[0].low <= shares) & (shares <= found[0].high)
    assert 0.93 <= within.mean() <= 0.99
    assert nearness(rng.normal(7, 1, 500), (rng.normal(9, 1, 800), alone(800))).share > 0.2


def test_hold_out_scans_of_few_subjects_say_less():
    distances = np.random.default_rng(0).normal(9, 1, 400)
    alone_, together = (
        nearness(distances, (distances, groups)) for groups in (alone(400), alone(400) // 40)
    )
    assert together.high > 2 * alone_.high


@pytest.mark.parametrize("block", [7, 1024])
def test_the_nearest_scans_are_those_of_a_full_table(block, monkeypatch):
    monkeypatch.setattr(nearest_module, "BLOCK", block)
    rng = np.random.default_rng(0)
    gallery = rng.normal(0, 1, (50, 20)).astype(np.float32)
    queries = np.concatenate([gallery[:5], rng.normal(0, 1, (20, 20)).astype(np.float32)])
    table = np.linalg.norm(queries[:, None].astype(float) - gallery, axis=2)
    distances, indices = nearest(queries, gallery, 3)
    assert np.allclose(distances, np.sort(table)[:, :3])
    assert np.array_equal(indices, np.argsort(table)[:, :3])
    groups = rng.integers(0, 4, 25), rng.integers(0, 4, 50)
    table[groups[0][:, None] == groups[1]] = np.inf
    distances, indices = nearest(queries, gallery, 2, groups)
    assert np.array_equal(indices, np.argsort(table)[:, :2])
    distances, indices = nearest(queries[:2], gallery[:2], 4)
    assert np.isinf(distances[:, 2:]).all() and (indices[:, 2:] == -1).all()


def test_features_are_scaled_as_everywhere(monkeypatch):
    monkeypatch.setattr(nearest_module, "BLOCK", 8)
    rows = np.random.default_rng(0).normal(0, 5, (30, 6)).astype(np.float32)
    for by in (rows[:20], scale_of(rows[:20])):
        assert np.allclose(scaled(rows, by), standardised(rows, rows[:20]), atol=1e-5)
