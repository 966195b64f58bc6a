"""TIFF of every kind keeps its values, whoever wrote it; what is not read is named."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from conftest import BRAIN
from PIL import Image, ImageOps

from scangan.core.errors import Rejected
from scangan.preprocessing.reading.reader import read_scans
from scangan.preprocessing.reading.scan import Scan
from scangan.preprocessing.reading.tiff_data import packed_size
from scangan.preprocessing.reading.tiff_tags import Directory
from scangan.preprocessing.reading.wanted import Wanted

GREY = cv2.imread(str(sorted(BRAIN.rglob("*.jpg"))[0]), cv2.IMREAD_GRAYSCALE)[:71, :101].copy()
COLOUR = np.dstack([GREY, 255 - GREY, np.roll(GREY, 20, 1)])
DEPTHS = {
    "uint8": GREY,
    "uint16": GREY.astype(np.uint16) * 257 - np.arange(101, dtype=np.uint16),
    "int8": (GREY.astype(int) - 128).astype(np.int8),
    "int16": GREY.astype(np.int16) * 200 - 20_000,
    "uint32": GREY.astype(np.uint32) * 16_000_000 + 7,
    "int32": GREY.astype(np.int32) * 16_000_000 - 2_000_000_000,
    "float16": GREY.astype(np.float16) / 7 - 10,
    "float32": GREY.astype(np.float32) / 7 - 10,
    "float64": GREY.astype(np.float64) / 7 - 10,
}
NONE, LZW, DEFLATE, PACKBITS = 1, 5, 8, 32_773
FORMAT = {"u": 1, "i": 2, "f": 3}


def lzw(data):
    """LZW without a single match: clear codes keep all codes at nine bits."""
    codes = []
    for start in range(0, len(data), 200):
        codes += [256, *data[start : start + 200]]
    bits = "".join(f"{code:09b}" for code in [*codes, 257])
    return int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")


PACK = {
    NONE: bytes,
    LZW: lzw,
    DEFLATE: zlib.compress,
    PACKBITS: lambda data: b"".join(bytes((0, value)) for value in data),
}


def with_predictor(rows, predictor, order):
    """[H, W, C] as differences along the rows (TIFF 6.0, section 14; Adobe Technical Note 3)."""
    if predictor == 2:
        whole = rows.view(f"u{rows.itemsize}").copy()
        whole[:, 1:] -= whole[:, :-1].copy()
        return whole.astype(whole.dtype.newbyteorder(order)).tobytes()
    if predictor == 3:
        height, width, channels = rows.shape
        planes = rows.astype(rows.dtype.newbyteorder(">")).reshape(height, width * channels, 1)
        planes = planes.view(np.uint8).transpose(0, 2, 1).reshape(height, -1, channels).copy()
        planes[:, 1:] -= planes[:, :-1].copy()
        return planes.tobytes()
    return rows.astype(rows.dtype.newbyteorder(order)).tobytes()


def page(
    samples, order="<", big=False, tile=0, compression=NONE, predictor=1, planar=False, **tags
):
    """Tags and packed parts of one page: an independent, slow twin of a TIFF writer."""
    bits = tags.pop("bits", samples.itemsize * 8)
    height, width = samples.shape[:2]
    samples = samples if samples.ndim == 3 else samples[..., None]
    planes = np.split(samples, samples.shape[2], axis=2) if planar else [samples]
    step = tile or 17  # rows a strip
    across = tile or width
    parts = []
    for plane in planes:
        for top in range(0, height, step):
            for left in range(0, width, across):
                part = plane[top : top + step, left : left + across]
                if tile:
                    missing = [(0, tile - part.shape[0]), (0, tile - part.shape[1]), (0, 0)]
                    part = np.pad(part, missing)
                if bits < 8:
                    spread = (part.reshape(len(part), -1, 1) >> np.arange(bits - 1, -1, -1)) & 1
                    raw = np.packbits(spread.reshape(len(part), -1).astype(np.uint8), axis=1)
                    parts.append(PACK[compression](raw.tobytes()))
                else:
                    raw = with_predictor(np.ascontiguousarray(part), predictor, order)
                    parts.append(PACK[compression](raw))
    count = samples.shape[2]
    values = {
        256: [width],
        257: [height],
        258: [bits] * count,
        259: [compression],
        262: [2 if count >= 3 else 1],
        277: [count],
        284: [2 if planar else 1],
        317: [predictor],
        339: [FORMAT[samples.dtype.kind]] * count,
    }
    values |= {322: [tile], 323: [tile]} if tile else {278: [step]}
    return values | {int(tag[1:]): list(value) for tag, value in tags.items()}, parts, bool(tile)


def tiff(*pages, order="<", big=False):
    """Put pages into a file, classic or BigTIFF."""
    pointer, count_code, inline = ("Q", "Q", 8) if big else ("I", "H", 4)
    data = bytearray(
        struct.pack(order + "2sHHHQ", b"II" if order == "<" else b"MM", 43, 8, 0, 0)
        if big
        else struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, 0)
    )
    link = len(data) - struct.calcsize(pointer)
    for values, parts, tiled in pages:
        offsets = []
        for part in parts:
            offsets.append(len(data))
            data += part
        values = values | {
            324 if tiled else 273: offsets,
            325 if tiled else 279: [len(part) for part in parts],
        }
        entries = b""
        for tag, numbers in sorted(values.items()):
            body = struct.pack(order + pointer * len(numbers), *numbers)
            if len(body) > inline:
                at, body = len(data), body
                data += body
                body = struct.pack(order + pointer, at)
            entries += struct.pack(order + "HH" + pointer, tag, 16 if big else 4, len(numbers))
            entries += body
        struct.pack_into(order + pointer, data, link, len(data))
        data += struct.pack(order + count_code, len(values)) + entries
        link = len(data)
        data += bytes(struct.calcsize(pointer))
    return bytes(data)


def one(samples, order="<", big=False, **how):
    return tiff(page(samples, order, big, **how), order=order, big=big)


def read(data):
    return [scan for _, scan in read_scans(data, Wanted(included=True))]


def pixels(data):
    (scan,) = read(data)
    assert isinstance(scan, Scan), str(scan)
    assert scan.pixels.flags.c_contiguous and scan.pixels.dtype.isnative
    return scan.pixels


def luma(rgb):
    return rgb[..., 0] * 0.299 + rgb[..., 1] * 0.587 + rgb[..., 2] * 0.114


def saved(image, **options):
    out = io.BytesIO()
    image.save(out, "TIFF", **options)
    return out.getvalue()


@pytest.mark.parametrize("compression", [NONE, LZW, DEFLATE, PACKBITS])
@pytest.mark.parametrize("tile", [0, 32])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("depth", DEPTHS)
def test_every_depth_keeps_its_values(depth, order, tile, compression):
    samples = DEPTHS[depth]
    found = pixels(one(samples, order, tile=tile, compression=compression, big=tile > 0))
    kinds = {"int8": "int16", "float16": "float32", "float64": "float32"}
    assert found.dtype == kinds.get(depth, depth)
    np.testing.assert_array_equal(found, samples.astype(found.dtype))


@pytest.mark.parametrize("compression", [LZW, DEFLATE])
@pytest.mark.parametrize("tile", [0, 32])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("depth", "predictor"),
    [("uint8", 2), ("uint16", 2), ("int16", 2), ("uint32", 2), ("float32", 2), ("float32", 3)],
)
def test_differences_are_summed_up(depth, predictor, order, tile, compression):
    how = {"tile": tile, "compression": compression, "predictor": predictor}
    np.testing.assert_array_equal(pixels(one(DEPTHS[depth], order, **how)), DEPTHS[depth])


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("predictor", [1, 2])
@pytest.mark.parametrize("deep", [False, True])
def test_colour_is_luma_at_its_full_depth(deep, predictor, planar):
    samples = COLOUR.astype(np.uint16) * 257 - COLOUR // 3 if deep else COLOUR
    data = one(samples, compression=DEFLATE, predictor=predictor, planar=planar)
    assert np.abs(pixels(data) - luma(samples)).max() <= (2 if deep else 0.51)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_are_spread_over_eight(bits):
    samples = GREY >> (8 - bits)
    full = 255 // (2**bits - 1)
    np.testing.assert_array_equal(pixels(one(samples, bits=bits)), samples * full)
    white = one(samples, bits=bits, t262=[0])
    np.testing.assert_array_equal(pixels(white), 255 - samples * full)


def test_white_is_zero():
    np.testing.assert_array_equal(pixels(one(GREY, t262=[0])), 255 - GREY)
    (scan,) = read(one(DEPTHS["int16"], t262=[0]))
    assert scan.inverted
    np.testing.assert_array_equal(scan.pixels, DEPTHS["int16"])


def test_alpha_lies_over_black():
    alpha = np.full_like(GREY, 255)
    alpha[:, 50:] = 100
    share = alpha / 255
    for samples, grey in (
        (np.dstack([GREY, alpha]), GREY),
        (np.dstack([COLOUR, alpha]), luma(COLOUR)),
        (np.dstack([DEPTHS["uint16"], alpha.astype(np.uint16) * 257]), DEPTHS["uint16"]),
    ):
        assert np.abs(pixels(one(samples, t338=[2])) - grey * share).max() <= 1
    negative = np.dstack([255 - GREY, alpha])
    assert np.abs(pixels(one(negative, t338=[2], t262=[0])) - GREY * share).max() <= 1
    multiplied = np.dstack([COLOUR, alpha])
    assert np.abs(pixels(one(multiplied, t338=[1])) - luma(COLOUR)).max() <= 0.51
    assert np.abs(pixels(one(multiplied, t338=[0])) - luma(COLOUR)).max() <= 0.51


def test_palette_is_looked_up():
    colours = np.random.default_rng(0).integers(0, 256, (3, 256))
    expected = luma(colours.T)[GREY]
    for scale in (1, 257):  # some writers fill the lower 8 of the 16 bits
        data = one(GREY, t262=[3], t320=(colours * scale).ravel())
        assert np.abs(pixels(data) - expected).max() <= 0.51


@pytest.mark.parametrize("depth", ["uint8", "uint16"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_an_orientation_is_applied(turn, depth):
    exif = Image.Exif()
    exif[274] = turn
    upright = Image.new("L", (101, 71))
    upright.putdata(GREY.ravel().tolist())
    upright.info["exif"] = exif.tobytes()
    upright.getexif()[274] = turn
    factor = 257 if depth == "uint16" else 1
    data = one(GREY.astype(depth) * factor, t274=[turn])
    np.testing.assert_array_equal(
        pixels(data), np.asarray(ImageOps.exif_transpose(upright)).astype(depth) * factor
    )


@pytest.mark.parametrize(
    "compression", [None, "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "packbits"]
)
@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "I;16", "I", "F"])
def test_what_pillow_writes(mode, compression):
    image = Image.fromarray(
        DEPTHS[{"I;16": "uint16", "I": "int32", "F": "float32"}.get(mode, "uint8")]
    )
    image = Image.fromarray(COLOUR).quantize(99) if mode == "P" else image.convert(mode)
    grey = image if mode in ("L", "I;16", "I", "F") else image.convert("RGB").convert("L")
    difference = pixels(saved(image, compression=compression)) - np.asarray(grey, float)
    assert np.abs(difference).max() <= (1 if mode in ("P", "RGB", "RGBA") else 0)


@pytest.mark.parametrize("depth", ["uint8", "uint16", "int16", "int32", "float32", "float64"])
def test_what_opencv_writes_with_lzw(depth):
    data = cv2.imencode(".tiff", DEPTHS[depth])[1].tobytes()
    np.testing.assert_array_equal(pixels(data), DEPTHS[depth].astype(pixels(data).dtype))


def test_jpeg_inside():
    for image in (Image.fromarray(GREY), Image.fromarray(COLOUR // 2 + 60)):
        data = saved(image, compression="jpeg", quality=92)
        expected = np.asarray(image.convert("L"), int)
        assert np.abs(pixels(data) - expected).mean() < 1.5
    with pytest.raises(Rejected, match="JPEG"):
        raise read(saved(image, compression="jpeg").replace(b"\xff\xd9", b"\xff\xd8"))[0]


def test_every_page_is_a_frame_and_a_bad_page_is_no_bad_file():
    copy_of_another = page(GREY[::2, ::2], t254=[1])
    bad = page(GREY, t259=[34_712])
    data = tiff(page(GREY), bad, copy_of_another, page(DEPTHS["float32"]), page(GREY * 0 + 5))
    found = list(read_scans(data, Wanted()))
    assert [frame for frame, _ in found] == [0, 1, 3, 4]
    np.testing.assert_array_equal(found[0][1].pixels, GREY)
    assert "JPEG 2000" in str(found[1][1])
    assert found[2][1].pixels.dtype == np.float32
    assert str(found[3][1]) == "every pixel has the same value"


def test_what_is_not_finite_is_the_smallest_value():
    values = DEPTHS["float64"].copy()
    values[0, :4] = np.nan, np.inf, -np.inf, 1e300
    found = pixels(one(values))
    assert np.isfinite(found).all()
    assert (found[0, :3] == np.float32(values[np.abs(values) < 1e9].min())).all()
    assert found[0, 3] == np.finfo(np.float32).max
    np.testing.assert_array_equal(found[1:], values[1:].astype(np.float32))
    (refused,) = read(one(np.full((16, 16), np.nan)))
    assert (
        isinstance(refused, Rejected)
        and str(refused) == "no finite value; leave the file out with --exclude"
    )


def test_a_last_strip_packed_in_full_is_read():
    values, parts, _ = page(GREY, compression=DEFLATE)
    parts[-1] = zlib.compress(zlib.decompress(parts[-1]) + bytes(101 * (17 - 71 % 17)))
    np.testing.assert_array_equal(pixels(tiff((values, parts, False))), GREY)


@pytest.mark.parametrize("compression", [NONE, LZW, DEFLATE, PACKBITS])
def test_a_file_cut_anywhere_is_refused(compression):
    data = one(GREY, compression=compression)
    for length in [
        *range(4, 300, 7),
        *range(300, len(data), 211),
        *range(len(data) - 90, len(data)),
    ]:
        if length < len(data) - 4:  # the last four bytes say that no page follows
            with pytest.raises(Rejected):
                raise next(iter(read(data[:length])))


@pytest.mark.parametrize("depth", ["uint8", "uint16"])
@pytest.mark.parametrize("tile", [0, 16])
def test_damaged_deflate_data_are_refused(tile, depth):
    """OpenCV returns such a uint8 page half black."""
    data = one(DEPTHS[depth], compression=DEFLATE, tile=tile)
    for at in range(20, 3000, 171):
        damaged = bytearray(data)
        damaged[at] ^= 64
        (reason,) = read(bytes(damaged))
        assert "damaged TIFF" in str(reason)


@pytest.mark.parametrize("width", [100, 101])  # an even or odd number of bytes
@pytest.mark.parametrize("rows", [70, 71])
def test_garbage_in_lzw_data_is_refused(width, rows):
    data = cv2.imencode(".tiff", GREY[:rows, :width])[1].tobytes()
    assert np.array_equal(pixels(data), GREY[:rows, :width])
    for at in range(200, 2200, 400):
        for noise in (bytes(300), b"\xff" * 300, np.random.default_rng(at).bytes(300)):
            (reason,) = read(data[:at] + noise + data[at + 300 :])
            assert "damaged TIFF" in str(reason)


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({"t256": [60_000], "t257": [60_000]}, "60000x60000 pixels; at most"),
        ({"t256": [0]}, "declares 0x71"),
        ({"t259": [4]}, "fax compression"),
        ({"t259": [50_000]}, "Zstandard compression"),
        ({"t259": [12_345]}, r"unknown \(12345\) compression"),
        ({"t262": [5]}, "CMYK TIFF"),
        ({"t258": [12]}, "12-bit TIFF"),
        ({"t258": [64]}, "64-bit TIFF"),
        ({"t339": [6]}, "complex 8-bit TIFF"),
        ({"t277": [5]}, "TIFF of 5 channels"),
        ({"t266": [2]}, "bits in reverse order"),
        ({"t32997": [7]}, "TIFF of volumes"),
        ({"t278": [0]}, "impossible strips or tiles"),
        ({"t257": [72 * 17]}, "too few strips or tiles"),
        ({"t257": [80]}, "image data end early"),
        ({"t317": [9], "compression": DEFLATE}, "unusual predictor"),
    ],
)
def test_what_is_not_read_is_named(how, says, capfd):
    with pytest.raises(Rejected, match=says):
        raise read(one(GREY, **how))[0]
    assert capfd.readouterr() == ("", "")


def test_ycbcr_that_is_no_jpeg_is_named():
    with pytest.raises(Rejected, match="YCbCr TIFF"):
        raise read(one(COLOUR, t262=[6]))[0]


def test_pages_without_end_are_refused():
    data = bytearray(tiff(page(GREY), page(GREY)))
    first = struct.unpack_from("<I", data, 4)[0]
    struct.pack_into("<I", data, len(data) - 4, first)
    with pytest.raises(Rejected, match="its list of pages is circular"):
        read(bytes(data))


def test_slices_are_pages_of_a_file_with_several():
    pages = [np.roll(GREY, n, axis=0) for n in range(6)]
    data = tiff(*map(page, pages))

    def taken(slices, data=data):
        found = list(read_scans(data, Wanted(included=True, slices=slices)))
        assert all(np.array_equal(scan.pixels, pages[n]) for n, scan in found)
        return [n for n, _ in found]

    assert taken("1:3") == [1, 2] and taken("0.5:1.0") == [3, 4, 5]
    with pytest.raises(Rejected, match="--slices 9:12 selects none of the 6 pages"):
        taken("9:12")
    assert taken("9:12", tiff(page(pages[0]))) == [0]  # a single scan is no volume


def test_pages_that_share_their_data_are_refused():
    data = bytearray(tiff(page(GREY), page(GREY), page(GREY)))
    first, used = struct.unpack_from("<I", data, 4)[0], len(data)
    directory = data[first : first + 2 + 12 * struct.unpack_from("<H", data, first)[0]]
    for _ in range(5):  # the first page again and again, at the end of the chain
        struct.pack_into("<I", data, len(data) - 4, len(data))
        data += directory + bytes(4)
    assert len(data) < used * 1.5
    assert "more data than the file" in str(read(bytes(data))[-1])


@pytest.mark.parametrize("shape", [(2, (1 << 21) + 2), (3, (1 << 21) + 3), ((1 << 20) + 1, 2)])
def test_a_strip_of_lzw_longer_than_opencv_reads_is_refused_by_name(shape):
    image = Image.fromarray(np.resize(np.arange(251, dtype=np.uint8), shape))
    (reason,) = read(saved(image, compression="tiff_lzw", tiffinfo={278: shape[0]}))
    assert str(reason).startswith("LZW TIFF with a strip of over 1048576 samples; save it with")


@pytest.mark.parametrize("counts", [[1 << 63], [(1 << 64) - 1, 1], [1 << 62] * 4, [17, 1 << 63]])
def test_counts_that_overflow_come_to_more_than_the_file(counts):
    data = struct.pack(f"<{len(counts)}Q", *counts)
    assert packed_size(Directory(data, "<", {279: (16, len(counts), 0)})) > len(data)


@pytest.mark.parametrize("offset", [(1 << 63) - 1, 1 << 63, (1 << 64) - 1, 1 << 40])
def test_strips_that_start_far_outside_are_refused(offset):
    data = one(GREY[:17], big=True)
    at = data.index(struct.pack("<HHQ", 273, 16, 1)) + 12
    (reason,) = read(data[:at] + struct.pack("<Q", offset) + data[at + 8 :])
    assert str(reason) == "truncated TIFF: image data lie outside of the file; copy it again"
