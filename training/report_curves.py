"""The curves of ``report.png``: scores compared with those of real scans, and what the discriminator knows."""

from collections.abc import Callable, Sequence
from functools import cache
from operator import attrgetter
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.ticker import (
    LogLocator,
    NullLocator,
    PercentFormatter,
    StrMethodFormatter,
)

from scangan.artifacts.run_records import Tick
from scangan.artifacts.scores import LOW_VARIETY, NEAR_EQUAL, RealScores
from scangan.core.counted import counted
from scangan.core.plot_style import (
    BLUE,
    DASHES,
    INK,
    ORANGE,
    PALE,
    PALETTE,
    QUIET,
    VERMILION,
)
from scangan.training.progress_text import best_so_far

Curve = npt.NDArray[np.float64]  # [lines]; NaN where a line lacks the value
Lines = Sequence[Tick]
Plot = Callable[[Axes, Lines, RealScores], None]

LOWEST_KID = 0.1  # x1000; the estimate is unbiased, so it can be negative
MOST_MARKED = 40  # mark each tick with a dot if there are at most this many


def plots(lines: Lines) -> list[Plot]:
    """Choose the plots that can be drawn from `lines`, most important first.

    Each is a function of the axes to draw in, the lines of ``metrics.jsonl`` (at least one) and the
    scores of real scans.
    """
    chosen: list[Plot] = [_kid, _variety]
    if np.isfinite(_curve(lines, "mean_auc_training")).any():
        chosen.append(_discriminator)
    if np.isfinite(_curve(lines, "ema.mean_agreement")).any():
        chosen.append(_agreement)
    if np.isfinite(_curve(lines, "ema.mean_precision")).any():
        chosen.append(_precision)
    if lines[-1].ema.near_pairs:
        chosen.append(_near_pairs)
    return chosen


def _kid(ax: Axes, lines: Lines, real: RealScores) -> None:
    ax.set_title("How far from real scans (KID x1000, lower is better)")
    for kind, colour, label in (
        ("raw", ORANGE, "generator as trained (raw)"),
        ("ema", BLUE, "its moving average (EMA)"),
    ):
        curve = np.maximum(1000 * _curve(lines, f"{kind}.mean_class_kid"), LOWEST_KID)
        if np.isfinite(curve).any():
            _plot(ax, lines, curve, colour, label)
    found = best_so_far(lines)
    if found:
        kid, kimg = 1000 * found[1].mean_class_kid, found[0].kimg
        star: dict[str, Any] = {"markersize": 10, "markeredgecolor": "white", "linestyle": ""}
        ax.plot(
            [kimg], [max(kid, LOWEST_KID)], "*", color=VERMILION, clip_on=False, zorder=5,
            label=f"best generator: {kid:.0f} at {kimg:.4g} kimg", **star,
        )  # fmt: skip
    ax.set_yscale("log")
    real_kid = 1000 * real.mean_real_class_kid
    if real_kid > 0:
        _reference(ax, real_kid, f"real scans against real scans: {real_kid:.2g}")
    low, high = ax.get_ylim()
    ax.set_ylim(low / 1.1, high * 1.1)
    subs = (1, 1.5, 2, 3, 5, 7) if high < 10 * low else (1, 3)
    ax.yaxis.set_major_locator(LogLocator(subs=subs))
    ax.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.legend(loc="best")


def _discriminator(ax: Axes, lines: Lines, _real: RealScores) -> None:
    ax.set_title("What the discriminator tells apart (AUC)")
    for field, colour, label in (
        ("mean_auc_synthetic", ORANGE, "held-back scans from synthetic ones"),
        ("mean_auc_training", BLUE, "training scans from held-back ones (high: by heart)"),
    ):
        _plot(ax, lines, _curve(lines, field), colour, label)
    _reference(ax, 0.5, "_")
    ax.set_ylim(min(0.4, ax.get_ylim()[0]), 1.24)  # room for the legend
    ax.set_yticks(np.arange(0.4, 1.05, 0.1))
    ax.legend(loc="upper left")


def _variety(ax: Axes, lines: Lines, _real: RealScores) -> None:
    ax.set_title("Variety within each class (1 is as varied as real)")
    _plot_classes(ax, lines, "variety")
    _reference(ax, 1.0, "_")
    ax.set_ylim(0, max(1.2, ax.get_ylim()[1]))
    ax.axhspan(0, LOW_VARIETY, color=VERMILION, alpha=0.1, linewidth=0)
    place: dict[str, Any] = {"ha": "right", "transform": ax.transAxes}
    ax.text(0.98, 0.03, "many scans look alike", color=VERMILION, **place)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="lower right", bbox_to_anchor=(1, 0.09))


