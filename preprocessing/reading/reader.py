"""One file in, its scans out, whatever its format."""

import errno
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from scangan.preprocessing.errors import Rejected, Unreadable
from scangan.preprocessing.options import PrepOptions
from scangan.preprocessing.reading.formats import Format, sniff
from scangan.preprocessing.reading.raster import Frames, check_size
from scangan.preprocessing.reading.scan import Scan

MOST_BYTES = 1 << 31
OURS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # no fault of the file: it may be read next time


def read_file(path: str | Path, most: int = -1) -> bytes:
    """Read a file, or its first `most` bytes; `Unreadable`, with the system's reason, if it can't be.

    Raises
    ------
    OSError
        Too many files are open, or the memory is full.
    """
    try:
        # Not to wait for ever for somebody to write into a pipe.
        with open(path, "rb", buffering=0, opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise Rejected("no regular file")
            if status.st_size > MOST_BYTES:
                raise Rejected("over 2 GiB")
            return file.read(most) or b""
    except OSError as error:
        if error.errno in OURS:
            raise
        raise Unreadable(f"cannot be read: {(error.strerror or str(error)).lower()}") from error


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_scans(data: bytes, options: PrepOptions) -> Frames:
    """Decode every scan of a file, of any format that is read.

    Parameters
    ----------
    data : bytes
        The whole file. Its format is told by its bytes, not by a name.
    options : PrepOptions
        Which slices of a volume are wanted, and how large the scans will be in the end.

    Yields
    ------
    frame : int
        The number of the frame, page or slice in the file, from 0.
    scan : Scan or Rejected
        The scan, or why this one is refused while others of the file may be good.

    Raises
    ------
    Rejected
        The whole file, or the rest of it, is refused; the only error whatever the bytes, but for
        `MemoryError`.
    """
    name = sniff(data)
    try:
        for frame, scan in _frames(name, data, options):
            yield frame, _checked(scan)
    except (Rejected, MemoryError):
        raise
    except Exception as error:
        # Damage that a library did not foresee. Its text stays out: it may hold what the file says.
        kind = f"{type(error).__module__}.{type(error).__name__}".removeprefix("builtins.")
        raise Rejected(f"damaged {name.upper()}: {kind}") from error


def _frames(name: Format, data: bytes, options: PrepOptions) -> Frames:
    """Import the reader of a format when the first file of it is met, and call it."""
    if name == "jpeg":
        from scangan.preprocessing.reading.jpeg import read_jpeg

        return read_jpeg(data, options)
    if name == "png":
        from scangan.preprocessing.reading.png import read_png

        return read_png(data, options)
    if name == "tiff":
        from scangan.preprocessing.reading.tiff import read_tiff

        return read_tiff(data, options)
    if name == "bmp":
        from scangan.preprocessing.reading.bmp import read_bmp

        return read_bmp(data, options)
    if name == "dicom":
        from scangan.preprocessing.reading.dicom import read_dicom

        return ((scan.frame, scan) for scan in read_dicom(data, options))
    from scangan.preprocessing.reading.nifti import read_nifti

    return ((scan.frame, scan) for scan in read_nifti(data, options))


def _checked(scan: Scan | Rejected) -> Scan | Rejected:
    if isinstance(scan, Rejected):
        return scan
    try:
        check_size(*scan.pixels.shape)
    except Rejected as reason:
        return reason
    if _is_constant(scan.pixels):
        return Rejected("every pixel has the same value")
    return scan


def _is_constant(pixels: npt.NDArray[Any]) -> bool:
    """Whether all pixels are equal; for nearly all scans, two of them tell that they are not."""
    if pixels[0, 0] != pixels[pixels.shape[0] // 2, pixels.shape[1] // 2]:
        return False
    return bool(np.all(pixels == pixels[0, 0]))
