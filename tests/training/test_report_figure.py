"""``report.png``, decoded: what is in it, and what does not break it."""

import copy
import itertools
import sys
import time

import cv2
import matplotlib
import numpy as np
import pytest
from matplotlib import style
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from ticks import real_scores, ticks

from scangan.core.plot_style import PALETTE, STYLE
from scangan.training.report_curves import LOWEST_KID, plots, readable
from scangan.training.report_figure import CELL, MOST_ROWS, WIDTH, draw_report

REAL = {
    "mean_real_class_kid": 0.0013,
    "probe_accuracy": 0.82,
    "real_precision": 0.7,
    "real_recall": 0.6,
}
ODD = [
    "$\\frac{$",
    "T2_FLAIR",
    "_",
    "a\nb\x1b[31m",
    "W" * 300,
    "\u4e2d\u6587",
    "\udcff",
    "",
    "$a$ $b$",
]
FOUR = ["glioma", "meningioma", "no_tumor", "pituitary"]
MANY = [f"class_{i}" for i in range(20)]


def _scores(classes, progress, rng):
    def each(low, high):
        return {n: low + (high - low) * progress + rng.uniform(0, 0.05) for n in classes}

    several = len(classes) > 1
    scores = {
        "class_kid": each(3.0, 0.3),
        "agreement": each(0.2, 0.9) if several else {},
        "variety": each(0.2, 0.95),
        "precision": each(0.0, 0.7),
        "recall": each(0.0, 0.5),
    }
    means = {
        f"mean_{k}": float(np.mean(list(v.values()))) if v else None
        for k, v in scores.items()
        if k != "variety"
    }
    return scores | means


def _lines(classes, ticks=30):
    rng = np.random.default_rng(0)
    return [
        {
            "kimg": 20.0 * (i + 1),
            "loss_d": 1.4 + rng.uniform(0, 0.1),
            "loss_g": -0.4 + rng.uniform(0, 0.1),
            "loss_class": 1.2 * 0.9**i if len(classes) > 1 else 0.0,
            "ema": _scores(classes, i / ticks, rng),
            "raw": _scores(classes, i / ticks, rng),
            "auc_training": dict.fromkeys(classes, 0.5 + 0.3 * i / ticks),
            "auc_synthetic": dict.fromkeys(classes, 0.9 - 0.2 * i / ticks),
            "best": "ema" if i % 3 == 0 else None,
        }
        for i in range(ticks)
    ]


@pytest.fixture(scope="module")
def scans(prepared):
    """Rows of real scans, and of others in the place of synthetic ones: no scan in both."""
    images = np.array(prepared.images)

    def rows(classes, shift):
        step = len(images) // (2 * len(classes))
        return [(n, images[(2 * k + shift) * step :][:8]) for k, n in enumerate(classes)]

    return lambda classes: (rows(classes, 0), rows(classes, 1))


def _draw(lines, rows, title="a run"):
    return draw_report(ticks(lines), *rows, real_scores=real_scores(REAL), title=title)


@pytest.fixture(scope="module")
def usual(scans):
    """The report of a usual run."""
    return _draw(_lines(FOUR), scans(FOUR))


@pytest.fixture
def written(monkeypatch):
    """What is written into a figure, and where in pixels."""
    texts = []
    draw_text = RendererAgg.draw_text

    def spy(renderer, gc, x, y, s, prop, angle, ismath=False, mtext=None):
        texts.append((mtext.get_text(), mtext.get_window_extent(renderer)))
        assert not ismath
        draw_text(renderer, gc, x, y, s, prop, angle, ismath, mtext)

    monkeypatch.setattr(RendererAgg, "draw_text", spy)
    return texts


def _decode(png):
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)


