"""DICOM files: pydicom's own, damaged ones, and those that cannot be decoded here."""

import contextlib
import subprocess
import sys
import time
import warnings
from pathlib import Path

import cv2
import numpy as np
import psutil
import pydicom
import pytest
from dicoms import dicom as dicom_file
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from scangan.core.errors import Rejected
from scangan.preprocessing.options import PrepOptions
from scangan.preprocessing.reading import dicom, gdcm_process
from scangan.preprocessing.reading.dicom import read_dicom
from scangan.preprocessing.reading.wanted import Wanted

FILES = Path(pydicom.__file__).parent / "data" / "test_files"
ALL = sorted(path for path in FILES.rglob("*") if path.is_file())
NOTHING_DESCRIBED = (
    "DICOM without Rows, Columns, SamplesPerPixel, PhotometricInterpretation, BitsAllocated, "
    "BitsStored, PixelRepresentation; correct it, or leave the file out with --exclude"
)
REFUSED = {
    "ExplVR_BigEndNoMeta.dcm": "DICOM without pixels: RT Ion Plan Storage",
    "ExplVR_LitEndNoMeta.dcm": "DICOM without pixels: RT Ion Plan Storage",
    "JPEG2000-embedded-sequence-delimiter.dcm": "damaged JPEG 2000 DICOM; copy it again",
    "MR_truncated.dcm": "truncated DICOM: 8130 of 8192 bytes of pixels; copy it again",
    "UN_sequence.dcm": "DICOM without pixels: CT Image Storage",
    "badVR.dcm": "an RT dose grid, not a scan",
    "empty_charset_LEI.dcm": "DICOM without pixels",
    "meta_missing_tsyntax.dcm": NOTHING_DESCRIBED,
    "nested_priv_SQ.dcm": NOTHING_DESCRIBED,
    # The bytes of its first element are swapped in part.
    "no_meta.dcm": "not a supported format (PNG, JPEG, TIFF, BMP, DICOM, NIfTI)",
    "no_meta_group_length.dcm": "DICOM without pixels: RT Image Storage",
    "priv_SQ.dcm": "DICOM without pixels: MR Image Storage",
    "reportsi.dcm": "DICOM without pixels: Basic Text SR Storage",
    "reportsi_with_empty_number_tags.dcm": "DICOM without pixels: Basic Text SR Storage",
    "rtplan.dcm": "DICOM without pixels: RT Plan Storage",
    "rtplan_truncated.dcm": "DICOM without pixels: RT Plan Storage",
    "rtstruct.dcm": "DICOM without pixels: RT Structure Set Storage",
    "test-SR.dcm": "DICOM without pixels: Comprehensive SR Storage",
    "waveform_ecg.dcm": "DICOM without pixels: 12-lead ECG Waveform Storage",
}


def read(data, **options):
    return [scan for _, scan in numbered(data, **options)]


def numbered(data, **options):
    return list(read_dicom(data, PrepOptions(**options).wanted()))


def reason(data, **options):
    with pytest.raises(Rejected) as caught:
        read(data, **options)
    return str(caught.value)


def expected_refusal(path):
    if path.name.startswith("DICOMDIR"):
        return "DICOMDIR: an index of files, without pixels"
    if path.name.startswith("IM0000"):
        return "DICOM without pixels: CT Image Storage"
    if path.name.startswith("rtdose"):
        return "an RT dose grid, not a scan"
    if path.name.startswith("liver"):
        return "a segmentation, not a scan"
    if path.name in ("6293", "6924"):
        return "a localizer (ImageType LOCALIZER); to use it anyway, add --include '*'"
    if path.suffix == ".gz":
        return "gzip file of a DICOM; unpack it"
    if path.suffix == ".icc":
        return "not a supported format (PNG, JPEG, TIFF, BMP, DICOM, NIfTI)"
    if path.suffix in (".txt", ".dump", ".json") or path.name == "README":
        return "text"
    return REFUSED.get(path.name)


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.name)
def test_each_file_of_pydicom_is_read_or_refused_for_a_known_reason(path):
    refusal = expected_refusal(path)
    if refusal:
        assert reason(path.read_bytes()) == refusal
    else:
        scans = numbered(path.read_bytes())
        assert [frame for frame, _ in scans] == list(range(len(scans)))


