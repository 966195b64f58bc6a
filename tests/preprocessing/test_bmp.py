"""BMP of every kind keeps its values; what is cut off is refused."""

import io
import struct

import numpy as np
import pytest
from conftest import BRAIN
from PIL import Image

from scangan.core.errors import Rejected
from scangan.preprocessing.reading.bmp import read_bmp

GREY = np.asarray(Image.open(sorted(BRAIN.rglob("*.jpg"))[0]).convert("L"))[:43, :57]
COLOUR = np.dstack([GREY, 255 - GREY, np.roll(GREY, 9, 1)])
GREYS = bytes(value for level in range(256) for value in (level, level, level, 0))
HEIGHT, WIDTH = GREY.shape


def read(data):
    ((_, scan),) = read_bmp(data)
    return scan.pixels


def luma(rgb):
    return rgb[..., 0] * 0.299 + rgb[..., 1] * 0.587 + rgb[..., 2] * 0.114


def rows(values):
    """Bytes of [H, W, ...], the bottom row first, each row filled up to four bytes."""
    flat = np.ascontiguousarray(values)[::-1].reshape(len(values), -1).view(np.uint8)
    return np.pad(flat, ((0, 0), (0, -flat.shape[1] % 4))).tobytes()


def bmp(body, bits, palette=b"", compression=0, height=HEIGHT, width=WIDTH, masks=b"", size=40):
    info = struct.pack("<IiiHHIIiiII", size, width, height, 1, bits, compression, 0, 0, 0, 0, 0)
    info = (info + masks).ljust(size, b"\0") if size > 40 else info + masks
    start = 14 + len(info) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + info + palette + body


def runs(image):
    """RLE8: runs, and where three of them end, five pixels as they are."""
    out = b""
    for row in image[::-1].tolist():
        at = 0
        while at < len(row):
            if at % 3 == 0 and at + 5 < len(row):
                out += bytes((0, 5, *row[at : at + 5], 0))
                at += 5
            else:
                length = next((n for n, v in enumerate(row[at:]) if v != row[at]), len(row) - at)
                out += bytes((length, row[at]))
                at += length
        out += b"\0\0"
    return out + b"\0\1"


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_what_pillow_writes(mode):
    source = Image.fromarray(COLOUR if mode != "L" else GREY)
    image = source.quantize(60) if mode == "P" else source.convert(mode)
    out = io.BytesIO()
    image.save(out, "BMP")
    expected = np.asarray(image.convert("RGB").convert("L"), int)
    assert np.abs(read(out.getvalue()) - expected).max() <= 1


def test_the_top_row_first_or_last():
    np.testing.assert_array_equal(read(bmp(rows(GREY), 8, GREYS)), GREY)
    upside_down = bmp(rows(GREY[::-1]), 8, GREYS, height=-HEIGHT)
    np.testing.assert_array_equal(read(upside_down), GREY)


def test_the_short_header_of_os_2():
    body, palette = rows(GREY), bytes(v for level in range(256) for v in (level,) * 3)
    header = struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, 8)
    start = 14 + len(header) + len(palette)
    data = b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + header + palette + body
    np.testing.assert_array_equal(read(data), GREY)


def test_runs_of_equal_pixels():
    np.testing.assert_array_equal(read(bmp(runs(GREY), 8, GREYS, compression=1)), GREY)
    with pytest.raises(Rejected):
        read(bmp(runs(GREY)[:-600], 8, GREYS, compression=1))


@pytest.mark.parametrize("unused", [0, 128, 255])
def test_the_fourth_byte_counts_only_where_it_is_alpha(unused):
    fourth = np.full_like(GREY, unused)
    body = rows(np.dstack([COLOUR[..., ::-1], fourth]))
    assert np.abs(read(bmp(body, 32)) - luma(COLOUR)).max() <= 0.51
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    no_alpha = bmp(body, 32, compression=3, masks=masks[:12])
    assert np.abs(read(no_alpha) - luma(COLOUR)).max() <= 0.51
    with_alpha = bmp(body, 32, compression=3, masks=masks, size=108)
    assert np.abs(read(with_alpha) - luma(COLOUR) * (unused / 255)).max() <= 1


def test_colours_in_unusual_bits():
    """OpenCV mistakes the first for another colour, and makes the second too dark."""
    shifted = rows(np.dstack([GREY * 0, COLOUR[..., ::-1]]))
    masks = struct.pack("<III", 0xFF000000, 0xFF0000, 0xFF00)
    data = bmp(shifted, 32, compression=3, masks=masks)
    assert np.abs(read(data) - luma(COLOUR)).max() <= 0.51
    five = (COLOUR >> 3).astype(np.uint16)
    packed = (five[..., 0] << 10 | five[..., 1] << 5 | five[..., 2]).astype("<u2")
    assert np.abs(read(bmp(rows(packed), 16)) - luma(five * (255 / 31))).max() <= 1.5


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (bmp(rows(GREY), 8, GREYS)[:40], "truncated BMP"),
        (bmp(rows(GREY), 8, GREYS)[:-900], "truncated"),
        (bmp(rows(COLOUR), 24)[:-1500], "truncated"),
        (bmp(rows(GREY), 8, GREYS, height=60_000, width=60_000), "60000x60000 pixels; at most"),
        (bmp(rows(GREY), 8, GREYS, width=-5), "declares -5x43 pixels"),
        (bmp(runs(GREY), 8, GREYS, compression=1, width=1_000_000), "truncated BMP"),
        (bmp(rows(GREY), 8, GREYS, compression=4), r"unusual compression \(4\); save"),
        (bmp(rows(GREY), 7, GREYS), r"unusual pixel depth \(7\); save"),
        (bmp(rows(COLOUR), 24, compression=3, masks=bytes(12)), "unusual bitfields layout; save"),
    ],
)
def test_damage_is_named_and_the_terminal_stays_clean(data, says, capfd):
    with pytest.raises(Rejected, match=says):
        read(data)
    assert capfd.readouterr() == ("", "")


def test_a_file_cut_anywhere_is_refused():
    data = bmp(rows(GREY), 8, GREYS)
    for length in [*range(2, 1100, 31), *range(1100, len(data), 101), len(data) - 4]:
        with pytest.raises(Rejected):
            read(data[:length])
