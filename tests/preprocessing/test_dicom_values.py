"""What the elements of a DICOM file say of its pixels, on files made for it."""

import hashlib
import io

import cv2
import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_modality_lut, apply_voi, apply_windowing
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

from scangan.core.errors import Rejected
from scangan.preprocessing.options import PrepOptions
from scangan.preprocessing.reading.dicom import read_dicom
from scangan.preprocessing.reading.wanted import Wanted

RAMP = np.arange(0, 4096, 16, dtype=np.uint16).reshape(16, 16)
COLOURS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
LUMA = cv2.cvtColor(COLOURS, cv2.COLOR_RGB2GRAY)


def made(pixels, *, syntax=ExplicitVRLittleEndian, pixel_bytes=None, **elements):
    """A data set with these pixels, [H, W], [N, H, W] or [H, W, 3]."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.SOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    colour = pixels.shape[-1] == 3
    rows, columns = pixels.shape[:2] if colour else pixels.shape[-2:]
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = rows, columns, 3 if colour else 1
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        dataset.PlanarConfiguration = 0
    elif pixels.ndim == 3:
        dataset.NumberOfFrames = len(pixels)
    bits = 8 * pixels.itemsize
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    if pixels.dtype.kind == "f":
        name = {4: "FloatPixelData", 8: "DoubleFloatPixelData"}[pixels.itemsize]
        setattr(dataset, name, pixels.tobytes())
    else:
        dataset.PixelData = pixel_bytes or pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
        dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
    dataset.update({keyword: value for keyword, value in elements.items() if value is not None})
    for keyword in (keyword for keyword, value in elements.items() if value is None):
        del dataset[keyword]
    return dataset


def saved(dataset):
    stream = pydicom.filebase.DicomBytesIO()
    dataset.save_as(stream)
    return bytes(128) + b"DICM" + stream.getvalue()


def read(dataset, **options):
    wanted = PrepOptions(**options).wanted()
    return [scan for _, scan in read_dicom(saved(dataset), wanted)]


def reason(dataset):
    with pytest.raises(Rejected) as caught:
        read(dataset)
    return str(caught.value)


def item(**elements):
    dataset = Dataset()
    dataset.update(elements)
    return dataset


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.uint32, np.int32])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_stored_integers_keep_their_value(dtype, syntax):
    limits = np.iinfo(dtype)
    stored = np.linspace(limits.min, limits.max, 64).astype(dtype).reshape(8, 8)
    (scan,) = read(made(stored, syntax=syntax))
    np.testing.assert_array_equal(scan.pixels, stored)
    assert scan.pixels.dtype == (np.int16 if dtype == np.int8 else dtype)
    assert scan.deep == (dtype != np.uint8)


def test_single_bits_become_black_and_white():
    mask = np.arange(64).reshape(8, 8) % 3 == 0
    dataset = made(
        mask.astype(np.uint8), pixel_bytes=np.packbits(mask, bitorder="little").tobytes()
    )
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 1, 1, 0
    (scan,) = read(dataset)
    np.testing.assert_array_equal(scan.pixels, mask * np.uint8(255))


def test_bytes_of_fewer_bits_have_their_white_at_their_highest_value():
    (scan,) = read(made(np.arange(16, dtype=np.uint8).reshape(4, 4), BitsStored=4, HighBit=3))
    assert scan.window == (0, 15)


def test_monochrome1_stays_marked_through_a_lut_and_a_sigmoid():
    table = lut(2048, 512, 12, list(range(2048)))
    for shown in (
        {"VOILUTSequence": [table]},
        {"WindowCenter": "1000", "WindowWidth": "800", "VOILUTFunction": "SIGMOID"},
    ):
        for interpretation in ("MONOCHROME1", "MONOCHROME2"):
            (scan,) = read(made(RAMP, PhotometricInterpretation=interpretation, **shown))
            assert scan.inverted == (interpretation == "MONOCHROME1")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float_pixels_are_read_and_made_finite(dtype):
    values = np.array([[1.5, np.nan], [-2.25, np.inf]], dtype)
    (scan,) = read(made(values))
    np.testing.assert_array_equal(scan.pixels, np.array([[1.5, -2.25], [-2.25, -2.25]], "f4"))
    assert reason(made(values * np.nan)) == "no finite value; leave the file out with --exclude"


def test_monochrome1_is_inverted_at_once_or_marked():
    grey = LUMA
    (scan,) = read(made(grey, PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_array_equal(scan.pixels, 255 - grey)
    assert not scan.inverted
    (scan,) = read(made(RAMP, PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_array_equal(scan.pixels, RAMP)
    assert scan.inverted


@pytest.mark.parametrize(
    ("function", "center", "width", "window"),
    [
        ("LINEAR", "40", "400", (-160, 239)),
        (None, ["50", "300"], ["100", "1500"], (0, 99)),
        ("LINEAR_EXACT", "40", "400", (-160, 240)),
        ("LINEAR_EXACT", "0.25", "0.5", (0, 0.5)),
        ("LINEAR", "40", "0.5", None),
        ("LINEAR", "40", "-400", None),
        ("LINEAR_EXACT", "40", "0", None),
        ("LINEAR", "", "", None),
    ],
)
def test_the_window_is_where_the_standard_puts_it(function, center, width, window):
    dataset = made(RAMP, WindowCenter=center, WindowWidth=width, VOILUTFunction=function or "")
    (scan,) = read(dataset, window="dataset")
    assert scan.window == window


def test_a_sigmoid_is_applied_where_the_files_window_is_wanted():
    dataset = made(RAMP, WindowCenter="1000", WindowWidth="800", VOILUTFunction="SIGMOID")
    dataset.RescaleSlope, dataset.RescaleIntercept = "2", "-1024"
    shown = apply_windowing(apply_modality_lut(RAMP, dataset), dataset)
    for window in ("auto", "dicom"):
        (scan,) = read(dataset, window=window)
        expected = (shown + 1024) / (2 * 65535)
        np.testing.assert_allclose(scan.pixels, expected, atol=1e-6)
        assert (scan.window, scan.slope, scan.intercept) == ((0, 1), 1, 0)
    (scan,) = read(dataset, window="dataset")
    np.testing.assert_array_equal(scan.pixels, RAMP)
    assert (scan.window, scan.slope, scan.intercept) == (None, 2, -1024)


def lut(entries, first, bits, data, vr="US"):
    table = item(LUTDescriptor=[entries, first, bits])
    table.add_new("LUTData", vr, data)
    return table


def test_a_voi_lut_is_applied_as_pydicom_does():
    data = [int(value) for value in np.sqrt(np.arange(2048)) * 90]
    dataset = made(RAMP, VOILUTSequence=[lut(2048, 512, 12, data)], WindowCenter="1")
    (scan,) = read(dataset)
    np.testing.assert_array_equal(scan.pixels, apply_voi(RAMP.astype(np.int32), dataset))
    assert scan.window == (0, 4095)
    (scan,) = read(dataset, window="image")
    np.testing.assert_array_equal(scan.pixels, RAMP)
    assert scan.window is None


@pytest.mark.parametrize("packed", [True, False])
def test_a_voi_lut_of_bytes_for_12_bits_is_applied(packed):
    # pydicom 3.0.2 gives most pixels a wrong value: it indexes with the 8 bits of the entries.
    entries = (np.arange(4096) // 16).astype(np.uint8)
    data = entries.tobytes() if packed else [int(value) for value in entries]
    table = lut(4096, 0, 8, data, "OW" if packed else "US")
    (scan,) = read(made(RAMP, VOILUTSequence=[table]))
    np.testing.assert_array_equal(scan.pixels, RAMP // 16)
    assert scan.window == (0, 255)


def test_a_modality_lut_is_applied_as_pydicom_does():
    stored = (RAMP // 16).astype(np.uint8)
    data = [value * 200 for value in range(300)]  # for more values than the pixels can have
    dataset = made(stored, ModalityLUTSequence=[lut(300, 20, 16, data)])
    (scan,) = read(dataset)
    np.testing.assert_array_equal(scan.pixels, apply_modality_lut(stored.astype(np.int32), dataset))
    dataset.ModalityLUTSequence[0].LUTDescriptor = [400, 20, 16]
    assert reason(dataset).startswith(
        "a look-up table has 300 entries, but its descriptor says 400"
    )


def test_what_a_modality_lut_returns_has_the_range_of_its_entries():
    stored = np.arange(64, dtype=np.uint8).reshape(8, 8)
    table = lut(64, 0, 8, [4 * value for value in range(64)])
    dataset = made(stored, ModalityLUTSequence=[table])
    dataset.BitsStored, dataset.HighBit = 6, 5
    (scan,) = read(dataset)
    np.testing.assert_array_equal(scan.pixels, stored * 4)
    assert scan.window is None  # not 0 to 63, where most would be white


@pytest.mark.parametrize(
    ("interpretation", "slope", "darkest"),
    [("MONOCHROME2", "1", 16), ("MONOCHROME1", "1", 4080), ("MONOCHROME2", "-1", 4080)],
)
def test_padding_is_as_dark_as_the_darkest_of_the_rest(interpretation, slope, darkest):
    stored = RAMP.astype(np.int16)
    stored[:4], stored[4, :8], stored[0, 0] = -2000, -1999, 16
    dataset = made(stored, PhotometricInterpretation=interpretation, RescaleIntercept="0")
    dataset.RescaleSlope = slope
    dataset.add_new("PixelPaddingValue", "US", 63536)  # -2000 with the wrong sign, as often seen
    dataset.add_new("PixelPaddingRangeLimit", "SS", -1999)
    (scan,) = read(dataset)
    expected = np.where(stored < 0, np.int16(darkest), stored)
    np.testing.assert_array_equal(scan.pixels, expected)


def test_each_frame_has_its_own_values_where_the_file_gives_them():
    frames = np.stack([RAMP, RAMP, RAMP])
    own = item(
        PixelValueTransformationSequence=[item(RescaleSlope="3", RescaleIntercept="-7")],
        FrameVOILUTSequence=[item(WindowCenter="10", WindowWidth="21")],
    )
    dataset = made(
        frames,
        RescaleSlope="5",
        RescaleIntercept="5",
        WindowCenter="100",
        WindowWidth="11",
        PixelSpacing=["9", "9"],
        PerFrameFunctionalGroupsSequence=[own, item(), item()],
        SharedFunctionalGroupsSequence=[
            item(
                PixelMeasuresSequence=[item(PixelSpacing=["0.5", "0.25"])],
                PixelValueTransformationSequence=[item(RescaleSlope="2", RescaleIntercept="1")],
            )
        ],
    )
    scans = read(dataset)
    assert [(scan.slope, scan.intercept) for scan in scans] == [(3, -7), (2, 1), (2, 1)]
    assert [scan.window for scan in scans] == [(-0.5, 19.5), (94.5, 104.5), (94.5, 104.5)]
    assert [scan.spacing for scan in scans] == [(0.5, 0.25)] * 3


@pytest.mark.parametrize(
    ("keyword", "value", "spacing"),
    [
        ("PixelSpacing", ["0.5", "0.25"], (0.5, 0.25)),
        ("ImagerPixelSpacing", ["0.1", "0.2"], (0.1, 0.2)),
        ("NominalScannedPixelSpacing", ["0.3", "0.4"], (0.3, 0.4)),
        ("PixelSpacing", ["0", "0.25"], None),
    ],
)
def test_spacing_is_by_row_and_column(keyword, value, spacing):
    (scan,) = read(made(RAMP, **{keyword: value}))
    assert scan.spacing == spacing


def test_identifiers_are_hashes_and_never_the_name():
    def digest(text):
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    everything = {"PatientID": "Müller 7", "PatientName": "Müller^Ö", "StudyInstanceUID": "1.2.3"}
    encoded = {"SpecificCharacterSet": "ISO_IR 100"}
    (scan,) = read(made(RAMP, **encoded, **everything))
    assert scan.identifiers == (digest("Müller 7"), digest("Müller^Ö"), digest("1.2.3"))
    (scan,) = read(made(RAMP, **encoded, **everything | {"PatientID": ""}))
    assert scan.identifiers == (None, digest("Müller^Ö"), digest("1.2.3"))
    assert read(made(RAMP))[0].identifiers == (None, None, None)


def test_every_order_of_colour_gives_the_same_luma():
    planar = np.ascontiguousarray(COLOURS.transpose(2, 0, 1)).tobytes()
    ybr = pydicom.pixels.convert_color_space(COLOURS, "RGB", "YBR_FULL")
    subsampled = np.stack(
        [ybr[:, ::2, 0], ybr[:, 1::2, 0], ybr[:, ::2, 1], ybr[:, ::2, 2]], axis=-1
    ).tobytes()
    for dataset in (
        made(COLOURS),
        made(COLOURS, PlanarConfiguration=1, pixel_bytes=planar),
        made(ybr, PhotometricInterpretation="YBR_FULL"),
        made(ybr, PhotometricInterpretation="YBR_FULL_422", pixel_bytes=subsampled),
    ):
        (scan,) = read(dataset)
        assert scan.pixels.dtype == np.uint8 and not scan.deep
        assert np.abs(scan.pixels.astype(int) - LUMA).max() <= 1


def test_deep_colour_keeps_its_depth_and_its_range():
    deep = COLOURS.astype(np.uint16) * 13
    (scan,) = read(made(deep, BitsStored=12, HighBit=11))
    assert scan.pixels.dtype == np.uint16 and scan.window == (0, 4095)
    assert np.abs(scan.pixels - deep @ np.array([0.299, 0.587, 0.114])).max() < 1.1


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_a_palette_of_more_than_256_entries_is_applied(syntax):
    order = ">u2" if syntax == ExplicitVRBigEndian else "<u2"
    table = (np.arange(4096) * 16).astype(order).tobytes()
    dataset = made(RAMP, syntax=syntax, PhotometricInterpretation="PALETTE COLOR")
    for name in ("Red", "Green", "Blue"):
        dataset.add_new(f"{name}PaletteColorLookupTableDescriptor", "US", [4096, 0, 16])
        dataset.add_new(f"{name}PaletteColorLookupTableData", "OW", table)
    (scan,) = read(dataset)
    np.testing.assert_array_equal(scan.pixels, RAMP * 16)


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        ({"Rows": 17}, "512 bytes of pixels, but Rows, Columns"),
        ({"NumberOfFrames": 2}, "512 bytes of pixels, but Rows, Columns"),
        ({"Rows": 0}, "Rows (0028,0010) is 0, not 1 or more; correct"),
        ({"NumberOfFrames": -1}, "NumberOfFrames (0028,0008) is -1, not 1 or more; correct"),
        ({"Rows": 60000, "Columns": 60000}, "declares 60000x60000 pixels; at most 134217728"),
        ({"NumberOfFrames": 3_000_000}, "declares 3000000 frames of 16x16 pixels; at most"),
        ({"PixelRepresentation": 2}, "PixelRepresentation (0028,0103) is 2, not 0 (unsigned) or 1"),
        ({"PixelRepresentation": None}, "DICOM without PixelRepresentation"),
        ({"BitsStored": 17}, "BitsStored (0028,0101) is 17, not 1 to 16; correct"),
        ({"BitsAllocated": 12}, "BitsAllocated (0028,0100) is 12, not 1, 8, 16 or 32; correct"),
        (
            {"BitsStored": 12, "HighBit": 15},
            "HighBit (0028,0102) is 15 with BitsStored 12: unclear where",
        ),
        ({"RescaleSlope": "0", "RescaleIntercept": "1"}, "RescaleSlope (0028,1053) is 0: every"),
        (
            {"PhotometricInterpretation": "HSV"},
            "PhotometricInterpretation (0028,0004) is 'HSV', which is not supported; convert",
        ),
        (
            {"PhotometricInterpretation": "RGB"},
            "PhotometricInterpretation (0028,0004) is 'RGB', but SamplesPerPixel is 1; correct",
        ),
        ({"SamplesPerPixel": 0}, "SamplesPerPixel (0028,0002) is 0, not 1 or 3; convert"),
        ({"SamplesPerPixel": 4}, "SamplesPerPixel (0028,0002) is 4, not 1 or 3; convert"),
        ({"SamplesPerPixel": None, "Rows": None}, "DICOM without Rows, SamplesPerPixel"),
        ({"PixelData": None}, "DICOM without its pixels (truncated?): Secondary Capture Image"),
    ],
)
def test_contradictions_are_named(elements, expected):
    assert reason(made(RAMP, **elements)).startswith(expected)


def test_more_data_than_subsampled_colour_has_is_refused():
    dataset = made(COLOURS, PhotometricInterpretation="YBR_FULL_422")
    assert reason(dataset).startswith(
        "PhotometricInterpretation (0028,0004) is 'YBR_FULL_422', but"
    )


def test_a_bare_data_set_without_its_transfer_syntax_is_read():
    for syntax in (ExplicitVRLittleEndian, ExplicitVRBigEndian):
        data = saved(made(RAMP, syntax=syntax))
        group = b"\x08\x00\x16\x00UI" if syntax == ExplicitVRLittleEndian else b"\x00\x08\x00\x16UI"
        ((_, scan),) = read_dicom(data[data.index(group) :], Wanted())
        np.testing.assert_array_equal(scan.pixels, RAMP)


@pytest.mark.parametrize("interpretation", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("slope", [1, -1])
def test_8_bits_are_dark_where_their_physical_values_are_low(interpretation, slope):
    dataset = pydicom.dcmread(get_testdata_file("CT_small.dcm", download=False))
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    dataset.Rows = dataset.Columns = 16
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PhotometricInterpretation = interpretation
    dataset.RescaleSlope, dataset.RescaleIntercept = slope, 0
    for keyword in ("PixelPaddingValue", "WindowCenter", "WindowWidth"):
        if keyword in dataset:
            delattr(dataset, keyword)
    dataset.PixelData = pixels.tobytes()
    out = io.BytesIO()
    dataset.save_as(out)
    ((_, scan),) = read_dicom(out.getvalue(), Wanted())
    upright = (slope > 0) == (interpretation == "MONOCHROME2")
    assert np.array_equal(scan.pixels, pixels if upright else 255 - pixels)


@pytest.mark.parametrize("vr", ["US", "SS"])
@pytest.mark.parametrize(
    ("stored", "intercept", "first"),
    [
        (RAMP, -1024, -1024),
        (RAMP.astype(np.int16) - 2048, 42048, 40000),
        (RAMP.astype(np.int16) - 2048, 0, -2048),
    ],
)
def test_the_first_value_of_a_table_has_the_sign_of_what_is_looked_up(stored, intercept, first, vr):
    table = lut(4096, 0, 12, [int(value) for value in range(4096)])
    told = first % (1 << 16)
    sign = 1 << 16 if vr == "SS" and told >> 15 else 0
    # pydicom writes three numbers of one kind only.
    table.add_new("LUTDescriptor", vr, [4096, told - sign, 12])
    dataset = made(
        stored, VOILUTSequence=[table], RescaleIntercept=str(intercept), RescaleSlope="1"
    )
    (scan,) = read(dataset)
    np.testing.assert_array_equal(scan.pixels, RAMP)


@pytest.mark.parametrize(("vr", "value"), [("US", 65535), ("US", 511), ("SS", -1)])
def test_padding_that_no_byte_can_be_is_noted_and_nothing_is_covered(vr, value):
    stored = np.arange(256, dtype=np.uint8).reshape(16, 16)
    dataset = made(stored)
    dataset.add_new("PixelPaddingValue", vr, value)
    (scan,) = read(dataset)
    np.testing.assert_array_equal(scan.pixels, stored)
    assert [f"PixelPaddingValue (0028,0120) is {value}, which no pixel can be"] == [*scan.notes]


def test_padding_up_to_more_than_a_byte_ends_with_the_byte():
    stored = np.arange(256, dtype=np.uint8).reshape(16, 16)
    dataset = made(stored)
    dataset.add_new("PixelPaddingValue", "US", 250)
    dataset.add_new("PixelPaddingRangeLimit", "US", 65535)
    (scan,) = read(dataset)
    np.testing.assert_array_equal(scan.pixels, np.where(stored >= 250, 0, stored))


def test_padding_of_float_pixels_may_be_no_number():
    (scan,) = read(made(RAMP.astype(np.float32), FloatPixelPaddingValue=float("nan")))
    np.testing.assert_array_equal(scan.pixels, RAMP)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("limit", [None, -99990.5])
def test_padding_of_float_pixels_is_covered(dtype, limit):
    stored = (RAMP + 16).astype(dtype)
    stored[:4] = -99999 if limit is None else -99995
    kind = {np.float32: "FloatPixelPadding", np.float64: "DoubleFloatPixelPadding"}[dtype]
    dataset = made(stored)
    setattr(dataset, f"{kind}Value", -99999.0)
    if limit is not None:
        setattr(dataset, f"{kind}RangeLimit", limit)
    (scan,) = read(dataset)
    assert scan.pixels[:4].max() == scan.pixels[4:].min() == stored[4, 0]


def test_a_frame_of_single_bits_may_begin_within_a_byte():
    bits = np.random.default_rng(0).integers(0, 2, (3, 13, 11), np.uint8)
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
    dataset = made(bits, pixel_bytes=packed + bytes(len(packed) % 2))
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 1, 1, 0
    for scan, expected in zip(read(dataset), bits, strict=True):
        np.testing.assert_array_equal(scan.pixels, expected * 255)


def test_a_frame_that_the_groups_leave_out_is_refused():
    groups = [item(PixelValueTransformationSequence=[item(RescaleSlope="3", RescaleIntercept="0")])]
    dataset = made(np.stack([RAMP, RAMP]), PerFrameFunctionalGroupsSequence=groups)
    assert "has no entry for frame 2" in reason(dataset)
