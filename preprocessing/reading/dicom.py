"""Read the frames of a DICOM file."""

import dataclasses
import hashlib
import importlib.util
import math
import re
import warnings
import zlib
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import TYPE_CHECKING

from scangan.core.formats import sniff
from scangan.preprocessing.errors import Rejected
from scangan.preprocessing.options import PrepOptions
from scangan.preprocessing.reading import dicom_values
from scangan.preprocessing.reading.raster import check_size
from scangan.preprocessing.reading.scan import Scan

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.uid import UID

MOST_PIXELS_OF_FILE = 1 << 29
MOST_INFLATED = 1 << 30  # bytes of a deflated file
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
NEEDED = ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated")
SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
_QUIET = ("ignore", None, Warning, re.compile("pydicom|PIL"), 0)


def read_dicom(data: bytes, options: PrepOptions) -> Iterator[Scan]:
    """Read the frames of a DICOM file, one at a time.

    Warnings that pydicom and Pillow would print are ignored from then on, in the whole process.

    Parameters
    ----------
    data : bytes
        The whole file, with the 128-byte preamble or without.
    options : PrepOptions
        `window` is used: where it is ``auto`` or ``dicom``, a VOI LUT or a sigmoid is applied.

    Yields
    ------
    Scan
        A frame: stored integers, luma where it is in colour, or float32. Slope, intercept, window
        and spacing are the frame's own where the file gives them for each frame. Padding pixels
        have become the darkest of the others. The identifiers are hashes of PatientID,
        PatientName and StudyInstanceUID.

    Raises
    ------
    Rejected
        The file has no pixels, is truncated, damaged or inconsistent, declares more than 2**27
        pixels a frame or 2**29 in all, or nothing that is installed decodes it.
    """
    if importlib.util.find_spec("pydicom") is None:
        raise Rejected("DICOM; to read it: pip install 'scangan[dicom]'")
    if _QUIET not in warnings.filters:
        warnings.filterwarnings("ignore", module=_QUIET[3].pattern)
    try:
        yield from _scans(data, options)
    except (Rejected, MemoryError):
        raise
    except Exception as error:
        # Parsers of damaged data raise nearly anything. The text is left out: it may quote a value.
        kind = f"{type(error).__module__}.{type(error).__name__}".removeprefix("builtins.")
        raise Rejected(f"damaged DICOM: {kind}") from error


def _scans(data: bytes, options: PrepOptions) -> Iterator[Scan]:
    dataset = _parse(data)
    from scangan.preprocessing.reading.compressed import decoded_frames, frame_decoder

    decoder = frame_decoder(_transfer_syntax(dataset))
    frames = _check(dataset, decoder.is_native)
    identifiers = _identifiers(dataset)
    for frame, (stored, properties) in enumerate(decoded_frames(dataset, decoder, frames)):
        scan = dicom_values.scan_of(
            dataset, frame, stored, properties, show=options.window in ("auto", "dicom")
        )
        yield dataclasses.replace(
            scan, frame=frame, spacing=_spacing(dataset, frame), identifiers=identifiers
        )


def _parse(data: bytes) -> "Dataset":
    if sniff(data) != "dicom":
        raise Rejected("no DICOM")
    from pydicom import dcmread
    from pydicom.filereader import read_dataset, read_preamble
    from pydicom.uid import DeflatedExplicitVRLittleEndian, MediaStorageDirectoryStorage

    stream = BytesIO(data)
    read_preamble(stream, force=True)
    meta = read_dataset(stream, False, True, stop_when=lambda tag, _vr, _length: tag >> 16 != 2)
    if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        _check_deflated(data[stream.tell() :])
    if meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
        raise Rejected("DICOMDIR: an index of files, without pixels")
    dataset = dcmread(BytesIO(data), force=True)
    if not any(keyword in dataset for keyword in PIXELS):
        raise Rejected(_without_pixels(dataset, meta))
    return dataset


