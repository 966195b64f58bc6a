"""Detect the format of a file from its bytes, because names and extensions can be wrong."""

import zlib
from typing import Literal, TypeAlias

from scangan.core.address import Place
from scangan.core.errors import Damaged, Rejected
from scangan.core.folders import why_no_scan
from scangan.core.reading import read_file

Format: TypeAlias = Literal["png", "jpeg", "tiff", "bmp", "dicom", "nifti"]

READ: tuple[tuple[bytes, Format], ...] = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),  # BigTIFF
    (b"MM\0+", "tiff"),
)
# Other files found in folders of scans, and how to turn them into scans.
NOT_READ = (
    (b"GIF8", "GIF; save its picture as PNG"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000; save it as PNG or TIFF"),
    (b"\xff\x4f\xff\x51", "JPEG 2000; save it as PNG or TIFF"),
    (b"%PDF", "PDF"),
    (b"PK\x03\x04", "ZIP archive; unpack it"),
    (b"BZh", "bzip2 archive; unpack it"),
    (b"\xfd7zXZ\0", "xz archive; unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip archive; unpack it"),
    (b"Rar!\x1a\x07", "RAR archive; unpack it"),
    (b"(\xb5/\xfd", "Zstandard archive; unpack it"),
    (b"NRRD000", "NRRD; convert it to NIfTI"),
    (b"ObjectType =", "MetaImage; convert it to NIfTI"),
    (b"\x89HDF\r\n\x1a\n", "HDF5 or MINC; convert it to NIfTI"),
    (b"CDF\x01", "MINC or NetCDF; convert it to NIfTI"),
    (b"CDF\x02", "MINC or NetCDF; convert it to NIfTI"),
    (b"\x93NUMPY", "NumPy array; save it as PNG or TIFF"),
    (b"SIMPLE  =", "FITS; save it as TIFF"),
    (b"8BPS", "Photoshop file; save it as PNG or TIFF"),
    (b"version https://git-lfs", "Git LFS pointer; fetch the file itself with git lfs pull"),
    (b"\x7fELF", "program"),
)
# Text that gen-scans writes into a tar (in each PNG) and into an npz (numpy uses four bytes per letter).
SYNTHETIC_SHARD = (b"tEXtscangan\0", "made by a generative model".encode("utf-32-le"))
HEAD = 4096  # bytes to detect a format; enough for the header of a compressed NIfTI file
NIFTI_HEADER = 540  # bytes of the longer header, NIfTI-2
DIRECTORY = b"UI\x14\x001.2.840.10008.1.3.10"  # the storage class of a DICOMDIR
# Value representations that a data set without a preamble starts with in practice.
FIRST_VR = (b"UL", b"CS", b"DA", b"UI", b"LO", b"SH", b"TM", b"OB", b"UN")


def head_of_scan(path: str | Place) -> tuple[bytes, Format]:
    """Read the first bytes of a file and detect its format.

    Raises
    ------
    Rejected
        The file's name or content shows that it is not a scan, or it cannot be read.
    """
    if reason := why_no_scan(str(path)):
        raise Rejected(reason)
    head = read_file(path, HEAD)
    return head, sniff(head)


def sniff(data: bytes) -> Format:
    """Detect the format of a file from its first bytes.

    Raises
    ------
    Rejected
        The format is not supported; the reason names the format if it is a well-known one.
    """
    # First of all: the preamble before these letters can be a TIFF header, as in some scans.
    if data[128:132] == b"DICM":
        if DIRECTORY in data[132:1024]:
            raise Rejected("DICOMDIR: an index of files, without pixels")
        return "dicom"
    for magic, name in READ:
        if data.startswith(magic):
            return name
    if _is_bmp(data):
        return "bmp"
    if data.startswith(b"\x1f\x8b"):
        return _inside_gzip(data)
    if _is_nifti(data):
        return "nifti"
    if not data:
        raise Damaged("empty file")
    if data.count(0) == len(data):
        raise Damaged("only zeros")
    if any(mark in data for mark in SYNTHETIC_SHARD):
        raise Rejected("a shard of synthetic scans that gen-scans made; unpack it")
    for magic, what in NOT_READ:
        if data.startswith(magic):
            raise Rejected(what)
    if data[257:262] == b"ustar":
        raise Rejected("tar archive; unpack it")
    if what := _is_container(data):
        raise Rejected(what)
    if _is_bare_dicom(data):
        return "dicom"
    if what := _is_text(data):
        raise Rejected(what)
    raise Rejected("not a supported format (PNG, JPEG, TIFF, BMP, DICOM, NIfTI)")


def _is_bmp(data: bytes) -> bool:
    """Return whether BM is followed by the size of a known header."""
    return data.startswith(b"BM") and (
        len(data) < 26
        or data[14:18] in [bytes((n, 0, 0, 0)) for n in (12, 16, 40, 52, 56, 64, 108, 124)]
    )


def _is_nifti(data: bytes) -> bool:
    """Return whether the data is single-file NIfTI-1 or -2 in either byte order; refuse file pairs."""
    for order in ("little", "big"):
        size = int.from_bytes(data[:4], order)
        if size == 540 and data[4:8] in (b"n+2\0", b"ni2\0"):
            magic = data[4:8]
        elif size == 348 and len(data) >= 348:
            magic = data[344:348]
        else:
            continue
        if magic[:2] == b"n+":
            return True
        raise Rejected("Analyze or NIfTI header without its image; convert the pair to one .nii")
    return False


def _inside_gzip(data: bytes) -> Format:
    try:
        head = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(data, NIFTI_HEADER)
    except zlib.error as error:
        raise Damaged("damaged gzip file") from error
    if head[128:132] == b"DICM":
        raise Rejected("gzip file of a DICOM; unpack it")
    if _is_nifti(head):
        return "nifti"
    raise Rejected("gzip file without a NIfTI inside; unpack it")


def _is_container(data: bytes) -> str:
    kind = data[8:12]
    if data.startswith(b"RIFF") and kind == b"WEBP":
        return "WebP; save it as PNG"
    if data.startswith(b"RIFF"):
        return "audio or video"
    if data[4:8] == b"ftyp":
        still = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis")
        return "HEIC or AVIF; save it as PNG" if kind in still else "video"
    return ""


def _is_bare_dicom(data: bytes) -> bool:
    """Return whether this is DICOM without a preamble: a tag of group 2 or 8, then a plausible value."""
    for order in ("little", "big"):
        group, element = (int.from_bytes(data[at : at + 2], order) for at in (0, 2))
        if group in (0x0002, 0x0008) and element <= 0x1000 and len(data) > 132:
            return data[4:6] in FIRST_VR or int.from_bytes(data[4:8], order) <= 1024
    return False


def _is_text(data: bytes) -> str:
    start = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "web page; was the download refused?"
    if start.startswith(b"<?xml") or start.startswith(b"<svg"):
        return "XML"
    try:
        text = data[:512].decode("utf-8")
    except UnicodeDecodeError as error:
        if error.start < 500:  # else the cut may have split a character
            return ""
        text = ""
    return "text" if all(c.isprintable() or c in "\t\r\n\f" for c in text) else ""