def readable(*kinds):
    with warnings.catch_warnings(action="ignore"):
        read_ones = {path: pydicom.dcmread(path) for path in ALL if not expected_refusal(path)}
    return [
        pytest.param(path, dataset, id=path.name)
        for path, dataset in read_ones.items()
        if dataset.PhotometricInterpretation.startswith(kinds)
        and dataset.file_meta.TransferSyntaxUID != pydicom.uid.JPEGExtended12Bit  # see below
    ]


def frames_of(dataset):
    array = dataset.pixel_array
    return array if int(dataset.get("NumberOfFrames") or 1) > 1 else array[None]


@pytest.mark.parametrize(("path", "dataset"), readable("MONOCHROME"))
def test_grey_values_and_their_window_are_those_of_pydicom(path, dataset):
    scans = read(path.read_bytes())
    for scan, stored in zip(scans, frames_of(dataset), strict=True):
        values = apply_modality_lut(stored, dataset).astype(np.float64)
        scale = 255 if dataset.BitsAllocated == 1 else 1
        seen = stored != dataset.get("PixelPaddingValue", 1e9)
        ours = scan.pixels * scan.slope + scan.intercept
        np.testing.assert_allclose(ours[seen], values[seen] * scale, rtol=1e-12)
        if scan.window:
            # pydicom maps the window to the range of the stored type, and inverts nothing.
            low, high = scan.window
            shown = apply_voi_lut(apply_modality_lut(stored, dataset), dataset)[seen]
            ends = -1e9 * np.ones((1, 1)), 1e9 * np.ones((1, 1))
            black, white = (apply_voi_lut(end, dataset).item() for end in ends)
            ours = np.clip((ours[seen] - low) / (high - low), 0, 1)
            np.testing.assert_allclose(ours, (shown - black) / (white - black), atol=1e-9)


@pytest.mark.parametrize(("path", "dataset"), readable("RGB", "YBR"))
def test_colour_becomes_its_luma(path, dataset):
    for scan, colour in zip(read(path.read_bytes()), frames_of(dataset), strict=True):
        error = np.abs(scan.pixels - colour @ np.array([0.299, 0.587, 0.114]))
        assert error.mean() < 0.4
        # Y is taken as it is; a YBR colour without an RGB one is clipped on pydicom's way there.
        assert error.max() < (1.1 if dataset.PhotometricInterpretation == "RGB" else 9)


def test_twelve_bit_jpeg_is_read_which_pydicom_alone_cannot():
    (scan,) = read((FILES / "JPGExtended.dcm").read_bytes())
    # Values that pydicom's own tests give for this file, found with another viewer.
    assert (scan.pixels[420, 140], scan.pixels[230, 120]) == (244, 95)


def test_palette_colours_become_their_luma():
    path = FILES / "examples_palette.dcm"
    dataset = pydicom.dcmread(path)
    (scan,) = read(path.read_bytes())
    colours = pydicom.pixels.apply_color_lut(dataset.pixel_array, dataset)
    np.testing.assert_array_equal(scan.pixels, cv2.cvtColor(colours, cv2.COLOR_RGB2GRAY))
    assert scan.pixels.dtype == np.uint16 and scan.window == (0, 65535)


