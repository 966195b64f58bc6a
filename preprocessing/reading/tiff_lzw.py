"""LZW data of TIFF, unpacked by OpenCV.

No library that `scangan` needs anyway offers LZW by itself, so the data go to OpenCV as a TIFF file
of one strip. As 16-bit samples: reading those, OpenCV reports damaged data; reading 8-bit ones it
leaves the rest black.
"""

import struct

from scangan.core.errors import Rejected
from scangan.preprocessing.reading.opencv import decode
from scangan.preprocessing.reading.raster import check_size

WIDEST = 1 << 20  # rows, or 16-bit samples a row, that OpenCV reads


def unpack_lzw(packed: bytes, rows: int, row_bytes: int) -> bytes:
    """Unpack to ``rows * row_bytes`` bytes; `Rejected` where the data are damaged or end early."""
    if row_bytes % 2 == 0:
        return _through_opencv(packed, rows, row_bytes // 2, 16)
    if rows % 2 == 0:
        return _through_opencv(packed, rows // 2, row_bytes, 16)
    # An odd number of bytes: all but the last one (or the last row) for the check, and then all.
    pairs = rows * row_bytes // 2
    check = (1, pairs) if pairs <= WIDEST else (rows // 2, row_bytes)
    if min(check) > 0:
        _through_opencv(packed, *check, 16)
    return _through_opencv(packed, rows, row_bytes, 8)


def _through_opencv(packed: bytes, height: int, width: int, bits: int) -> bytes:
    check_size(height, width)
    if max(height, width) > WIDEST:
        raise Rejected(f"LZW TIFF with a strip of over {WIDEST} samples; save it with Deflate")
    tags = {
        256: width,
        257: height,
        258: bits,
        259: 5,  # LZW
        262: 1,  # black is zero
        273: 8 + 2 + 9 * 12 + 4,  # where the data start: behind the header and these nine tags
        277: 1,  # sample a pixel
        278: height,  # of the strip
        279: len(packed),
    }
    tiff = b"".join(
        (
            struct.pack("<2sHIH", b"II", 42, 8, len(tags)),
            *(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items()),
            bytes(4),
            packed,
        )
    )
    pixels = decode(tiff, (height, width))
    if pixels is None or pixels.ndim != 2 or pixels.itemsize != bits // 8:
        raise Rejected("damaged TIFF: image data cannot be unpacked")
    return pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
