"""Elements that break the rules of their kind, as archives have them: read, noted, or refused by name."""

import io
import pickle

import numpy as np
import pydicom
import pytest
from dicoms import NUMBERS, VALUES, dicom, with_text
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from scangan.core.errors import Damaged, Rejected
from scangan.preprocessing.options import PrepOptions
from scangan.preprocessing.reading.dicom_elements import Elements, UnreadableElement
from scangan.preprocessing.reading.dicom_spacing import spacing_and_aspect
from scangan.preprocessing.reading.reader import read_scans


def read(data, **options):
    (scan,) = [scan for _, scan in read_scans(data, PrepOptions(**options).wanted())]
    return scan


def refusal(data, **options):
    with pytest.raises(Rejected) as caught:
        list(read_scans(data, PrepOptions(**options).wanted()))
    return str(caught.value)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize(
    ("keyword", "text", "name", "value"),
    [
        ("RescaleIntercept", "-1024,0", "intercept", -1024.0),
        ("RescaleIntercept", "-1024,5", "intercept", -1024.5),
        ("RescaleSlope", "0,25", "slope", 0.25),
        ("RescaleSlope", "1,5E-1", "slope", 0.15),
        ("PixelSpacing", "0,5\\0,25", "spacing", (0.5, 0.25)),
    ],
)
def test_a_decimal_comma_is_a_point_and_noted(syntax, keyword, text, name, value):
    scan = read(with_text(keyword, text, syntax))
    assert getattr(scan, name) == value
    assert scan.notes and all(note.startswith(keyword) for note in scan.notes)


def test_a_comma_in_a_window_moves_it_by_what_it_says():
    scan = read(with_text("WindowCenter", "40,5", WindowWidth="400"))
    assert scan.window == (40.5 - 0.5 - 199.5, 40.5 - 0.5 + 199.5)


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ("RescaleIntercept", "N/A"),
        ("RescaleIntercept", "-1.024,0"),
        ("RescaleIntercept", "1_024"),
        ("RescaleIntercept", "-inf"),
        ("RescaleSlope", "one"),
        ("RescaleSlope", "nan"),
        ("WindowCenter", "2000 HU"),
        ("WindowWidth", "NaN"),
        ("PixelSpacing", "0.5 mm\\0.5 mm"),
        ("PixelSpacing", "0.5"),
        ("NumberOfFrames", "1.5"),
        ("NumberOfFrames", "two"),
    ],
)
def test_what_cannot_be_read_and_changes_pixels_is_refused_by_name(keyword, text):
    others = {"WindowCenter": "40", "WindowWidth": "400", "RescaleSlope": "1"}
    others["RescaleIntercept"] = "0"
    told = refusal(with_text(keyword, text, **others))
    tag = pydicom.tag.Tag(keyword)
    assert told.startswith(f"{keyword} ({tag.group:04x},{tag.element:04x}) is ")
    assert "; correct it" in told


@pytest.mark.parametrize(
    ("keyword", "text", "options"),
    [
        ("WindowCenter", "2000 HU", {"window": "dataset"}),
        ("WindowWidth", "NaN", {"window": "0,4000"}),
        ("PixelSpacing", "0.5", {"ignore_spacing": True}),
        ("PixelSpacing", "x\\y", {"fit": "stretch"}),
    ],
)
def test_what_cannot_be_read_and_does_not_matter_is_noted(keyword, text, options):
    others = {"WindowCenter": "40", "WindowWidth": "400"}
    scan = read(with_text(keyword, text, **others), **options)
    np.testing.assert_array_equal(scan.pixels, VALUES)
    assert any(note.startswith(keyword) and "not needed" in note for note in scan.notes)


@pytest.mark.parametrize("text", ["1.0", "1 ", "+1", "1,0"])
def test_a_whole_number_may_be_written_in_any_way(text):
    assert read(with_text("NumberOfFrames", text)).pixels.shape == (16, 16)


def test_an_empty_half_of_a_pair_is_refused_and_an_absent_one_has_its_default():
    whole = {"RescaleSlope": "2", "RescaleIntercept": "-1024"}
    told = refusal(with_text("RescaleIntercept", "", **whole))
    assert told.startswith("RescaleIntercept (0028,1052) is empty")
    assert refusal(with_text("RescaleSlope", "", **whole)).startswith("RescaleSlope (0028,1053) is")
    scan = read(dicom(RescaleSlope="2"))
    assert (scan.slope, scan.intercept) == (2.0, 0.0)


