"""Which format a file has is told by its bytes, and what is not read is named."""

import gzip
import io
import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from conftest import BRAIN
from PIL import Image

from scangan.core.errors import Rejected
from scangan.core.formats import sniff
from scangan.core.reading import read_file
from scangan.preprocessing.reading.reader import read_scans
from scangan.preprocessing.reading.scan import Scan
from scangan.preprocessing.reading.wanted import Wanted

JPEG = sorted(BRAIN.rglob("*.jpg"))[0].read_bytes()
GREY = np.asarray(Image.open(io.BytesIO(JPEG)))


def saved(kind, image=None, **options):
    out = io.BytesIO()
    (image or Image.fromarray(GREY)).save(out, kind, **options)
    return out.getvalue()


def nifti(shape=(5, 6, 7), header=None):
    nibabel = pytest.importorskip("nibabel")
    kind = header or nibabel.Nifti1Image
    return kind(np.arange(np.prod(shape), dtype=np.int16).reshape(shape), np.eye(4)).to_bytes()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
def test_a_picture_is_read_whatever_its_name(kind, tmp_path):
    (tmp_path / "scan.txt").write_bytes(saved(kind))
    data = read_file(tmp_path / "scan.txt")
    assert sniff(data) == kind.lower()
    ((frame, scan),) = read_scans(data, Wanted())
    assert frame == 0 and scan.pixels.shape == GREY.shape


def test_big_tiff_is_tiff():
    assert sniff(saved("TIFF", big_tiff=True)) == "tiff"
    assert sniff(b"MM\0+" + bytes(100)) == "tiff"


def test_nifti_of_each_kind():
    nibabel = pytest.importorskip("nibabel")
    assert sniff(nifti()) == "nifti"
    assert sniff(gzip.compress(nifti())) == "nifti"
    assert sniff(nifti(header=nibabel.Nifti2Image)) == "nifti"
    swapped = nibabel.Nifti1Image(np.zeros((3, 4, 5), np.int16), np.eye(4))
    header = swapped.header.as_byteswapped()
    assert header.binaryblock[:4] == (348).to_bytes(4, "big")
    assert sniff(header.binaryblock + bytes(200)) == "nifti"


def test_half_of_a_pair_is_refused():
    nibabel = pytest.importorskip("nibabel")
    pair = nibabel.Nifti1Pair(np.zeros((3, 4, 5), np.int16), np.eye(4)).header.binaryblock
    analyze = nibabel.AnalyzeImage(np.zeros((3, 4, 5), np.int16), np.eye(4)).header.binaryblock
    for header in (pair, analyze):
        with pytest.raises(Rejected, match="header without its image"):
            sniff(header)


def test_every_dicom_file_of_pydicom_is_dicom():
    pydicom = pytest.importorskip("pydicom")
    folder = Path(pydicom.__file__).parent / "data/test_files"
    kinds = {
        path.name: sniff(path.read_bytes())
        for path in folder.glob("*.dcm")
        if path.name != "no_meta.dcm"
    }
    assert len(kinds) > 70 and set(kinds.values()) == {"dicom"}
    # Among them: a TIFF header before DICM, and data sets without any preamble.
    assert {"CT_small.dcm", "ExplVR_BigEndNoMeta.dcm", "ExplVR_LitEndNoMeta.dcm"} <= kinds.keys()


def zipped(data):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("scan.png", data)
    return out.getvalue()


