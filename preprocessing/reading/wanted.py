"""The protocol of the readers, and what to read of a file."""

import dataclasses
from typing import Literal, Protocol

from scangan.core.errors import USAGE, PreprocessingError, Rejected
from scangan.preprocessing.reading.raster import Frames

Axis = Literal["axial", "coronal", "sagittal"]
Fit = Literal["pad", "crop", "stretch"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to read of a file; each reader uses what its format has.

    Parameters
    ----------
    included : bool
        Read masks, localizers, mosaics and screenshots too.
    size : int, optional
        JPEG: side of the square to prepare. A much larger scan is decoded smaller, but not without a
        size.
    fit : {"pad", "crop", "stretch"}
        JPEG: how the scan will be made square.
    voi : bool
        DICOM: apply a VOI LUT or a sigmoid.
    needs_spacing : str, optional
        DICOM: the option that needs a pixel spacing, or ``square`` if it only decides whether pixels
        are square; None if nothing needs it.
    axis : {"axial", "coronal", "sagittal"}
        NIfTI: plane of the slices.
    slices : str, optional
        Slices, frames or pages to take of a file that has several, as for `chosen_slices`.
    volume : int, optional
        NIfTI: volume to take from a 4-D file, from 0.
    """

    included: bool = False
    size: int | None = None
    fit: Fit = "pad"
    voi: bool = True
    needs_spacing: str | None = "square"
    axis: Axis = "axial"
    slices: str | None = None
    volume: int | None = None


class Reader(Protocol):
    """Decodes the scans of a file of one format, one at a time."""

    def __call__(self, data: bytes, wanted: Wanted, name: str, /) -> Frames:
        """Yield the number of each frame, page or slice from 0, with the scan or why it is rejected.

        `data` is the whole file, and `name` its path below its class, which may suggest that it is a
        mask. Raises `Rejected` if the whole file, or the rest of it, is rejected.
        """


def several_chosen(slices: str | None, count: int, what: str) -> range:
    """Return which slices, frames or pages of a file ``--slices`` takes; a file with one is not a volume.

    Raises
    ------
    Rejected
        It takes none of several.
    """
    chosen = chosen_slices(slices, count) if count > 1 else range(count)
    if count and not chosen:
        raise Rejected(f"--slices {slices} selects none of the {count} {what}s")
    return chosen


def chosen_slices(slices: str | None, count: int) -> range:
    """Return which of `count` slices ``--slices`` takes: ``10:90``, ``0.2:0.8``; possibly none."""
    if slices is None:
        return range(count)
    first, _, last = slices.partition(":")
    try:
        if "." in slices:
            low, high = float(first), float(last)
            start, stop = round(low * count), round(high * count)
            valid = 0 <= low < high <= 1
        else:
            start, stop = low, high = int(first), int(last)
            valid = 0 <= low < high
    except ValueError:
        valid = False
    if not valid:
        raise PreprocessingError(
            f"--slices {slices!r} is not a range; it takes numbers (10:90) or fractions "
            f"(0.2:0.8), the first below the second",
            exit_code=USAGE,
        )
    return range(min(start, count), min(stop, count))
