"""What classifiers gain from synthetic scans that are good, useless or harmful."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from conftest import CLASSES

from scangan.core.errors import EvaluationError
from scangan.evaluation import judge_utility as module
from scangan.evaluation.classifiers import make_classifier
from scangan.evaluation.diets import COPIES, classical_copies, make_diet
from scangan.evaluation.judge_utility import UtilityOptions, share_of, utility
from scangan.evaluation.probe import train_probe
from scangan.evaluation.scan_set import ScanSet
from scangan.evaluation.utility_result import CurvePoint, DietResult, Estimate
from scangan.evaluation.utility_sets import comparable, split_for_test
from scangan.evaluation.utility_text import utility_lines
from scangan.evaluation.utility_verdict import verdict

pytestmark = pytest.mark.usefixtures("once")


class Pixels:
    """The probe on pixels, which costs nothing."""

    name, described, by_chance = "pixels", "pixels", True

    def sees(self, images):
        return images[:, ::4, ::4].reshape(len(images), -1).astype(np.float32) / 255

    def scores(self, rows, labels, test, classes, seed):
        probe = train_probe([rows[labels == k] for k in range(classes)])
        return probe.predict_proba(test)


@pytest.fixture(autouse=True)
def cheap(monkeypatch):
    monkeypatch.setattr(module, "make_classifier", lambda name, **_: Pixels())


@pytest.fixture(scope="module")
def real(prepared):
    return dataclasses.replace(ScanSet.of_dataset(prepared.path), name="real")


@pytest.fixture(scope="module")
def parts(real):
    """Real scans to learn from, others in the place of synthetic ones, and others to test on."""
    rest, test = split_for_test(real)
    train, synthetic = split_for_test(rest)
    return train, dataclasses.replace(synthetic, name="synthetic"), test


def run(train, synthetic, test, cache, **options):
    return utility(train, synthetic, test, UtilityOptions(seeds=2, cache=cache, **options))


def of(result, diet):
    (found,) = (each for each in result.diets if each.diet == diet)
    return found


def test_more_real_scans_in_place_of_synthetic_ones_do_no_harm(parts, tmp_path):
    result = run(*parts, tmp_path)
    assert [d.diet for d in result.diets] == list(module.DIETS)
    alone, both = of(result, "real"), of(result, "real + synthetic")
    assert alone.difference is None and both.difference.high > 0
    assert both.n_train == len(parts[0]) + len(parts[1])
    assert of(result, "real + classical").n_train == len(parts[0]) * (1 + COPIES)
    assert of(result, "synthetic").metrics["balanced_accuracy"].value > 0.35  # chance is 0.25


def test_swapped_labels_ruin_what_is_learnt_from_synthetic_scans(parts, tmp_path):
    train, synthetic, test = parts
    wrong = dataclasses.replace(synthetic, labels=(synthetic.labels + 1) % len(CLASSES))
    good, bad = run(train, synthetic, test, tmp_path), run(train, wrong, test, tmp_path)
    name = "balanced_accuracy"
    assert of(bad, "synthetic").metrics[name].high < of(good, "synthetic").metrics[name].value
    assert of(bad, "real").metrics == of(good, "real").metrics


def test_noise_is_worth_nothing(parts, tmp_path):
    train, synthetic, test = parts
    noise = np.random.default_rng(0).integers(0, 256, synthetic.images.shape, dtype=np.uint8)
    result = run(train, dataclasses.replace(synthetic, images=noise), test, tmp_path)
    assert of(result, "synthetic").metrics["balanced_accuracy"].low < 0.3
    assert not any("it helps" in line for line in result.verdict)


@pytest.mark.parametrize("name", ["probe", "cnn"])
def test_one_training_proves_nothing_where_trainings_differ(parts, tmp_path, monkeypatch, name):
    monkeypatch.setattr(Pixels, "name", name)
    monkeypatch.setattr(Pixels, "by_chance", name == "cnn")
    result = utility(*parts, UtilityOptions((name,), seeds=1, cache=tmp_path))
    proves = name == "probe"
    for diet in result.diets[1:]:
        # Chance decides which synthetic scans top up a class, and how real ones are changed.
        given = proves and diet.diet not in ("real topped up", "real + classical")
        assert (diet.p is not None) == (diet.p_holm is not None) == given
    assert ("one training proves nothing" in result.verdict[0]) != proves
    assert any(line.startswith(name) for line in utility_lines(result))
    twice = utility(*parts, UtilityOptions((name,), seeds=2, cache=tmp_path))
    assert all(diet.p is not None for diet in twice.diets[1:])
    beyond = [diet.beyond_classical is not None for diet in result.diets + twice.diets]
    assert sum(beyond[:5]) == 0 and sum(beyond[5:]) == 2


def _diet(name, gain=None, beyond=None, p=0.001):
    exact = Estimate(value=0.8 + (gain or 0), low=0, high=1)
    change = None if gain is None else Estimate(value=gain, low=gain - 0.01, high=gain + 0.01)
    over = None if beyond is None else Estimate(value=beyond, low=beyond - 0.01, high=beyond + 0.01)
    return DietResult(
        classifier="cnn", diet=name, n_train=1, metrics={"balanced_accuracy": exact}, recall={},
        confusion={}, difference=change, p=p, p_holm=p, beyond_classical=over,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("beyond", "said"),
    [
        (0.002, "about as much as"),
        (-0.002, "about as much as"),
        (0.02, "and more than"),
        (-0.02, "but less than"),
    ],
)
def test_synthetic_scans_beat_classical_ones_only_if_their_difference_says_so(beyond, said):
    diets = [
        _diet("real"), _diet("synthetic", -0.1), _diet("real + synthetic", 0.05, beyond),
        _diet("real topped up", 0.01, 0.0), _diet("real + classical", 0.05 - beyond),
    ]  # fmt: skip
    first = next(verdict(diets, []))
    assert f"; it helps, {said} classical augmentation (" in first


def test_a_proven_gain_comes_before_a_larger_one_that_is_not():
    diets = [
        _diet("real"), _diet("synthetic", -0.1), _diet("real + synthetic", 0.031, 0.0, p=0.16),
        _diet("real topped up", 0.029, 0.0, p=0.006), _diet("real + classical", 0.03),
    ]  # fmt: skip
    first = next(verdict(diets, []))
    assert "real topped up changes" in first and "; it helps, " in first


@pytest.mark.parametrize(
    ("p", "said"), [(0.5, "helped with 200 real scans"), (None, "one training does not")]
)
def test_a_learning_curve_names_where_synthetic_scans_helped(p, said):
    diets = [_diet(name, None if name == "real" else 0.0, 0.0, p) for name in module.DIETS]
    points = [
        CurvePoint(
            classifier="cnn", fraction=n / 400, n_real=n, real=_exact(0.7), with_synthetic=_exact(0.7 + gain),
            gain=_exact(gain), p_holm=None if p is None else (0.01 if gain > 0 else 1.0),
        )
        for n, gain in ((100, -0.02), (200, 0.03), (400, 0.0))
    ]  # fmt: skip
    *_, last = verdict(diets, points)
    assert said in last and "up to" not in last


def _exact(value):
    return Estimate(value=value, low=value, high=value)


def test_the_learning_curve_uses_more_and_more_of_the_same_scans(real):
    shares = [set(share_of(real, f)) for f in (0.1, 0.5, 1.0)]
    assert shares[0] < shares[1] < shares[2] == set(range(len(real)))


def test_a_curve_has_a_point_for_each_share_and_a_sentence(parts, tmp_path):
    result = run(*parts, tmp_path, fractions=(1.0, 0.25))
    assert [point.fraction for point in result.curve] == [0.25, 1.0]
    assert result.curve[1].real == of(result, "real").metrics["balanced_accuracy"]
    assert any("real scans" in line for line in result.verdict)
    assert any("with synthetic" in line for line in utility_lines(result))


def test_topping_up_evens_out_the_classes(real):
    few = real.take(np.concatenate([real.of_class(0)[:10], *map(real.of_class, (1, 2, 3))]))
    diet = make_diet("real topped up", few, np.arange(len(few)), real, np.random.default_rng(0))
    labels = np.concatenate([few.labels[diet.real], real.labels[diet.synthetic]])
    assert len(set(np.bincount(labels))) == 1 and set(real.labels[diet.synthetic]) == {0}


def test_classical_copies_keep_the_scan_and_change_it(real):
    some = real.images[:6]
    copies = classical_copies(some)
    assert copies.shape == (6 * COPIES, *some.shape[1:]) and copies.dtype == np.uint8
    alike = [
        np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(copies, np.tile(some, (3, 1, 1)))
    ]
    assert min(alike) > 0.4 and max(alike) < 0.9999
    assert np.array_equal(copies, classical_copies(some))


def test_test_scans_of_few_subjects_are_refused_or_noted(parts, tmp_path):
    train, synthetic, test = parts
    one = dataclasses.replace(test, groups=np.zeros(len(test), np.int64), name="one patient")
    with pytest.raises(EvaluationError, match="all scans of one patient are of one subject"):
        run(train, synthetic, one, tmp_path)
    few = dataclasses.replace(test, groups=np.arange(len(test)) % 5, name="few")
    notes = run(train, synthetic, few, tmp_path).notes
    assert "only 5 subjects in few: the intervals mean little" in notes


@pytest.mark.parametrize("groups", [1, 2, 7])
def test_a_quarter_of_few_subjects_is_refused(real, groups):
    few = dataclasses.replace(real, groups=np.arange(len(real)) % groups)
    with pytest.raises(EvaluationError, match=rf"real has scans of {groups} subjects? .*--test"):
        split_for_test(few)


def test_options_that_nothing_would_use_or_take_are_refused():
    for given, said in (
        ({"steps": 19, "classifiers": ("cnn",)}, "--steps 19 is out of range; it takes 20 or more"),
        ({"steps": 30}, "the probe takes neither --weights nor --steps"),
        ({"weights": Path("w.h5")}, "the probe takes neither --weights nor --steps"),
        ({"threads": 0}, "--threads 0 is out of range; it takes 1 or more"),
        ({"seeds": 21}, "--seeds 21 is out of range; it takes 1 to 20"),
    ):
        with pytest.raises(EvaluationError, match=said):
            UtilityOptions(**given)


def test_a_learning_curve_says_only_what_was_measured(parts, tmp_path):
    (point,) = run(*parts, tmp_path, fractions=(1.0,)).curve
    told = run(*parts, tmp_path, fractions=(1.0,)).verdict[-1]
    proven = point.gain.value > 0 and point.p_holm < 0.05
    helped = "helped" if proven else "did not measurably help"
    assert told == f"pixels: adding synthetic scans {helped} with {len(parts[0])} real scans"
    result = run(*parts, tmp_path, fractions=(0.25, 0.5))
    most = result.curve[-1].n_real
    assert re.search(rf"\b{most}( real scans)?, the most that were tried", result.verdict[-1])


def test_what_a_classifier_learned_is_kept_for_the_same_code(parts, tmp_path, monkeypatch):
    trained, scores = [], Pixels.scores

    def counted(self, *given):
        trained.append(1)
        return scores(self, *given)

    monkeypatch.setattr(Pixels, "scores", counted)
    first = run(*parts, tmp_path)
    count = len(trained)
    assert run(*parts, tmp_path) == first and len(trained) == count > 0
    monkeypatch.setattr(module, "code", lambda *_: "another")
    monkeypatch.setattr("scangan.evaluation.cache.code", lambda *_: "another")
    run(*parts, tmp_path)
    assert len(trained) == 2 * count


@pytest.mark.parametrize("leak", ["file", "subject", "picture", "moved picture"])
def test_a_leak_is_refused(parts, tmp_path, leak):
    train, synthetic, test = parts
    at = 3
    if leak == "file":
        test = dataclasses.replace(
            test, hashes=[*test.hashes[:at], train.hashes[0], *test.hashes[at + 1 :]]
        )
    elif leak == "subject":
        train = dataclasses.replace(train, subjects=["p1", *train.subjects[1:]])
        test = dataclasses.replace(
            test, subjects=[*test.subjects[:at], "p1", *test.subjects[at + 1 :]]
        )
    else:
        images = np.array(test.images)
        images[at] = np.clip(train.images[0] * 0.9 + 10, 0, 255)
        if leak == "moved picture":
            images[at] = np.roll(images[at], (1, -1), (0, 1))[:, ::-1]
        test = dataclasses.replace(test, images=images)
    with pytest.raises(EvaluationError, match=rf"1 scan .*{test.sources[at]}.*--drop-leaks"):
        run(train, synthetic, test, tmp_path)
    result = run(train, synthetic, test, tmp_path, drop_leaks=True)
    assert sum(result.test.counts.values()) == len(test) - 1
    assert any("left out 1 scan" in note for note in result.notes)
    # The other scans of its subject go with it.
    groups = np.where(np.isin(np.arange(len(test)), (at, 7, 8)), -1, test.groups)
    whole = dataclasses.replace(test, groups=groups)
    result = run(train, synthetic, whole, tmp_path, drop_leaks=True)
    assert sum(result.test.counts.values()) == len(test) - 3


def test_synthetic_scans_that_repeat_test_scans_are_noted(parts, tmp_path):
    train, synthetic, test = parts
    assert not any("look" in note for note in run(*parts, tmp_path).notes)
    images = np.array(synthetic.images)
    images[:5] = np.roll(test.images[:5], 2, axis=2)
    result = run(train, dataclasses.replace(synthetic, images=images), test, tmp_path)
    told = [note for note in result.notes if "look the same as a synthetic scan" in note]
    assert len(told) == 1 and "was the generator trained on the test scans?" in told[0]


def test_classical_copies_are_made_anew_for_each_training(parts, tmp_path, monkeypatch):
    seeds, make = [], module.classical_copies
    monkeypatch.setattr(
        module, "classical_copies", lambda images, seed: seeds.append(seed) or make(images, seed)
    )
    run(*parts, tmp_path)
    assert seeds == [0, 1]


def test_the_points_of_a_learning_curve_are_corrected_for_their_number(parts, tmp_path):
    train, synthetic, test = parts
    wrong = dataclasses.replace(synthetic, labels=(synthetic.labels + 1) % len(CLASSES))
    (alone,) = run(train, wrong, test, tmp_path, fractions=(0.25,)).curve
    points = run(train, wrong, test, tmp_path, fractions=(0.25, 0.5, 1.0)).curve
    assert points[0].p_holm >= alone.p_holm > 0
    said = run(train, wrong, test, tmp_path, fractions=(0.25, 0.5, 1.0)).verdict[-1]
    assert "did not measurably help" in said


@pytest.mark.filterwarnings("error")
def test_two_test_subjects_prove_nothing(parts, tmp_path):
    train, synthetic, test = parts
    two = dataclasses.replace(test, groups=np.arange(len(test)) % 2)
    noise = np.random.default_rng(0).integers(0, 256, synthetic.images.shape, dtype=np.uint8)
    result = run(train, dataclasses.replace(synthetic, images=noise), two, tmp_path)
    assert all(diet.p >= 0.5 for diet in result.diets[1:])
    assert "no gain is proven" in result.verdict[0]


def test_what_was_trained_before_is_not_trained_again(parts, tmp_path, monkeypatch):
    first = run(*parts, tmp_path)
    monkeypatch.setattr(Pixels, "scores", None)
    assert run(*parts, tmp_path) == first
    more = run(*parts, tmp_path, fractions=(1.0,))  # another result, of the same classifiers
    assert more.diets == first.diets and len(more.curve) == 1


def test_a_damaged_cache_is_made_again(parts, tmp_path):
    first = run(*parts, tmp_path)
    for file in tmp_path.glob("*.npz"):
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 0xFF
        file.write_bytes(data)
    assert run(*parts, tmp_path) == first


def test_options_out_of_range_are_refused():
    for wrong in ({"seeds": 0}, {"fractions": (0.0,)}, {"fractions": (1.5,)}):
        with pytest.raises(EvaluationError, match="takes"):
            UtilityOptions(**wrong)
    with pytest.raises(EvaluationError, match="choose from probe, cnn"):
        UtilityOptions(classifiers=("svm",))


def test_a_test_set_that_leaks_wholly_or_but_for_one_class_is_refused(parts, tmp_path):
    train, synthetic, test = parts
    with pytest.raises(EvaluationError, match=r"every scan of leaking shares a .*other scans$"):
        run(train, synthetic, dataclasses.replace(train, name="leaking"), tmp_path, drop_leaks=True)
    one, rest = test.of_class(0), np.flatnonzero(test.labels != 0)
    images = test.images.copy()
    images[one] = train.images[train.of_class(0)[: len(one)]]
    leaking = dataclasses.replace(test, images=images).take(np.sort(np.concatenate([one, rest])))
    with pytest.raises(EvaluationError, match=rf"fewer than 2 scans of {CLASSES[0]} that are not"):
        run(train, synthetic, leaking, tmp_path, drop_leaks=True)


def test_sets_that_were_prepared_differently_are_noted(parts):
    train, synthetic, test = parts
    bright = dataclasses.replace(test, settings={**train.settings, "equalize": "clahe"})
    *_, notes = comparable(train, synthetic, bright)
    assert [note for note in notes if "prepared with" in note] == [
        f"{train.name} was prepared with equalize none and {test.name} with clahe"
    ]
    assert not any("prepared with" in note for note in comparable(*parts)[-1])


def test_classes_that_only_one_side_has_are_left_out(parts, tmp_path):
    train, synthetic, test = parts
    result = run(train, synthetic.with_classes(CLASSES[:3]), test, tmp_path)
    assert set(result.train.counts) == set(CLASSES[:3]) == set(result.test.counts)
    assert any(CLASSES[3] in note for note in result.notes)
    with pytest.raises(EvaluationError, match="two classes"):
        run(train, synthetic.with_classes(CLASSES[:1]), test, tmp_path)


@pytest.fixture
def bright_and_dark(real):
    images = np.concatenate([real.images[:60] // 3, real.images[:60] // 2 + 120]).astype(np.uint8)
    return images, np.repeat([0, 1], 60)


@pytest.mark.slow
def test_the_small_network_learns_and_repeats_itself(bright_and_dark):
    images, labels = bright_and_dark
    network = make_classifier("cnn", cache=None, steps=30, threads=1)
    rows = network.sees(images)
    scores = [network.scores(rows[::2], labels[::2], rows[1::2], 2, seed) for seed in (0, 0, 1)]
    assert scores[0].shape == (60, 2) and scores[0].sum(axis=1) == pytest.approx(np.ones(60))
    assert np.array_equal(scores[0], scores[1]) and not np.array_equal(scores[0], scores[2])
    assert (scores[0].argmax(axis=1) == labels[1::2]).mean() > 0.9


@pytest.mark.slow
def test_a_network_of_keras_is_trained(bright_and_dark):
    from scangan.evaluation.keras_networks import STEPS

    images, labels = bright_and_dark
    network = make_classifier("mobilenetv2", cache=None, steps=2)
    rows = network.sees(images[::8])
    scores = network.scores(rows, labels[::8], rows, 2, 0)
    assert scores.shape == (15, 2) and scores.sum(axis=1) == pytest.approx(np.ones(15))
    layers = [each for each in network._model(32, 2).layers if hasattr(each, "moving_mean")]
    # After so many steps, a hundredth of the averages is still that of the start, at most.
    assert len(layers) > 50 and all(each.momentum**STEPS < 0.01 for each in layers)
    with pytest.raises(EvaluationError, match=r"no\.h5 is missing"):
        make_classifier("vgg16", cache=None, weights=Path("no.h5"))


@pytest.mark.parametrize("mixed", [True, False])
def test_a_network_learns_in_bfloat16_and_names_in_float32(mixed, monkeypatch):
    from scangan.evaluation import keras_networks as networks

    monkeypatch.setattr(networks, "MIXED", mixed)
    network = networks.make("mobilenetv2", threads=1, weights=None, steps=1)
    before = networks.keras.config.dtype_policy().name
    model = network._model(32, 3)
    assert networks.keras.config.dtype_policy().name == before
    assert model.layers[-2].compute_dtype == ("bfloat16" if mixed else "float32")
    assert model.layers[-1].compute_dtype == "float32"
    assert {str(weight.dtype) for weight in model.weights} == {"float32"}
    assert ("bf16" if mixed else "fp32") in network.described


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning:keras", "ignore::UserWarning:keras")
def test_pretrained_weights_are_used_and_those_of_another_network_refused(
    bright_and_dark, tmp_path
):
    from scangan.evaluation.keras_networks import keras  # with torch behind it

    images, labels = (each[::16] for each in bright_and_dark)
    kept = keras.applications.MobileNetV2(
        include_top=False, weights=None, input_shape=(32, 32, 3), pooling="avg"
    )
    scores, described = [], set()
    for n, value in enumerate((0.0, 0.01)):
        kept.set_weights([np.full_like(each, value) for each in kept.get_weights()])
        file = tmp_path / "a.weights.h5"  # the same name for other weights
        kept.save_weights(file)
        network = make_classifier("mobilenetv2", cache=None, weights=file, steps=1)
        rows = network.sees(images)
        scores.append(network.scores(rows, labels, rows, 2, 0))
        described.add(network.described)
        assert len(described) == n + 1
    assert not np.allclose(*scores, atol=1e-4)
    with pytest.raises(EvaluationError, match="does not fit vgg16"):
        make_classifier("vgg16", cache=None, weights=file, steps=1).scores(rows, labels, rows, 2, 0)
    # VGG16 was trained on blue, green and red minus their means, the others on -1 to 1.
    grey = np.full((1, 2, 2), 255, np.uint8)
    fed = make_classifier("vgg16", cache=None, weights=file).fed(grey)
    assert fed[0, 0, 0] == pytest.approx([255 - 103.939, 255 - 116.779, 255 - 123.68])
    assert make_classifier("vgg16", cache=None).fed(grey)[0, 0, 0] == pytest.approx([1, 1, 1])
    assert network.fed(grey)[0, 0, 0] == pytest.approx([1, 1, 1])
