"""The report of all evaluations: what it shows, what it must not show, and how it looks in a browser."""

import base64
import dataclasses
import itertools
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from browser import chromium, needs_chromium, opened
from evaluation_progress import Progress
from evaluation_scans import sample_scans, three_parts, with_copies
from msgspec import structs

from scangan.artifacts.records import parse_record
from scangan.artifacts.suspects import SUSPECTS
from scangan.core.errors import EvaluationError
from scangan.evaluation.diets import DIETS
from scangan.evaluation.file_names import HTML, MARKDOWN, PICTURE, RESULT
from scangan.evaluation.judge_privacy import PrivacyOptions
from scangan.evaluation.judge_quality import QualityOptions
from scangan.evaluation.judge_utility import UtilityOptions
from scangan.evaluation.judgement import JudgeOptions, judge_all
from scangan.evaluation.metric_list import METRICS
from scangan.evaluation.quality_result import Figure, Figures
from scangan.evaluation.report import plots
from scangan.evaluation.report import write as report_page
from scangan.evaluation.report.anonymous import anonymous
from scangan.evaluation.report.blocks import Matrix
from scangan.evaluation.report.pictures import real_beside_synthetic
from scangan.evaluation.report.quality_sections import reading, verdict
from scangan.evaluation.report.render import TEMPLATES
from scangan.evaluation.report.write import Provenance, ReportResult, write_report
from scangan.evaluation.utility_result import CurvePoint, DietResult, Estimate
from scangan.runtime.generator import ScanGenerator

TRAIN, HOLDOUT, OTHERS = (
    dataclasses.replace(part, name=f"/ward 7/{part.name}") for part in three_parts(sample_scans())
)
# Half of these are copies of training scans.
SYNTHETIC = dataclasses.replace(with_copies(OTHERS, TRAIN, 40)[0], name="made", sources=())
pytestmark = pytest.mark.usefixtures("once")
A4 = 718  # pixels of CSS between margins of 1 cm


@pytest.fixture(scope="module")
def options(tmp_path_factory):
    cache = tmp_path_factory.mktemp("cache")
    return JudgeOptions(
        QualityOptions(("efficientnet-lite0",), repeats=5, threads=1, cache=cache),
        UtilityOptions(seeds=1, fractions=(0.5, 1), drop_leaks=True, threads=1, cache=cache),
        PrivacyOptions(planted=10, resamples=100, threads=1, cache=cache),
    )


@pytest.fixture(scope="module")
def progress():
    return Progress()


@pytest.fixture(scope="module")
def judged(options, progress):
    return judge_all(HOLDOUT, SYNTHETIC, TRAIN, options, track=progress)


