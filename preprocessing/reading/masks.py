"""Tell masks from scans: the values of a mask are labels of regions, not intensities."""

from typing import Any

import numpy as np
import numpy.typing as npt

from scangan.core.folders import MASK_WORDS

TO_INCLUDE = "to use it anyway, add --include '*'"

MOST_LABELS, HIGHEST_LABEL = 16, 32  # for masks whose name does not say so
FEWEST = 4  # with 0 among them, so few values are labels, whatever they are
GLANCE = 512  # pixels; in so many, nearly every scan has more than `MOST_LABELS` values
REGIONS = 0.5  # maximum share of differing neighbours at labelled pixels
# If the name says mask: this many of 32 levels hold nearly everything but the background. A mask
# saved as JPEG has other levels along edges.
LEVELS, FEW_LEVELS, NEARLY_ALL = 32, 4, 0.9


def why_mask(values: npt.NDArray[Any], name: str) -> str:
    """Return why an image is a mask; empty if it is a scan.

    Parameters
    ----------
    values : ndarray
        [H, W], or a volume [..., H, W]; integers or floats. They are not copied.
    name : str
        Path of the file below its class.
    """
    word = MASK_WORDS.search(name)
    if not word and len(np.unique(_glance(values))) > MOST_LABELS:
        return ""
    planes = values.reshape(-1, *values.shape[-2:])
    found = _distinct(planes)
    named = f", and {word[0]!r} in its name" if word else ""
    if found is not None and _are_labels(found) and _are_regions(planes):
        return f"a mask: only {len(found)} values, {found[0]:g} to {found[-1]:g}{named}"
    if word and _few_levels(planes):
        return f"a mask: few values{named}"
    return ""


def _glance(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    flat = values.reshape(-1) if values.flags.c_contiguous else values.ravel(order="K")
    return flat[:: max(1, flat.size // GLANCE)]


def _distinct(planes: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
    """Return the distinct values in order; None if there are too many for labels."""
    found = planes[0, :0, 0]
    for plane in planes:
        found = np.union1d(found, plane)
        if len(found) > MOST_LABELS:
            return None
    return found


def _are_labels(found: npt.NDArray[Any]) -> bool:
    """Whether distinct values look like labels: small whole numbers, or 0 and very few others."""
    if len(found) < 2 or not np.isfinite(found).all():
        return False
    small = found[0] in (0, 1) and found[-1] <= HIGHEST_LABEL and not np.any(found % 1)
    return bool(small or (0 in found and len(found) <= FEWEST))


def _are_regions(planes: npt.NDArray[Any]) -> bool:
    """Whether equal values form regions; those of a scan with few counts do not."""
    differing = labelled = 0
    for plane in planes:
        one, two = plane[:-1], plane[1:]
        differing += int(np.count_nonzero(one != two))
        labelled += int(np.count_nonzero((one != 0) | (two != 0)))
    return differing <= REGIONS * max(1, labelled)


def _few_levels(planes: npt.NDArray[Any]) -> bool:
    low, high = float(planes.min()), float(planes.max())
    if not low < high < float("inf"):
        return False
    of_level = np.zeros(LEVELS)
    for plane in planes:
        of_level += np.histogram(plane, LEVELS, (low, high))[0]
    of_level[of_level.argmax()] = 0  # the background
    held = np.sort(of_level)[-FEW_LEVELS:].sum()
    return bool(held >= NEARLY_ALL * of_level.sum())
