"""Draw contact sheets: labelled rows of scans in one picture."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.uint8]

GAP = 4  # pixels between scans
PAPER = 255
NOTICE = "Synthetic image made by a generative model. Not a scan of any person."
READABLE = 96  # pixels; smaller scans are enlarged by a whole factor to about this size


@cache
def _glyphs() -> dict[str, Grey]:
    """Load the glyphs of printable ASCII (tools/make_glyphs.py), each cut to its own width."""
    cells = np.load(Path(__file__).with_name("glyphs.npy"))
    out = {}
    for code, cell in enumerate(cells, start=32):
        inked = np.flatnonzero(cell.any(0))
        out[chr(code)] = cell[:, : inked[-1] + 2 if len(inked) else 5]
    return out


def draw_text(text: str) -> Grey:
    """Draw one line of text, black on white: uint8 [18, W]. Non-ASCII characters become ``?``."""
    glyphs = _glyphs()
    drawn = np.concatenate([glyphs.get(c, glyphs["?"]) for c in text or " "], axis=1)
    return np.asarray(PAPER - drawn, np.uint8)


def contact_sheet(rows: Sequence[tuple[str, Grey]], title: str = "") -> Grey:
    """Lay out labelled rows of scans.

    Parameters
    ----------
    rows : sequence of (str, ndarray)
        A label and its scans, uint8 [N, H, W]; all rows share H and W.
    title : str
        A line above the rows.

    Returns
    -------
    ndarray
        uint8 [height, width] on a white background.
    """
    side = rows[0][1].shape[1:]
    zoom = max(1, round(READABLE / max(side)))
    height, width = side[0] * zoom, side[1] * zoom
    labels = [draw_text(label) for label, _ in rows]
    heading = draw_text(title)
    margin = max(label.shape[1] for label in labels) + 2 * GAP
    columns = max(len(scans) for _, scans in rows)
    top = heading.shape[0] + GAP if title else GAP
    sheet_width = max(margin + columns * (width + GAP), heading.shape[1] + 2 * GAP)
    sheet = np.full((top + len(rows) * (height + GAP), sheet_width), PAPER, np.uint8)
    if title:
        sheet[: heading.shape[0], GAP : GAP + heading.shape[1]] = heading
    for r, ((_, scans), label) in enumerate(zip(rows, labels, strict=True)):
        y = top + r * (height + GAP)
        middle = y + max(0, (height - label.shape[0]) // 2)
        visible = label[: sheet.shape[0] - middle]
        sheet[middle : middle + visible.shape[0], GAP : GAP + label.shape[1]] = visible
        for c, scan in enumerate(scans):
            x = margin + c * (width + GAP)
            sheet[y : y + height, x : x + width] = scan.repeat(zoom, 0).repeat(zoom, 1)
    return sheet