def test_an_unknown_shape_of_window_is_refused_and_an_empty_width_is_none():
    window = {"WindowCenter": "40", "WindowWidth": "400"}
    told = refusal(dicom(**window, VOILUTFunction="CUBIC"))
    assert told.startswith("VOILUTFunction (0028,1056) is 'CUBIC'") and "--window dataset" in told
    assert read(with_text("WindowWidth", "", **window)).window is None
    scan = read(dicom(WindowCenter="0", WindowWidth="0"))
    assert scan.window is None and "WindowWidth" in scan.notes[0]


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ("VOILUTFunction", "A" * 300),
        ("PhotometricInterpretation", "A" * 300),
        ("PixelSpacing", "\\".join(["1"] * 200)),
        ("RescaleSlope", "A" * 300),
        ("NumberOfFrames", "9" * 300),
    ],
)
def test_a_reason_quotes_only_the_beginning_of_a_long_value(keyword, text):
    window = {"WindowCenter": "40", "WindowWidth": "400"}
    numbers = keyword in NUMBERS
    data = with_text(keyword, text, **window) if numbers else dicom(**window, **{keyword: text})
    told = refusal(data, pixel_spacing=0.5)
    assert told.startswith(keyword) and len(told) < 200


@pytest.mark.parametrize("text", ["GREYSCALE", "MONOCHROME", "YCBCR"])
def test_a_file_of_unknown_colours_is_not_called_damaged(text):
    told = refusal(dicom(PhotometricInterpretation=text))
    assert told.startswith(f"PhotometricInterpretation (0028,0004) is '{text}', which is not known")


@pytest.mark.parametrize("error", [Damaged("damaged PNG"), UnreadableElement("Rows is 0")])
def test_a_reason_is_the_same_after_another_process_gave_it(error):
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (type(error), str(error))


def test_a_text_in_another_alphabet_than_the_file_says_tells_patients_apart():
    def named(byte):
        data = dicom(PatientID="Mxller", SpecificCharacterSet="ISO_IR 192")
        return read(data.replace(b"Mxller", b"M" + byte + b"ller")).identifiers[0]

    assert named(b"\xfc") == named(b"\xfc") != named(b"\xe4")
    unknown = dicom(PatientID="P1", SpecificCharacterSet="ISO_IR 100").replace(
        b"ISO_IR 100", b"UTF8      "
    )
    assert read(unknown).identifiers[0] == read(dicom(PatientID="P1")).identifiers[0]


COLOURS = np.zeros((64, 64, 3), np.uint8)
COLOURS[:, :, 0] = np.arange(64) * 4
COLOURS[16:48, :, 2] = 200
LUMA = COLOURS.astype(float) @ [0.299, 0.587, 0.114]


def jpeg(rgb=False, markers=True):
    """A colour JPEG, its colours as RGB or as YCbCr, with or without markers that say so."""
    out = io.BytesIO()
    image = Image.fromarray(COLOURS)
    image.save(out, "JPEG", quality=100, subsampling=0, keep_rgb=rgb)
    data = out.getvalue()
    if markers:
        return data
    kept, at = data[:2], 2
    while data[at + 1] != 0xDA:
        length = 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if not 0xE0 <= data[at + 1] <= 0xEF:
            kept += data[at : at + length]
        at += length
    return kept + data[at:]


def numbered(data, ids):
    """A JPEG whose components have these numbers."""
    at = data.index(b"\xff\xc0") + 10
    scan = data.index(b"\xff\xda") + 5
    changed = bytearray(data)
    changed[at : at + 9 : 3] = changed[scan : scan + 6 : 2] = bytes(ids)
    return bytes(changed)


