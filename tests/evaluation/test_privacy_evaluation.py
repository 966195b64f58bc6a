"""Privacy of synthetic scans: copies, distances, membership inference."""

import dataclasses
import json

import cv2
import numpy as np
import pytest
from evaluation_progress import Progress
from evaluation_scans import COPIES, sample_chest, sample_scans, three_parts, with_copies
from msgspec.structs import replace
from scipy.stats import binom

from scangan.artifacts.records import parse_record, parse_records
from scangan.artifacts.suspects import Pair
from scangan.core.errors import EvaluationError
from scangan.evaluation.attacks import DiscriminatorScores
from scangan.evaluation.cache import Cache
from scangan.evaluation.judge_privacy import PrivacyOptions, privacy
from scangan.evaluation.privacy_files import write_privacy
from scangan.evaluation.privacy_result import PrivacyResult
from scangan.evaluation.scan_set import ScanSet

TRAIN, HOLDOUT, OTHERS = three_parts(sample_scans())
REST = len(OTHERS)
SOME, HELD = TRAIN.take(np.arange(60)), HOLDOUT.take(np.arange(50))

pytestmark = pytest.mark.usefixtures("once")


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    return PrivacyOptions(
        planted=10, resamples=100, threads=1, cache=tmp_path_factory.mktemp("cache")
    )


@pytest.fixture(scope="module")
def a_tenth(options):
    """Other real scans, and a tenth as many copies of training scans."""
    synthetic, sources = with_copies(OTHERS, TRAIN, 4, seed=1)
    return synthetic, sources, privacy(TRAIN, synthetic, HOLDOUT, options)


@pytest.fixture(scope="module")
def of_others(options):
    return privacy(TRAIN, OTHERS, HOLDOUT, options)


@pytest.fixture(scope="module")
def few():
    return [each.take(np.arange(25)) for each in (TRAIN, OTHERS, HOLDOUT)]


def _said(result):
    return " ".join(result.verdict)


def test_copies_are_found_and_other_real_scans_are_not(a_tenth, options):
    _, sources, result = a_tenth
    pairs = {pair.index: pair.train_index for pair in result.suspects}
    assert pairs == {REST + n: source for n, source in enumerate(sources)}
    assert result.threshold.calibrated_on == "holdout"
    assert result.threshold.flagged == 0


@pytest.mark.parametrize("scans", [sample_scans, sample_chest])
def test_every_kind_of_copy_is_found(options, scans):
    train, holdout, others = three_parts(scans())
    synthetic, sources = with_copies(others, train, 40)
    result = privacy(train, synthetic, holdout, options)
    pairs = {pair.index: pair.train_index for pair in result.suspects}
    assert sum(pairs.get(len(others) + n) == source for n, source in enumerate(sources)) >= 38
    # So small a hold-out flags more other scans than 1%, but no more than it says.
    wrong = sum(index < len(others) for index in pairs)
    assert wrong <= binom.ppf(0.99, len(others), result.threshold.flagged_at_most)
    assert result.threshold.flagged_at_most < 0.08
    similarities = [pair.similarity for pair in result.suspects]
    assert similarities == sorted(similarities, reverse=True)


def test_it_measures_its_own_sensitivity(a_tenth):
    _, _, result = a_tenth
    assert result.sensitivity[0].change == "exact"
    assert len(result.sensitivity) == 5
    for level in result.sensitivity:
        assert level.planted == 10 and level.found >= 9


def test_a_search_that_finds_nothing_says_so(few, options, monkeypatch):
    from scangan.evaluation import planted

    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    monkeypatch.setitem(planted.LEVELS, "JPEG", lambda image, rng: noise)
    result = privacy(*few, options)
    found = {level.change: level.found for level in result.sensitivity}
    assert found["JPEG"] == 0 and found["exact"] == 10
    assert "can be missed: JPEG (0 of 10)" in _said(result)