def _without_pixels(dataset: "Dataset", meta: "Dataset") -> str:
    from pydicom.uid import UID

    cut = "Rows" in dataset or not len(dataset)  # pydicom drops all where the last one ends early
    reason = f"DICOM without {'its pixels (truncated?)' if cut else 'pixels'}"
    kind = UID(str(dataset.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID")))
    return reason if kind.name == kind else f"{reason}: {kind.name}"


def _check_deflated(deflated: bytes) -> None:
    """Refuse what would inflate to more than memory holds; pydicom inflates it whole."""
    try:
        inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(deflated, MOST_INFLATED + 1)
    except zlib.error as error:
        raise Rejected("damaged DICOM: the deflated part does not inflate") from error
    if len(inflated) > MOST_INFLATED:
        raise Rejected(f"deflated DICOM of more than {MOST_INFLATED} bytes")


def _transfer_syntax(dataset: "Dataset") -> "UID":
    """The file's, or where it gives none, the one that its elements are written in."""
    from pydicom import uid

    syntax: UID | None = dataset.file_meta.get("TransferSyntaxUID")
    if not syntax:
        implicit, little = dataset.original_encoding
        if not little:
            return uid.ExplicitVRBigEndian
        return uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian
    return syntax


def _check(dataset: "Dataset", native: bool) -> int:
    """Refuse what contradicts itself or is too large; give the number of frames."""
    integers = "PixelData" in dataset
    needed = (*NEEDED, "BitsStored", "PixelRepresentation") if integers else NEEDED
    missing = [keyword for keyword in needed if dataset.get(keyword) in (None, "")]
    if missing:
        raise Rejected(f"DICOM without {', '.join(missing)}")
    rows, columns, samples, bits = (
        int(dataset[keyword].value)
        for keyword in ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")
    )
    try:
        frames = int(dataset.get("NumberOfFrames") or 1)
    except (TypeError, ValueError):
        raise Rejected("NumberOfFrames is no number") from None
    check_size(rows, columns)
    if rows * columns * frames > MOST_PIXELS_OF_FILE:
        raise Rejected(
            f"declares {frames} frames of {columns}x{rows} pixels; at most "
            f"{MOST_PIXELS_OF_FILE} pixels are read"
        )
    if samples < 1 or frames < 1:
        raise Rejected(f"declares {frames} frames of {columns}x{rows} pixels")
    if integers:
        _check_integers(dataset, bits)
    if native:
        _check_length(dataset, rows * columns * samples * frames * bits)
    return frames


def _check_integers(dataset: "Dataset", bits: int) -> None:
    stored, sign = int(dataset.BitsStored), int(dataset.PixelRepresentation)
    high = int(dataset.get("HighBit", stored - 1))
    if bits not in (1, 8, 16, 32):
        raise Rejected(f"BitsAllocated {bits} is not read")
    if not 1 <= stored <= bits:
        raise Rejected(f"BitsStored {stored} of BitsAllocated {bits}")
    if sign not in (0, 1):
        raise Rejected(f"PixelRepresentation {sign}; it is 0 (unsigned) or 1 (signed)")
    if high != stored - 1:
        raise Rejected(f"HighBit {high} with BitsStored {stored}: unclear where the value lies")


def _check_length(dataset: "Dataset", bits: int) -> None:
    """Refuse uncompressed pixels that are fewer than declared."""
    (element,) = (dataset[keyword] for keyword in PIXELS if keyword in dataset)
    if element.is_undefined_length:
        raise Rejected("compressed pixels under an uncompressed transfer syntax")
    whole, actual = math.ceil(bits / 8), len(element.value or b"")
    subsampled = dataset.PhotometricInterpretation == "YBR_FULL_422"
    needed = whole // 3 * 2 if subsampled else whole
    if actual < needed:
        raise Rejected(f"short pixel data: {actual} of {needed} bytes")
    if subsampled and actual >= whole:
        raise Rejected("more pixel data than YBR_FULL_422 has: it is RGB or YBR_FULL")


def _spacing(dataset: "Dataset", frame: int) -> tuple[float, float] | None:
    measures = dicom_values.macro(dataset, frame, "PixelMeasuresSequence")
    for keyword in SPACINGS:
        values = measures.get(keyword) or dataset.get(keyword)
        if isinstance(values, Sequence) and len(values) == 2:
            row, column = float(values[0]), float(values[1])
            if 0 < row < math.inf and 0 < column < math.inf:
                return row, column
    return None


def _identifiers(dataset: "Dataset") -> tuple[str | None, ...]:
    keywords = ("PatientID", "PatientName", "StudyInstanceUID")
    values = (str(dataset.get(keyword) or "").strip() for keyword in keywords)
    return tuple(
        hashlib.sha256(value.encode(errors="surrogateescape")).hexdigest()[:16] if value else None
        for value in values
    )