def test_nothing_is_printed_and_threads_give_the_same_bytes(tmp_path):
    program = tmp_path / "read_all.py"
    program.write_text(
        "import hashlib, pathlib, sys\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from scangan.core.errors import Rejected\n"
        "from scangan.preprocessing.reading.dicom import read_dicom\n"
        "from scangan.preprocessing.reading.wanted import Wanted\n"
        "def digest(path):\n"
        "    try:\n"
        "        scans = list(read_dicom(pathlib.Path(path).read_bytes(), Wanted()))\n"
        "    except Rejected as error:\n"
        "        return str(error)\n"
        "    return hashlib.sha256(b''.join(s.pixels.tobytes() for _, s in scans)).hexdigest()\n"
        "for threads in (1, 6):\n"
        "    with ThreadPoolExecutor(threads) as pool:\n"
        "        print(*pool.map(digest, sys.argv[1:]), sep='\\n')\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "default", program, *ALL],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert len(lines) == 2 * len(ALL)
    assert lines[: len(ALL)] == lines[len(ALL) :]


def damaged(name, at, value):
    """A file of pydicom with one byte of its (first) compressed frame changed."""
    dataset = pydicom.dcmread(FILES / name)
    frames = int(dataset.get("NumberOfFrames") or 1)
    frame = bytearray(get_frame(dataset.PixelData, 0, number_of_frames=frames))
    frame[at] = value
    dataset.PixelData = encapsulate([bytes(frame)] * frames)
    return saved(dataset)


def saved(dataset):
    stream = pydicom.filebase.DicomBytesIO()
    dataset.save_as(stream)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "at", "value", "kind"),
    [
        # Each ends the process in which gdcm decodes it, by a signal.
        ("MR_small_jpeg_ls_lossless.dcm", 6, 255, "JPEG-LS"),
        ("MR_small_jpeg_ls_lossless.dcm", 10, 0, "JPEG-LS"),
        ("SC_rgb_jpeg_gdcm.dcm", 2, 0, "lossless JPEG"),
    ],
)
def test_a_frame_that_would_end_the_process_is_refused(name, at, value, kind):
    assert reason(damaged(name, at, value)) == f"damaged {kind} DICOM; copy it again"
    assert len(read((FILES / name).read_bytes())) == 1  # and the next one is read


@pytest.mark.parametrize("told", ["YBR_FULL_444", "YCBCR", "GREY"])
def test_colour_jpeg_is_read_by_its_markers_whatever_the_file_calls_it(told):
    dataset = pydicom.dcmread(FILES / "SC_rgb_jpeg_dcmtk.dcm")
    (known,) = read(saved(dataset))
    dataset.PhotometricInterpretation = told
    (scan,) = read(saved(dataset))
    np.testing.assert_array_equal(scan.pixels, known.pixels)


@pytest.mark.parametrize("name", ["MR_small_jpeg_ls_lossless.dcm", "MR_small_jp2klossless.dcm"])
def test_a_frame_of_another_size_is_told_from_a_damaged_one(name):
    dataset = pydicom.dcmread(FILES / name)
    dataset.Rows = 32
    said = reason(saved(dataset))
    assert said.startswith("Rows and Columns say 64x32 pixels, but the frame has 64x64; correct it")


def test_a_cut_file_is_told_from_one_that_declares_too_much():
    whole = dicom_file()
    assert reason(whole[:-10]) == "truncated DICOM: 502 of 512 bytes of pixels; copy it again"


@pytest.mark.parametrize("uid", ["1.2.3.4", "1.2.840.10008.1.1"])  # the latter is no such syntax
def test_an_unknown_transfer_syntax_is_named(uid):
    usual = b"1.2.840.10008.1.2.1\0"
    data = dicom_file().replace(usual, uid.encode().ljust(len(usual), b"\0"), 1)
    said = reason(data)
    assert said.startswith(f"TransferSyntaxUID (0002,0010) is '{uid}', which is not known; convert")


def test_a_palette_without_one_of_its_tables_is_refused():
    dataset = pydicom.dcmread(FILES / "examples_palette.dcm")
    del dataset.GreenPaletteColorLookupTableData
    said = reason(saved(dataset))
    assert said.startswith("DICOM without GreenPaletteColorLookupTableData; correct it")


