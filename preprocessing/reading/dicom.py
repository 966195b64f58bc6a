"""Read the frames of a DICOM file."""

import contextlib
import dataclasses
import hashlib
import importlib.util
import itertools
import math
import re
import warnings
import zlib
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING, Any

from scangan.core.counted import counted
from scangan.core.dicom_objects import what_instead
from scangan.core.errors import Damaged, MachineFault, Rejected
from scangan.core.formats import sniff
from scangan.core.sheet import NOTICE
from scangan.core.terminal import is_missing_package
from scangan.preprocessing.reading import dicom_spacing, dicom_values
from scangan.preprocessing.reading.dicom_elements import (
    CONVERT,
    CORRECT,
    Elements,
    UnreadableElement,
    named,
)
from scangan.preprocessing.reading.masks import TO_INCLUDE
from scangan.preprocessing.reading.raster import Frames, check_size
from scangan.preprocessing.reading.wanted import Wanted, several_chosen

if TYPE_CHECKING:
    from pydicom import Dataset
    from pydicom.uid import UID

MOST_PIXELS_OF_FILE = 1 << 29
MOST_INFLATED = 1 << 30  # bytes of a deflated file
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
COLOUR = "PhotometricInterpretation"
SIZES = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")
NEEDED = (*SIZES[:3], COLOUR, SIZES[3])
UNKNOWN = "\ufffd"  # pydicom's substitute for a character that it cannot decode
_QUIET = ("ignore", None, Warning, re.compile("pydicom|PIL"), 0)


def read_dicom(data: bytes, wanted: Wanted, *_: object) -> Frames:
    """Read the frames of a DICOM file, one at a time.

    From the first call on, warnings of pydicom and Pillow are ignored in the whole process.

    Parameters
    ----------
    data : bytes
        The whole file, with the 128-byte preamble or without.
    wanted : Wanted
        Its `voi`, `needs_spacing` and `included`.

    Yields
    ------
    frame : int
        Number of the frame, from 0.
    scan : Scan
        The frame as stored integers, luma for colour, or float32. Slope, intercept, window and
        spacing are those of the frame if the file has them per frame. Padding is as dark as the
        darkest other pixel. The identifiers are hashes of PatientID, PatientName and
        StudyInstanceUID.

    Raises
    ------
    Rejected
        The file is not a scan, has no pixels, is truncated, damaged or inconsistent, or declares
        more than 2**27 pixels per frame or 2**29 in total; an element that changes its pixels
        cannot be read; or no installed package decodes it.
    """
    if importlib.util.find_spec("pydicom") is None:
        raise Rejected('DICOM; to read it: pip install "scangan[dicom]"')
    if _QUIET not in warnings.filters:
        warnings.filterwarnings("ignore", module=_QUIET[3].pattern)
    # Parsers raise almost anything for damaged data. The message may quote a value, so it is left out.
    with _refusing("damaged DICOM: its elements cannot be told apart"):
        elements, frames = _opened(data, wanted.included)
    with _refusing("damaged DICOM: its pixels cannot be decoded"):
        yield from _scans(elements, frames, wanted)


@contextlib.contextmanager
def _refusing(reason: str) -> Iterator[None]:
    try:
        yield
    except (Rejected, MachineFault, MemoryError, GeneratorExit):
        raise
    except Exception as error:
        if is_missing_package(error):
            raise
        raise Damaged(reason) from error


def _opened(data: bytes, included: bool) -> tuple[Elements, int]:
    """Return the checked elements of a file with scans, and its number of frames."""
    elements = Elements(_parse(data))
    meta = Elements(elements.dataset.file_meta)
    sop_class = elements.word("SOPClassUID") or meta.word("MediaStorageSOPClassUID")
    if not any(keyword in elements.dataset for keyword in PIXELS):
        raise Rejected(_without_pixels(elements.dataset, sop_class))
    no_scan = what_instead(sop_class, elements.word("Modality"), elements.words("ImageType"))
    if no_scan and no_scan.kind == "no image":
        raise Rejected(no_scan.what)
    if no_scan and not included:
        raise Rejected(f"{no_scan.what}; {TO_INCLUDE}")
    return elements, _check(elements)


