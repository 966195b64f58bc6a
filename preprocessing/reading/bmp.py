"""BMP, decoded by Pillow.

OpenCV is quicker, but takes bit fields at unusual places for colours, and 5-bit colours a little too
dark; Pillow reads all of it right and refuses what is cut off.
"""

import io
import struct

import numpy as np
from PIL import BmpImagePlugin

from scangan.core.errors import Rejected
from scangan.preprocessing.reading.opencv import luma
from scangan.preprocessing.reading.raster import Frames, check_size, over_black, pixel_aspect
from scangan.preprocessing.reading.scan import Scan


def read_bmp(data: bytes) -> Frames:
    """Decode a BMP of 1 to 32 bits a pixel to one grey scan, transparency over black.

    Raises
    ------
    Rejected
        Truncated, damaged, too large, or of a kind that is not read.
    """
    width, height = _checked_size(data)
    try:
        # Not Image.open, which would warn on the terminal of a scan of over 89 megapixels.
        image = BmpImagePlugin.BmpImageFile(io.BytesIO(data))
        if image.size != (width, height):
            raise Rejected("damaged BMP: two sizes")
        pixels = np.asarray(image if image.mode in ("L", "RGBA") else image.convert("RGB"))
    except (OSError, SyntaxError, ValueError) as error:
        raise Rejected(_reason(str(error))) from error
    if pixels.ndim == 3:
        alpha = pixels[..., 3] if pixels.shape[2] == 4 else None
        grey = luma(pixels, "RGB" if alpha is None else "RGBA")
        pixels = grey if alpha is None else over_black(grey, alpha)
    yield 0, Scan(pixels, aspect=_aspect(data))


def _aspect(data: bytes) -> float:
    """From the pixels a metre across, and down, which the header of OS/2 lacks."""
    if data[14:18] == b"\x0c\0\0\0":
        return 1.0
    return pixel_aspect(*struct.unpack_from("<ii", data, 38))


def _reason(fault: str) -> str:
    """Say in short what Pillow found wrong."""
    if fault.startswith("Unsupported BMP "):
        return f"BMP of an unusual {fault.removeprefix('Unsupported BMP ').lower()}; save it as PNG"
    return "truncated BMP: image data end early" if "runcated" in fault else "damaged BMP"


def _checked_size(data: bytes) -> tuple[int, int]:
    """Width and height, once they are known to be no larger than the data that follow allow."""
    if len(data) < 54:
        raise Rejected("truncated BMP")
    if data[14:18] == b"\x0c\0\0\0":  # the header of OS/2, with short sides
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        run_lengths = False
    else:
        width, height, _, bits, compression = struct.unpack_from("<iiHHI", data, 18)
        run_lengths = compression in (1, 2)
    height = abs(height)  # negative where the top row comes first
    check_size(height, width)
    # A pair of bytes is a run of at most 255; what a line leaves out is background.
    room = 255 * len(data) if run_lengths else len(data)
    if height * (width if run_lengths else (width * bits + 31) // 32 * 4) > room:
        raise Rejected("truncated BMP")
    return width, height