def test_a_decoder_that_hangs_is_ended(monkeypatch):
    def start():
        return subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(60)"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    monkeypatch.setattr(gdcm_process, "_idle", [])
    monkeypatch.setattr(gdcm_process, "_start", start)
    monkeypatch.setattr(gdcm_process, "LONGEST_S", 0.2)
    data = (FILES / "MR_small_jpeg_ls_lossless.dcm").read_bytes()
    start_of_it = time.monotonic()
    assert reason(data) == "damaged JPEG-LS DICOM; copy it again"
    assert time.monotonic() - start_of_it < 10


def test_faults_of_the_machine_are_no_faults_of_the_file(monkeypatch):
    data = (FILES / "MR_small_jpeg_ls_lossless.dcm").read_bytes()
    (whole,) = read(data)

    def too_many():
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(gdcm_process, "_idle", [])
    with monkeypatch.context() as patch:
        patch.setattr(gdcm_process, "_start", too_many)
        with pytest.raises(OSError, match="Too many open files"):
            read(data)
    start, started = gdcm_process._start, []

    def killed_at_first():
        started.append(start())
        if len(started) == 1:  # as the system does, short of memory
            started[0].kill()
            started[0].wait()
        return started[-1]

    monkeypatch.setattr(gdcm_process, "_start", killed_at_first)
    (scan,) = read(data)
    assert len(started) == 2 and np.array_equal(scan.pixels, whole.pixels)