HEIC = struct.pack(">I4s4s", 24, b"ftyp", b"heic") + bytes(100)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "empty file"),
        (bytes(1000), "only zeros"),
        (b"no picture", "text"),
        ("Bild fehlt: Schädel".encode(), "text"),
        (b"<!DOCTYPE html><title>404</title>", "web page"),
        (b"<?xml version='1.0'?><a/>", "XML"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        (saved("GIF"), "GIF"),
        (saved("GIF", save_all=True, append_images=[Image.fromarray(255 - GREY)]), "GIF"),
        (saved("WEBP"), "WebP"),
        (saved("JPEG2000"), "JPEG 2000"),
        (saved("PDF"), "PDF"),
        (HEIC, "HEIC or AVIF"),
        (zipped(JPEG), "ZIP"),
        (gzip.compress(JPEG, mtime=0), "gzip file without a NIfTI inside"),
        (gzip.compress(bytes(128) + b"DICM", mtime=0), "gzip file of a DICOM"),
        (b"\x1f\x8b" + bytes(50), "damaged gzip"),
        (b"NRRD0004\ntype: short\n", "NRRD"),
        (b"ObjectType = Image\nNDims = 3\n", "MetaImage"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
        (bytes(range(256)), "not a supported format"),
    ],
)
def test_what_is_not_read_is_named(data, says):
    with pytest.raises(Rejected, match=f"^{says}"):
        sniff(data)
    with pytest.raises(Rejected, match=f"^{says}"):
        list(read_scans(data, Wanted()))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP"])
def test_a_constant_scan_is_refused(kind):
    data = saved(kind, Image.new("L", (40, 30), 77))
    ((_, reason),) = read_scans(data, Wanted())
    assert str(reason) == "every pixel has the same value"


def test_a_scan_that_differs_in_one_pixel_is_not_constant():
    for place in ((0, 0), (29, 39), (0, 39)):
        image = Image.new("L", (40, 30), 77)
        image.putpixel(place[::-1], 78)
        ((_, scan),) = read_scans(saved("PNG", image), Wanted())
        assert isinstance(scan, Scan)


def test_a_scan_of_one_pixel_is_refused_and_a_very_long_one_is_read():
    ((_, reason),) = read_scans(saved("PNG", Image.new("L", (1, 1))), Wanted())
    assert isinstance(reason, Rejected)
    ((_, scan),) = read_scans(saved("PNG", Image.fromarray(GREY).resize((1000, 4))), Wanted())
    assert scan.pixels.shape == (4, 1000)


def test_an_unforeseen_error_names_neither_its_kind_nor_what_the_file_holds(monkeypatch):
    def fail(data, *_):
        raise ZeroDivisionError("Mustermann^Max")

    monkeypatch.setattr("scangan.preprocessing.reading.jpeg.read_jpeg", fail)
    with pytest.raises(Rejected, match=r"^damaged JPEG: it cannot be decoded; copy it again$"):
        list(read_scans(JPEG, Wanted()))


def test_memory_that_runs_out_is_no_damage(monkeypatch):
    def fail(data, *_):
        raise MemoryError

    monkeypatch.setattr("scangan.preprocessing.reading.jpeg.read_jpeg", fail)
    with pytest.raises(MemoryError):
        list(read_scans(JPEG, Wanted()))


def test_a_file_that_cannot_be_read_says_why(tmp_path):
    with pytest.raises(Rejected, match="no such file"):
        read_file(tmp_path / "gone.png")
    with pytest.raises(Rejected, match="is a directory"):
        read_file(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Rejected, match="not a regular file"):
        read_file(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(Rejected, match="symbolic links"):
        read_file(tmp_path / "loop")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate((1 << 31) + 1)
    with pytest.raises(Rejected, match="over 2 GiB"):
        read_file(tmp_path / "huge")


def test_a_jpeg_loads_no_library_of_another_format():
    code = (
        "import sys; from scangan.preprocessing.reading.wanted import Wanted\n"
        "from scangan.preprocessing.reading.reader import read_scans\n"
        "before = set(sys.modules)\n"
        "list(read_scans(sys.stdin.buffer.read(), Wanted()))\n"
        "print(*sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run([sys.executable, "-c", code], input=JPEG, capture_output=True, check=True)
    loaded = done.stdout.decode().split()
    assert "simplejpeg" in loaded
    assert not {"cv2", "PIL", "pydicom", "nibabel", "numba"} & set(loaded)
