"""Colours and style of all plots."""

# Okabe and Ito 2008, Color Universal Design: safe for colour-blind readers. Without yellow, which is
# hard to see on white.
BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION = PALETTE = (
    "#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00",
)  # fmt: skip
INK, QUIET, PALE, GRID = "#222222", "#666666", "#BBBBBB", "#E6E6E6"
DASHES = (0, (4, 3))
STYLE = {
    "font.size": 7.5,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": QUIET,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.edgecolor": "none",
    "lines.linewidth": 1.4,
    "lines.markersize": 3,
    "text.parse_math": False,  # a class may be called $x_1$
}
