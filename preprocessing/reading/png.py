"""Decode PNG (ISO/IEC 15948) at its full depth, with every checksum verified."""

import contextlib
import struct
import zlib
from typing import Any, NamedTuple

import deflate
import numpy as np
import numpy.typing as npt

from scangan.core.errors import Damaged, Rejected
from scangan.core.sheet import NOTICE
from scangan.preprocessing.reading.opencv import decode, luma
from scangan.preprocessing.reading.raster import (
    Frames,
    check_size,
    over_black,
    pixel_aspect,
    turned_aspect,
    upright,
)
from scangan.preprocessing.reading.scan import Scan
from scangan.preprocessing.reading.tiff_tags import orientation

SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}
DEPTHS = {
    GREY: (1, 2, 4, 8, 16),
    RGB: (8, 16),
    PALETTE: (1, 2, 4, 8),
    GREY_ALPHA: (8, 16),
    RGB_ALPHA: (8, 16),
}
ADAM7 = (  # of each pass: first row and column, steps down and across
    (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1),
)  # fmt: skip
LONGEST_SIDE = 1_000_000  # libpng's limit
TEXTS = (b"tEXt", b"zTXt", b"iTXt")
LONGEST_TEXT = 10_000  # bytes of a compressed text to look at
DEFLATE_RATIO = 1032  # the maximum compression of deflate
STORED_BLOCK = 65_535  # the maximum size of a stored deflate block


class Header(NamedTuple):
    """The IHDR chunk."""

    width: int
    height: int
    depth: int
    colour: int
    compression: int
    filters: int
    interlaced: int


def read_png(data: bytes, *_: object) -> Frames:
    """Decode a PNG to one grey scan: uint8, or uint16 if it has 16 bits per sample.

    Colour becomes luma at full depth, transparency is blended with black, and an orientation in an
    eXIf chunk is applied.

    Raises
    ------
    Rejected
        The file is truncated, damaged, animated or too large.
    """
    header, chunks, texts = _chunks(data)
    raw = _inflated(header, chunks[b"IDAT"])
    grey = _grey(header, _pixels(header, raw), chunks)
    turn = orientation(chunks[b"eXIf"]) if b"eXIf" in chunks else 1
    aspect = turned_aspect(_aspect(chunks.get(b"pHYs", b"")), turn)
    synthetic = any(_is_mark(text) for text in texts)
    yield 0, Scan(upright(grey, turn), aspect=aspect, synthetic=synthetic)


def _aspect(physical: bytes) -> float:
    """Return the aspect from the pixels per unit in the pHYs chunk."""
    if len(physical) != 9:
        return 1.0
    across, down = struct.unpack(">II", physical[:8])
    return pixel_aspect(across, down)


def _is_mark(text: tuple[bytes, bytes]) -> bool:
    """Whether a text says, in the words of gen-scans, that the image is synthetic."""
    keyword, value = text
    return (keyword == b"scangan" and b'"synthetic": true' in value) or value == NOTICE.encode()


def _texts(kind: bytes, chunks: list[memoryview]) -> list[tuple[bytes, bytes]]:
    """Return the keywords and texts of all chunks of a kind: tEXt, zTXt or iTXt (PNG 3, 11.3.3)."""
    found = []
    for keyword, _, value in (bytes(chunk).partition(b"\0") for chunk in chunks):
        compressed = kind == b"zTXt" or (kind == b"iTXt" and value[:1] == b"\1")
        text = value[1:] if kind == b"zTXt" else value
        if kind == b"iTXt":  # a flag and a method, then a language and the keyword in it
            text = value[2:].split(b"\0", 2)[-1]
        if compressed:
            with contextlib.suppress(zlib.error):
                text = zlib.decompressobj().decompress(text, LONGEST_TEXT)
        found.append((keyword, text))
    return found


