"""Unpack the strips or tiles of a TIFF page and assemble its samples.

OpenCV reads 8-bit TIFF through an interface that silently continues after damaged data, Pillow
prints to the terminal, and tifffile needs a separate codec package for LZW. So the packed bytes go
to the strictest library for each compression, and numpy does the rest.
"""

from typing import Any, NamedTuple

import deflate
import numpy as np
import numpy.typing as npt
import simplejpeg

from scangan.core.errors import Damaged, Rejected
from scangan.preprocessing.reading.jpeg import Header, adobe_marker, decode_strictly
from scangan.preprocessing.reading.tiff_lzw import unpack_lzw
from scangan.preprocessing.reading.tiff_tags import Directory, Order

COMPRESSION, PLANAR, PREDICTOR, JPEG_TABLES = 259, 284, 317, 347
STRIP_OFFSETS, ROWS_PER_STRIP, STRIP_COUNTS = 273, 278, 279
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_COUNTS = 322, 323, 324, 325
NONE, LZW, JPEG, DEFLATE, OLD_DEFLATE, PACKBITS = 1, 5, 7, 8, 32_946, 32_773
# The maximum expansion of a byte: in LZW, 12 bits stand for at most 3,838 bytes.
RATIO = {NONE: 1, PACKBITS: 64, LZW: 2560, DEFLATE: 1032, OLD_DEFLATE: 1032}
NOT_READ = {
    **dict.fromkeys((2, 3, 4), "fax"),
    6: "old-style JPEG",
    34_712: "JPEG 2000",
    34_887: "LERC",
    34_925: "LZMA",
    50_000: "Zstandard",
    50_001: "WebP",
}
HORIZONTAL, FLOATING = 2, 3  # predictors
MOST_BYTES = 1 << 31
MOST_PARTS = 1 << 17


class Layout(NamedTuple):
    """How the samples of a page are stored."""

    height: int
    width: int
    samples: int  # per pixel
    bits: int  # per sample
    dtype: np.dtype[Any]
    ycbcr: bool


class _Grid(NamedTuple):
    """Equal parts, row by row; tiles at the right and bottom extend beyond the page."""

    height: int
    width: int
    tiled: bool
    offsets: list[int]
    counts: list[int]


def read_samples(directory: Directory, layout: Layout) -> npt.NDArray[Any]:
    """Unpack a page.

    Returns
    -------
    ndarray
        [H, W, samples] in the dtype of `layout`, as stored; samples with fewer than 8 bits are not
        scaled. A JPEG page is [H, W, 1], already grey.

    Raises
    ------
    Rejected
        The page is truncated, damaged, too large, or has an unsupported compression.
    """
    compression = directory.integer(COMPRESSION, NONE)
    if compression not in (NONE, LZW, JPEG, DEFLATE, OLD_DEFLATE, PACKBITS):
        name = NOT_READ.get(compression, f"unknown ({compression})")
        raise Rejected(f"TIFF with {name} compression; save it with LZW, Deflate or none")
    if layout.ycbcr and compression != JPEG:
        raise Rejected("YCbCr TIFF; save it as grey or RGB")
    if layout.height * layout.width * layout.samples * layout.dtype.itemsize > MOST_BYTES:
        raise Rejected(
            f"declares {layout.width}x{layout.height} pixels, too many of their kind; shrink it"
        )
    planes = layout.samples if directory.integer(PLANAR, 1) == 2 else 1
    if compression == JPEG and (planes > 1 or layout.bits != 8 or layout.samples not in (1, 3)):
        raise Rejected("JPEG TIFF of an unusual kind; save it with LZW, Deflate or none")
    across = 1 if compression == JPEG else layout.samples
    image = np.zeros((layout.height, layout.width, across), layout.dtype)
    grid = _grid(directory, layout, planes)
    number = 0
    for plane in np.split(image, planes, axis=2):
        for top in range(0, layout.height, grid.height):
            for left in range(0, layout.width, grid.width):
                target = plane[top : top + grid.height, left : left + grid.width]
                target[...] = _part(directory, layout, grid, number, target.shape)
                number += 1
    return image


def packed_size(directory: Directory) -> int:
    """Return the bytes of a page's strips or tiles; each count is limited to just over the file size."""
    # Otherwise, the counts of a BigTIFF could overflow to a negative sum.
    most = len(directory.data) + 1
    counts = (directory.integers(tag) for tag in (STRIP_COUNTS, TILE_COUNTS))
    return int(sum(np.where(values < 0, most, values.clip(max=most)).sum() for values in counts))