@pytest.fixture(scope="module")
def report(judged, options, tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    with ScanGenerator() as generator:
        provenance = Provenance("eval-scans report a b", generator.file, "2026-01-31")
    cache = options.quality.cache
    write_report(out, judged, HOLDOUT, SYNTHETIC, TRAIN, provenance=provenance, cache=cache)
    return out


@pytest.fixture(scope="module")
def without_real_images(options, tmp_path_factory):
    out = tmp_path_factory.mktemp("anonymous")
    # Each real set has a class that the synthetic scans lack, named as a folder of a patient.
    real, train = (_with_class(scans, f"ward {n}") for n, scans in enumerate((HOLDOUT, TRAIN)))
    made = dataclasses.replace(SYNTHETIC, name="/ward 7/made")
    real, made, train = anonymous(real, made, train)
    judged = judge_all(real, made, train, options)
    cache = options.quality.cache
    write_report(out, judged, real, made, train, real_images=False, cache=cache)
    return out


def _with_class(scans, name):
    """The same scans, but the last two of another class."""
    labels = scans.labels.copy()
    labels[-2:] = len(scans.classes)
    return dataclasses.replace(scans, labels=labels, classes=(*scans.classes, name))


class _Page(HTMLParser):
    """The elements of a page; it must close what it opens."""

    EMPTY = ("meta", "img", "br", "link", "path", "use")

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.elements = [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in self.EMPTY:
            assert self.open.pop() == tag

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def _pictures(out):
    """The pictures of a page, uint8 [H, W], by their alternative text."""
    found = {}
    for image in _Page((out / HTML).read_text()).all("img"):
        kind, _, data = image["src"].partition(",")
        assert kind == "data:image/png;base64"
        pixels = np.frombuffer(base64.b64decode(data), np.uint8)
        found[image["alt"]] = cv2.imdecode(pixels, cv2.IMREAD_GRAYSCALE)
    return found


def _is_in(scan, picture):
    """Whether a scan of 64 pixels is one of those in a picture."""
    step = len(scan) + 2
    places = [
        picture[y : y + len(scan), x : x + len(scan)]
        for y in range(0, picture.shape[0], step)
        for x in range(0, picture.shape[1], step)
    ]
    return any(np.array_equal(scan, place) for place in places)


def test_one_file_holds_all_and_asks_for_nothing(report):
    text = (report / HTML).read_text()
    page = _Page(text)
    assert not page.all("script") and not page.all("link")
    for tag in ("img", "use", "a", "image"):
        for attributes in page.all(tag):
            for name in ("src", "href", "xlink:href"):
                assert attributes.get(name, "#").startswith(("#", "data:"))
    assert "default-src 'none'" in page.all("meta")[3]["content"]
    assert all(image["alt"] for image in page.all("img"))
    assert all(each["aria-label"] for each in page.all("div") if each.get("role"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_it_says_what_matters_first(report, judged):
    words = re.sub(r"<[^>]+>", " ", (report / HTML).read_text().split("</style>")[1])
    said = " ".join(words.split())
    assert said.startswith("This report shows scans of real patients.")
    result = parse_record(ReportResult, (report / RESULT).read_text())
    assert list(result.verdict) == ["Quality", "Utility", "Privacy"]
    for sentence in result.verdict.values():
        assert sentence in said and sentence in (report / MARKDOWN).read_text()
    count = len(judged.privacy.suspects)
    assert count >= 38 and f"{count} of {len(SYNTHETIC)} synthetic scans are susp" in said
    assert result.judgement == judged
    assert result.command == "eval-scans report a b" and result.versions["scangan"]


def test_every_figure_is_there_with_its_interval_its_trap_and_its_paper(report, judged):
    text = (report / MARKDOWN).read_text()
    space = judged.quality.spaces["efficientnet-lite0"]
    bibtex = text.split("## References")[1]
    for key, metric in METRICS.items():
        figures = (space.figures | judged.quality.pixels)[key]
        low, high = (
            metric.shown(each).removesuffix(metric.unit)
            for each in (figures.overall.low, figures.overall.high)
        )
        assert (
            f"| {metric.name} | {metric.shown(figures.overall.value)} ({low} to {high}) |" in text
        )
        assert metric.trap in text
        assert not metric.cites or f"{{{metric.cites}," in bibtex
    for diet in judged.utility.diets:
        assert f"| {diet.diet} | {diet.n_train} |" in text
    for level in judged.privacy.sensitivity:
        assert f"{level.change} {level.found} of {level.planted}" in text
    for name in re.findall(r"\]\(plots/(.*?)\)", text):
        assert (report / "plots" / name).read_text().startswith("<svg")
    assert "CC0" in text or "licence of the training scans" in text


def test_real_and_synthetic_scans_stand_side_by_side(report, judged):
    pictures = _pictures(report)
    for k, name in enumerate(HOLDOUT.classes):
        for scans, what in ((HOLDOUT, "real"), (SYNTHETIC, "synthetic")):
            (picture,) = (
                p for alt, p in pictures.items() if f"{what} scans of class {name}" in alt
            )
            shown = [n for n in scans.of_class(k) if _is_in(scans.images[n], picture)]
            assert len(shown) == 8
    first = judged.privacy.suspects[0]
    pair = next(p for alt, p in pictures.items() if f"synthetic scan {first.synthetic}." in alt)
    assert np.array_equal(pair[:, :64], SYNTHETIC.images[first.index])
    assert np.array_equal(pair[:, -64:], TRAIN.images[first.train_index])


def test_without_real_images_nothing_of_a_patient_is_shown_or_named(without_real_images):
    out = without_real_images
    pictures = _pictures(out)
    assert pictures and all("synthetic scan" in alt for alt in pictures)
    for scans in (HOLDOUT, TRAIN):
        assert not any(_is_in(scan, p) for scan in scans.images for p in pictures.values())
    result = parse_record(ReportResult, (out / RESULT).read_text())
    for pair in result.judgement.privacy.suspects:  # a copy of a patient's scan is one
        assert not any(_is_in(SYNTHETIC.images[pair.index], p) for p in pictures.values())
    files = [each.read_text() for each in out.rglob("*") if each.is_file()]
    assert len(files) > 5
    for text in files:
        assert not any(source in text for source in (*HOLDOUT.sources, *TRAIN.sources))
        assert "ward" not in text
    assert "This report shows no real scan." in (out / HTML).read_text()
    text = (out / MARKDOWN).read_text()
    assert text.startswith("# Evaluation of made\n") and "other class 1" in text


def test_a_report_in_the_folder_of_an_older_one_leaves_nothing_of_it(report, options, tmp_path):
    """Its suspects name real files, and its plots may be of other networks."""
    out = tmp_path / "out"
    shutil.copytree(report, out)
    for name in ("plots/mine.svg", "notes.txt"):
        (out / name).touch()
    assert (out / SUSPECTS).exists() and (out / "plots" / "planted.svg").exists()
    real, made, _ = anonymous(HOLDOUT, SYNTHETIC)
    judged = judge_all(real, made, None, options)
    write_report(out, judged, real, made, real_images=False, cache=options.quality.cache)
    drawn = re.findall(r"\]\(plots/(.*?)\)", (out / MARKDOWN).read_text())
    assert {file.name for file in (out / "plots").iterdir()} == {"mine.svg", *drawn}
    assert {file.name for file in out.iterdir()} == {
        "plots", "notes.txt", HTML, MARKDOWN, RESULT
    }  # fmt: skip
    text = (out / HTML).read_text()
    assert "They were not checked for copies of training scans" in text
    (out / PICTURE).touch()  # of eval-scans privacy
    with pytest.raises(EvaluationError, match=r"suspects\.png shows real scans; .* --out"):
        write_report(out, judged, real, made, real_images=False, cache=options.quality.cache)


def test_an_own_network_is_named_without_its_folder(judged):
    (space,) = judged.quality.spaces.values()
    names = ("dinov2-s", "/ward/a.onnx", "b/a.onnx", "/ward/a.onnx:/in/ner", "a/b.onnx")
    spaces = {
        name: structs.replace(space, extractor=name, source=name.removesuffix(":/in/ner"))
        for name in names
    }
    shown = structs.replace(judged.quality, spaces=spaces).without_folders().spaces
    assert list(shown) == ["dinov2-s", "a.onnx", "a.onnx (2)", "a.onnx:/in/ner", "b.onnx"]
    for name, each in shown.items():
        assert each.extractor == name and each.figures == space.figures
    sources = [each.source for each in shown.values()]
    assert sources == ["dinov2-s", "a.onnx", "a.onnx", "a.onnx", "b.onnx"]


@pytest.mark.usefixtures("judged")
def test_progress_of_each_part_is_shown_in_its_own_unit(progress):
    assert progress.shown == [
        "extracting features, efficientnet-lite0: scans",
        "training probe: classifiers",
        "comparing with the training scans: scans",
    ]
    assert progress.done == progress.totals and min(progress.done) > 0


def test_what_was_judged_before_is_read_from_the_cache(judged, options, monkeypatch):
    def never(*_):
        raise AssertionError

    for name in ("judge_quality._quality", "judge_utility._utility", "judge_privacy._result"):
        monkeypatch.setattr(f"scangan.evaluation.{name}", never)
    assert judge_all(HOLDOUT, SYNTHETIC, TRAIN, options, track=never) == judged
    with pytest.raises(AssertionError):  # another set is not read from it
        judge_all(HOLDOUT, dataclasses.replace(SYNTHETIC, name="other"), TRAIN, options)


def test_without_training_scans_only_quality_is_judged(options, tmp_path):
    judged = judge_all(HOLDOUT, SYNTHETIC, None, options)
    assert judged.utility is None and judged.privacy is None
    result = write_report(tmp_path, judged, HOLDOUT, SYNTHETIC, cache=options.quality.cache)
    assert "--train" in result.verdict["Utility"] and "--train" in result.verdict["Privacy"]
    text = (tmp_path / MARKDOWN).read_text()
    assert "Membership inference, with" not in text and "Balanced accuracy" not in text


def test_scans_without_classes_are_judged_but_for_their_use(options, tmp_path):
    sets = [each.without_classes() for each in (HOLDOUT, SYNTHETIC, TRAIN)]
    judged = judge_all(*sets, options)
    result = write_report(tmp_path, judged, *sets, cache=options.quality.cache)
    assert judged.utility is None and "two classes" in result.verdict["Utility"]
    assert "planted copies were found" in result.verdict["Privacy"]
    assert any("real scans, drawn at random" in alt for alt in _pictures(tmp_path))


def test_sets_of_which_one_has_no_classes_stand_side_by_side():
    bare, made = HOLDOUT.without_classes(), SYNTHETIC.without_classes()
    for real, synthetic in ((bare, SYNTHETIC), (HOLDOUT, made)):
        pictures = real_beside_synthetic(real, synthetic, frozenset(), show_real=True)
        assert [each.caption for each in pictures] == ["Real scans", "Synthetic scans"]


def test_a_class_without_scans_is_not_one_that_all_sets_have(options):
    """A subset of a split may have no scan of a class, and still its name."""
    made = SYNTHETIC.take(np.tile(SYNTHETIC.of_class(0), 2))
    judged = judge_all(HOLDOUT, made, TRAIN, options)
    assert judged.utility is None and judged.privacy


def test_sets_that_cannot_be_compared_are_refused_before_the_long_work(options, monkeypatch):
    monkeypatch.setattr("scangan.evaluation.judgement.quality", None)
    with pytest.raises(EvaluationError, match="15 scans; this needs at least 20"):
        judge_all(HOLDOUT.take(np.arange(15)), SYNTHETIC, TRAIN, options)
    with pytest.raises(EvaluationError, match="are training scans"):
        judge_all(TRAIN, SYNTHETIC, TRAIN, options)


def _figure(value, **more):
    return Figure(value=value, low=value - 0.1, high=value + 0.1, n_real=9, n_synthetic=9, **more)


def test_a_verdict_is_whole_sentences_whatever_could_be_measured(judged):
    """Large groups leave KID alone, which needs no halves."""
    space = judged.quality.spaces["efficientnet-lite0"]
    for keys, said in (
        (["kid"], r"checkpoints\), KID x1000 is [^,.]*\.$"),
        (
            ["kid", "recall"],
            r"checkpoints\), KID x1000 is [^,.]*\. \d+%[^.]* like them \(real \d+%\)\.$",
        ),
    ):
        figures = {key: Figures(space.figures[key].overall) for key in keys}
        alone = structs.replace(space, figures=figures)
        assert re.search(said, verdict(structs.replace(judged.quality, spaces={"one": alone})))


def test_a_report_says_why_a_classifier_could_not_gain(options, tmp_path):
    sets = HOLDOUT.take(HOLDOUT.of_class(0)), SYNTHETIC, TRAIN
    found = judge_all(*sets, options)
    assert found.utility is None and "a classifier needs two classes" in found.why_no_utility
    assert found.privacy
    write_report(tmp_path, found, *sets, cache=options.quality.cache)
    assert f"Not evaluated: {found.why_no_utility}." in (tmp_path / MARKDOWN).read_text()


def test_a_class_whose_name_begins_with_an_underscore_is_in_the_legend():
    figures = {name: _figure(0.5, real=0.5, real_low=0.4, real_high=0.6) for name in ("_n", "p")}
    points, labels = np.eye(4, 2), np.array([0, 0, 1, 1])
    for plot in (
        plots.precision_recall("s", figures, figures),
        plots.feature_map("s", points, points, labels, ("_n", "p"), 0.5),
    ):
        assert re.search(r"> ?_n<", plot.svg)


def test_plots_of_many_classes_with_long_names_differ_by_more_than_colour(recwarn):
    names = [f"{'a long name ' * 12}{k}" for k in range(12)]
    figures = {name: _figure(0.5, real=0.5, real_low=0.4, real_high=0.6) for name in names}
    for plot in (plots.distances("s", figures), plots.precision_recall("s", figures, figures)):
        assert all(name in plot.alt for name in names)
        assert f">a long name …{names[3][-11:]}<" in plot.svg
    assert not recwarn.list  # matplotlib warns where the names leave no room
    assert len(set(itertools.islice(plots._looks(), 12))) == 12


@pytest.mark.parametrize("name", ["probe", "cnn", "mobilenetv2", "resnet152v2"])
def test_a_plot_has_room_for_its_title(name, monkeypatch):
    drawn = []
    plot = plots._plot
    monkeypatch.setattr(plots, "_plot", lambda ax, *told: drawn.append(ax) or plot(ax, *told))
    exact = Estimate(value=0.5, low=0.4, high=0.6)
    results = [
        DietResult(
            classifier=name, diet=diet, n_train=1, metrics={"balanced_accuracy": exact}, recall={},
            confusion={},
        )
        for diet in DIETS
    ]  # fmt: skip
    point = CurvePoint(
        classifier=name, fraction=1, n_real=9, real=exact, with_synthetic=exact, gain=exact
    )
    of_diets = plots.diets(name, results)
    plots.learning_curve(name, [point])
    for ax in drawn:
        title = ax._left_title.get_window_extent()
        assert title.x1 <= ax.figure.bbox.x1 + 1 and name in ax.get_title("left")
    # Two of five diets hold no synthetic scan: they have the colour of real ones.
    assert of_diets.svg.count(f"fill: {plots.SYNTHETIC.lower()}") == 3


def test_an_interval_that_misses_its_figure_is_drawn():
    found = Estimate(value=0.5, low=0.5 + 1e-16, high=0.6), Estimate(value=0.7, low=0.5, high=0.6)
    points = [
        CurvePoint(classifier="p", fraction=1, n_real=9, real=e, with_synthetic=e, gain=e)
        for e in found
    ]
    assert "9 real scans 70.0%" in plots.learning_curve("p", points).alt


def test_a_file_name_that_is_not_utf_8_is_written_with_an_escape(judged, options, tmp_path):
    pair = structs.replace(judged.privacy.suspects[0], train="a\udce9.png")
    secrecy = structs.replace(judged.privacy, suspects=(pair,), nearest=(pair,))
    odd = structs.replace(judged, privacy=secrecy)
    write_report(tmp_path, odd, HOLDOUT, SYNTHETIC, TRAIN, cache=options.quality.cache)
    result = parse_record(ReportResult, (tmp_path / RESULT).read_text())
    assert result.judgement.privacy.suspects[0].train == "a\udce9.png"
    assert r"a\udce9.png" in (tmp_path / HTML).read_text()


def test_names_cannot_become_markup(options, tmp_path):
    """Class and file names come from folders that others made."""
    evil = '<img src=x onerror=alert(1)>|"&{0}{x} %s $x_1$'
    classes = (evil, *HOLDOUT.classes[1:])
    real, made = (dataclasses.replace(s, classes=classes, name=evil) for s in (HOLDOUT, SYNTHETIC))
    judged = judge_all(real, made, None, options)
    write_report(tmp_path, judged, real, made, cache=options.quality.cache)
    page = _Page((tmp_path / HTML).read_text())
    assert not any("onerror" in each for _, attributes in page.elements for each in attributes)
    rows = [
        r for r in (tmp_path / MARKDOWN).read_text().splitlines() if "onerror" in r and r[0] == "|"
    ]
    assert rows and all(r"\|" in row for row in rows)
    assert "<img" not in (tmp_path / MARKDOWN).read_text()


def test_the_page_of_figures_says_the_same():
    page = (Path(__file__).parents[2] / "docs" / "figures.md").read_text()
    for row in reading().rows:
        assert f"| {' | '.join(row)} |" in page
    bibtex = (TEMPLATES / "references.bib").read_text()
    cited = re.findall(r"\b[a-z]+(?:19|20)\d\d\b", page)
    assert len(cited) > 15
    for key in cited:
        assert f"{{{key}," in bibtex


def test_the_rows_of_a_matrix_add_up():
    matrix = Matrix("", ("a", "b"), ((3.0, 1.0), (0.0, 0.0)))
    assert matrix.rows == (("a", (("3", 75), ("1", 25))), ("b", (("0", 0), ("0", 0))))


def test_the_same_report_twice_is_the_same_bytes(report, judged, options, tmp_path):
    with ScanGenerator() as generator:
        provenance = Provenance("eval-scans report a b", generator.file, "2026-01-31")
    cache = options.quality.cache
    write_report(tmp_path, judged, HOLDOUT, SYNTHETIC, TRAIN, provenance=provenance, cache=cache)
    for file in (HTML, MARKDOWN, RESULT):
        assert (tmp_path / file).read_bytes() == (report / file).read_bytes()


@needs_chromium
def test_a_browser_shows_it_without_a_fault(report):
    with chromium() as browser:
        for scheme, width in itertools.product(("light", "dark"), (360, 1440)):
            print(f"{scheme}, {width} pixels wide")  # a failed test shows where
            look = {"color_scheme": scheme, "viewport": {"width": width, "height": 800}}
            with opened(browser, report / HTML, **look) as (page, wrong):
                _looks_right(page, width)
                assert not wrong


def _looks_right(page, width):
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every(i => i.complete && i.naturalWidth)")
    small = "[...document.querySelectorAll('p, td, th')].map(e => getComputedStyle(e).fontSize)"
    assert min(float(each[:-2]) for each in page.evaluate(small)) >= 14
    ink, paper = (
        page.evaluate(f"getComputedStyle(document.body).{each}")
        for each in ("color", "backgroundColor")
    )
    assert _contrast(ink, paper) > 7
    svg = page.evaluate("getComputedStyle(document.querySelector('svg text')).fill")
    assert _contrast(svg, paper) > 7
    page.keyboard.press("Tab")
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(outline) == "solid"
    page.emulate_media(media="print")
    banner = page.evaluate("getComputedStyle(document.querySelector('.banner')).color")
    assert _contrast(banner, "rgb(255, 255, 255)") > 7  # paper is white, also in the dark
    parts = page.evaluate("[...document.body.children].map(each => each.localName)")
    assert parts == ["aside", "header", "nav", "main"]  # all in a landmark
    page.set_viewport_size({"width": A4, "height": 1000})
    assert page.evaluate("document.documentElement.scrollWidth") <= A4


def _contrast(one, other):
    """The contrast ratio of two CSS colours (WCAG 2.1)."""
    lights = []
    for colour in (one, other):
        rgb = np.array(list(map(float, re.findall(r"[\d.]+", colour)[:3]))) / 255
        linear = np.where(rgb <= 0.03928, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        lights.append(float(linear @ [0.2126, 0.7152, 0.0722]))
    return (max(lights) + 0.05) / (min(lights) + 0.05)


def test_a_note_is_a_sentence_and_keeps_the_name_of_a_set():
    notes = "only 3 scans", "dataset/test: 3 of 4 were drawn", "was it trained on them?"
    assert [report_page._sentence(note, ("dataset/test",)) for note in notes] == [
        "Only 3 scans.", "dataset/test: 3 of 4 were drawn.", "Was it trained on them?"
    ]  # fmt: skip
