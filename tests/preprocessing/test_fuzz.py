"""Whatever the bytes: scans, or a reason in one line; nothing on the terminal."""

import os
import struct
import tempfile
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
from fuzz.promises import check_scans
from fuzz.seeds import SCANS, files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scangan.preprocessing import PrepOptions
from scangan.preprocessing.reading.reader import read_scans


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


def check(data, options, kind=""):
    """Read all scans of a file and check each; how many there are."""
    return check_scans(data, options)


@pytest.mark.parametrize("kind", SCANS)
def test_the_files_that_are_damaged_below_are_good(kind):
    with silent_terminal():
        good = sum(check(data, PrepOptions(), kind) > 0 for data in files(kind))
    assert good >= len(files(kind)) * 0.6  # of DICOM, some are meant to fail


@pytest.mark.parametrize("kind", SCANS)
def test_damaged_files_are_read_or_refused_in_silence(kind):
    options = settings(
        max_examples=300,
        suppress_health_check=list(HealthCheck),
    )

    @options
    @given(damaged(kind), st.sampled_from([16, 1024]), st.sampled_from(["pad", "crop"]))
    def run(data, size, fit):
        data = with_right_checksums(data) if kind == "png" else data
        with silent_terminal():
            check(data, PrepOptions(size=size, fit=fit), kind)

    run()


@settings(max_examples=300)
@given(st.sampled_from([kind for kind in SCANS if kind != "dicom"]), st.binary(max_size=300))
def test_a_start_of_a_format_before_any_bytes_is_refused(kind, rest):
    with silent_terminal():
        assert check(files(kind)[0][:16] + rest, PrepOptions(), "nifti") <= 1


def test_many_threads_read_what_one_reads():
    many = [data for kind in ("jpeg", "png", "tiff", "bmp") for data in files(kind)] * 8

    def pixels(data):
        return [
            scan.pixels.tobytes() for _, scan in read_scans(data, PrepOptions(size=16).wanted())
        ]

    alone = [pixels(data) for data in many]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(pixels, many)) == alone