def test_a_generator_that_replays_its_scans_is_caught(options):
    rng = np.random.default_rng(0)
    changes = list(COPIES.values())[:5]
    copies = np.stack([changes[n % 5](image, rng) for n, image in enumerate(TRAIN.images)])
    replay = ScanSet(copies, TRAIN.labels, TRAIN.classes, "replay")
    result = privacy(TRAIN, replay, HOLDOUT, options)
    assert result.membership["pixels"].auc > 0.95 and result.membership["pixels"].tpr > 0.8
    assert result.membership["features"].auc_low > 0.65
    assert len(result.suspects) > 0.95 * len(TRAIN)
    assert "better than by guessing" in _said(result)
    near = result.nearness["pixels"]
    assert near.share > 0.9 and near.high < 0.1
    assert len(result.suspects) > 10 * result.suspects_by_chance
    assert f"by chance it would be {result.suspects_by_chance} at most" in _said(result)


def test_exact_replay_is_caught_in_features_too(options):
    replay = dataclasses.replace(TRAIN, name="replay")
    result = privacy(TRAIN, replay, HOLDOUT, options)
    for space in ("features", "pixels"):
        assert result.membership[space].auc > 0.95
        assert result.nearness[space].share == 1


def test_other_real_scans_leak_nothing(of_others):
    result = of_others
    for attack in result.membership.values():
        assert attack.auc_low < 0.5 < attack.auc_high
    assert not result.suspects
    assert f"None of {REST}" in _said(result) and "No attack told" in _said(result)
    assert "proves nothing" in _said(result) and "arXiv 2505.01524" in _said(result)


@pytest.mark.parametrize("grey", [None, 128])
def test_a_generator_that_always_makes_the_same_scan_is_judged(of_others, options, grey):
    """Its features do not vary. The blind attack, which sees no synthetic scan, is what it was."""
    same = np.repeat(OTHERS.images[:1], len(OTHERS), axis=0)
    collapsed = dataclasses.replace(
        OTHERS, images=same if grey is None else np.full_like(same, grey)
    )
    result = privacy(TRAIN, collapsed, HOLDOUT, options)
    assert result.membership["blind"] == of_others.membership["blind"]
    assert result.membership["features"].auc_low <= 0.5 <= result.membership["features"].auc_high


def test_a_hold_out_from_elsewhere_is_no_evidence(options):
    """Members are nearer to the synthetic scans only as the hold-out looks different."""
    blurred = np.stack([cv2.GaussianBlur(image, (0, 0), 2.5) for image in HOLDOUT.images])
    result = privacy(TRAIN, OTHERS, dataclasses.replace(HOLDOUT, images=blurred), options)
    assert result.membership["blind"].auc_low > 0.8
    assert "Use a hold-out from the same source" in _said(result)
    assert "An attacker can tell" not in _said(result)


def test_the_discriminator_attacks_where_there_is_one(options):
    seen = {image.tobytes() for image in SOME.images}
    asked = []

    def by_heart(images, labels):
        asked.append((images, labels))
        return np.array([float(image.tobytes() in seen) for image in images])

    discriminator = DiscriminatorScores(by_heart, "by heart", 64)
    result = privacy(SOME, OTHERS, HELD, options, discriminator)
    assert result.membership["discriminator"].auc == 1
    assert result.membership["discriminator"].tpr == 1
    assert "by the discriminator's score (AUC 1.00" in _said(result)
    assert np.array_equal(asked[0][1], SOME.labels) and len(asked[1][0]) == len(HELD)


def test_copies_in_the_hold_out_do_not_hide_those_in_the_synthetic_set(a_tenth, options):
    synthetic, _, clean = a_tenth
    rng = np.random.default_rng(0)
    copies = np.stack([COPIES["compressed"](image, rng) for image in TRAIN.images[:4]])
    images = np.concatenate([HOLDOUT.images, copies])
    leaking = ScanSet(images, np.append(HOLDOUT.labels, TRAIN.labels[:4]), TRAIN.classes, "leaking")
    groups = np.append(HOLDOUT.groups, 1000 + np.arange(4))
    leaking = dataclasses.replace(leaking, groups=groups)
    result = privacy(TRAIN, synthetic, leaking, options)
    assert result.threshold == replace(clean.threshold, copies=4)
    assert len(result.suspects) == len(clean.suspects)
    assert any(note.startswith("4 scans of leaking left out as copies") for note in result.notes)