def _scans(elements: Elements, frames: int, wanted: Wanted) -> Frames:
    from scangan.preprocessing.reading.compressed import decoded_frames, frame_decoder

    dataset = elements.dataset
    decoder = frame_decoder(_transfer_syntax(dataset))
    if decoder.is_native:
        _check_length(elements, frames)
    identifiers = _identifiers(dataset)
    derivation = elements.word("DerivationDescription")
    synthetic = elements.word("SyntheticData") == "YES" or derivation == NOTICE.upper()
    chosen = several_chosen(wanted.slices, frames, "frame")
    to_the_last = itertools.islice(decoded_frames(elements, decoder, frames), chosen.stop)
    for frame, (stored, properties) in enumerate(to_the_last):
        if frame not in chosen:
            continue
        scan = dicom_values.scan_of(elements, frame, stored, properties, show=wanted.voi)
        spacing, aspect = dicom_spacing.spacing_and_aspect(elements, frame, wanted.needs_spacing)
        yield (
            frame,
            dataclasses.replace(
                scan,
                spacing=spacing,
                aspect=aspect,
                identifiers=identifiers,
                synthetic=synthetic,
                notes=elements.notes,
            ),
        )


def _parse(data: bytes) -> "Dataset":
    if sniff(data) != "dicom":
        raise Rejected("not a DICOM file")
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
    return dcmread(BytesIO(data), force=True)


def _without_pixels(dataset: "Dataset", sop_class: str) -> str:
    from pydicom.uid import UID

    cut = "Rows" in dataset or not len(dataset)  # pydicom drops all if the last one is too short
    reason = f"DICOM without {'its pixels (truncated?)' if cut else 'pixels'}"
    kind = UID(sop_class)
    what = reason if kind.name == kind else f"{reason}: {kind.name}"
    return f"{what}; copy it again" if cut else what


def _check_deflated(deflated: bytes) -> None:
    """Reject data that would inflate beyond memory, as pydicom inflates them whole."""
    try:
        inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(deflated, MOST_INFLATED + 1)
    except zlib.error as error:
        raise Damaged("damaged DICOM: the deflated part does not inflate") from error
    if len(inflated) > MOST_INFLATED:
        raise Rejected(
            f"deflated DICOM of more than {MOST_INFLATED} bytes; save it without compression"
        )


def _transfer_syntax(dataset: "Dataset") -> "UID":
    """Return the file's transfer syntax; if it gives none, the one its elements are written in."""
    from pydicom import uid

    syntax: UID | None = dataset.file_meta.get("TransferSyntaxUID")
    if not syntax:
        implicit, little = dataset.original_encoding
        if not little:
            return uid.ExplicitVRBigEndian
        return uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian
    if not isinstance(syntax, str):
        raise UnreadableElement(f"{named('TransferSyntaxUID')} has several values")
    return syntax


def _check(elements: Elements) -> int:
    """Reject files that contradict themselves or are too large; return the number of frames."""
    dataset, integers = elements.dataset, "PixelData" in elements.dataset
    _straighten_interpretation(elements)
    needed = (*NEEDED, "BitsStored", "PixelRepresentation") if integers else NEEDED
    values = {k: elements.word(k) or None if k == COLOUR else elements.whole(k) for k in needed}
    missing = [keyword for keyword, value in values.items() if value is None]
    if missing:
        raise Rejected(f"DICOM without {', '.join(missing)}; {CORRECT}")
    rows, columns, samples, bits = (elements.whole(keyword) or 0 for keyword in SIZES)
    frames = elements.whole("NumberOfFrames")
    if frames is not None:
        dataset.NumberOfFrames = frames  # pydicom refuses numbers written as 1,0
    frames = frames or 1
    for keyword, count in (("Rows", rows), ("Columns", columns), ("NumberOfFrames", frames)):
        if count < 1:
            raise UnreadableElement(f"{named(keyword)} is {count}, not 1 or more")
    if samples not in (1, 3):
        raise UnreadableElement(f"{named('SamplesPerPixel')} is {samples}, not 1 or 3", CONVERT)
    check_size(rows, columns)
    if rows * columns * frames > MOST_PIXELS_OF_FILE:
        raise Rejected(
            f"declares {counted(frames, 'frame')} of {columns}x{rows} pixels; at most "
            f"{MOST_PIXELS_OF_FILE} pixels are read; split it"
        )
    if integers:
        _check_integers(elements, bits)
    return frames


def _straighten_interpretation(elements: Elements) -> None:
    """Spell the colour interpretation as in the standard, as pydicom requires."""
    told = elements.dataset.get(COLOUR)
    if told and told != elements.word(COLOUR):
        elements.dataset.PhotometricInterpretation = elements.word(COLOUR)


