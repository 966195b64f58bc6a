"""JPEG of every kind is decoded or refused by name; smaller decoding changes next to nothing."""

import base64
import io
import subprocess
import sys
import zlib

import cv2
import numpy as np
import pytest
import simplejpeg
from conftest import BRAIN
from PIL import Image, ImageOps

from scangan.core.errors import Rejected
from scangan.preprocessing import PrepOptions
from scangan.preprocessing.geometry import placement
from scangan.preprocessing.reading.jpeg import MARGIN, MOST_SHIFT, read_jpeg, reduction
from scangan.preprocessing.reading.wanted import Wanted

FILES = sorted(BRAIN.rglob("*.jpg"))
REAL = FILES[0].read_bytes()
GREY = np.asarray(Image.open(FILES[0]).convert("L"))[:150, :201]
# No colour so strong that it would be clipped on its way through YCbCr.
COLOUR = np.dstack([GREY // 2 + 60, 190 - GREY // 2, np.roll(GREY, 40, 1) // 2 + 60])
# 64x64 pixels in steps of 30, without loss, and a wave with arithmetic coding: no library here
# writes these.
LOSSLESS = zlib.decompress(
    base64.b85decode(
        "c-s4a<NpH&0WUXCHwH#V1_nkTWcYuWft!QDfx&^1QIO&P5e6}!6i^r$uyXvr#lXP`R(}2ggFXYp9tNflKnd;x5D"
        "o)~3*kWJfE<Q_Q>Z^ETtPtLo<SC9*c2i;mSNC3m;e7w08bu}5&"
    )
)
ARITHMETIC = zlib.decompress(
    base64.b85decode(
        "c-s4a<NpH&0WUXCHwH#V1_nkTWcYuZ!I^=Lg_Vt!g^i7sjh&s1gG+#mi<6T}gpZ#`KwLyZLR>^lOiET&UP@Y7Mo"
        "dgWM?qOlT~kX_QeM|USHnP6LsR4bNd|5X1_uTQMn*w~|7RH37z6}Z|KDQZ09j+t@SoxCj;!AOFTT4iKNeFt<Gft"
        "!(&NslF=@g}+d2&I`sz0wk@<fU02pT{Z2"
    )
)
STEPS = (np.add.outer(np.arange(64) // 16, np.arange(64) // 16) * 30).astype(np.uint8)


def read(data, **options):
    ((frame, scan),) = read_jpeg(data, PrepOptions(**({"size": 1024} | options)).wanted())
    assert frame == 0 and scan.pixels.flags.c_contiguous and scan.pixels.dtype == np.uint8
    return scan.pixels


def saved(pixels, mode=None, **options):
    out = io.BytesIO()
    Image.fromarray(pixels, mode).save(out, "JPEG", quality=92, **options)
    return out.getvalue()


def pillow(data):
    image = Image.open(io.BytesIO(data))
    return np.asarray((image.convert("RGB") if image.mode == "CMYK" else image).convert("L"), int)


@pytest.mark.parametrize("path", FILES[::40], ids=lambda p: p.name)
def test_a_real_scan_has_the_pixels_that_opencv_sees(path):
    data = path.read_bytes()
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
    np.testing.assert_array_equal(read(data), expected)


@pytest.mark.parametrize(
    ("data", "most"),
    [
        (saved(GREY), 0),
        (saved(GREY, progressive=True), 0),
        (saved(GREY, restart_marker_blocks=2), 0),
        (saved(COLOUR), 5),
        (saved(COLOUR, subsampling=0), 5),
        (saved(COLOUR, progressive=True), 5),
        (saved(COLOUR, keep_rgb=True), 0),
        (saved(np.dstack([COLOUR, GREY // 4]), "CMYK"), 3),  # as Adobe does: inverted
        (simplejpeg.encode_jpeg(np.dstack([COLOUR, GREY]), 92, "CMYK"), 3),  # YCCK
    ],
    ids=["grey", "progressive", "restarts", "420", "444", "progressive420", "rgb", "cmyk", "ycck"],
)
def test_every_colour_space_is_the_luma_that_pillow_sees(data, most):
    assert np.abs(read(data) - pillow(data)).max() <= most


def test_lossless_and_arithmetic_coding():
    np.testing.assert_array_equal(read(LOSSLESS), STEPS)
    assert np.abs(read(ARITHMETIC) - STEPS.astype(int)).max() <= 12


def test_a_lossless_file_is_not_decoded_smaller():
    """simplejpeg would write it in full into a smaller buffer: the process dies."""
    code = (
        "import sys; from scangan.preprocessing.reading.wanted import Wanted\n"
        "from scangan.preprocessing.reading.jpeg import read_jpeg\n"
        "data = sys.stdin.buffer.read()\n"
        "for _ in range(50): [(_, scan)] = read_jpeg(data, Wanted(size=16))\n"
        "print(scan.pixels.shape)"
    )
    argv = [sys.executable, "-c", code]
    done = subprocess.run(argv, input=LOSSLESS, capture_output=True, check=True)
    assert done.stdout.strip() == b"(64, 64)"
    assert reduction(64, 64, Wanted(size=16)) == 2


def test_a_marker_without_a_length_cannot_hide_another_picture():
    """What follows one is a segment to the decoder, and would be a length to who skips it."""
    for marker in (b"\xff\xd0", b"\xff\x01", b"\xff\xd8", b"\xff\xd9"):
        with pytest.raises(Rejected, match="an unexpected marker"):
            read(REAL[:2] + marker + b"\x02\xd9" + LOSSLESS[2:] + bytes(100) + REAL[2:])


@pytest.mark.parametrize("size", [1024, 16])
@pytest.mark.parametrize("turn", range(1, 9))
def test_every_exif_orientation_is_applied(turn, size):
    exif = Image.Exif()
    exif[274] = turn
    data = saved(GREY[:144], exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    pixels = read(data, size=size)
    if size == 16:  # decoded at a quarter
        assert pixels.shape == tuple(round(side / 4) for side in expected.shape)
        shape = pixels.shape[::-1]
        expected = cv2.resize(expected, shape, interpolation=cv2.INTER_AREA)
        assert np.abs(pixels.astype(int) - expected).mean() < 6
    else:
        np.testing.assert_array_equal(pixels, expected)


def test_damaged_exif_data_turn_nothing():
    exif = Image.Exif()
    exif[274] = 6
    data = saved(GREY, exif=exif)
    for noise in (b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\0", b"xxxxxxxx"):
        start = data.index(b"Exif\0\0") + 6
        assert read(data[:start] + noise + data[start + 8 :]).shape == GREY.shape


def frames(*names):
    """The JPEG data in DICOM files that come with pydicom."""
    pydicom = pytest.importorskip("pydicom")
    from pydicom.data import get_testdata_file
    from pydicom.encaps import generate_frames

    for name in names:
        dataset = pydicom.dcmread(get_testdata_file(name, download=False))
        yield next(generate_frames(dataset.PixelData, number_of_frames=1))


def test_what_is_not_read_is_named():
    (deep,) = frames("JPGExtended.dcm")
    with pytest.raises(Rejected, match="12-bit JPEG; save it as a PNG or TIFF of 16 bits"):
        read(deep)
    (jpeg_ls,) = frames("MR_small_jpeg_ls_lossless.dcm")
    with pytest.raises(Rejected, match="JPEG-LS"):
        read(jpeg_ls)
    cmyk = saved(np.dstack([COLOUR, GREY]), "CMYK")
    at = cmyk.index(b"\xff\xee\x00\x0eAdobe")
    with pytest.raises(Rejected, match="does not say whether it is inverted"):
        read(cmyk[:at] + cmyk[at + 16 :])


@pytest.mark.parametrize("data", [saved(GREY), saved(GREY, progressive=True), saved(COLOUR)])
def test_a_file_cut_anywhere_is_refused(data):
    for length in [*range(3, 700, 13), *range(700, len(data), 211), len(data) - 3]:
        with pytest.raises(Rejected, match="JPEG"):
            read(data[:length])


@pytest.mark.parametrize("share", [0.1, 0.4, 0.8])
@pytest.mark.parametrize("fill", ["random", "zeros", "ones"])
def test_a_file_filled_with_garbage_is_refused(share, fill):
    rng = np.random.default_rng(0)
    for path in FILES[::30]:
        data = bytearray(path.read_bytes())
        start = 650 + int((len(data) - 700) * share)
        end = min(len(data) - 2, start + 2000)
        noise = {"random": rng.bytes(end - start), "zeros": bytes(end - start)}
        data[start:end] = noise.get(fill, b"\xff" * (end - start))
        with pytest.raises(Rejected, match="JPEG"):
            read(bytes(data))


def test_what_does_no_harm_is_read():
    """Real files have these faults, at which a strict decoder stops."""
    plain = read(REAL)
    jfif = REAL.index(b"JFIF\0") + 5
    profile = b"\xff\xe2\x00\x24ICC_PROFILE\0\x05\x02" + bytes(20)
    image = REAL.index(b"\xff\xda")
    spectral = image + 2 + int.from_bytes(REAL[image + 2 : image + 4], "big") - 3
    for harmless in (
        REAL + b"\0\0trailing",
        REAL[:-2] + bytes(100) + REAL[-2:],
        REAL[:jfif] + b"\x07\x00" + REAL[jfif + 2 :],
        REAL[:2] + profile + REAL[2:],
        REAL[:spectral] + b"\0\0\0" + REAL[spectral + 3 :],
    ):
        np.testing.assert_array_equal(read(harmless), plain)
    with pytest.raises(Rejected, match="damaged JPEG: 95 extraneous bytes"):
        read(REAL[:-2] + b"\x5a" * 100 + REAL[-2:])


def test_a_size_that_would_exhaust_the_memory_is_refused():
    frame = REAL.index(b"\xff\xc0") + 5
    with pytest.raises(Rejected, match="declares 65500x65500 pixels; at most 134217728"):
        read(REAL[:frame] + (65500).to_bytes(2, "big") * 2 + REAL[frame + 4 :])
    with pytest.raises(Rejected, match="gives its height only at its end"):
        read(REAL[:frame] + bytes(2) + REAL[frame + 2 :])


@pytest.mark.parametrize(("progressive", "mode"), [(True, "RGB"), (False, "CMYK")])
def test_values_that_a_decoder_would_keep_are_limited(progressive, mode):
    """A few hundred bytes may declare 134 megapixels, of which the coefficients take a gigabyte."""
    colours = np.asarray(Image.fromarray(GREY).convert(mode))
    data = saved(colours, mode, progressive=progressive)
    frame = data.index(b"\xff\xc2" if progressive else b"\xff\xc0") + 5
    data = data[:frame] + (11_000).to_bytes(2, "big") * 2 + data[frame + 4 :]
    with pytest.raises(Rejected, match=r"declares 11000x11000 pixels of [34] values.*; shrink it"):
        read(data)


def test_lossless_arithmetic_coding_is_not_called_damage():
    start = REAL.index(b"\xff\xc0")
    with pytest.raises(Rejected, match=r"^JPEG of an unusual kind; save it as PNG$"):
        read(REAL[:start] + b"\xff\xcb" + REAL[start + 2 :])


def test_passes_without_end_are_refused():
    data = saved(GREY, progressive=True)
    last = data.rindex(b"\xff\xda")
    with pytest.raises(Rejected, match="over 500 passes"):
        read(data[:-2] + data[last:-2] * 500 + data[-2:])


@pytest.fixture(scope="module")
def radiographs():
    """Real scans enlarged to the size of radiographs, with the noise of a detector."""
    rng = np.random.default_rng(0)
    made = []
    for path, size in zip(FILES[::60], [(1800, 1304), (1803, 1301), (1502, 1999), (1217, 1633)]):
        image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        image = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
        image = np.clip(image + rng.normal(0, 3, image.shape), 0, 255).astype(np.uint8)
        made.append(simplejpeg.encode_jpeg(image[..., None], 90, "GRAY", "Gray"))
    return made


def prepared(pixels, size, fit):
    place = placement(*pixels.shape, size, fit)
    used = np.ascontiguousarray(pixels[place.source])
    return cv2.resize(used, place.shape[::-1], interpolation=cv2.INTER_AREA).astype(int)


@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
@pytest.mark.parametrize("size", [64, 128, 256, 512])
def test_decoding_smaller_changes_the_prepared_scan_by_little(radiographs, fit, size):
    smaller = 0
    for data in radiographs:
        whole, reduced = read(data), read(data, size=size, fit=fit)
        smaller += reduced.size < whole.size
        difference = np.abs(prepared(reduced, size, fit) - prepared(whole, size, fit))
        assert difference.mean() < 2
        assert np.percentile(difference, 99.9) < 25
        if whole.shape == (1304, 1800):  # covered to the pixel
            assert difference.mean() < 0.7
            assert np.percentile(difference, 99.9) < 15
    assert smaller >= (2 if size < 512 else 0)


def test_the_reduced_scan_lands_on_the_same_region():
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(3000):
        height, width = (int(side) for side in rng.integers(100, 3000, 2))
        size = int(rng.choice([16, 64, 100, 256]))
        fit = str(rng.choice(["pad", "crop", "stretch"]))
        factor = reduction(height, width, Wanted(size=size, fit=fit))
        seen.add(factor)
        whole = placement(height, width, size, fit)
        small = placement(round(height / factor), round(width / factor), size, fit)
        assert small.shape == whole.shape and small.corner == whole.corner
        if factor > 1:
            for part, full, wanted in zip(small.source, whole.source, whole.shape):
                assert part.stop - part.start >= MARGIN * wanted
                pixel = (full.stop - full.start) / wanted
                assert abs(part.start * factor - full.start) <= MOST_SHIFT * pixel
                assert abs(part.stop * factor - full.stop) <= MOST_SHIFT * pixel
    assert seen == {1, 2, 4, 8}


@pytest.mark.parametrize(
    "options", [{"equalize": "global"}, {"equalize": "clahe"}, {"pixel_spacing": 1.0}]
)
def test_equalised_and_spaced_scans_are_decoded_in_full(radiographs, options):
    assert read(radiographs[0], size=64, **options).shape == (1304, 1800)
    assert read(radiographs[0], size=64).shape == (163, 225)


@pytest.mark.parametrize("fit", ["crop", "stretch"])
@pytest.mark.parametrize("shape", [(1, 5000), (3, 4000), (7, 4000), (5000, 2), (20, 20_000)])
def test_a_strip_too_narrow_to_decode_smaller_is_decoded_in_full(shape, fit):
    strip = cv2.resize(GREY, shape[::-1])
    assert read(saved(strip), size=16, fit=fit).shape == shape
