"""One scan as its file stores it."""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclasses.dataclass(frozen=True)
class Scan:
    """One 2-D image of a file, decoded and turned upright, before any windowing or resizing.

    Parameters
    ----------
    pixels : ndarray
        [H, W] in the file's own integers (uint8, uint16, int16, int32, uint32) or float32, grey.
        Finite. A physical value (Hounsfield units, counts, ...) is ``slope * pixel + intercept``.
    frame : int
        Its number in the file, from 0; for a slice of a volume, the number of the slice.
    slope, intercept : float
        From stored to physical values; slope is not 0.
    inverted : bool
        Low values are the bright ones (DICOM ``MONOCHROME1``).
    window : tuple of float, optional
        (low, high): the physical values that the file wants shown black and white.
    spacing : tuple of float, optional
        (row, column): millimetres from one row, and one column, to the next.
    aspect : float
        Height of a pixel over its width; 1 where the file does not say.
    identifiers : tuple of (str or None)
        Who it is of: of the patient's ID, the patient's name and the study's UID, what the file says;
        never as it stands there, but a short hash of it. Empty for a format that says nothing.
    synthetic : bool
        The file says that the scan was made by a generative model.
    notes : tuple of str
        What was odd in the file and how it was taken, a sentence each.
    """

    pixels: npt.NDArray[Any]
    frame: int = 0
    slope: float = 1.0
    intercept: float = 0.0
    inverted: bool = False
    window: tuple[float, float] | None = None
    spacing: tuple[float, float] | None = None
    aspect: float = 1.0
    identifiers: tuple[str | None, ...] = ()
    synthetic: bool = False
    notes: tuple[str, ...] = ()

    @property
    def deep(self) -> bool:
        """Whether it must be windowed to come to 8 bits."""
        return self.pixels.dtype != np.uint8 or self.window is not None
