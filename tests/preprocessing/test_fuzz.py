"""Whatever the bytes: scans, or a reason in one line; nothing on the terminal."""

import gzip
import io
import os
import struct
import tempfile
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import BRAIN
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from scangan.preprocessing import PrepOptions
from scangan.preprocessing.errors import Rejected
from scangan.preprocessing.reading.reader import read_scans

GREY = cv2.imread(str(sorted(BRAIN.rglob("*.jpg"))[0]), cv2.IMREAD_GRAYSCALE)[:120:2, :200:2].copy()
COLOUR = np.dstack([GREY, 255 - GREY, np.roll(GREY, 20, 1)])
DEEP = GREY.astype(np.uint16) * 257
KINDS = ["jpeg", "png", "tiff", "bmp", "dicom", "nifti"]
DTYPES = {"uint8", "uint16", "int16", "int32", "uint32", "float32"}


def saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


@cache
def files(kind):
    """Real files, small ones, of as many variants as the libraries write."""
    grey, colour = Image.fromarray(GREY), Image.fromarray(COLOUR)
    if kind == "jpeg":
        exif = Image.Exif()
        exif[274] = 6
        return [
            *(path.read_bytes() for path in sorted(BRAIN.rglob("*.jpg"))[::60]),
            saved(grey, "JPEG", progressive=True),
            saved(colour, "JPEG", exif=exif),
            saved(colour.convert("CMYK"), "JPEG"),
        ]
    if kind == "png":
        images = [grey, colour, colour.quantize(20), colour.convert("LA"), colour.convert("RGBA")]
        return [
            *(saved(image, "PNG") for image in [*images, grey.convert("1")]),
            saved(colour.quantize(9), "PNG", bits=4, transparency=3),
            cv2.imencode(".png", DEEP)[1].tobytes(),
        ]
    if kind == "tiff":
        packings = [None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"]
        pages = {"save_all": True, "append_images": [colour, Image.fromarray(DEEP)]}
        return [
            *(saved(image, "TIFF", compression=p) for p in packings for image in (grey, colour)),
            *(cv2.imencode(".tiff", a)[1].tobytes() for a in (DEEP, np.float32(GREY))),
            saved(grey, "TIFF", **pages),
            saved(grey, "TIFF", big_tiff=True),
            saved(colour.quantize(20), "TIFF"),
        ]
    if kind == "bmp":
        return [saved(image, "BMP") for image in (grey, colour, colour.quantize(16))]
    if kind == "dicom":
        pydicom = pytest.importorskip("pydicom")
        folder = Path(pydicom.__file__).parent / "data/test_files"
        paths = sorted(path for path in folder.glob("*.dcm") if path.stat().st_size < 50_000)
        return [path.read_bytes() for path in paths]
    nibabel = pytest.importorskip("nibabel")
    volume = np.arange(210, dtype=np.int16).reshape(5, 6, 7)
    made = [
        nibabel.Nifti1Image(volume, np.eye(4)).to_bytes(),
        nibabel.Nifti2Image(volume.astype(np.float32), np.diag([2, -3, 4, 1])).to_bytes(),
    ]
    return [*made, gzip.compress(made[0])]


@st.composite
def damaged(draw, kind):
    """Flip, overwrite, cut out, repeat and splice bytes of a real file."""
    data = bytearray(draw(st.sampled_from(files(kind))))
    for _ in range(draw(st.integers(1, 4))):
        # Headers are where the traps are: at the start, and in TIFF also at the end.
        near = draw(st.integers(0, 400))
        at = draw(st.sampled_from([near, len(data) - near, near * len(data) // 400]))
        at = min(max(at, 0), len(data))
        length = draw(st.sampled_from([1, 1, 1, 2, 4, 30, 300]))
        how = draw(st.sampled_from(["flip", "fill", "noise", "cut", "drop", "repeat", "splice"]))
        if how == "flip" and at < len(data):
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "fill":
            value = draw(st.sampled_from([0, 1, 127, 128, 255]))
            data[at : at + length] = bytes([value]) * len(data[at : at + length])
        elif how == "noise":
            noise = np.random.default_rng(near).bytes(length)
            data[at : at + length] = noise[: len(data[at : at + length])]
        elif how == "cut":
            del data[at:]
        elif how == "drop":
            del data[at : at + length]
        elif how == "repeat":
            data[at:at] = data[at : at + length]
        elif how == "splice":
            other = draw(st.sampled_from(files(kind)))
            data[at : at + length] = other[at : at + length]
    return bytes(data)


def with_right_checksums(png):
    """So that the damage is met behind the checks of the chunks."""
    data, at = bytearray(png), 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data):
            break
        struct.pack_into(">I", data, end, zlib.crc32(data[at + 4 : end]))
        at = end + 4
    return bytes(data)


@contextmanager
def silent_terminal():
    """Fail where anything reaches the terminal: a warning, or what C code writes to it."""
    with tempfile.TemporaryFile() as written, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        before = os.dup(2)
        os.dup2(written.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(before, 2)
            os.close(before)
        written.seek(0)
        assert written.read() == b"" and caught == []


def check(data, options):
    """Read all scans of a file and check each; how many there are."""
    scans = 0
    try:
        for frame, scan in read_scans(data, options):
            if isinstance(scan, Rejected):
                check_reason(scan)
                continue
            assert frame == scan.frame
            assert scan.pixels.ndim == 2 and scan.pixels.size > 0
            assert scan.pixels.dtype.name in DTYPES and scan.pixels.dtype.isnative
            assert np.isfinite(scan.pixels).all()
            assert np.isfinite([scan.slope, scan.intercept]).all() and scan.slope != 0
            scans += 1
    except Rejected as reason:
        check_reason(reason)
    return scans


def check_reason(reason):
    assert str(reason) and str(reason).isprintable() and len(str(reason)) < 200


@pytest.mark.parametrize("kind", KINDS)
def test_the_files_that_are_damaged_below_are_good(kind):
    with silent_terminal():
        good = sum(check(data, PrepOptions()) > 0 for data in files(kind))
    assert good >= len(files(kind)) * 0.6  # of DICOM, some are meant to fail


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_read_or_refused_in_silence(kind):
    options = settings(
        max_examples=300,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )

    @options
    @given(damaged(kind), st.sampled_from([16, 1024]), st.sampled_from(["pad", "crop"]))
    def run(data, size, fit):
        data = with_right_checksums(data) if kind == "png" else data
        with silent_terminal():
            check(data, PrepOptions(size=size, fit=fit))

    run()


@settings(max_examples=300, derandomize=True, database=None, deadline=None)
@given(st.sampled_from([kind for kind in KINDS if kind != "dicom"]), st.binary(max_size=300))
def test_a_start_of_a_format_before_any_bytes_is_refused(kind, rest):
    with silent_terminal():
        assert check(files(kind)[0][:16] + rest, PrepOptions()) <= 1


def test_many_threads_read_what_one_reads():
    many = [data for kind in ("jpeg", "png", "tiff", "bmp") for data in files(kind)] * 8

    def pixels(data):
        return [scan.pixels.tobytes() for _, scan in read_scans(data, PrepOptions(size=16))]

    alone = [pixels(data) for data in many]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(pixels, many)) == alone
