"""The preview picture of a preparation: scans of each class before and after."""

import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from scangan.artifacts.dataset_records import Item
from scangan.core.address import Place
from scangan.core.counted import counted
from scangan.core.errors import PreprocessingError, Rejected, Unreadable
from scangan.core.files import written_whole
from scangan.core.reading import read_file
from scangan.core.sheet import draw_text
from scangan.preprocessing.intensity import grey_of, to_uint16
from scangan.preprocessing.options import PrepOptions
from scangan.preprocessing.outcome import Outcome
from scangan.preprocessing.reading.reader import read_scans
from scangan.preprocessing.reading.scan import Scan
from scangan.preprocessing.reading.wanted import Wanted
from scangan.preprocessing.transforms import resize

Grey = npt.NDArray[np.uint8]

EXAMPLES, MOST_CLASSES = 4, 12
SIDE, CHART, GAP = 128, 40, 6  # pixels
PAPER, INK = 255, 90
NOTICE = "Scans of real patients: do not share."


def write_preview(
    source: Place, images: Grey, made: Outcome, options: PrepOptions, path: Path
) -> None:
    """Draw up to four evenly spaced scans of each class, with histograms, to a PNG file.

    The original scan (stretched from its lowest to its highest value if it has more than 8 bits) is
    on the left, the prepared one on the right. Below each is its histogram, in square roots.

    Raises
    ------
    PreprocessingError
        A file has changed since it was prepared.
    """
    wanted = options.wanted(included=True)
    blocks = []
    for label, name in enumerate(made.classes[:MOST_CLASSES]):
        members = np.flatnonzero(made.labels == label)
        chosen = sorted({int(members[k * len(members) // EXAMPLES]) for k in range(EXAMPLES)})
        cells = [
            _cell(source, item, np.asarray(images[i]), wanted)
            for i, item in zip(chosen, made.items(chosen), strict=True)
        ]
        blocks.append(_under(draw_text(f"{name}  ({len(members)})"), _row(cells)))
    left_out = len(made.classes) - MOST_CLASSES
    others = counted(left_out, "more class is", "more classes are")
    more = f"  ({others} not shown)" if left_out > 0 else ""
    title = draw_text(f"{NOTICE} Left: original, right: prepared.{more}")
    picture = cv2.imencode(".png", _framed(_under(title, *blocks)))[1]
    with written_whole(path) as beside:
        beside.write_bytes(picture.tobytes())


def _cell(source: Place, item: Item, prepared: Grey, wanted: Wanted) -> Grey:
    came = _as_it_came(_data(source / item.file, item.sha256), item.frame, wanted)
    if came is None:
        came = np.full((SIDE, SIDE), PAPER, np.uint8)
    pictures = [_in_square(came), _in_square(prepared)]
    charts = [_histogram(came), _histogram(prepared)]
    columns = [np.vstack([p, c]) for p, c in zip(pictures, charts, strict=True)]
    return _row(columns, gap=1)


def _data(path: Place, sha256: str) -> bytes:
    """Read a file again, and check that it has not changed."""
    try:
        data = read_file(path)
    except Unreadable as reason:
        raise PreprocessingError(f"{path} {reason}; run the same command again") from reason
    if hashlib.sha256(data).hexdigest() != sha256:
        raise PreprocessingError(
            f"{path} has changed since it was prepared; run the same command again"
        )
    return data


def _as_it_came(data: bytes, frame: int, wanted: Wanted) -> Grey | None:
    try:
        for number, scan in read_scans(data, wanted):
            if number == frame and isinstance(scan, Scan):
                if not scan.deep:
                    return np.asarray(scan.pixels, np.uint8)
                ends = float(scan.pixels.min()), float(scan.pixels.max())
                low, high = sorted(scan.slope * end + scan.intercept for end in ends)
                pixels, ends = to_uint16(scan, (low, high))
                return np.asarray(np.rint(255 * grey_of(pixels, *ends)), np.uint8)
    except Rejected:
        pass
    return None


def _in_square(image: Grey) -> Grey:
    scale = SIDE / max(image.shape)
    shape = max(1, round(image.shape[0] * scale)), max(1, round(image.shape[1] * scale))
    if scale > 1:
        # Enlarge without smoothing, so that each original pixel stays visible.
        image = np.asarray(
            cv2.resize(image, shape[::-1], interpolation=cv2.INTER_NEAREST), np.uint8
        )
    square = np.full((SIDE, SIDE), PAPER, np.uint8)
    top, left = (SIDE - shape[0]) // 2, (SIDE - shape[1]) // 2
    square[top : top + shape[0], left : left + shape[1]] = resize(image, shape)
    return square


def _histogram(image: Grey) -> Grey:
    counts = np.sqrt(np.histogram(image, bins=SIDE // 2, range=(0, 256))[0])
    heights = np.rint(counts / max(counts.max(), 1) * (CHART - 4)).astype(int).repeat(2)
    rows = np.arange(CHART)[::-1, None]
    return np.where(rows < heights, INK, PAPER).astype(np.uint8)


def _row(cells: list[Grey], gap: int = 2 * GAP) -> Grey:
    space = np.full((cells[0].shape[0], gap), PAPER, np.uint8)
    return np.hstack([part for cell in cells for part in (cell, space)][:-1])


def _under(*parts: Any) -> Grey:
    width = max(part.shape[1] for part in parts)
    padded = [
        np.pad(part, ((0, GAP), (0, width - part.shape[1])), constant_values=PAPER)
        for part in parts
    ]
    return np.vstack(padded)


def _framed(picture: Grey) -> Grey:
    return np.pad(picture, GAP, constant_values=PAPER)
