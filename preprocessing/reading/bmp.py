"""Decode BMP with Pillow.

OpenCV is faster, but misreads unusual bit fields and makes 5-bit colours a little too dark. Pillow
reads them correctly and refuses truncated files.
"""

import io
import struct

import numpy as np
from PIL import BmpImagePlugin

from scangan.core.errors import Damaged, Rejected
from scangan.preprocessing.reading.opencv import luma
from scangan.preprocessing.reading.raster import Frames, check_size, over_black, pixel_aspect
from scangan.preprocessing.reading.scan import Scan


def read_bmp(data: bytes, *_: object) -> Frames:
    """Decode a BMP with 1 to 32 bits per pixel to one grey scan, blended with black.

    Raises
    ------
    Rejected
        The file is truncated, damaged, too large, or of an unsupported kind.
    """
    width, height = _checked_size(data)
    try:
        # Not Image.open, which would print a warning for over 89 megapixels.
        image = BmpImagePlugin.BmpImageFile(io.BytesIO(data))
        if image.size != (width, height):
            raise Damaged("damaged BMP: its header and its data disagree on the size")
        pixels = np.asarray(image if image.mode in ("L", "RGBA") else image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise _refusal(str(error)) from error
    if pixels.ndim == 3:
        alpha = pixels[..., 3] if pixels.shape[2] == 4 else None
        grey = luma(pixels, "RGB" if alpha is None else "RGBA")
        pixels = grey if alpha is None else over_black(grey, alpha)
    yield 0, Scan(pixels, aspect=_aspect(data))


def _aspect(data: bytes) -> float:
    """Return the aspect from the pixels per metre in the header, which OS/2 headers lack."""
    if data[14:18] == b"\x0c\0\0\0":
        return 1.0
    return pixel_aspect(*struct.unpack_from("<ii", data, 38))


def _refusal(fault: str) -> Rejected:
    """Summarise Pillow's error."""
    if fault.startswith("Unsupported BMP "):
        kind = fault.removeprefix("Unsupported BMP ").lower()
        return Rejected(f"BMP of an unusual {kind}; save it as PNG")
    return Damaged("truncated BMP: image data end early" if "runcated" in fault else "damaged BMP")


def _checked_size(data: bytes) -> tuple[int, int]:
    """Return width and height, after checking that the data are long enough for them."""
    if len(data) < 54:
        raise Damaged("truncated BMP")
    if data[14:18] == b"\x0c\0\0\0":  # an OS/2 header, with 16-bit sides
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        run_lengths = False
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
        run_lengths = compression in (1, 2)
    height = abs(height)  # negative if the top row comes first
    check_size(height, width)
    # A pair of bytes is a run of at most 255 pixels; the rest of a row is background.
    room = 255 * len(data) if run_lengths else len(data)
    if height * (width if run_lengths else (width * bits + 31) // 32 * 4) > room:
        raise Damaged("truncated BMP")
    return width, height
