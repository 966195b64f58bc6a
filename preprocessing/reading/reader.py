"""Read the scans of one file of any format."""

from typing import Any

import numpy as np
import numpy.typing as npt

from scangan.core.errors import Damaged, Rejected
from scangan.core.formats import Format, sniff
from scangan.core.terminal import is_missing_package
from scangan.preprocessing.reading.masks import TO_INCLUDE, why_mask
from scangan.preprocessing.reading.raster import Frames, check_size
from scangan.preprocessing.reading.scan import Scan
from scangan.preprocessing.reading.wanted import Reader, Wanted


def read_scans(data: bytes, wanted: Wanted, name: str = "") -> Frames:
    """Decode every scan of a file of any supported format.

    Parameters
    ----------
    data : bytes
        The whole file. Its bytes determine the format, not its name.
    wanted : Wanted
        What to read of it.
    name : str
        Path of the file below its class; it may suggest that the file is a mask.

    Yields
    ------
    frame : int
        Number of the frame, page or slice in the file, from 0.
    scan : Scan or Rejected
        The scan, or why it is rejected; others in the file may be fine.

    Raises
    ------
    Rejected
        The whole file, or the rest of it, is rejected. For any bytes, this and `MemoryError` are
        the only errors.
    """
    form = sniff(data)
    # The reader of a volume checks it as a whole.
    mask_name = None if wanted.included or form == "nifti" else name
    try:
        for frame, scan in _reader(form)(data, wanted, name):
            yield frame, _checked(scan, mask_name)
    except (Rejected, MemoryError):
        raise
    except Exception as error:
        if is_missing_package(error):
            raise
        # Damage that a library did not expect. Its message may quote the file, so it is left out.
        raise Damaged(f"damaged {form.upper()}: it cannot be decoded") from error


def _reader(form: Format) -> Reader:
    """Import the reader of a format at its first file."""
    if form == "jpeg":
        from scangan.preprocessing.reading.jpeg import read_jpeg

        return read_jpeg
    if form == "png":
        from scangan.preprocessing.reading.png import read_png

        return read_png
    if form == "tiff":
        from scangan.preprocessing.reading.tiff import read_tiff

        return read_tiff
    if form == "bmp":
        from scangan.preprocessing.reading.bmp import read_bmp

        return read_bmp
    if form == "dicom":
        from scangan.preprocessing.reading.dicom import read_dicom

        return read_dicom
    from scangan.preprocessing.reading.nifti import read_nifti

    return read_nifti


def _checked(scan: Scan | Rejected, mask_name: str | None) -> Scan | Rejected:
    """Return the scan, or why it is rejected; check for masks only if `mask_name` is given."""
    if isinstance(scan, Rejected):
        return scan
    try:
        check_size(*scan.pixels.shape)
    except Rejected as reason:
        return reason
    if _is_constant(scan.pixels):
        return Rejected("every pixel has the same value")
    if mask_name is not None and (mask := why_mask(scan.pixels, mask_name)):
        return Rejected(f"{mask}; {TO_INCLUDE}")
    return scan


def _is_constant(pixels: npt.NDArray[Any]) -> bool:
    """Whether all pixels are equal; comparing two of them settles it for nearly all scans."""
    if pixels[0, 0] != pixels[pixels.shape[0] // 2, pixels.shape[1] // 2]:
        return False
    return bool(np.all(pixels == pixels[0, 0]))