def test_the_same_scans_in_the_hold_out_are_left_out(options):
    mixed = ScanSet(
        np.concatenate([HELD.images, SOME.images[:10]]),
        np.append(HELD.labels, SOME.labels[:10]),
        TRAIN.classes,
        "mixed",
    )
    result = privacy(SOME, OTHERS, mixed, options)
    assert any("left out 10 scans of mixed: also in train" in note for note in result.notes)
    assert result.membership["pixels"].non_members == len(HELD)
    with pytest.raises(
        EvaluationError, match=f"{len(SOME)} of {len(SOME)} scans of same are training scans"
    ):
        privacy(SOME, OTHERS, dataclasses.replace(SOME, name="same"), options)


@pytest.mark.parametrize("by", ["hashes", "subjects"])
def test_scans_of_training_subjects_in_the_hold_out_are_left_out(options, by):
    theirs = [f"p{k}" for k in range(len(SOME))]
    ours = [theirs[k] if k < 10 else f"q{k}" for k in range(len(HELD))]
    train = dataclasses.replace(SOME, **{by: theirs})
    # The others of a group go with the scan that was trained on.
    groups = np.where(np.arange(len(HELD)) < 13, np.arange(len(HELD)) % 10, np.arange(len(HELD)))
    held = dataclasses.replace(HELD, **{by: ours}, name="mixed", groups=groups)
    result = privacy(train, OTHERS, held, options)
    assert any("left out 13 scans of mixed: also in train" in note for note in result.notes)
    assert result.membership["pixels"].non_members == len(HELD) - 13


def test_training_scans_of_one_subject_cannot_calibrate(options):
    one = dataclasses.replace(SOME, groups=np.zeros(len(SOME), np.int64), name="volume")
    with pytest.raises(EvaluationError, match=r"all scans of volume are of one subject.*--holdout"):
        privacy(one, OTHERS, None, options)
    assert privacy(one, OTHERS, HELD, options).threshold.calibrated_on == "holdout"


def test_a_discriminator_of_another_size_does_not_attack(options):
    def refuse(*_):
        raise AssertionError

    result = privacy(SOME, OTHERS, HELD, options, DiscriminatorScores(refuse, "larger", 128))
    assert "discriminator" not in result.membership
    assert any("takes scans of 128 pixels, and these have 64" in note for note in result.notes)


def test_without_a_hold_out_training_scans_calibrate_and_membership_is_not_tested(a_tenth, options):
    synthetic, _, _ = a_tenth
    result = privacy(TRAIN, synthetic, None, options)
    assert result.threshold.calibrated_on == "train"
    assert {pair.index for pair in result.suspects} == {REST, REST + 1, REST + 2, REST + 3}
    assert result.membership == {} and result.nearness == {} and result.holdout is None
    assert any("membership inference was not tested" in note for note in result.notes)
    assert "Membership inference was not tested." in _said(result)


def test_groups_of_training_scans_do_not_calibrate_one_another(few, options):
    some = TRAIN.take(np.arange(50))
    rng = np.random.default_rng(0)
    twice = np.concatenate(
        [some.images, np.stack([COPIES["compressed"](image, rng) for image in some.images])]
    )
    groups = np.tile(some.groups, 2)
    doubled = ScanSet(twice, np.tile(some.labels, 2), TRAIN.classes, "doubled", groups)
    result = privacy(doubled, few[1], None, options)
    assert result.threshold.similarity < 0.98 and result.threshold.copies == 0
    assert all(level.found >= 9 for level in result.sensitivity)


