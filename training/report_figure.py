"""Draw ``report.png``: the progress of a run in one figure."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from scangan.artifacts.scores import RealScores
from scangan.core.plot_style import INK, PALETTE, QUIET, STYLE, VERMILION
from scangan.core.sheet import NOTICE
from scangan.preprocessing.transforms import resize
from scangan.training.report_curves import Lines, plots, readable

Grey = npt.NDArray[np.uint8]
Row = tuple[str, Grey]  # a class and its scans

DPI = 200
# Pixels. Scans of 16, 32, 64 and 128 pixels fill a cell exactly at a whole zoom.
MARGIN, CELL, GAP, MIDDLE, PAD = 44, 128, 4, 44, 16
TITLE, PLOTS, LEGEND_ROW, HEADING, LABEL = 90, 1050, 42, 96, 40
MOST_ROWS, SCANS = 12, 8
PART = SCANS * (CELL + GAP) - GAP  # a row of real scans, or of synthetic ones
WIDTH = 2 * MARGIN + 2 * PART + MIDDLE
SYNTHETIC_PAPER = "#FDEFE6"


def draw_report(
    lines: Lines,
    real: Sequence[Row],
    synthetic: Sequence[Row],
    *,
    real_scores: RealScores,
    title: str,
) -> bytes:
    """Draw the curves of a run, and below them real and synthetic scans side by side.

    Parameters
    ----------
    lines : sequence of Tick
        Lines of ``metrics.jsonl``, at least one. Missing scores are not drawn.
    real, synthetic : sequence of (str, ndarray)
        The same classes in the same order, each with up to 8 scans, uint8 [N, H, W]. If there are
        more than 12 classes, the 12 with the highest KID in the last line are shown.
    real_scores : RealScores
        Scores of real scans.
    title : str
        A line at the top.

    Returns
    -------
    bytes
        A PNG file, 2236 pixels wide. The same arguments give the same bytes.
    """
    rows = [(real[k], synthetic[k]) for k in _furthest(lines, [name for name, _ in real])]
    legend = _legend(list(lines[-1].ema.variety))
    scans = HEADING + len(rows) * (LABEL + CELL + GAP) + MARGIN
    height = TITLE + PLOTS + len(legend) * LEGEND_ROW + scans
    with style.context(["default", STYLE]):
        figure = Figure((WIDTH / DPI, height / DPI), dpi=DPI, facecolor="white")
        page = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(0, height))  # in pixels
        page.set_axis_off()
        _write(page, MARGIN, height - 30, readable(title, 90), 12)
        _draw_curves(figure, lines, real_scores, height)
        _draw_legend(page, legend, scans)
        _draw_headings(page, scans, len(rows), len(real))
        for k, pair in enumerate(rows):
            y = scans - HEADING - k * (LABEL + CELL + GAP)
            _draw_row(figure, page, pair, y, named=len(real) > 1)
        file = io.BytesIO()
        about: Any = {"Software": None, "Comment": f"On the right: {NOTICE}"}
        figure.savefig(file, format="png", dpi=DPI, metadata=about)
    return file.getvalue()


def _furthest(lines: Lines, classes: list[str]) -> list[int]:
    kid = lines[-1].ema.class_kid
    order = sorted(range(len(classes)), key=lambda k: -kid.get(classes[k], 0.0))
    return sorted(order[:MOST_ROWS])


def _write(page: Axes, x: float, y: float, text: str, size: float, colour: str = INK) -> None:
    page.text(x, y, text, fontsize=size, fontweight="bold", color=colour, va="top")


def _draw_curves(figure: Figure, lines: Lines, real_scores: RealScores, height: int) -> None:
    chosen = plots(lines)
    columns = -(-len(chosen) // 2)
    top, bottom = height - TITLE - 45, height - TITLE - PLOTS + 95
    grid = figure.add_gridspec(
        2, columns, left=0.042, right=1 - MARGIN / WIDTH, top=top / height, bottom=bottom / height,
        wspace=0.16, hspace=0.33,
    )  # fmt: skip
    wide = 1 + len(chosen) % 2  # the first plot takes the free place in an odd grid
    cells = [divmod(i, columns) for i in range(wide, 2 * columns)]
    places = [grid[0, :wide], *(grid[cell] for cell in cells)]
    for draw, place in zip(chosen, places, strict=True):
        ax = figure.add_subplot(place)
        ax.set_xlim(0, lines[-1].kimg * 1.01)
        draw(ax, lines, real_scores)
        ax.xaxis.set_major_locator(MaxNLocator(6))
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        ax.tick_params(color=QUIET, labelcolor=INK)
        if place.rowspan.stop == 2:
            ax.set_xlabel("thousand scans shown (kimg)", color=QUIET)


def _legend(classes: list[str]) -> list[list[str]]:
    """Return rows of class names; none if the classes have no colours of their own."""
    if not 1 < len(classes) <= len(PALETTE):
        return []
    names = [readable(name, 28) for name in classes]
    widest = 20 * max(map(len, names)) + 120  # pixels; no letter is wider than 20
    columns = min(len(names), WIDTH // widest)
    return [names[i : i + columns] for i in range(0, len(names), columns)]


def _draw_legend(page: Axes, rows: list[list[str]], bottom: int) -> None:
    colours = iter(PALETTE)
    for r, row in enumerate(rows):
        y = bottom + (len(rows) - r) * LEGEND_ROW - LEGEND_ROW / 2
        for c, name in enumerate(row):
            x = MARGIN + c * (WIDTH - 2 * MARGIN) / len(rows[0])
            page.plot([x, x + 50], [y, y], color=next(colours), linewidth=2.5)
            page.text(x + 64, y, name, va="center_baseline")


def _draw_headings(page: Axes, top: int, shown: int, classes: int) -> None:
    right = MARGIN + PART + MIDDLE
    corner, size = (right - PAD, MARGIN - PAD), (PART + 2 * PAD, top - MARGIN)
    page.add_patch(Rectangle(corner, *size, facecolor=SYNTHETIC_PAPER, linewidth=0))
    y = top - PAD - 18
    _write(page, MARGIN, y, "REAL patient scans: do not share", 10)
    _write(page, right, y, "SYNTHETIC scans", 10, VERMILION)
    if shown < classes:
        note = f"the {shown} of {classes} classes that are furthest from real scans"
        page.text(right + PART, y - 4, note, color=QUIET, ha="right", va="top")


def _draw_row(figure: Figure, page: Axes, pair: tuple[Row, Row], y: int, named: bool) -> None:
    left, right = (MARGIN, "real"), (MARGIN + PART + MIDDLE, "SYNTHETIC")
    for (x, kind), (name, scans) in zip((left, right), pair, strict=True):
        label = f"{readable(name, 40)}, {kind}" if named else kind
        page.text(x, y - LABEL / 2, label, color=QUIET, va="center_baseline")
        for i, scan in enumerate(scans[:SCANS]):
            place = x + i * (CELL + GAP), y - LABEL - CELL
            # RGB, as a colour map would make some levels one lower.
            colours = np.repeat(_in_cell(scan)[..., None], 3, axis=2)
            figure.figimage(colours, *place, origin="upper")


def _in_cell(scan: Grey) -> Grey:
    # Enlarge by a whole factor without smoothing, so that each original pixel stays visible.
    rows, columns = scan.shape
    side = max(rows, columns)
    if side > CELL:
        shape = max(1, rows * CELL // side), max(1, columns * CELL // side)
        return np.asarray(resize(scan, shape), np.uint8)
    return scan.repeat(CELL // side, 0).repeat(CELL // side, 1)
