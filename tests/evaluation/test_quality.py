"""Quality of real scans, of faulty ones, and of what cannot be compared."""

import dataclasses
import json

import numpy as np
import pytest
from conftest import CLASSES
from faulty_sets import FAULTS, figures, use

from scangan.artifacts.records import parse_record, to_told, write_record
from scangan.core.errors import EvaluationError
from scangan.core.png import encode_png
from scangan.evaluation import features as module
from scangan.evaluation import quality_sets
from scangan.evaluation.cache import code
from scangan.evaluation.features import NETWORKS, installed
from scangan.evaluation.halves import group_halves, halved
from scangan.evaluation.judge_quality import QualityOptions, quality
from scangan.evaluation.metric_list import METRICS
from scangan.evaluation.quality_pixels import of_pixels
from scangan.evaluation.quality_result import QualityResult
from scangan.evaluation.quality_text import quality_lines
from scangan.evaluation.scan_set import ScanSet
from scangan.evaluation.utility_sets import split_for_test
from scangan.preprocessing import PrepOptions, prepare
from scangan.runtime.generator import ScanGenerator

pytestmark = pytest.mark.usefixtures("once")


@pytest.fixture(scope="module")
def real(prepared):
    return dataclasses.replace(ScanSet.of_dataset(prepared.path), name="real")


@pytest.fixture(scope="module")
def halves(real):
    first = group_halves(real.labels, real.groups, np.random.default_rng(0))
    other = real.take(np.flatnonzero(~first))
    return real.take(np.flatnonzero(first)), dataclasses.replace(other, name="other")


@pytest.fixture(scope="module")
def some(halves):
    """A few scans of two classes of each half, where the figures are not the point."""
    return [each.take(np.concatenate([each.of_class(k)[:16] for k in (0, 1)])) for each in halves]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def found(halves, cache):
    """The figures of each fault."""
    real, other = halves
    return {
        name: figures(real, fault(other), cache=cache, repeats=8) for name, fault in FAULTS.items()
    }


def value(found, fault, metric, scope=None):
    space, pixels = found[fault]
    figure = (space | pixels)[metric]
    return (figure.classes[scope] if scope else figure.overall).value


GOOD = "none: other real scans"


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_two_halves_of_one_real_set_are_alike(halves, cache, name):
    """KID is 0 and a classifier is right half of the time, within the intervals."""
    if name not in installed():
        pytest.skip("its wheel is not installed")
    real, other = halves
    if name == "dinov2-s":  # half a second a scan
        real, other = (s.take(np.concatenate([s.of_class(k)[:8] for k in (0, 2)])) for s in halves)
    options = QualityOptions((name,), cache=cache)
    space = quality(real, other, options).spaces[name].figures
    kid = space["kid"].overall
    assert kid.low <= 0 <= kid.high
    if "two_sample" in space:
        told = space["two_sample"].overall
        assert told.low <= 0.5 <= told.high


@pytest.mark.slow
def test_each_fault_shows_where_it_must(found):
    assert value(found, GOOD, "kid") < 0.1
    for fault in ("noise", "blurred", "a watermark"):
        assert value(found, fault, "two_sample") > 0.8, fault
        assert value(found, fault, "kid") > 3 * max(value(found, GOOD, "kid"), 0.03), fault
    assert value(found, "noise", "precision") < 0.1 and value(found, "noise", "recall") < 0.1
    assert value(found, "one image for each class", "recall") < 0.1
    assert value(found, "one image for each class", "ms_ssim", CLASSES[0]) == pytest.approx(1)
    assert value(found, "blurred", "recall") < value(found, GOOD, "recall") - 0.2
    swapped = "swapped labels"
    assert value(found, swapped, "agreement") < value(found, GOOD, "agreement") - 0.2
    assert value(found, swapped, "kid", CLASSES[0]) > 2 * abs(value(found, GOOD, "kid", CLASSES[0]))
    assert abs(value(found, swapped, "kid")) < 0.1  # over all classes, nothing shows
    collapsed = "one class collapsed"
    assert value(found, collapsed, "variety", CLASSES[0]) < 0.75
    assert value(found, collapsed, "recall", CLASSES[0]) < 0.2
    assert value(found, collapsed, "variety", CLASSES[1]) == pytest.approx(
        value(found, GOOD, "variety", CLASSES[1]), abs=0.01
    )


