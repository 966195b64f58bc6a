"""Scans side by side, for a report."""

import cv2
import numpy as np
import numpy.typing as npt

from scangan.core.counted import counted
from scangan.core.png import encode_png
from scangan.core.sheet import NOTICE
from scangan.evaluation.privacy_files import NOTICE as NOTICE_OF_PAIRS
from scangan.evaluation.privacy_result import PrivacyResult
from scangan.evaluation.report.blocks import Picture
from scangan.evaluation.scan_set import ScanSet

Images = npt.NDArray[np.uint8]  # [N, H, W]

SHOWN = 8  # scans of a class
COLUMNS = 4
PAIRS = 12
LARGEST = 128  # pixels of a scan in a report
GAP, BETWEEN = 2, 128  # pixels, and their grey level


def real_beside_synthetic(
    real: ScanSet, synthetic: ScanSet, suspects: frozenset[int], *, show_real: bool
) -> list[Picture]:
    """Show random scans of each class.

    Parameters
    ----------
    real, synthetic : ScanSet
        The scans.
    suspects : frozenset of int
        Synthetic scans that are too similar to a training scan to be shown.
    show_real : bool
        Whether to show real scans.
    """
    if not (real.classes and synthetic.classes):
        real, synthetic = real.without_classes(), synthetic.without_classes()
    pictures = []
    for k, name in enumerate(synthetic.classes or ("",)):
        of = f" of class {name}" if name else ""
        made = np.array([n for n in synthetic.of_class(k) if n not in suspects], np.int64)
        if show_real and name in (real.classes or ("",)):
            number = real.classes.index(name) if name else 0
            shown = real.of_class(number)
            pictures.append(_some(real, shown, ("real scan", of), "Scan of a patient."))
        pictures.append(_some(synthetic, made, ("synthetic scan", of), NOTICE))
    return [picture for picture in pictures if picture.width]


def pairs(result: PrivacyResult, train: ScanSet, synthetic: ScanSet) -> list[Picture]:
    """Show suspects beside their training scans, or the most similar pairs if there are none."""
    size = min(train.size, synthetic.size)
    pictures = []
    for pair in (result.suspects or result.nearest)[:PAIRS]:
        both = [
            scans.take(np.array([n])).resized(size).images[0]
            for scans, n in ((synthetic, pair.index), (train, pair.train_index))
        ]
        name = f"{pair.synthetic} and {pair.train}: similarity {pair.similarity:.3f}"
        alt = f"Left: synthetic scan {pair.synthetic}. Right: training scan {pair.train}."
        pictures.append(_picture(np.stack(both), name, alt, NOTICE_OF_PAIRS))
    return pictures


def _some(
    scans: ScanSet, indices: npt.NDArray[np.int64], what: tuple[str, str], notice: str
) -> Picture:
    """Show a few of the scans, drawn at random; `what` is a noun, and of which class."""
    chosen = np.random.default_rng(0).permutation(indices)[:SHOWN]
    if not len(chosen):
        return Picture("", "", b"", 0, 0)
    noun, of = what
    caption = noun.capitalize() + ("" if len(chosen) == 1 else "s") + of
    alt = f"{counted(len(chosen), noun)}{of}, drawn at random"
    return _picture(scans.images[chosen], caption, alt, notice)


def _picture(images: Images, caption: str, alt: str, notice: str) -> Picture:
    side = images.shape[1]
    if side > LARGEST:
        size = (LARGEST, LARGEST)
        images = np.stack([cv2.resize(i, size, interpolation=cv2.INTER_AREA) for i in images])
        side = LARGEST
    columns = min(COLUMNS, len(images))
    rows = -(-len(images) // columns)
    step = side + GAP
    sheet = np.full((rows * step - GAP, columns * step - GAP), BETWEEN, np.uint8)
    for n, image in enumerate(images):
        y, x = (step * each for each in divmod(n, columns))
        sheet[y : y + side, x : x + side] = image
    height, width = sheet.shape
    return Picture(caption, alt, encode_png(sheet, {"Comment": notice}), width, height)
