"""PNG of every depth and colour keeps its values; damage is seen and named."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from conftest import BRAIN
from PIL import Image

from scangan.core.errors import Rejected
from scangan.preprocessing.reading.png import ADAM7, read_png

SCAN = cv2.imread(str(sorted(BRAIN.rglob("*.jpg"))[0]), cv2.IMREAD_GRAYSCALE)[:101, :77].copy()
DEEP = SCAN.astype(np.uint16) * 251 + np.arange(77, dtype=np.uint16)
COLOUR = np.dstack([SCAN, 255 - SCAN, np.roll(SCAN, 20, 1)])


def read(data):
    ((frame, scan),) = read_png(data)
    assert frame == 0 and scan.pixels.flags.c_contiguous
    return scan.pixels


def luma(rgb):
    """ITU-R BT.601 in real numbers."""
    return rgb[..., 0] * 0.299 + rgb[..., 1] * 0.587 + rgb[..., 2] * 0.114


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def packed(samples, depth):
    """Rows of [H, W, C] samples, each behind a filter byte of 0."""
    rows = samples.reshape(len(samples), -1)
    if depth == 16:
        rows = rows.astype(">u2").view(np.uint8)
    elif depth < 8:
        bits = (rows[..., None] >> np.arange(depth - 1, -1, -1)) & 1
        rows = np.packbits(bits.reshape(len(rows), -1).astype(np.uint8), axis=1)
    return np.pad(rows.astype(np.uint8), ((0, 0), (1, 0))).tobytes()


def png(samples, depth=8, colour=0, extra=b"", interlaced=False, **header):
    """Encode [H, W] or [H, W, C] samples plainly: an independent, slow twin of a PNG writer."""
    samples = samples if samples.ndim == 3 else samples[..., None]
    parts = [samples[y::dy, x::dx] for y, x, dy, dx in ADAM7] if interlaced else [samples]
    raw = b"".join(packed(part, depth) for part in parts if part.size)
    shape = samples.shape[1], samples.shape[0]
    values = header.get("ihdr") or (*shape, depth, colour, 0, 0, int(interlaced))
    ihdr = chunk(b"IHDR", struct.pack(">IIBBBBB", *values))
    data = chunk(b"IDAT", header.get("idat", zlib.compress(raw)))
    return b"\x89PNG\r\n\x1a\n" + ihdr + extra + data + chunk(b"IEND", b"")


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_grey_of_every_depth(depth, interlaced):
    samples = DEEP if depth == 16 else SCAN >> (8 - depth)
    pixels = read(png(samples, depth, interlaced=interlaced))
    assert pixels.dtype == (np.uint16 if depth == 16 else np.uint8)
    np.testing.assert_array_equal(pixels, samples * (1 if depth >= 8 else 255 // (2**depth - 1)))


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("depth", [8, 16])
def test_colour_is_luma_at_its_full_depth(depth, interlaced):
    samples = COLOUR if depth == 8 else COLOUR.astype(np.uint16) * 257 - COLOUR // 3
    pixels = read(png(samples, depth, 2, interlaced=interlaced))
    assert np.abs(pixels - luma(samples)).max() <= (
        0.51 if depth == 8 else 2
    )  # its weights: 14 bits


def test_grey_stored_as_colour_keeps_its_values():
    np.testing.assert_array_equal(read(png(np.dstack([SCAN] * 3), 8, 2)), SCAN)
    np.testing.assert_array_equal(read(png(np.dstack([DEEP] * 3), 16, 2)), DEEP)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("colour", [4, 6])
def test_what_is_transparent_lies_over_black(depth, colour):
    full = 2**depth - 1
    alpha = np.full(SCAN.shape, full, np.uint32)
    alpha[:, :30], alpha[:, 30:50] = 0, full // 3
    plain = (COLOUR if colour == 6 else SCAN[..., None]).astype(np.uint32) * (full // 255)
    pixels = read(png(np.dstack([plain, alpha]), depth, colour))
    grey = luma(plain) if colour == 6 else plain[..., 0]
    assert np.abs(pixels - grey * (alpha / full)).max() <= 1.1
    assert pixels[:, :30].max() == 0 and pixels[:, 50:].max() > 0


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_palette_is_looked_up(depth):
    colours = 2**depth
    indices = (SCAN >> (8 - depth)).astype(np.uint8)
    palette = np.random.default_rng(0).integers(0, 256, (colours, 3), np.uint8)
    alpha = np.array([0, 128], np.uint8)  # of the first two; the others are opaque
    pixels = read(
        png(indices, depth, 3, chunk(b"PLTE", palette.tobytes()) + chunk(b"tRNS", alpha.tobytes()))
    )
    opacity = np.ones(colours)
    opacity[:2] = alpha / 255
    assert np.abs(pixels - (luma(palette) * opacity)[indices]).max() <= 1.1


def test_the_one_transparent_colour_is_black():
    key = int(SCAN.max())
    expected = np.where(key == SCAN, 0, SCAN)
    np.testing.assert_array_equal(
        read(png(SCAN, extra=chunk(b"tRNS", struct.pack(">H", key)))), expected
    )
    np.testing.assert_array_equal(
        read(png(SCAN >> 4, 4, extra=chunk(b"tRNS", struct.pack(">H", 3)))),
        np.where(SCAN >> 4 == 3, 0, (SCAN >> 4) * 17),
    )
    deep = SCAN.astype(np.uint16) * 251 + 3
    np.testing.assert_array_equal(
        read(png(deep, 16, extra=chunk(b"tRNS", struct.pack(">H", int(deep.max()))))),
        np.where(deep == deep.max(), 0, deep),
    )
    red, green, blue = COLOUR[50, 40].tolist()
    pixels = read(png(COLOUR, 8, 2, chunk(b"tRNS", struct.pack(">HHH", red, green, blue))))
    same = (COLOUR[50, 40] == COLOUR).all(-1)
    assert pixels[same].max() == 0 and np.abs(pixels - luma(COLOUR))[~same].max() <= 0.51


@pytest.mark.parametrize("turn", range(1, 9))
def test_an_orientation_is_applied(turn):
    exif = Image.Exif()
    exif[274] = turn
    data = png(SCAN, extra=chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")))
    image = Image.open(io.BytesIO(data))
    assert image.getexif()[274] == turn
    from PIL import ImageOps

    np.testing.assert_array_equal(read(data), np.asarray(ImageOps.exif_transpose(image)))


@pytest.mark.parametrize("level", [0, 1, 9])
def test_what_other_writers_filter_comes_back(level):
    """Pillow and OpenCV use all filters; one chunk of more than 8 MB is refused by OpenCV itself."""
    for image in (SCAN, DEEP):
        out = io.BytesIO()
        Image.fromarray(image).save(out, "PNG", compress_level=level)
        np.testing.assert_array_equal(read(out.getvalue()), image)
        flags = [cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_ALL_FILTERS]
        encoded = cv2.imencode(".png", image, flags)[1].tobytes()
        np.testing.assert_array_equal(read(encoded), image)


def test_a_chunk_of_over_8_mb_is_read():
    big = np.random.default_rng(0).integers(0, 256, (3000, 3000), np.uint8)
    data = png(big, idat=zlib.compress(packed(big, 8), 0))
    np.testing.assert_array_equal(read(data), big)


def test_a_file_cut_anywhere_is_refused():
    data = png(SCAN)
    for length in [*range(8, 60), *range(60, len(data), 97), *range(len(data) - 14, len(data))]:
        with pytest.raises(Rejected, match="truncated PNG"):
            read(data[:length])
    assert read(data + b"whatever follows").shape == SCAN.shape


def test_a_flipped_bit_anywhere_is_refused():
    data = png(SCAN)
    for at in [*range(8, 60), *range(60, len(data), 53)]:
        damaged = bytearray(data)
        damaged[at] ^= 1 << at % 8
        with pytest.raises(Rejected):
            read(bytes(damaged))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (png(SCAN, ihdr=(60_000, 60_000, 8, 0, 0, 0, 0)), "60000x60000 pixels; at most"),
        (png(SCAN, ihdr=(8_000, 8_000, 8, 0, 0, 0, 0)), "too little data for 8000x8000"),
        (png(SCAN, ihdr=(0, 5, 8, 0, 0, 0, 0)), "declares 0x5"),
        (png(SCAN, ihdr=(77, 101, 3, 0, 0, 0, 0)), "impossible header"),
        (png(SCAN, ihdr=(77, 101, 8, 5, 0, 0, 0)), "impossible header"),
        (png(SCAN, ihdr=(77, 101, 8, 0, 1, 0, 0)), "impossible header"),
        (png(SCAN, ihdr=(77, 102, 8, 0, 0, 0, 0)), "image data end early"),
        (png(SCAN, ihdr=(77, 100, 8, 0, 0, 0, 0)), "cannot be unpacked"),
        (png(SCAN, idat=b""), "too little data"),
        (png(SCAN, idat=zlib.compress(bytes(101 * 78))[:-1] + b"x"), "cannot be unpacked"),
        (png(SCAN, idat=zlib.compress(b"\x05" * 101 * 78)), "unknown filter"),
        (png(SCAN, 8, 3, chunk(b"PLTE", bytes(30))), "a colour that its palette lacks"),
        (png(SCAN, extra=chunk(b"acTL", bytes(8))), "animated PNG"),
        (b"\x89PNG\r\n\x1a\n" + chunk(b"IEND", b""), "no header"),
        (png(SCAN)[:33] + chunk(b"IEND", b""), "no image data"),
    ],
)
def test_damage_is_named_and_the_terminal_stays_clean(data, says, capfd):
    with pytest.raises(Rejected, match=says):
        read(data)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("shape", [(1, 1_000_001), (1_000_001, 1), (2, 1 << 24)])
def test_a_side_longer_than_libpng_reads_is_refused_by_name(shape, capfd):
    samples = np.arange(np.prod(shape), dtype=np.int64).reshape(shape) % 2
    with pytest.raises(Rejected, match=f"PNG of {shape[1]}x{shape[0]} pixels; at most 1000000 a"):
        read(png(samples, depth=1))
    assert capfd.readouterr() == ("", "")