@pytest.mark.parametrize("count", [24, 25, 26, 27])
def test_pairs_are_drawn_from_all_classes_whatever_their_number(count):
    """One image for each class: a pair is of one class about as often as chance has it."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 2 * count)
    images = rng.integers(0, 256, (4, 64, 64), dtype=np.uint8)
    scans = ScanSet(images[labels], labels, CLASSES, "one image for each class")
    own = labels, np.arange(len(labels))
    splits = list(halved(own, own, 6))
    found = of_pixels(scans, scans, splits)["ms_ssim"]
    assert 0.15 < found.overall.value < 0.4  # a quarter, as noise has next to none with other noise
    assert all(each.value == pytest.approx(1) for each in found.classes.values())


@pytest.mark.slow
def test_a_classifier_learns_less_from_a_fault_the_worse_it_is(halves, cache):
    real, other = halves
    test, train = split_for_test(real)  # the larger part is the test
    learnt = {}
    for fault in (GOOD, "noise", "one image for each class", "blurred", "swapped labels"):
        learnt[fault], of_real = use(train, test, FAULTS[fault](other), cache=cache, threads=1)
    assert learnt[GOOD] > max(of_real, 0.6)  # there are more of them
    assert learnt["noise"] < 0.45 and learnt["swapped labels"] < 0.2  # chance is 0.25
    for fault in ("one image for each class", "blurred"):
        assert learnt[fault] < learnt[GOOD] - 0.1, fault


@pytest.fixture
def pixels_only(monkeypatch):
    """Cheap features, where the features are not the point."""

    def extract(self, images):
        return images[:, ::4, ::4].reshape(len(images), -1).astype(np.float32) / 255

    monkeypatch.setattr(module.FeatureExtractor, "__call__", extract)


def compare(real, synthetic, tmp_path, **options):
    return quality(real, synthetic, QualityOptions(cache=tmp_path, repeats=5, **options))


@pytest.mark.usefixtures("pixels_only")
def test_a_result_is_written_read_and_shown(halves, tmp_path):
    result = compare(*halves, tmp_path)
    write_record(tmp_path / "result.json", result)
    assert parse_record(QualityResult, (tmp_path / "result.json").read_bytes()) == result
    lines = "\n".join(quality_lines(result))
    assert all(metric.name in lines for metric in METRICS.values())
    assert "picks the checkpoint" in lines and "real: 120 real scans" in lines
    named = result.spaces["efficientnet-lite0"].named_as
    counts = halves[1].counts
    assert set(named) == set(CLASSES)
    for name, row in named.items():  # each scan once; the halves have equal numbers
        assert counts[name] - 2 <= sum(row.values()) <= counts[name]


def test_a_rare_class_is_drawn_whole_from_a_large_set(monkeypatch):
    monkeypatch.setattr(quality_sets, "MOST", 100)
    labels = np.repeat([0, 1, 2], [400, 20, 180])
    scans = ScanSet(np.zeros((600, 8, 8), np.uint8), labels, ("normal", "hernia", "mass"))
    real, made, notes = quality_sets.comparable(scans, scans, strict=False, seed=0)
    assert real.counts == made.counts == {"normal": 40, "hernia": 20, "mass": 40}
    assert sum("100 of 600 scans were drawn" in note for note in notes) == 2


@pytest.mark.usefixtures("pixels_only")
def test_a_class_that_drawing_leaves_with_one_subject_is_left_out(monkeypatch, tmp_path):
    monkeypatch.setattr(quality_sets, "MOST", 80)
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 200)
    groups = np.where(labels == 0, np.arange(400), 1000 + (np.arange(400) == 399))
    images = rng.integers(0, 255, (400, 16, 16), np.uint8)
    real = ScanSet(images, labels, ("a", "b"), "real", groups=groups)
    made = ScanSet(
        rng.integers(0, 255, (80, 16, 16), np.uint8), np.arange(80) % 2, ("a", "b"), "made"
    )
    result = compare(real, made, tmp_path)
    assert list(result.real.counts) == ["a"] and any("2 subjects" in n for n in result.notes)
    json.dumps(to_told(result), allow_nan=False)


@pytest.mark.usefixtures("pixels_only")
@pytest.mark.parametrize("carriers", [2, 3, 4, 5])
def test_slices_of_a_few_patients_with_a_rare_class(carriers, tmp_path):
    """Twenty patients with twelve slices each; a few of them have five slices with a tumour."""
    rng = np.random.default_rng(carriers)
    groups = np.repeat(np.arange(20), 12)
    labels = ((groups < carriers) & (np.arange(240) % 12 < 5)).astype(np.int64)
    images = rng.integers(0, 255, (480, 16, 16), np.uint8)
    real = ScanSet(images[:240], labels, ("none", "tumour"), "slices", groups=groups)
    made = ScanSet(images[240:], labels, ("none", "tumour"), "made")
    figures = compare(real, made, tmp_path).spaces["efficientnet-lite0"].figures
    if 5 * carriers >= quality_sets.LEAST:
        assert set(figures["agreement"].classes) == {"none", "tumour"}


@pytest.mark.usefixtures("pixels_only")
def test_the_same_scans_give_the_same_figures(some, tmp_path):
    assert compare(*some, tmp_path) == compare(*some, tmp_path / "other")


def test_scans_of_few_subjects_have_no_interval_instead_of_a_wrong_one(some, tmp_path):
    real, synthetic = some
    one = dataclasses.replace(real, groups=np.zeros(len(real), np.int64))
    for pair in ((one, synthetic), (synthetic, one)):
        with pytest.raises(
            EvaluationError, match="of 2 subjects or more; all scans of real are of one"
        ):
            compare(*pair, tmp_path)
    two = dataclasses.replace(real, groups=np.arange(len(real)) % 2)
    result = compare(two, synthetic, tmp_path)
    kid = result.spaces["efficientnet-lite0"].figures["kid"]
    for figure in (kid.overall, *kid.classes.values()):
        assert figure.low < figure.value < figure.high
        assert figure.real is figure.real_low is None  # a half of one subject
    json.dumps(to_told(result), allow_nan=False)
    # One class of one subject, and one of many.
    groups = np.where(real.labels == 0, 0, np.arange(len(real)) + 1)
    result = compare(dataclasses.replace(real, groups=groups), synthetic, tmp_path)
    assert list(result.real.counts) == [real.classes[1]]
    assert f"or 2 subjects on a side: {real.classes[0]}" in result.notes[-1]


def test_scans_that_are_all_the_same_have_figures_that_json_knows(some, tmp_path):
    real, synthetic = (
        dataclasses.replace(each, images=np.repeat(each.images[:1], len(each), axis=0))
        for each in some
    )
    for pair in ((real, some[1]), (real, synthetic), (some[0], synthetic)):
        json.dumps(to_told(compare(*pair, tmp_path)), allow_nan=False)


def test_repeated_synthetic_scans_are_scans_of_their_own(tmp_path):
    """A generator that collapsed makes them; a file that was copied says nothing new."""
    with ScanGenerator() as generator:
        image = generator.sample(1, 0)[0]
    for n in range(15):
        for folder in ("made", "real"):
            file = tmp_path / folder / "a" / f"{n}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(encode_png(image))
        with (tmp_path / "made" / "manifest.jsonl").open("a") as lines:
            lines.write(json.dumps({"file": f"a/{n}.png", "synthetic": True}) + "\n")
    groups = []
    for folder in ("made", "real"):
        prepare(tmp_path / folder, tmp_path / f"{folder}-64", PrepOptions(size=64))
        groups.append(len(np.unique(ScanSet.of_dataset(tmp_path / f"{folder}-64").groups)))
    assert groups == [15, 1]


def test_the_result_of_other_code_is_not_taken_for_that_of_this(some, tmp_path, monkeypatch):
    compare(*some, tmp_path)
    kept = set(tmp_path.iterdir())
    monkeypatch.setattr(
        "scangan.evaluation.cache.code", lambda *modules: code(*modules) if modules else "other"
    )
    compare(*some, tmp_path)
    assert len(set(tmp_path.iterdir()) - kept) == 1  # the result; features are read


def test_features_are_kept_and_a_damaged_cache_is_made_again(some, tmp_path, monkeypatch):
    calls = []

    def counting(_, images):
        calls.append(len(images))
        return images.reshape(len(images), -1)[:, ::8] / 255.0

    monkeypatch.setattr(module.FeatureExtractor, "__call__", counting)
    first = compare(*some, tmp_path)
    made = sum(calls)
    assert made == 64 and compare(*some, tmp_path) == first and sum(calls) == made
    files = list(tmp_path.glob("*.npz"))
    assert len(files) == 3  # features of both sets, and the result
    for damage in (
        lambda data: b"", lambda data: data[:200], lambda data: b"\0" * 5000, _with_a_bit_flipped
    ):  # fmt: skip
        for file in files:
            file.write_bytes(damage(file.read_bytes()))
        calls.clear()
        assert compare(*some, tmp_path) == first and sum(calls) == made


def _with_a_bit_flipped(data):
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


@pytest.mark.usefixtures("pixels_only")
def test_a_cache_that_cannot_be_written_only_costs_time(some, tmp_path):
    (tmp_path / "file").write_text("no folder")
    assert compare(*some, tmp_path / "file" / "cache") == compare(*some, tmp_path / "cache")


@pytest.mark.usefixtures("pixels_only")
def test_other_sizes_are_reduced_or_refused(some, tmp_path):
    real, other = some
    large = dataclasses.replace(other, images=other.images.repeat(2, 1).repeat(2, 2))
    result = compare(real, large, tmp_path)
    assert result.synthetic.size == real.size
    assert any("reduced to" in note for note in result.notes)
    alike = compare(real, other, tmp_path)
    assert result.pixels == alike.pixels  # repeated pixels average to themselves
    with pytest.raises(EvaluationError, match="omit --strict"):
        compare(real, large, tmp_path, strict=True)


@pytest.mark.usefixtures("pixels_only")
def test_another_preparation_is_said_or_refused(some, tmp_path):
    real, other = some
    changed = dataclasses.replace(other, settings=other.settings | {"equalize": "clahe"})
    note = "real was prepared with equalize none and other with clahe"
    assert note in compare(real, changed, tmp_path).notes
    with pytest.raises(EvaluationError, match=note):
        compare(real, changed, tmp_path, strict=True)


@pytest.mark.usefixtures("pixels_only")
def test_few_scans_mean_little(halves, tmp_path):
    real, other = halves
    few = other.take(np.concatenate([other.of_class(k)[:12] for k in (0, 1)]))
    result = compare(real, few, tmp_path)
    assert any("other has only 24 scans" in note for note in result.notes)
    assert any("left out" in note and CLASSES[3] in note for note in result.notes)
    fewer = other.take(np.concatenate([other.of_class(k)[:4] for k in range(4)]))
    assert any("compared at once" in note for note in compare(real, fewer, tmp_path).notes)
    with pytest.raises(EvaluationError, match=r"at least 12 scans on each side; .* other 5; add"):
        compare(real, other.take(np.arange(5)), tmp_path)


@pytest.mark.usefixtures("pixels_only")
def test_classes_of_one_side_are_left_out(halves, tmp_path):
    real, other = halves
    result = compare(real, other.with_classes(CLASSES[1:]), tmp_path)
    assert list(result.real.counts) == list(CLASSES[1:])
    assert any(
        f"left out 1 class that only real has: {CLASSES[0]}" in note for note in result.notes
    )
    strange = dataclasses.replace(other, classes=("a", "b", "c", "d"))
    with pytest.raises(EvaluationError, match="no class in common"):
        compare(real, strange, tmp_path)
    bare = compare(real, other.without_classes(), tmp_path)
    assert not bare.real.counts and any("compared at once" in note for note in bare.notes)


@pytest.mark.usefixtures("pixels_only")
def test_synthetic_scans_among_the_real_ones_are_refused(halves, tmp_path):
    real, other = halves
    marked = dataclasses.replace(real, synthetic=np.arange(len(real)) < 2)
    with pytest.raises(EvaluationError, match="real holds 2 synthetic scans"):
        compare(marked, other, tmp_path)


@pytest.mark.parametrize(
    ("images", "wrong"),
    [(np.zeros((0, 8, 8), np.uint8), "no scans"), (np.zeros((3, 8, 8)), "uint8")],
)
def test_what_is_no_set_of_scans_is_refused(images, wrong):
    with pytest.raises(EvaluationError, match=wrong):
        ScanSet(images, np.zeros(len(images), np.int64))


def test_options_out_of_range_are_refused():
    with pytest.raises(EvaluationError, match="5 to 1000"):
        QualityOptions(repeats=4)
    with pytest.raises(EvaluationError, match="at least one"):
        QualityOptions(extractors=())
