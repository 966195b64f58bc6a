"""Read the pixel spacing and aspect of a DICOM frame (DICOM PS3.3, 10.7.1)."""

import math

from scangan.core.printable import quoted
from scangan.preprocessing.reading.dicom_elements import (
    CORRECT,
    Elements,
    UnreadableElement,
    named,
)

SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
CENTIMETRES = 3  # C.8.5.5.1.15, unit of a region in an ultrasound image
WITHOUT = "correct it, or prepare the scans without it: --ignore-spacing"

Pair = tuple[float, float]


def spacing_and_aspect(
    elements: Elements, frame: int, needed: str | None
) -> tuple[Pair | None, float]:
    """Read the distance between rows and columns, and the shape of pixels.

    Parameters
    ----------
    elements : Elements
        The elements of the file.
    frame : int
        Number of the frame.
    needed : str or None
        The option that requires it, or ``square`` if it only decides whether pixels are square; None
        if nothing depends on it.

    Returns
    -------
    spacing : (float, float) or None
        Millimetres between rows and between columns; None if the file does not say.
    aspect : float
        Height of a pixel over its width; 1 if the file does not say.

    Raises
    ------
    UnreadableElement
        The spacing cannot be read but is `needed`.
    """
    try:
        spacing = _spacing(elements, frame, WITHOUT if needed == "square" else CORRECT)
        if spacing is not None:
            return spacing, spacing[0] / spacing[1]
        if needed not in ("square", None):  # an aspect is no spacing
            return None, 1.0
        return None, _ratio(elements) or _ultrasound_ratio(elements) or 1.0
    except UnreadableElement as reason:
        if needed is not None:
            raise
        elements.note(f"{reason.fact}; not needed here")
        return None, 1.0


def _spacing(elements: Elements, frame: int, advice: str) -> Pair | None:
    measures = elements.macro(frame, "PixelMeasuresSequence")
    for keyword in SPACINGS:
        item = measures if measures is not None and keyword in measures else None
        pair = _pair(elements, keyword, elements.numbers(keyword, item, advice), advice)
        if pair is not None:
            return pair
    return None


def _ratio(elements: Elements) -> float | None:
    keyword = "PixelAspectRatio"  # C.7.6.3.1.7: vertical, then horizontal
    pair = _pair(elements, keyword, elements.numbers(keyword, None, WITHOUT), WITHOUT)
    return pair and pair[0] / pair[1]


def _ultrasound_ratio(elements: Elements) -> float | None:
    """Return the ratio of the regions that show tissue (C.8.5.5), if they agree."""
    ratios = set()
    for region in elements.items("SequenceOfUltrasoundRegions"):
        units = (elements.whole(f"PhysicalUnits{axis}Direction", region) for axis in "XY")
        x, y = (elements.number(f"PhysicalDelta{axis}", region, WITHOUT) for axis in "XY")
        if set(units) == {CENTIMETRES} and x and y:
            ratios.add(round(abs(y / x), 4))
    return ratios.pop() if len(ratios) == 1 else None


def _pair(elements: Elements, keyword: str, numbers: tuple[float, ...], advice: str) -> Pair | None:
    if not numbers:
        return None
    told = "\\".join(f"{number:g}" for number in numbers)
    if len(numbers) != 2:
        raise UnreadableElement(f"{named(keyword)} is {quoted(told)}, not two numbers", advice)
    if min(numbers) <= 0 or not all(map(math.isfinite, numbers)):
        elements.note(f"{named(keyword)} is {told}; ignored")
        return None
    return numbers[0], numbers[1]
