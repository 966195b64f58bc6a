"""A scan as stored in its file."""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclasses.dataclass(frozen=True)
class Scan:
    """One 2-D image of a file, decoded and upright, before windowing and resizing.

    Parameters
    ----------
    pixels : ndarray
        [H, W], grey, in the file's integers (uint8, uint16, int16, int32, uint32) or float32; finite.
        The physical value (Hounsfield units, counts, ...) is ``slope * pixel + intercept``.
    slope, intercept : float
        Convert stored to physical values; slope is not 0.
    inverted : bool
        Whether low values are bright (DICOM ``MONOCHROME1``).
    window : tuple of float, optional
        (low, high): the physical values to show black and white, according to the file.
    spacing : tuple of float, optional
        (row, column): millimetres between rows and between columns.
    aspect : float
        Height of a pixel over its width; 1 if the file does not say.
    identifiers : tuple of (str or None)
        Short hashes of the patient's ID, the patient's name and the study's UID, None for those
        missing. Empty for formats without identifiers.
    synthetic : bool
        Whether the file says that a generative model made the scan.
    notes : tuple of str
        What is unusual about the file and how it was read, one sentence each.
    """

    pixels: npt.NDArray[Any]
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
        """Whether the scan needs a window to map it to 8 bits."""
        return self.pixels.dtype != np.uint8 or self.window is not None