def _grid(directory: Directory, layout: Layout, planes: int) -> _Grid:
    """Find the strips or tiles, and check that all are inside the file."""
    tiled = TILE_WIDTH in directory
    if tiled:
        height, width = directory.integer(TILE_HEIGHT, 0), directory.integer(TILE_WIDTH, 0)
        offsets, counts = directory.integers(TILE_OFFSETS), directory.integers(TILE_COUNTS)
    else:
        rows = directory.integer(ROWS_PER_STRIP, layout.height)
        height, width = min(rows, layout.height), layout.width
        offsets, counts = directory.integers(STRIP_OFFSETS), directory.integers(STRIP_COUNTS)
    if height <= 0 or width <= 0 or (tiled and (height % 16 or width % 16)):
        raise Damaged("damaged TIFF: impossible strips or tiles")
    if height * width > 2 * layout.height * layout.width + 1024 * 1024:
        raise Rejected("TIFF of tiles far larger than its page; save it in strips")
    parts = -(-layout.height // height) * -(-layout.width // width) * planes
    if parts > MOST_PARTS:
        raise Rejected(f"TIFF of over {MOST_PARTS} strips or tiles; save it with larger ones")
    if len(offsets) < parts or len(counts) < parts:
        raise Damaged("damaged TIFF: too few strips or tiles")
    offsets, counts = offsets[:parts], counts[:parts]
    size = len(directory.data)
    inside = (counts > 0) & (counts <= size) & (offsets >= 0) & (offsets <= size - counts)
    if not inside.all():
        raise Damaged("truncated TIFF: image data lie outside of the file")
    return _Grid(height, width, tiled, offsets.tolist(), counts.tolist())


def _part(
    directory: Directory, layout: Layout, grid: _Grid, number: int, shape: tuple[int, ...]
) -> npt.NDArray[Any]:
    """Unpack one strip or tile to `shape`: rows, columns, samples."""
    start = grid.offsets[number]
    packed = directory.data[start : start + grid.counts[number]]
    compression = directory.integer(COMPRESSION, NONE)
    if compression == JPEG:
        return _jpeg(directory, layout, packed, shape)
    rows = grid.height if grid.tiled else shape[0]
    row_bytes = (grid.width * shape[2] * layout.bits + 7) // 8
    if rows * row_bytes > len(packed) * RATIO[compression]:
        raise Damaged("truncated TIFF: image data end early")
    if compression == NONE:
        raw = packed
    elif compression == PACKBITS:
        raw = _packbits(packed, rows, row_bytes)
    elif compression == LZW:
        raw = unpack_lzw(packed, rows, row_bytes)
    else:
        try:  # the last strip may be packed with more rows than needed
            raw = deflate.zlib_decompress(packed, grid.height * row_bytes)
        except deflate.DeflateError as error:
            raise Damaged("damaged TIFF: image data cannot be unpacked") from error
    if len(raw) < rows * row_bytes:
        raise Damaged("truncated TIFF: image data end early")
    stored = np.frombuffer(raw, np.uint8, rows * row_bytes).reshape(rows, row_bytes)
    predictor = 1 if compression in (NONE, PACKBITS) else directory.integer(PREDICTOR, 1)
    samples = _samples(stored, layout, shape[2], directory.order, predictor)
    return samples.reshape(rows, -1, shape[2])[: shape[0], : shape[1]]


def _samples(
    stored: npt.NDArray[np.uint8], layout: Layout, channels: int, order: Order, predictor: int
) -> npt.NDArray[Any]:
    """Convert bytes [rows, bytes] to samples [rows, columns * channels] and undo predictors."""
    rows = len(stored)
    if layout.bits < 8:
        shifts = np.arange(8 - layout.bits, -1, -layout.bits, dtype=np.uint8)
        small = (stored[..., None] >> shifts) & np.uint8((1 << layout.bits) - 1)
        columns = small.size // rows // channels * channels
        return small.reshape(rows, -1)[:, :columns]
    if predictor == FLOATING and layout.dtype.kind == "f":
        # Adobe TIFF Technical Note 3: the bytes of a row are ordered by significance, and each is
        # the difference from the one before.
        sums = np.cumsum(stored.reshape(rows, -1, channels), axis=1, dtype=np.uint8)
        planes = sums.reshape(rows, layout.dtype.itemsize, -1).transpose(0, 2, 1)
        return np.ascontiguousarray(planes).view(layout.dtype.newbyteorder(">"))[..., 0]
    if predictor == HORIZONTAL:  # on integers, even if they are the bits of floats
        whole = np.dtype(f"u{layout.dtype.itemsize}")
        values = stored.view(whole.newbyteorder(order)).reshape(rows, -1, channels)
        return np.cumsum(values, axis=1, dtype=whole).view(layout.dtype).reshape(rows, -1)
    if predictor != 1:
        raise Rejected("TIFF with an unusual predictor; save it without")
    return stored.view(layout.dtype.newbyteorder(order))


def _packbits(packed: bytes, rows: int, row_bytes: int) -> bytes:
    from PIL import Image

    try:
        return Image.frombytes("L", (row_bytes, rows), packed, "packbits", "L").tobytes()
    except ValueError as error:
        raise Damaged("truncated TIFF: image data end early") from error


def _jpeg(
    directory: Directory, layout: Layout, packed: bytes, shape: tuple[int, ...]
) -> npt.NDArray[np.uint8]:
    """Decode a JPEG strip or tile, joined with its tables, to grey (Adobe TIFF Tech. Note 2)."""
    tables = directory.raw(JPEG_TABLES)
    if layout.samples == 3:
        # The tag says whether it is RGB or YCbCr. The JPEG itself may not, so add an Adobe marker.
        tables = b"\xff\xd8" + adobe_marker(layout.ycbcr) + tables[2:]
    whole = tables.removesuffix(b"\xff\xd9") + packed[2:] if tables else packed
    if b"\xff\xd9" not in whole[-4:]:  # some writers omit the end marker
        whole += b"\xff\xd9"
    return decode_strictly(whole, lambda data, header: _grey(data, header, layout, shape))


def _grey(
    data: bytes, header: Header, layout: Layout, shape: tuple[int, ...]
) -> npt.NDArray[np.uint8]:
    """Decode to grey; ValueError names the first fault."""
    if header.height < shape[0] or header.width < shape[1] or header.components != layout.samples:
        raise Damaged("damaged TIFF: JPEG data of another size")
    pixels = simplejpeg.decode_jpeg(data, "GRAY", strict=True)
    return np.asarray(pixels[: shape[0], : shape[1]])
