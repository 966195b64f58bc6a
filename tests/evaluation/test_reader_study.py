"""A blind reader study: its page, its key, and what readers' answers say."""

import base64
import io
import json
import re

import cv2
import numpy as np
import pytest
from browser import AXE, barriers, chromium, needs_chromium, opened
from click.testing import CliRunner
from conftest import BRAIN, CLASSES, export_random
from msgspec.structs import replace
from PIL import Image
from programs import main_of
from sklearn.metrics import cohen_kappa_score

from scangan.artifacts.reader_study import (
    Answer,
    StudyKey,
    StudyResult,
    StudyScan,
    read_key,
    read_result,
)
from scangan.artifacts.records import write_record
from scangan.core.errors import EvaluationError
from scangan.evaluation.reader_study import judge_study
from scangan.preprocessing import PrepOptions, SourceOptions, prepare
from scangan.runtime import ScanGenerator, demo, study
from scangan.runtime.study import doubts

needs_script = pytest.mark.skipif(
    not demo.SCRIPT.is_file(), reason="the page's script was not built (it needs npm)"
)


def a_key(count=40, classes=("cat", "dog")):
    """A key: every other scan is real."""
    scans = tuple(
        StudyScan(id=f"{n:x}", real=n % 2 == 0, class_name=classes[n // 2 % 2], source="x")
        for n in range(count)
    )
    return StudyKey(format_version=1, study="5", model="a" * 64, name="m", seed=3, scans=scans)


def a_result(key, reader, answers):
    """What a reader's page would save."""
    given = tuple(
        Answer(id=scan.id, answer=answer, ms=1000 * (n + 1))
        for n, (scan, answer) in enumerate(zip(key.scans, answers, strict=True))
    )
    unsealed = StudyResult(
        format_version=1, study=key.study, reader=reader, started="2026", answers=given, check=""
    )
    return replace(unsealed, check=unsealed.computed_check)


def truth(key):
    return ["real" if scan.real else "synthetic" for scan in key.scans]


def test_figures_are_those_by_hand():
    key = a_key(40)
    answers = truth(key)
    for n in (0, 1, 2, 3, 4, 6):  # wrong: four real ones, two synthetic ones
        answers[n] = {"real": "synthetic", "synthetic": "real"}[answers[n]]
    answers[10] = answers[13] = "unsure"  # one of each kind
    found = judge_study(key, [a_result(key, "A", answers)])
    (reader,) = found.readers
    assert reader.unsure == 2 and reader.seconds == 20.5
    assert reader.accuracy.value == pytest.approx(32 / 38)
    # Wilson (1927): (p + z^2/2n -+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)
    p, n, z = 32 / 38, 38, 1.959964
    middle, reach = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert reader.accuracy.low == pytest.approx((middle - reach) / (1 + z**2 / n), abs=1e-6)
    assert reader.accuracy.high == pytest.approx((middle + reach) / (1 + z**2 / n), abs=1e-6)
    assert reader.real.value == pytest.approx(15 / 19)
    assert reader.synthetic.value == pytest.approx(17 / 19)
    assert reader.p == pytest.approx(2 * sum(_choose(38, k) for k in range(7)) / 2**38)
    # Cats are scans 0, 1, 4, 5, ...: three of 0, 1, 4 are wrong, and 13 is unsure.
    assert reader.classes["cat"].value == pytest.approx(16 / 19)
    assert reader.classes["dog"].value == pytest.approx(16 / 19)
    assert found.accuracy == reader.accuracy and found.kappas == ()
    assert "One reader judged 40 scans, 20 real and 20 made by m" in found.paragraph
    assert "84.2%" in found.paragraph and "5.0% were" in found.paragraph


def _choose(n, k):
    return int(np.prod([(n - i) / (i + 1) for i in range(k)]).round())


def test_kappa_is_scikit_learns_and_the_interval_covers_what_guessing_gives():
    key, rng = a_key(200), np.random.default_rng(0)
    given = rng.choice(["real", "synthetic", "unsure"], (3, 200), p=[0.45, 0.45, 0.1])
    given[1] = np.where(rng.random(200) < 0.7, given[0], given[1])
    found = judge_study(key, [a_result(key, str(n), each) for n, each in enumerate(given)])
    assert [pair.readers for pair in found.kappas] == [("0", "1"), ("0", "2"), ("1", "2")]
    for pair, (a, b) in zip(found.kappas, ((0, 1), (0, 2), (1, 2)), strict=True):
        assert pair.kappa == pytest.approx(cohen_kappa_score(given[a], given[b]))
    assert found.kappas[0].kappa > 0.5 > 0.2 > abs(found.kappas[1].kappa)
    assert found.accuracy.low < 0.5 < found.accuracy.high
    assert "(bootstrap over scans)" in found.paragraph
    sure = given != "unsure"
    right = (given == truth(key)) & sure
    assert found.accuracy.value == pytest.approx(right.sum() / sure.sum())


def test_the_interval_of_readers_who_agree_is_no_narrower_than_that_of_one():
    key, rng = a_key(100), np.random.default_rng(1)
    answers = np.where(rng.random(100) < 0.6, truth(key), "real")
    one = judge_study(key, [a_result(key, "a", answers)]).accuracy
    four = judge_study(key, [a_result(key, name, answers) for name in "abcd"]).accuracy
    assert four.value == one.value
    assert four.high - four.low > 0.8 * (one.high - one.low)


def test_perfect_readers_have_an_interval_and_equal_names_are_numbered():
    key = a_key(30)
    found = judge_study(key, [a_result(key, "AB", truth(key)) for _ in range(3)])
    assert [each.reader for each in found.readers] == ["AB", "AB (2)", "AB (3)"]
    assert found.accuracy == found.readers[0].accuracy and 0.85 < found.accuracy.low < 0.95
    assert found.classes["cat"].low < found.accuracy.low
    assert "(Wilson's interval)" in found.paragraph


def test_readers_who_are_always_unsure_or_always_agree_have_no_figures():
    key = a_key(10)
    found = judge_study(key, [a_result(key, name, ["unsure"] * 10) for name in "ab"])
    assert found.accuracy is None and found.readers[0].p is None
    assert found.kappas[0].kappa is None and "All answers were" in found.paragraph


def _study(tmp_path, key, *results):
    """Type the command."""
    write_record(tmp_path / "s.key.json", key)
    files = []
    for n, result in enumerate(results):
        files.append(str(tmp_path / f"{n}.json"))
        write_record(tmp_path / f"{n}.json", result)
    words = ["study", *files, "--key", str(tmp_path / "s.key.json")]
    return CliRunner().invoke(main_of("scangan"), words)


def test_the_command_shows_readers_classes_and_a_paragraph(tmp_path):
    key = a_key(40)
    done = _study(tmp_path, key, a_result(key, "A", truth(key)), a_result(key, "B", ["real"] * 40))
    assert done.exit_code == 0
    lines = done.output.splitlines()
    assert re.match(r"A +100% \(91% to 100%\) +100% +100% +0 +20\.5 +<0\.001", lines[1])
    assert re.match(r"B +50% \(35% to 65%\) +100% +0% +0 +20\.5 +1\.000", lines[2])
    assert lines[3].startswith("all     75%") and any(line.startswith("dog") for line in lines)
    assert "Cohen's kappa of A and B: 0.00" in lines
    assert lines[-1].startswith("2 readers judged 40 scans")


def test_files_that_are_not_these_results_are_refused(tmp_path):
    key = a_key(10)
    good = a_result(key, "A", truth(key))

    def said(*results):
        done = _study(tmp_path, key, *results)
        assert done.exit_code == 1 and done.output.count("\n") == 1
        return done.output

    assert "0.json was edited or damaged" in said(replace(good, reader="B"))
    changed = (replace(good.answers[0], answer="unsure"), *good.answers[1:])
    assert "0.json was edited or damaged" in said(replace(good, answers=changed))
    fewer = replace(good, answers=good.answers[:-1])
    assert "edited or damaged" in said(replace(fewer, check=fewer.computed_check))
    assert "0.json belongs to another study ('9'; this key is for 5)" in said(
        replace(good, study="9")
    )
    assert "1.json and " in (twice := said(good, good)) and "are the same results" in twice
    newer = replace(good, format_version=2)
    assert "0.json was made by a newer scangan" in said(newer)
    assert "0.json is not a reader's results" in said(key)
    half = tmp_path / "half.json"
    write_record(half, good)
    half.write_text(half.read_text().replace('"A"', r'"\ud800"'))  # half of a surrogate pair
    with pytest.raises(EvaluationError, match=r"half.json was edited or damaged"):
        read_result(half, key)
    nested = tmp_path / "nested.json"
    nested.write_text("[" * 100_000)
    with pytest.raises(EvaluationError, match="is not a reader's results"):
        read_result(nested, key)
    for other in ("[]", '{"format_version": 99}'):  # such as a newer dataset.json
        (tmp_path / "x.json").write_text(other)
        with pytest.raises(EvaluationError, match="not the key of a study"):
            read_key(tmp_path / "x.json")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model with the classes and the size of the sample scans."""
    return export_random(tmp_path_factory.mktemp("model") / "brain.onnx", CLASSES)


@pytest.fixture
def demo_of(tmp_path):
    """Type ``scangan demo``."""

    def call(model, *words):
        out = tmp_path / "s.html"
        done = CliRunner().invoke(
            main_of("scangan"), ["demo", str(model), "-o", str(out), *map(str, words)]
        )
        return done, out

    return call


@needs_script
def test_a_study_shows_as_many_real_scans_and_its_page_tells_nothing(
    prepared, model, demo_of, tmp_path
):
    done, out = demo_of(model, "--study", prepared.path, "--count", 42)
    assert done.exit_code == 0, done.output
    assert done.output.splitlines()[-1] == f"a study of 42 scans; it shows real patients: {out}"
    key = read_key(tmp_path / "s.key.json")
    by_kind = [[s.class_name for s in key.scans if s.real is real] for real in (True, False)]
    assert sorted(by_kind[0]) == sorted(by_kind[1]) and len(by_kind[0]) == 21
    counts = [by_kind[0].count(name) for name in prepared.classes]
    assert max(counts) - min(counts) <= 1
    order = [scan.real for scan in key.scans]
    assert order != sorted(order) and order != sorted(order, reverse=True)
    page = out.read_text("utf-8")
    facts = json.loads(re.search(r'id="facts">(.*?)</script>', page)[1])
    assert {name for scan in facts["scans"] for name in scan} == {"id", "class", "png"}
    assert all(scan.source not in page for scan in key.scans if scan.real)
    assert str(key.seed) not in page and key.model not in page
    assert "wasm-unsafe-eval" not in page and "unsafe-inline" not in page
    assert "scans of real patients" in page
    real = {f"{item.file}#{item.frame}": n for n, item in enumerate(prepared.items)}
    made = ScanGenerator(model)
    for scan, shown in zip(key.scans, facts["scans"], strict=True):
        assert (shown["id"], shown["class"]) == (scan.id, scan.class_name)
        png = base64.b64decode(shown["png"])
        image = cv2.imdecode(np.frombuffer(png, np.uint8), 0)
        (opened_png := Image.open(io.BytesIO(png))).load()
        assert not opened_png.info
        if scan.real:
            want = prepared.images[real[scan.source]]
        else:
            (want,) = made.sample(1, scan.class_name, seed=key.seed, start=int(scan.source))
        assert np.array_equal(image, want)
    assert len({scan.source for scan in key.scans if scan.real}) == 21

    for more in ([], ["--force"]):  # which would not help
        again, _ = demo_of(model, "--study", prepared.path, "--count", 42, *more)
        assert again.exit_code == 2 and "the only record of a study's answers" in again.output
    assert read_key(tmp_path / "s.key.json") == key and out.read_text("utf-8") == page


@needs_script
def test_doubts_about_the_real_scans_are_said(tmp_path):
    size = PrepOptions(size=32, window="0,200", fit="stretch")
    real = prepare(BRAIN, tmp_path / "real", size)
    with ScanGenerator("brain-mri-64") as generator:
        said = doubts(generator, real)
        assert len(said) == 2 and all("readers may see that" in each for each in said)
        assert any("fit stretch, and the model's scans with pad" in each for each in said)
        object.__setattr__(generator.card, "preprocessing", {})
        object.__setattr__(generator.card, "dataset_fingerprint", real.fingerprint)
        assert ["was trained on" in each for each in doubts(generator, real)] == [True]


@needs_script
def test_no_two_real_scans_of_a_study_are_of_one_patient(model, demo_of, tmp_path):
    """Patients have scans of several classes; only one way leaves each class its four."""
    for n, name in enumerate(CLASSES):
        for k in range(4 * (n + 1)):
            folder = tmp_path / "in" / name
            folder.mkdir(parents=True, exist_ok=True)
            grey = np.random.default_rng(100 * n + k).integers(0, 256, (32, 32), np.uint8)
            cv2.imwrite(str(folder / f"patient{k:02}.png"), grey)
    sources = SourceOptions(subjects=r"(patient\d\d)")
    real = prepare(tmp_path / "in", tmp_path / "real", PrepOptions(size=32), sources=sources)
    done, _ = demo_of(model, "--study", real.path, "--count", 32)
    assert done.exit_code == 0, done.output
    shown = [scan for scan in read_key(tmp_path / "s.key.json").scans if scan.real]
    patients = {scan.source.split("patient")[1][:2]: scan.class_name for scan in shown}
    assert len(shown) == len(patients) == 16
    assert all(patients[f"{k:02}"] == CLASSES[k // 4] for k in range(16))
    (tmp_path / "s.key.json").unlink()
    (tmp_path / "s.html").unlink()
    few, out = demo_of(model, "--study", real.path, "--count", 40)
    assert "has 4 real scans of" in few.output and "of different patients or files" in few.output
    assert not out.exists() and not (tmp_path / "s.key.json").exists()


def test_each_patient_is_as_likely_to_be_shown(tmp_path):
    """Two of them have 20 scans each, the other 18 have one."""
    rng = np.random.default_rng(0)
    for k in range(58):
        path = (
            tmp_path / f"in/{CLASSES[0]}/patient{min(k, 20) if k < 20 else 18 + k % 2:02}_{k}.png"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), rng.integers(0, 256, (32, 32), np.uint8))
    sources = SourceOptions(subjects=r"(patient\d\d)")
    real = prepare(tmp_path / "in", tmp_path / "real", PrepOptions(size=32), sources=sources)
    many = set(np.flatnonzero(np.bincount(real.groups) > 1).tolist())
    assert len(many) == 2 and len(set(real.groups.tolist())) == 20
    shown = 0
    for seed in range(200):
        ((*chosen,),) = study._choose(real, [CLASSES[0]], [5], 10, np.random.default_rng(seed))
        shown += sum(int(real.groups[row]) in many for row in chosen)
    assert 60 < shown < 145  # of 1,000: 100, give or take 20


@needs_script
def test_a_study_that_cannot_be_made_is_refused(prepared, model, tiny_acgan, demo_of, tmp_path):
    def said(name, *words):
        done, out = demo_of(name, *words)
        assert done.exit_code != 0 and not out.exists()
        return done.output

    real = prepared.path
    assert "must be even, from 10 to 1000" in said(model, "--study", real, "--count", 11)
    few = said(model, "--study", real, "--count", 1000)
    assert re.search(
        r"has \d+ real scans of \w+ of different patients or files, and a study of 1000 shows 125",
        few,
    )
    assert "prepare them again with --size 64" in said("brain-mri-64", "--study", real)
    assert "has no class cat, which the model makes; its classes: " in said(
        tiny_acgan, "--study", real
    )
    assert "add --study REAL" in said(model, "--count", 20)
    assert "is not a prepared dataset" in said(model, "--study", tmp_path / "none")
    (tmp_path / "s.key.json").write_text("mine")
    assert "s.key.json exists" in said(model, "--study", real)
    assert (tmp_path / "s.key.json").read_text() == "mine"


@needs_script
@needs_chromium
def test_a_study_is_taken_from_its_first_screen_to_its_figures(prepared, model, demo_of, tmp_path):
    done, out = demo_of(model, "--study", prepared.path, "--count", 12)
    assert done.exit_code == 0, done.output
    key = read_key(tmp_path / "s.key.json")
    answers = truth(key)
    answers[3], answers[7] = "unsure", "synthetic" if key.scans[7].real else "real"
    with chromium() as browser, opened(browser, out, accept_downloads=True) as (page, wrong):
        assert "real patients" in page.inner_text("#intro")
        assert not AXE.exists() or barriers(page) == []
        page.click("#intro button")  # without a name
        assert page.is_hidden("#question")
        page.fill("#reader", "Dr. Ü")
        page.keyboard.press("Enter")
        for n, answer in enumerate(answers):
            page.wait_for_function(
                "n => document.getElementById('place').textContent === `Scan ${n} of 12`", arg=n + 1
            )
            assert page.inner_text("#said-to-be") == f"Class: {key.scans[n].class_name}"
            page.wait_for_selector("[data-answer=real]:enabled")
            page.wait_for_timeout(60)  # for the scan to be looked at
            assert n or not AXE.exists() or barriers(page) == []
            if n == 5:
                page.keyboard.press("x")  # means nothing
            if n % 2:
                page.click(f"[data-answer={answer}]")
            else:
                page.keyboard.press(answer[0].upper() if n % 4 else answer[0])
        page.wait_for_selector("#end:not([hidden])")
        page.keyboard.press("r")  # one too many
        with page.expect_download() as download:
            page.click("#save")
        assert download.value.suggested_filename == f"study-{key.study}-Dr-Ü.json"
        result = tmp_path / "result.json"
        download.value.save_as(result)
        assert not wrong
    assert [each["answer"] for each in json.loads(result.read_text())["answers"]] == answers
    told = CliRunner().invoke(
        main_of("scangan"), ["study", str(result), "--key", str(tmp_path / "s.key.json"), "--json"]
    )
    (reader,) = json.loads(told.output)["readers"]
    assert reader["reader"] == "Dr. Ü" and reader["unsure"] == 1
    assert reader["accuracy"]["value"] == pytest.approx(10 / 11) and reader["seconds"] >= 0.06