@pytest.mark.usefixtures("every_time")
def test_progress_adds_up_to_the_work(few, options, tmp_path):
    fresh = dataclasses.replace(options, cache=tmp_path)
    train, others, holdout = few
    copied, _ = with_copies(holdout, train, 3)
    for real in (holdout, copied, None):
        progress = Progress()
        privacy(train, others, real, fresh, track=progress)
        assert progress.done == progress.totals and progress.done[0] > len(others)


@pytest.mark.usefixtures("every_time")
def test_the_same_sets_give_the_same_result_and_a_damaged_cache_is_made_again(
    few, options, tmp_path
):
    train, others, holdout = few
    result = privacy(train, others, holdout, dataclasses.replace(options, cache=tmp_path / "first"))
    fresh = dataclasses.replace(options, cache=tmp_path / "cache", threads=2)
    assert privacy(train, others, holdout, fresh) == result
    for number, file in enumerate(sorted(fresh.cache.iterdir())):  # the result is among them
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 0xFF
        file.write_bytes((b"", data[:1000], data)[number % 3])
    assert privacy(train, others, holdout, fresh) == result


def test_a_kept_file_with_any_damaged_byte_is_computed_again(tmp_path):
    cache, whole = Cache(tmp_path), {"a": np.arange(5)}
    cache.get("key", lambda: whole)
    (file,) = tmp_path.iterdir()
    data = file.read_bytes()
    for at in range(len(data)):
        for bit in (1, 8, 128):
            file.write_bytes(data[:at] + bytes([data[at] ^ bit]) + data[at + 1 :])
            assert np.array_equal(cache.get("key", lambda: whole)["a"], whole["a"]), (at, bit)


def test_the_files_tell_all_and_read_back(a_tenth, tmp_path):
    synthetic, _, result = a_tenth
    write_privacy(tmp_path / "out", result, TRAIN, synthetic)
    out = tmp_path / "out"
    assert sorted(p.name for p in out.iterdir()) == [
        "result.json",
        "suspects.jsonl",
        "suspects.png",
    ]
    assert parse_record(PrivacyResult, (out / "result.json").read_bytes()) == result
    lines = (out / "suspects.jsonl").read_bytes()
    assert tuple(parse_records(Pair, lines)) == result.suspects
    first = json.loads(lines.splitlines()[0])
    assert set(first) == {
        "synthetic", "class", "index", "train", "train_index", "similarity", "distance", "origin",
    }  # fmt: skip
    assert first["class"] == synthetic.classes[synthetic.labels[first["index"]]]
    assert first["train"] == TRAIN.sources[first["train_index"]]
    sheet = cv2.imread(str(out / "suspects.png"), cv2.IMREAD_GRAYSCALE)
    wanted = synthetic.images[first["index"]].repeat(2, 0).repeat(2, 1)
    match = cv2.matchTemplate(sheet, wanted, cv2.TM_SQDIFF)
    assert match.min() < 100
    y = np.unravel_index(match.argmin(), match.shape)[0]
    beside = TRAIN.images[first["train_index"]].repeat(2, 0).repeat(2, 1)
    match = cv2.matchTemplate(sheet, beside, cv2.TM_SQDIFF)
    assert match.min() < 100 and np.unravel_index(match.argmin(), match.shape)[0] == y


def test_without_suspects_the_picture_shows_the_most_similar_pairs(of_others, tmp_path):
    result = of_others
    write_privacy(tmp_path, result, TRAIN, OTHERS)
    assert (tmp_path / "suspects.jsonl").read_bytes() == b""
    assert len(result.nearest) == 24 and not result.suspects
    sheet = cv2.imread(str(tmp_path / "suspects.png"), cv2.IMREAD_GRAYSCALE)
    assert sheet.shape[0] > 24 * 128


