"""Unpack LZW data of TIFF files with OpenCV.

None of scangan's dependencies offers LZW on its own, so the data go to OpenCV as a TIFF file with one
strip. It has 16-bit samples, for which OpenCV reports damaged data; with 8-bit samples, it would
leave the rest black.
"""

import struct

from scangan.core.errors import Damaged, Rejected
from scangan.preprocessing.reading.opencv import decode
from scangan.preprocessing.reading.raster import check_size

WIDEST = 1 << 20  # OpenCV's limit for rows, and for 16-bit samples per row


def unpack_lzw(packed: bytes, rows: int, row_bytes: int) -> bytes:
    """Unpack to ``rows * row_bytes`` bytes; raise `Rejected` if the data are damaged or too short."""
    if row_bytes % 2 == 0:
        return _through_opencv(packed, rows, row_bytes // 2, 16)
    if rows % 2 == 0:
        return _through_opencv(packed, rows // 2, row_bytes, 16)
    # For an odd number of bytes, check all but the last (or the last row), then unpack all.
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
        273: 8 + 2 + 9 * 12 + 4,  # the data start after the header and these nine tags
        277: 1,  # sample per pixel
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
        raise Damaged("damaged TIFF: image data cannot be unpacked")
    return pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