def _has(picture, scan):
    """Whether a scan is in a colour picture, each of its pixels as a square."""
    zoom = CELL // len(scan)
    enlarged = scan.repeat(zoom, 0).repeat(zoom, 1)
    grey = np.ascontiguousarray(picture[..., 1])
    inside = enlarged[CELL // 2].tobytes()
    found = [(y, row.tobytes().find(inside)) for y, row in enumerate(grey[CELL // 2 :])]
    return any(
        np.array_equal(grey[y : y + CELL, x : x + CELL], enlarged) for y, x in found if x >= 0
    )


@pytest.mark.parametrize("classes", [["all"], FOUR])
def test_real_scans_are_on_the_left_and_synthetic_ones_on_the_right(scans, classes):
    rows = scans(classes)
    picture = _decode(_draw(_lines(classes, 2), rows))
    assert picture.shape[1] == WIDTH and 1300 < picture.shape[0] < 2200
    left, right = picture[1100:, : WIDTH // 2], picture[1100:, WIDTH // 2 :]
    for (_, real), (_, synthetic) in zip(*rows):
        for i in (0, 7):
            assert _has(left, real[i]) and not _has(right, real[i])
            assert _has(right, synthetic[i]) and not _has(left, synthetic[i])


@pytest.mark.parametrize("side", [16, 64, 256, 100])
def test_scans_of_any_side_fit(scans, side):
    rows = [
        [(n, np.stack([cv2.resize(scan, (side, side)) for scan in row])) for n, row in half]
        for half in scans(["all"])
    ]
    picture = _decode(_draw(_lines(["all"], 2), rows))
    assert picture.shape == (1452, WIDTH, 3)
    if side in (16, 64):
        assert _has(picture[1100:, : WIDTH // 2], rows[0][0][1][0])


def test_every_row_of_the_right_half_says_synthetic(scans, written):
    png = _draw(_lines(FOUR, 2), scans(FOUR))
    marks = [box for text, box in written if "SYNTHETIC" in text]
    assert len(marks) == 1 + len(FOUR)
    assert all(box.x0 >= WIDTH // 2 for box in marks)
    assert b"Synthetic image made by a generative model" in png


def test_same_arguments_same_bytes_whatever_the_user_set(usual, scans, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it would fail

    def settings():  # asking for the backend would choose one
        return {k: matplotlib.rcParams[k] for k in matplotlib.rcParams if k != "backend"}

    before = settings()
    with matplotlib.rc_context({"font.size": 31, "axes.grid": False, "savefig.bbox": "tight"}):
        assert _draw(copy.deepcopy(_lines(FOUR)), scans(FOUR)) == usual
        assert matplotlib.rcParams["font.size"] == 31
    assert settings() == before


@pytest.mark.parametrize(
    ("classes", "ticks"),
    [(["all"], 12), (FOUR, 1), (FOUR, 60), (MANY, 12), (ODD, 12), (ODD[:6], 3)],
)
@pytest.mark.filterwarnings("error")  # such as of letters that the font lacks
def test_no_two_texts_overlap_and_all_are_on_the_page(scans, written, classes, ticks):
    height = len(_decode(_draw(_lines(classes, ticks), scans(classes), title="$w_" * 100)))
    assert len(written) > 40
    for text, box in written:
        assert box.x0 >= 0 and box.x1 <= WIDTH and box.y0 >= 0 and box.y1 <= height, text
    for (text, one), (other_text, other) in itertools.combinations(written, 2):
        across = min(one.x1, other.x1) - max(one.x0, other.x0)
        along = min(one.y1, other.y1) - max(one.y0, other.y0)
        assert across <= 0 or along <= 4, (text, other_text)  # boxes hold room for a descent


def test_odd_names_are_drawn_literally(scans, written):
    _draw(_lines(ODD[:6], 1), scans(ODD[:6]))
    texts = [text for text, _ in written]
    for shown in ("$\\frac{$", "T2_FLAIR", "_", "a\\nb\\x1b[31m", "\\u4e2d\\u6587"):
        assert shown in texts and f"{shown}, SYNTHETIC" in texts


def test_of_a_long_name_both_ends_are_kept():
    assert readable("x" * 30 + "-left", 28) == "x" * 13 + "…" + "x" * 9 + "-left"
    assert readable("x" * 28, 28) == "x" * 28
    assert readable("Müller", 28) == "Müller"


def test_many_classes_are_capped_to_those_furthest_from_real_scans_in_little_time(scans, written):
    lines, rows = _lines(MANY, 100), scans(MANY)
    lines[-1]["ema"]["class_kid"] = {n: float(i) for i, n in enumerate(MANY)}
    started = time.process_time()
    png = _draw(lines, rows)
    assert time.process_time() - started < 3
    texts = [text for text, _ in written]
    assert [n for n in MANY if f"{n}, SYNTHETIC" in texts] == MANY[-MOST_ROWS:]
    assert "the 12 of 20 classes that are furthest from real scans" in texts
    below = _decode(png)[1100:]
    assert _has(below, rows[1][19][1][0]) and not _has(below, rows[1][0][1][0])


def _axes(lines, real=REAL):
    """Plot the curves alone; the axes by the first word of their titles."""
    with style.context(["default", STYLE]):
        figure = Figure()
        axes = {}
        lines, real = ticks(lines), real_scores(real)
        for draw in plots(lines):
            ax = figure.add_subplot()
            draw(ax, lines, real)
            axes[ax.get_title(loc="left").split()[0]] = ax
    return axes


def _labels(ax):
    return ax.get_legend_handles_labels()[1]


def _dashed(ax):
    return [line.get_ydata()[0] for line in ax.lines if line.is_dashed()]


def test_each_curve_has_a_plot_of_its_own():
    axes = _axes(_lines(FOUR))
    assert list(axes) == ["How", "Variety", "What", "Class", "Precision"]
    synthetic, training, _ = axes["What"].lines
    assert synthetic.get_label() == "held-back scans from synthetic ones"
    assert synthetic.get_ydata()[-1] == pytest.approx(0.9 - 0.2 * 29 / 30)
    assert training.get_label() == "training scans from held-back ones (high: by heart)"
    assert training.get_ydata()[-1] == pytest.approx(0.5 + 0.3 * 29 / 30)
    drawn = [line.get_ydata()[-1] for line in axes["Class"].lines]
    agreement = _lines(FOUR)[-1]["ema"]["agreement"]
    assert drawn[:4] == list(agreement.values())
    assert [line.get_color() for line in axes["Class"].lines[:4]] == list(PALETTE[:4])
    kid = _lines(FOUR)[-1]["raw"]["mean_class_kid"]
    assert axes["How"].lines[0].get_ydata()[-1] == 1000 * kid


def test_real_scans_are_lines_where_there_is_a_value():
    lines = _lines(FOUR)
    axes = _axes(lines)
    assert [_dashed(ax) for ax in axes.values()] == [[1.3], [1.0], [0.5], [0.82], [0.7, 0.6]]
    for kid in (0.0, -0.001):  # which a log axis cannot show
        assert _dashed(_axes(lines, REAL | {"mean_real_class_kid": kid})["How"]) == []
    assert [_dashed(ax) for ax in _axes(lines, {}).values()] == [[], [1.0], [0.5], [], []]


def test_the_kept_generator_is_marked():
    lines = _lines(FOUR)
    for line in lines:
        line["best"] = None
    assert not any("kept" in label for label in _labels(_axes(lines)["How"]))
    lines[9] |= {"best": "raw"}
    lines[9]["raw"]["mean_class_kid"] = 0.1234
    ax = _axes(lines)["How"]
    assert "best generator: 123 at 200 kimg" in _labels(ax)
    assert [
        (*line.get_xdata(), *line.get_ydata()) for line in ax.lines if line.get_marker() == "*"
    ] == [(200, 1000 * 0.1234)]


def test_more_classes_than_colours_are_a_bundle_with_its_mean_and_its_lowest():
    lines = _lines([*FOUR, "five", "$x_1$"])
    assert _labels(_axes(lines)["Variety"]) == []
    lines = _lines([*FOUR, "five", "six", "$x_1$"])
    lines[-1]["ema"]["variety"]["$x_1$"] = 0.1
    assert _labels(_axes(lines)["Variety"]) == ["mean of 7 classes", "lowest: $x_1$"]
    for line in lines:
        line["ema"]["near_pairs"] = dict.fromkeys(line["ema"]["variety"], 0.02)
    lines[-1]["ema"]["near_pairs"]["$x_1$"] = 0.3
    named = _labels(_axes(lines)["Near-equal"])
    assert named == ["mean of 7 classes", "highest: $x_1$"]


def test_one_class_has_no_right_class():
    axes = _axes(_lines(["all"]), REAL | {"probe_accuracy": None})
    assert list(axes) == ["How", "Variety", "What", "Precision"]


def _without(lines, *names):
    for line in lines:
        for name in names:
            line["raw"].pop(name, None)
            line["ema"].pop(name, None)
    return lines


@pytest.mark.filterwarnings("error")
def test_what_lines_lack_is_not_drawn():
    old = ("mean_precision", "mean_recall")
    axes = _axes(_without(_lines(FOUR), *old))
    assert "Precision" not in axes
    lines = _lines(FOUR)
    _without(lines[:9], *old)  # a run that an older version began
    for line in lines[:9]:
        del line["auc_training"], line["auc_synthetic"]
    axes = _axes(lines)
    for curve in (axes["Precision"].lines[1].get_ydata(), axes["What"].lines[1].get_ydata()):
        assert np.isnan(curve[:9]).all() and np.isfinite(curve[9:]).all()
    for line in lines:
        line["auc_training"] = line["auc_synthetic"] = {}  # too few scans of every class
    assert "What" not in _axes(lines)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0, -0.002])
def test_a_kid_that_a_log_axis_cannot_show_breaks_nothing(scans, value):
    lines = _lines(["all"], 5)
    for first in (2, 0):
        for line in lines[first:]:
            line["ema"] |= {"mean_class_kid": value, "variety": {"all": value}}
        low, high = _axes(lines)["How"].get_ylim()
        assert 0 < low < high < 1e6
        if value <= 0:  # as good as real scans, not missing
            assert _axes(lines)["How"].lines[1].get_ydata()[-1] == LOWEST_KID
    assert _draw(lines, scans(["all"]))


@pytest.mark.parametrize(("low", "high"), [(0.2, 0.21), (0.2, 0.9), (0.02, 3.0), (0.0001, 3.0)])
def test_a_log_axis_has_some_numbers_but_not_too_many(low, high):
    lines = _lines(FOUR, 2)
    for line, kid in zip(lines, (high, low)):
        line["raw"]["mean_class_kid"] = line["ema"]["mean_class_kid"] = kid
    ax = _axes(lines, {})["How"]
    bottom, top = ax.get_ylim()
    assert 1 <= sum(bottom <= tick <= top for tick in ax.get_yticks()) <= 12