def _check_integers(elements: Elements, bits: int) -> None:
    stored, sign = elements.whole("BitsStored") or 0, elements.whole("PixelRepresentation") or 0
    high = elements.whole("HighBit")
    if bits not in (1, 8, 16, 32):
        raise UnreadableElement(f"{named('BitsAllocated')} is {bits}, not 1, 8, 16 or 32")
    if not 1 <= stored <= bits:
        raise UnreadableElement(f"{named('BitsStored')} is {stored}, not 1 to {bits}")
    if sign not in (0, 1):
        raise UnreadableElement(
            f"{named('PixelRepresentation')} is {sign}, not 0 (unsigned) or 1 (signed)"
        )
    if high not in (None, stored - 1):
        raise UnreadableElement(
            f"{named('HighBit')} is {high} with BitsStored {stored}: unclear where the value lies"
        )


def _check_length(elements: Elements, frames: int) -> None:
    """Reject uncompressed pixel data that are shorter than declared."""
    dataset = elements.dataset
    pixels, *others = (keyword for keyword in PIXELS if keyword in dataset)
    if others:
        raise UnreadableElement(
            f"{named(pixels)} and {named(others[0])}: only one may hold the pixels"
        )
    needs = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}.get(pixels)
    if needs and elements.whole("BitsAllocated") != needs:
        told = elements.whole("BitsAllocated")
        raise UnreadableElement(f"{named('BitsAllocated')} is {told}, but {pixels} needs {needs}")
    declared = getattr(dataset.get_item(pixels), "length", 0)  # of the file, before it is converted
    element = dataset[pixels]
    if element.is_undefined_length:
        raise UnreadableElement(
            f"{named('TransferSyntaxUID')} says that the pixels are not compressed, but they are"
        )
    if elements.word(COLOUR) == "YBR_PARTIAL_422":
        raise UnreadableElement(
            f"{named(COLOUR)} is 'YBR_PARTIAL_422', which is not supported", CONVERT
        )
    if (elements.whole("SamplesPerPixel") or 1) > 1:
        order = elements.whole("PlanarConfiguration")
        if order is None:
            raise Rejected(f"DICOM without PlanarConfiguration; {CORRECT}")
        if order not in (0, 1):
            raise UnreadableElement(
                f"{named('PlanarConfiguration')} is {order}, not 0 (by pixel) or 1 (by plane)"
            )
        if order == 1 and elements.word(COLOUR) == "YBR_FULL_422":
            raise UnreadableElement(
                f"{named('PlanarConfiguration')} is 1, but colours of 'YBR_FULL_422' need 0"
            )
    bits = math.prod(elements.whole(keyword) or 0 for keyword in SIZES) * frames
    whole, actual = math.ceil(bits / 8), len(element.value or b"")
    subsampled = elements.word(COLOUR) == "YBR_FULL_422"
    needed = whole // 3 * 2 if subsampled else whole
    if actual < needed:
        if declared > actual:
            raise Damaged(f"truncated DICOM: {actual} of {needed} bytes of pixels")
        raise UnreadableElement(
            f"{actual} bytes of pixels, but Rows, Columns, NumberOfFrames, SamplesPerPixel and "
            f"BitsAllocated need {needed}"
        )
    if subsampled and actual >= whole and elements.whole("SamplesPerPixel") == 3:
        raise UnreadableElement(
            f"{named(COLOUR)} is 'YBR_FULL_422', but the pixels are those of RGB or YBR_FULL"
        )


def _identifiers(dataset: "Dataset") -> tuple[str | None, ...]:
    keywords = ("PatientID", "PatientName", "StudyInstanceUID")
    values = (_as_written(dataset, keyword) for keyword in keywords)
    return tuple(hashlib.sha256(value).hexdigest()[:16] if value else None for value in values)


def _as_written(dataset: "Dataset", keyword: str) -> bytes:
    """Return a text as UTF-8; its raw bytes if they do not match the file's character set."""
    element: Any = dataset.get_item(keyword) if keyword in dataset else None
    stored = element.value if element is not None and isinstance(element.value, bytes) else b""
    try:
        text = str(dataset.get(keyword) or "").strip()
    except Exception:  # raw bytes suffice to tell it from others
        return stored.strip()
    return stored.strip() if UNKNOWN in text else text.encode(errors="surrogateescape")