def test_no_decoder_outlives_a_killed_process():
    program = (
        "import pathlib, sys, time\n"
        "from scangan.preprocessing.reading import dicom, gdcm_process\n"
        "from scangan.preprocessing.reading.wanted import Wanted\n"
        "list(dicom.read_dicom(pathlib.Path(sys.argv[1]).read_bytes(), Wanted()))\n"
        "print(gdcm_process._idle[0].pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    arguments = [sys.executable, "-c", program, FILES / "MR_small_jpeg_ls_lossless.dcm"]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
        decoder = psutil.Process(int(process.stdout.readline()))
        process.kill()
    deadline = time.monotonic() + 10
    with contextlib.suppress(psutil.NoSuchProcess):
        while decoder.status() != psutil.STATUS_ZOMBIE:  # which nobody may have buried yet
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_a_jpeg_2000_box_without_a_length_is_refused():
    # pydicom 3.0.2 looks for ever for the box behind it.
    data = (FILES / "GDCMJ2K_TextGBR.dcm").read_bytes()
    at = data.index(b"jp2h") - 4
    assert reason(data[:at] + bytes(4) + data[at + 4 :]) == "damaged JPEG 2000 DICOM; copy it again"


def test_garbage_within_a_jpeg_frame_is_refused():
    data = bytearray((FILES / "SC_rgb_jpeg_dcmtk.dcm").read_bytes())
    at = data.index(b"\xff\xda") + 300
    data[at : at + 64] = np.random.default_rng(0).bytes(64)
    assert reason(bytes(data)) == "damaged JPEG DICOM; copy it again"


@pytest.mark.parametrize("name", ["SC_rgb_jpeg_dcmtk", "693_J2KI", "SC_rgb_jpeg_gdcm"])
def test_a_compressed_frame_without_its_end_is_refused(name):
    dataset = pydicom.dcmread(FILES / f"{name}.dcm")
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    dataset.PixelData = encapsulate([frame[: len(frame) * 3 // 4]])
    assert "a frame without its end" in reason(saved(dataset))


def test_a_truncated_file_is_refused():
    data = (FILES / "SC_rgb_jpeg_dcmtk.dcm").read_bytes()
    assert "without its pixels (truncated?)" in reason(data[:-400])
    assert "without its pixels (truncated?)" in reason(data[:200])
    assert reason(b"") == "empty file; copy it again" and reason(b"text") == "text"


def test_frames_are_decoded_one_at_a_time():
    dataset = pydicom.dcmread(FILES / "examples_ybr_color.dcm")
    good = get_frame(dataset.PixelData, 0, number_of_frames=30)
    dataset.PixelData = encapsulate([good, good[:500] + bytes(200) + good[700:]])
    dataset.NumberOfFrames = 2
    scans = read_dicom(saved(dataset), Wanted())
    assert next(scans)[1].pixels.shape == (240, 320)
    with pytest.raises(Rejected, match="damaged JPEG DICOM"):
        next(scans)


def test_slices_are_frames_of_a_file_with_several():
    stored = np.repeat(np.arange(6, dtype=np.uint16)[:, None, None], 16, axis=1).repeat(16, axis=2)
    data = dicom_file(stored.reshape(-1, 16), Rows=16, NumberOfFrames=6)
    frames = numbered(data, slices="2:4")
    assert [(n, int(scan.pixels[0, 0])) for n, scan in frames] == [(2, 2), (3, 3)]
    assert [n for n, _ in numbered(data, slices="0.5:1.0")] == [3, 4, 5]
    assert reason(data, slices="7:9") == "--slices 7:9 selects none of the 6 frames"
    assert [n for n, _ in numbered(dicom_file(stored[0]), slices="7:9")] == [0]


def test_frames_after_the_last_slice_are_not_decoded():
    dataset = pydicom.dcmread(FILES / "examples_ybr_color.dcm")
    good = get_frame(dataset.PixelData, 0, number_of_frames=30)
    dataset.PixelData = encapsulate([good, good, good[:500] + bytes(200) + good[700:], good])
    dataset.NumberOfFrames = 4
    data = saved(dataset)
    assert [n for n, _ in numbered(data, slices="0:2")] == [0, 1]
    with pytest.raises(Rejected):
        numbered(data, slices="0:3")


def test_fewer_frames_than_declared_are_refused():
    dataset = pydicom.dcmread(FILES / "SC_rgb_rle_2frame.dcm")
    dataset.NumberOfFrames = 3
    said = reason(saved(dataset))
    assert said.startswith(
        "NumberOfFrames (0028,0008) is 3, but the file holds 2 frames; correct it"
    )


def test_what_is_missing_is_named(monkeypatch):
    jpeg_ls = (FILES / "MR_small_jpeg_ls_lossless.dcm").read_bytes()
    twelve_bits = (FILES / "JPGExtended.dcm").read_bytes()
    monkeypatch.setitem(sys.modules, "gdcm", None)
    assert reason(jpeg_ls) == 'JPEG-LS DICOM; to read it: pip install "scangan[dicom]"'
    assert reason(twelve_bits) == '12-bit JPEG DICOM; to read it: pip install "scangan[dicom]"'
    assert read((FILES / "693_J2KI.dcm").read_bytes())[0].pixels.min() == -2971  # Pillow does
    monkeypatch.setitem(sys.modules, "pydicom", None)
    assert reason(jpeg_ls) == 'DICOM; to read it: pip install "scangan[dicom]"'


def test_a_transfer_syntax_that_nothing_decodes_is_named():
    dataset = pydicom.dcmread(FILES / "693_J2KI.dcm")
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.HTJ2K
    assert reason(saved(dataset)).startswith("no decoder for High-Throughput JPEG 2000")
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.MPEG2MPML
    assert reason(saved(dataset)).startswith("no decoder for MPEG2 Main Profile")


def test_what_would_inflate_to_too_much_is_refused(monkeypatch):
    monkeypatch.setattr(dicom, "MOST_INFLATED", 1 << 18)
    data = (FILES / "image_dfl.dcm").read_bytes()
    assert reason(data) == "deflated DICOM of more than 262144 bytes; save it without compression"


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from([path for path in ALL if path.stat().st_size < 12_000]), st.data())
def test_damaged_files_are_read_or_refused(path, data):
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=4))
    try:
        scans = read(bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))]))
    except Rejected as error:
        assert "\n" not in str(error)
    else:
        assert all(scan.pixels.ndim == 2 and np.isfinite(scan.pixels).all() for scan in scans)
