"""Read one file of a scan as grey pixels, or say why not."""

import stat
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from scangan.preprocessing.errors import Rejected

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"
MOST_PIXELS = 1 << 27  # 134 megapixels: above every radiograph, below what exhausts a laptop


def read_grey(data: bytes) -> npt.NDArray[np.uint8]:
    """Decode a PNG or JPEG of 8 bits a channel to grey.

    Parameters
    ----------
    data : bytes
        The whole file. The format is told by its first bytes, not by a name.

    Returns
    -------
    ndarray
        uint8 [H, W]. Colour becomes luma (ITU-R BT.601), and an EXIF orientation is applied.

    Raises
    ------
    Rejected
        The file is empty, truncated, damaged, not a PNG or JPEG, over 8 bits, or huge.
    """
    if not data:
        raise Rejected("empty file")
    if data.startswith(PNG_SIGNATURE):
        _check_png(data)
    elif data.startswith(JPEG_SIGNATURE):
        _check_jpeg(data)
    else:
        raise Rejected("neither PNG nor JPEG")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    except cv2.error as error:
        raise Rejected(f"cannot be decoded: {error.err}") from error
    if image is None:
        raise Rejected("damaged: cannot be decoded")
    return np.asarray(image, np.uint8)


def _check_png(data: bytes) -> None:
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise Rejected("truncated PNG: no header")
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    _check_size(width, height)
    if data[24] == 16:
        # Decoding it to 8 bits would drop the low byte, which is where 12-bit scans live.
        raise Rejected("16-bit PNG; only 8-bit scans are read")
    if b"IEND" not in data[-4096:]:
        raise Rejected("truncated PNG: no end chunk")


def _check_jpeg(data: bytes) -> None:
    """Walk the markers (ITU-T T.81, annex B) to the image data: its size, and whether it ends."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height = int.from_bytes(data[at + 5 : at + 7], "big")
            _check_size(int.from_bytes(data[at + 7 : at + 9], "big"), height)
        if marker == 0xDA:
            # Behind here, so that the end of an embedded thumbnail does not count. The decoder
            # would fill the missing part of a truncated scan with grey.
            if data.rfind(b"\xff\xd9", at) < 0:
                raise Rejected("truncated JPEG: no end marker")
            return
        at += 2 + length
    raise Rejected("truncated JPEG: no image data")


def _check_size(width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise Rejected(f"declares {width}x{height} pixels; at most {MOST_PIXELS} are read")


def read_file(path: Path) -> bytes:
    """Read the bytes of a file; an unreadable one is `Rejected` with the system's reason."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise Rejected("no regular file")  # reading a pipe would wait for ever
        return path.read_bytes()
    except OSError as error:
        raise Rejected(f"cannot be read: {(error.strerror or str(error)).lower()}") from error
