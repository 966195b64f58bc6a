"""The plots of a report, as SVG in the colour of the text around them."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.ticker import PercentFormatter

from scangan.core.plot_style import BLUE, DASHES, GRID, INK, PALETTE, QUIET, STYLE, VERMILION
from scangan.evaluation.diets import BASELINE, CLASSICAL
from scangan.evaluation.privacy_result import Level
from scangan.evaluation.quality_result import Figure
from scangan.evaluation.report.blocks import Plot
from scangan.evaluation.utility_result import CurvePoint, DietResult, Estimate

SYNTHETIC, REAL = VERMILION, BLUE
WIDTH = 3.5  # inches: text keeps its size on a screen of 360 pixels
MOST = 400  # points of each kind on a map
APART = 0.16  # between synthetic and real on one line
LONGEST = 24  # letters of a name; a longer one would leave no room for the plot
MARKERS = "o^sDvPX"  # as colours alone do not tell classes apart for everyone, and repeat
# The text around a plot decides its ink, so it is readable in the dark, too.
INKS = {
    INK.lower(): "currentColor",
    QUIET.lower(): "currentColor",
    GRID.lower(): "currentColor; stroke-opacity: 0.15",
}

LOOK = STYLE | {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
}

Points = npt.NDArray[np.float64]  # [N, 2]


@rc_context(LOOK)
def shares(space: str, figures: Mapping[str, Figure]) -> Plot:
    """Draw shares, each from 0 to 1, of synthetic and of real scans with their intervals."""
    ax = _axes(0.95 + 0.4 * len(figures), "Shares of scans")
    _intervals(ax, figures)
    ax.set_xlim(-0.02, 1.02)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0))
    caption = "With 95% intervals. The closer to real scans, the better."
    return _plot(ax, f"{space}-shares", caption, _told(figures, 100, "%"))


@rc_context(LOOK)
def distances(space: str, classes: Mapping[str, Figure]) -> Plot:
    """Draw KID within each class."""
    scaled = {name: _times(figure, 1000) for name, figure in classes.items()}
    ax = _axes(0.95 + 0.4 * len(classes), "KID x1000 within classes")
    _intervals(ax, scaled)
    caption = "KID of each class with 95% intervals; lower is better."
    return _plot(ax, f"{space}-kid", caption, _told(scaled, 1, ""))


@rc_context(LOOK)
def precision_recall(
    space: str, precision: Mapping[str, Figure], recall: Mapping[str, Figure]
) -> Plot:
    """Draw precision against recall of each class, beside those of real scans."""
    ax = _axes(3.0, "Precision and recall")
    for (name, p), (colour, marker) in zip(precision.items(), _looks(), strict=False):
        r = recall[name]
        look: Any = {"color": colour, "marker": marker, "markersize": 5, "linestyle": "none"}
        ax.errorbar([r.value], [p.value], _reach([p]), _reach([r]), label=_in_legend(name), **look)
        if r.real is not None and p.real is not None:
            ax.plot([r.real], [p.real], markerfacecolor="none", **look)
    ax.plot([], [], "o", color=INK, markersize=5, markerfacecolor="none", label="real scans")
    ax.set(xlabel="recall: kinds of real scans that occur", ylabel="precision: they look real")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(PercentFormatter(1.0))
    ax.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    ax.legend(loc="best", framealpha=0)
    told = "; ".join(
        f"{name}: precision {p.value:.0%}, recall {recall[name].value:.0%}"
        for name, p in precision.items()
    )
    caption = "Filled: synthetic scans of each class, with 95% intervals. Hollow: real scans."
    return _plot(ax, f"{space}-precision-recall", caption, told)


@rc_context(LOOK)
def feature_map(
    space: str,
    real: Points,
    synthetic: Points,
    labels: npt.NDArray[np.int64],
    classes: tuple[str, ...],
    explained: float,
) -> Plot:
    """Draw real and synthetic scans along the two directions in which real scans differ most.

    Parameters
    ----------
    space : str
        Name of the feature space.
    real, synthetic : ndarray
        float64 [N, 2].
    labels : ndarray
        int64 [N]: classes of the synthetic scans.
    classes : tuple of str
        Class names; empty if there are none.
    explained : float
        Share of the variance of the real scans along these directions.
    """
    ax = _axes(3.0, "Map of scans")
    rng = np.random.default_rng(0)
    some = rng.permutation(len(real))[:MOST]
    ax.scatter(
        real[some, 0],
        real[some, 1],
        s=9,
        facecolor="none",
        edgecolor=QUIET,
        linewidth=0.5,
        label="real",
    )
    chosen = rng.permutation(len(synthetic))[:MOST]
    names = classes or ("synthetic",)
    for (k, name), (colour, marker) in zip(enumerate(names), _looks(), strict=False):
        x, y = synthetic[chosen][labels[chosen] == k].T
        look: Any = {"color": colour, "marker": marker, "linewidth": 0, "alpha": 0.75}
        ax.scatter(x, y, s=9, label=_in_legend(name), **look)
    ax.set(xticks=[], yticks=[])
    ax.set(xlabel="first principal component", ylabel="second principal component")
    ax.legend(loc="best", framealpha=0)
    caption = (
        f"Hollow: real scans. Filled: synthetic ones. The two directions hold {explained:.0%} of the "
        f"variance of the real scans (PCA)."
    )
    moved = np.linalg.norm(synthetic.mean(0) - real.mean(0)) / np.linalg.norm(real.std(0))
    return _plot(
        ax,
        f"{space}-map",
        caption,
        f"the centre of the synthetic scans lies {moved:.2f} standard deviations from that of the real ones",
    )


@rc_context(LOOK)
def diets(classifier: str, results: Sequence[DietResult]) -> Plot:
    """Draw the balanced accuracy after each diet."""
    ax = _axes(0.75 + 0.32 * len(results), f"Balanced accuracy, {classifier}")
    for row, each in enumerate(results):
        found = each.metrics["balanced_accuracy"]
        colour = REAL if each.diet in (BASELINE, CLASSICAL) else SYNTHETIC
        _span(ax, row, found.value, found.low, found.high, colour)
    ax.axvline(results[0].metrics["balanced_accuracy"].value, color=REAL, linestyle=DASHES, lw=1)
    _rows(ax, [each.diet for each in results])
    ax.xaxis.set_major_formatter(PercentFormatter(1.0))
    told = "; ".join(f"{d.diet} {d.metrics['balanced_accuracy'].value:.1%}" for d in results)
    return _plot(
        ax,
        f"{classifier}-diets",
        "Balanced accuracy on real test scans, with 95% intervals. Dashed: real scans alone.",
        told,
    )


@rc_context(LOOK)
def learning_curve(classifier: str, points: Sequence[CurvePoint]) -> Plot:
    """Draw balanced accuracy against the number of real training scans."""
    ax = _axes(2.4, f"Number of real scans, {classifier}")
    counts = np.array([point.n_real for point in points])
    for kind, colour, marker, label, shift in (
        ("real", REAL, "o", "real alone", 0.985),
        ("with_synthetic", SYNTHETIC, "s", "with all synthetic scans", 1.015),
    ):
        found = [getattr(point, kind) for point in points]
        look: Any = {"fmt": f"{marker}-", "color": colour, "label": label}
        value = [each.value for each in found]
        ax.errorbar(counts * shift, value, _reach(found), capsize=2, **look)
    ax.set_xscale("log")
    ax.set_xticks(counts, [f"{count:,}" for count in counts])
    ax.minorticks_off()
    ax.set(xlabel="real training scans", ylabel="balanced accuracy")
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.legend(loc="best", framealpha=0)
    told = "; ".join(
        f"{p.n_real} real scans {p.real.value:.1%}, with synthetic ones {p.with_synthetic.value:.1%}"
        for p in points
    )
    caption = "Balanced accuracy on real test scans by number of real training scans."
    return _plot(ax, f"{classifier}-curve", caption, told)


@rc_context(LOOK)
def planted(levels: Sequence[Level]) -> Plot:
    """Draw the share of planted copies that were found at each level of change."""
    ax = _axes(0.75 + 0.3 * len(levels), "Planted copies that were found")
    found = [each.found / each.planted for each in levels]
    ax.barh(range(len(levels)), found, 0.6, color=REAL)
    _rows(ax, [each.change for each in levels])
    ax.set_xlim(0, 1.02)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0))
    told = "; ".join(f"{each.change} {each.found} of {each.planted}" for each in levels)
    caption = (
        "Changed copies of training scans that the search found: what it would find in your set."
    )
    return _plot(ax, "planted", caption, told)


def _axes(height: float, title: str) -> Axes:
    ax: Axes = Canvas((WIDTH, height), layout="constrained").add_subplot()
    ax.set_title(title)
    return ax


def _looks() -> Iterator[tuple[str, str]]:
    """Yield a colour and a marker for each class; 42 pairs before the first comes again."""
    return zip(cycle(PALETTE), cycle(MARKERS), strict=False)


def _short(name: str) -> str:
    """Cut the middle out of a long name, as the ends of names of classes differ."""
    half = LONGEST // 2
    return name if len(name) <= LONGEST else f"{name[:half]}…{name[1 - half :]}"


def _in_legend(name: str) -> str:
    """Return a label that matplotlib shows: it hides those that begin with an underscore."""
    short = _short(name)
    return f" {short}" if short.startswith("_") else short


def _reach(found: Sequence[Figure] | Sequence[Estimate]) -> Points:
    """Return how far intervals reach below and above, [2, N]; an interval may miss its figure."""
    reach = [[each.value - each.low for each in found], [each.high - each.value for each in found]]
    return np.maximum(reach, 0)


def _intervals(ax: Axes, figures: Mapping[str, Figure]) -> None:
    """Draw a line for each figure: synthetic above, real below."""
    for row, each in enumerate(figures.values()):
        _span(ax, row - APART, each.value, each.low, each.high, SYNTHETIC)
        if each.real is not None and each.real_low is not None and each.real_high is not None:
            _span(ax, row + APART, each.real, each.real_low, each.real_high, REAL)
    ax.plot([], [], "o-", color=SYNTHETIC, label="synthetic")
    ax.plot([], [], "o-", color=REAL, label="real")
    _rows(ax, list(figures))
    ax.figure.legend(loc="outside lower center", ncols=2, framealpha=0)


def _span(ax: Axes, row: float, value: float, low: float, high: float, colour: str) -> None:
    ax.plot([low, high], [row, row], color=colour, solid_capstyle="butt", linewidth=1.6)
    ax.plot([value], [row], "o", color=colour, markersize=4.5)


def _rows(ax: Axes, names: Sequence[str]) -> None:
    ax.set_yticks(range(len(names)), [_short(name) for name in names])
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.grid(visible=False, axis="y")


def _times(figure: Figure, scale: float) -> Figure:
    told: dict[str, Any] = {
        name: scale * value
        for name in ("value", "low", "high", "real", "real_low", "real_high")
        if (value := getattr(figure, name)) is not None
    }
    return Figure(n_real=figure.n_real, n_synthetic=figure.n_synthetic, **told)


def _told(figures: Mapping[str, Figure], scale: float, unit: str) -> str:
    return "; ".join(
        f"{name} {scale * each.value:z.0f}{unit}"
        + ("" if each.real is None else f" (real {scale * each.real:z.0f}{unit})")
        for name, each in figures.items()
    )


def _plot(ax: Axes, name: str, caption: str, told: str) -> Plot:
    """Turn axes into SVG with text as text; the same axes give the same drawing."""
    out = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with rc_context({"svg.hashsalt": name}):  # each plot has its own ids
        ax.figure.get_figure(root=True).savefig(
            out, format="svg", transparent=True, metadata=nothing
        )
    svg = out.getvalue()
    svg = re.sub('<g id="[^"]*"', "<g", svg[svg.index("<svg") :])  # ids that all plots share
    for colour, ink in INKS.items():
        svg = svg.replace(f": {colour}", f": {ink}")
    file = re.sub(r"[^\w.-]+", "-", name)  # an extractor may be a path
    return Plot(file, caption, f"{ax.get_title('left')}: {told}", svg)