def _chunks(data: bytes) -> tuple[Header, dict[bytes, bytes], list[tuple[bytes, bytes]]]:
    """Check the structure; return the chunks in use, joined by kind, and the texts."""
    view = memoryview(data)
    found: dict[bytes, list[memoryview]] = {}
    at = len(SIGNATURE)
    while b"IEND" not in found:
        if at + 12 > len(data):
            raise Damaged("truncated PNG")
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        if end + 4 > len(data):
            raise Damaged("truncated PNG")
        if deflate.crc32(view[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            raise Damaged("damaged PNG: a checksum is wrong")
        found.setdefault(kind, []).append(view[at + 8 : end])
        at = end + 4
    if b"acTL" in found:
        raise Rejected("animated PNG; save one of its frames as a plain PNG")
    if next(iter(found)) != b"IHDR" or len(found[b"IHDR"][0]) != 13:
        raise Damaged("damaged PNG: no header")
    if b"IDAT" not in found:
        raise Damaged("damaged PNG: no image data")
    used = (b"IDAT", b"PLTE", b"tRNS", b"eXIf", b"pHYs")
    header = Header._make(struct.unpack(">IIBBBBB", found[b"IHDR"][0]))
    joined = {kind: b"".join(found[kind]) for kind in used if kind in found}
    texts = [text for kind in TEXTS for text in _texts(kind, found.get(kind, []))]
    return header, joined, texts


def _rows(header: Header) -> list[tuple[int, int]]:
    """Return the rows, and bytes per row with its filter byte, of each pass of the image data."""
    bits = header.depth * CHANNELS[header.colour]
    passes = ADAM7 if header.interlaced else ((0, 0, 1, 1),)
    sizes = [
        (-(-(header.height - top) // down), -(-(header.width - left) // right))
        for top, left, down, right in passes
    ]
    return [(h, 1 + (w * bits + 7) // 8) for h, w in sizes if h > 0 and w > 0]


def _inflated(header: Header, packed: bytes) -> bytearray:
    """Unpack the image data, still filtered, and check that they are complete and well-formed."""
    check_size(header.height, header.width)
    if max(header.height, header.width) > LONGEST_SIDE:
        raise Rejected(
            f"PNG of {header.width}x{header.height} pixels; at most {LONGEST_SIDE} a side are read; shrink it"
        )
    known = header.compression == header.filters == 0 and header.interlaced <= 1
    if not known or header.depth not in DEPTHS.get(header.colour, ()):
        raise Damaged("damaged PNG: impossible header")
    rows = _rows(header)
    size = sum(count * stride for count, stride in rows)
    if size > len(packed) * DEFLATE_RATIO:
        raise Damaged(f"damaged PNG: too little data for {header.width}x{header.height} pixels")
    try:
        raw: bytearray = deflate.zlib_decompress(packed, size)
    except deflate.DeflateError as error:
        raise Damaged("damaged PNG: image data cannot be unpacked") from error
    if len(raw) != size:
        raise Damaged("truncated PNG: image data end early")
    start = 0
    for count, stride in rows:
        end = start + count * stride
        if max(raw[start:end:stride]) > 4:
            raise Damaged("damaged PNG: unknown filter")
        start = end
    return raw


def _pixels(header: Header, raw: bytearray) -> npt.NDArray[Any]:
    """Undo the filters with OpenCV.

    OpenCV gets a new PNG with the image data unpacked and checked: libpng prints errors to the
    terminal, OpenCV 5 refuses chunks of over 8 MB, and the zlib in its wheels unpacks at half the
    speed of libdeflate. Palettes are left out, and their indices become grey.
    """
    colour = GREY if header.colour == PALETTE else header.colour
    ihdr = struct.pack(">IIBBBBB", *header._replace(colour=colour))
    parts = [SIGNATURE, *_chunk(b"IHDR", ihdr), *_stored(raw), *_chunk(b"IEND")]
    pixels = decode(b"".join(parts), (header.height, header.width))
    if pixels is None:
        raise Damaged("damaged PNG: cannot be decoded")
    return pixels


def _chunk(
    kind: bytes, head: bytes = b"", body: bytes | memoryview = b"", tail: bytes = b""
) -> tuple[bytes, bytes | memoryview, bytes]:
    """Make one chunk of three parts, without copying the middle one."""
    length = struct.pack(">I", len(head) + len(body) + len(tail))
    checksum = deflate.crc32(tail, deflate.crc32(body, deflate.crc32(kind + head)))
    return length + kind + head, body, tail + struct.pack(">I", checksum)


def _stored(raw: bytearray) -> list[bytes | memoryview]:
    """Wrap bytes as uncompressed image data, one deflate block per chunk (RFC 1951)."""
    chunks: list[bytes | memoryview] = []
    view = memoryview(raw)
    for start in range(0, len(raw), STORED_BLOCK):
        block = view[start : start + STORED_BLOCK]
        last = start + STORED_BLOCK >= len(raw)
        head = struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF)
        head = head if start else b"\x78\x01" + head
        tail = struct.pack(">I", deflate.adler32(raw)) if last else b""
        chunks += _chunk(b"IDAT", head, block, tail)
    return chunks


def _grey(header: Header, pixels: npt.NDArray[Any], chunks: dict[bytes, bytes]) -> npt.NDArray[Any]:
    transparency = chunks.get(b"tRNS", b"")
    if header.colour == PALETTE:
        return _through_palette(header, pixels, chunks.get(b"PLTE", b""), transparency)
    if header.colour in (GREY_ALPHA, RGB_ALPHA):
        return over_black(luma(pixels, "BGRA"), pixels[..., 3])
    grey = luma(pixels, "BGR") if header.colour == RGB else pixels
    if len(transparency) == 2 * CHANNELS[header.colour]:  # a single transparent colour
        full = 65_535 if header.depth == 16 else 255
        key = np.frombuffer(transparency, ">u2")[::-1] * (full // ((1 << header.depth) - 1))
        clear = pixels == key
        grey = np.where(clear.all(-1) if pixels.ndim == 3 else clear, 0, grey).astype(grey.dtype)
    return grey


def _through_palette(
    header: Header, pixels: npt.NDArray[Any], palette: bytes, transparency: bytes
) -> npt.NDArray[Any]:
    colours = len(palette) // 3
    indices = pixels // (255 // ((1 << header.depth) - 1))
    if indices.max() >= colours:
        raise Damaged("damaged PNG: a colour that its palette lacks")
    greys = luma(np.frombuffer(palette, np.uint8, colours * 3).reshape(1, -1, 3), "RGB")
    alpha = np.full_like(greys, 255)
    alpha[0, : len(transparency)] = np.frombuffer(transparency[:colours], np.uint8)
    return np.asarray(over_black(greys, alpha)[0][indices])