def _agreement(ax: Axes, lines: Lines, real: RealScores) -> None:
    ax.set_title("Class agreement (higher is better)")
    _plot_classes(ax, lines, "agreement")
    if len(lines[-1].ema.agreement) <= len(PALETTE):
        _plot(ax, lines, _curve(lines, "ema.mean_agreement"), INK, "mean", linewidth=2.2)
    probe = real.probe_accuracy
    if probe is not None:
        _reference(ax, probe, f"real scans: {probe:.0%}")
    ax.set_ylim(0, 1.04)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    ax.legend(loc="best")


def _precision(ax: Axes, lines: Lines, real: RealScores) -> None:
    ax.set_title("Precision and recall (higher is better)")
    for name, colour, meaning in (
        ("precision", BLUE, "precision: they look real"),
        ("recall", ORANGE, "recall: all kinds of real scans occur"),
    ):
        value = getattr(real, f"real_{name}")
        if value is not None:
            ax.axhline(value, color=colour, linewidth=1.0, linestyle=DASHES)
            meaning += f" (real: {value:.2f})"
        _plot(ax, lines, _curve(lines, f"ema.mean_{name}"), colour, meaning)
    ax.set_ylim(0, 1.35)  # room for the legend
    ax.set_yticks(np.arange(0, 1.1, 0.2))
    ax.legend(loc="upper left")


def _near_pairs(ax: Axes, lines: Lines, _real: RealScores) -> None:
    ax.set_title("Near-equal pairs in each class (real: 1%)")
    _plot_classes(ax, lines, "near_pairs", worst=np.argmax)
    _reference(ax, NEAR_EQUAL, "_")
    ax.set_ylim(0, max(3 * NEAR_EQUAL, ax.get_ylim()[1]))
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="best")


def _plot_classes(
    ax: Axes, lines: Lines, score: str, worst: Callable[[list[float]], np.intp] = np.argmin
) -> None:
    """Plot a curve per class; if there are too many, pale ones with their mean and the worst."""
    names = list(getattr(lines[-1].ema, score))
    curves = [_curve(lines, f"ema.{score}", name) for name in names]
    if len(names) <= len(PALETTE):
        for curve, colour in zip(curves, PALETTE, strict=False):
            _plot(ax, lines, curve, colour, "_")
        return
    for curve in curves:
        _plot(ax, lines, curve, PALE, "_", linewidth=0.7, markersize=0)
    last = int(worst([curve[-1] for curve in curves]))
    of = counted(len(names), "class", "classes")
    _plot(ax, lines, np.mean(curves, axis=0), INK, f"mean of {of}")
    which = "lowest" if worst is np.argmin else "highest"
    _plot(ax, lines, curves[last], VERMILION, f"{which}: {readable(names[last], 20)}")


def _plot(ax: Axes, lines: Lines, curve: Curve, colour: str, label: str, **look: Any) -> None:
    marker = "o" if len(lines) <= MOST_MARKED else ""
    kimg = _curve(lines, "kimg")
    ax.plot(kimg, curve, color=colour, marker=marker, label=label, clip_on=False, **look)


def _reference(ax: Axes, value: float, label: str) -> None:
    ax.axhline(value, color=QUIET, linewidth=1.0, linestyle=DASHES, label=label)


def _curve(lines: Lines, field: str, name: str | None = None) -> Curve:
    """Return a field of every tick, for the class `name` if the field has a value per class."""
    values = map(attrgetter(field), lines)
    found = [value if name is None else value.get(name) for value in values]
    return np.array([np.nan if value is None else value for value in found], np.float64)


def readable(name: str, most: int) -> str:
    """Escape characters that the font lacks; shorten to `most` characters, keeping both ends."""
    shown = "".join(c if c.isprintable() and ord(c) in _glyphs() else ascii(c)[1:-1] for c in name)
    end = most // 2
    return shown if len(shown) <= most else f"{shown[: most - end - 1]}…{shown[-end:]}"


@cache
def _glyphs() -> frozenset[int]:
    font = font_manager.get_font(font_manager.findfont("DejaVu Sans"))  # comes with matplotlib
    return frozenset(font.get_charmap())