@pytest.mark.parametrize(
    ("interpretation", "stream", "noted"),
    [
        ("YBR_FULL_422", jpeg(), False),
        ("RGB", jpeg(), True),
        ("RGB", jpeg(markers=False), True),
        ("YBR_FULL_422", jpeg(markers=False), False),
        ("YBR_FULL_422", jpeg(rgb=True), True),
        ("RGB", jpeg(rgb=True), False),
        ("RGB", jpeg(rgb=True, markers=False), False),
        ("YBR_FULL", jpeg(rgb=True, markers=False), True),
        ("RGB", numbered(jpeg(rgb=True, markers=False), (0, 1, 2)), False),
        ("YBR_FULL", numbered(jpeg(markers=False), (0, 1, 2)), False),
    ],
)
def test_the_colours_of_a_jpeg_are_those_of_its_stream(interpretation, stream, noted):
    syntax = pydicom.uid.JPEGBaseline8Bit
    data = dicom(COLOURS, syntax, stream, PhotometricInterpretation=interpretation)
    scan = read(data)
    assert np.abs(scan.pixels - LUMA).mean() < 1
    assert bool(scan.notes) == noted


@pytest.mark.parametrize("signed", [False, True])
def test_padding_outside_of_the_stored_bits_is_dark_and_others_keep_their_value(signed):
    """63536 in 12 bits of 16: within them it would be 2096, a value that other pixels have."""
    values = VALUES.copy()
    assert 2096 in values
    stored = values.copy()
    stored[:4] = 63536
    about = {"BitsStored": 12, "HighBit": 11}
    data = dicom(stored, **about)
    dataset = pydicom.dcmread(io.BytesIO(data))
    dataset.add_new(0x00280120, "US", 63536)
    dataset.PixelRepresentation = int(signed)
    stream = io.BytesIO()
    dataset.save_as(stream)
    scan = read(stream.getvalue())
    right = values.astype(np.int32)
    if signed:
        right = np.where(right > 2047, right - 4096, right)
        right[:4] = right[right != -2000].min()
        right[right == -2000] = (
            right.min()
        )  # -2000 fits 12 bits with a sign: it is padding everywhere
    else:
        right[:4] = right[4:].min()
    np.testing.assert_array_equal(scan.pixels.astype(np.int32), right)
    assert bool(scan.notes) != signed


def test_bits_beyond_those_that_are_stored_are_nothing():
    overlaid = VALUES | np.uint16(0x8000)
    scan = read(dicom(overlaid, BitsStored=12, HighBit=11))
    np.testing.assert_array_equal(scan.pixels, VALUES)


RGB = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)


@pytest.mark.parametrize(
    ("elements", "says"),
    [
        ({"PlanarConfiguration": None}, "DICOM without PlanarConfiguration"),
        (
            {"PlanarConfiguration": 2},
            "PlanarConfiguration (0028,0006) is 2, not 0 (by pixel) or 1 (by plane)",
        ),
        (
            {"PhotometricInterpretation": "YBR_PARTIAL_422"},
            "'YBR_PARTIAL_422', which is not supported; convert",
        ),
    ],
)
def test_colour_that_cannot_be_laid_out_is_refused_by_name(elements, says):
    data = dicom(RGB, **elements)
    if elements.get("PlanarConfiguration", 0) is None:
        dataset = pydicom.dcmread(io.BytesIO(data))
        del dataset.PlanarConfiguration
        stream = io.BytesIO()
        dataset.save_as(stream)
        data = stream.getvalue()
    assert says in refusal(data)


@pytest.mark.parametrize("harmless", [b"", bytes(100)])
def test_a_jpeg_in_a_dicom_may_have_what_does_no_harm(harmless):
    grey = np.linspace(0, 255, 256).astype(np.uint8).reshape(16, 16)
    stream = io.BytesIO()
    Image.fromarray(grey).save(stream, "JPEG", quality=95)
    jpeg = stream.getvalue()
    jfif = jpeg.index(b"JFIF\0") + 5
    odd = jpeg[:jfif] + b"\x02\x09" + jpeg[jfif + 2 : -2] + harmless + jpeg[-2:]
    syntax = pydicom.uid.JPEGBaseline8Bit
    plain, same = (read(dicom(grey, syntax=syntax, raw=raw)) for raw in (jpeg, odd))
    np.testing.assert_array_equal(same.pixels, plain.pixels)


def test_an_aspect_is_not_asked_for_where_a_spacing_is_needed():
    data = dicom(PixelAspectRatio=["1", "2", "3"])
    elements = Elements(pydicom.dcmread(io.BytesIO(data)))
    assert spacing_and_aspect(elements, 0, "--pixel-spacing") == (None, 1.0)