def test_scans_of_other_classes_and_sizes_are_compared_all_the_same(options):
    copies, _ = with_copies(OTHERS, SOME, 6)
    large = np.stack([cv2.resize(image, (96, 96)) for image in copies.images])
    other = ScanSet(large, np.zeros(len(large), np.int64), ("made_up",), "synthetic")
    result = privacy(SOME, other, HELD, options)
    assert {pair.index for pair in result.suspects} >= set(range(REST, REST + 5))
    assert {pair.class_name for pair in result.suspects} == {"made_up"}
    assert any("train has no made_up" in note for note in result.notes)
    assert any("96 pixels were reduced to 64" in note for note in result.notes)
    bare = ScanSet(copies.images, np.zeros(len(large), np.int64), name="bare")
    result = privacy(SOME, bare, HELD, options)
    assert {pair.class_name for pair in result.suspects} == {None}


def test_membership_compares_only_classes_of_both_sides(options):
    one = HELD.take(np.flatnonzero(HELD.labels != 0))
    result = privacy(SOME, OTHERS, one, options)
    assert result.membership["pixels"].members == int((SOME.labels != 0).sum())
    assert any("classes that only one side has" in note for note in result.notes)
    other = dataclasses.replace(HELD, classes=("a", "b", "c", "d"))
    result = privacy(SOME, OTHERS, other, options)
    assert result.membership == {}
    assert any(
        "(a, b, c, d) have too few scans of the same classes" in note for note in result.notes
    )


def _bare(scans, classes=()):
    return dataclasses.replace(scans, labels=np.zeros(len(scans), np.int64), classes=classes)


@pytest.mark.parametrize("ours", [None, (), ("train",)])
@pytest.mark.parametrize("theirs", [None, (), ("test",)])
def test_membership_needs_no_classes(ours, theirs, options):
    """A flat folder has one class, which is named after the folder."""
    train = SOME if ours is None else _bare(SOME, ours)
    held = HELD if theirs is None else _bare(HELD, theirs)
    asked = []

    def scores(images, labels):
        asked.append(labels)
        return np.zeros(len(images))

    scorer = DiscriminatorScores(scores, "none", 64)
    result = privacy(train, OTHERS, held, options, scorer)
    assert result.membership["pixels"].members == len(SOME)
    assert result.membership["pixels"].non_members == len(HELD)
    if ours is None and theirs is not None:  # nobody knows what to ask for
        assert not asked and "discriminator" not in result.membership
        assert any("needs classes" in note for note in result.notes)
        without = dataclasses.replace(scorer, by_class=False, sha256="another")
        result = privacy(train, OTHERS, held, options, without)
        assert len(asked) == 2 and result.membership["discriminator"].auc == 0.5
    else:
        assert np.array_equal(asked[0], train.labels) and len(asked[1]) == len(HELD)


@pytest.mark.parametrize("which", ["train", "synthetic", "holdout"])
def test_too_few_scans_are_refused(which, options):
    sets = {"train": TRAIN, "synthetic": OTHERS, "holdout": HOLDOUT}
    few = {**sets, which: sets[which].take(np.arange(19))}
    with pytest.raises(EvaluationError, match=f"{sets[which].name} has only 19 scans; this needs"):
        privacy(**few, options=options)


def test_few_scans_are_noted(few, options):
    notes = privacy(*few, options).notes
    for name in ("train", "others", "holdout"):
        assert f"{name} has only 25 scans: its figures mean little" in notes
    for what in ("subjects or groups, so up to", "is less than one scan"):
        assert any(what in note for note in notes)


def test_synthetic_scans_are_no_training_scans(options):
    marked = dataclasses.replace(TRAIN, synthetic=np.arange(len(TRAIN)) < 3)
    with pytest.raises(EvaluationError, match="train holds 3 synthetic scans; give a set of real"):
        privacy(marked, OTHERS, HOLDOUT, options)


@pytest.mark.parametrize("given", [{"planted": 9}, {"resamples": 10}, {"planted": 1001}])
def test_options_out_of_range_are_refused(given):
    with pytest.raises(EvaluationError, match="is out of range; it takes"):
        PrivacyOptions(**given)
