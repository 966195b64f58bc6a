"""Decode JPEG (ITU-T T.81) strictly, and no larger than the prepared scan needs."""

import re
import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import simplejpeg

from scangan.core.errors import Damaged, Rejected
from scangan.preprocessing.geometry import is_square, placement
from scangan.preprocessing.reading.raster import (
    MOST_PIXELS,
    Frames,
    check_size,
    pixel_aspect,
    turned_aspect,
    upright,
)
from scangan.preprocessing.reading.scan import Scan
from scangan.preprocessing.reading.tiff_tags import orientation
from scangan.preprocessing.reading.wanted import Wanted

# A scan may be decoded smaller if this leaves at least MARGIN pixels per prepared pixel and covers the
# same region to MOST_SHIFT of a prepared pixel (placing it on the square rounds by up to 0.5 anyway).
# On radiographs of about 1800x1300 prepared at 64 to 512, the result differs from full decoding by 0.1
# to 0.5 grey levels on average, 1.2 in the worst scan, and up to 31 in a single pixel (41 with a
# MARGIN of 1, 19 with 2).
MARGIN = 1.5
MOST_SHIFT = 0.15
# A progressive file of a few kilobytes can require any number of passes over its pixels.
MOST_PASSES = 500
MOST_REPAIRS = 4

SOF, DHT, JPG, DAC, RST0, EOI, SOS = 0xC0, 0xC4, 0xC8, 0xCC, 0xD0, 0xD9, 0xDA
APP0, APP1, APP2, APP14 = 0xE0, 0xE1, 0xE2, 0xEE
ADOBE_TRANSFORM = 11  # byte of Adobe's marker; 0 if colours are not transformed
LOSSLESS, JPEG_LS = (0xC3, 0xCB), 0xF7
PROGRESSIVE = (0xC2, 0xCA)  # decoders keep all of its coefficients, two bytes for each value


class Header(NamedTuple):
    """What precedes the image data."""

    process: int  # the frame's marker: baseline, progressive, lossless, ...
    precision: int  # bits per sample
    height: int
    width: int
    components: int
    adobe: bool
    orientation: int  # 1 to 8
    aspect: float  # of a pixel as stored: its height over its width
    end: int  # where the image data starts


Decode = Callable[[bytes, Header], npt.NDArray[np.uint8]]


def read_jpeg(data: bytes, wanted: Wanted, *_: object) -> Frames:
    """Decode a JPEG with 8 bits per sample to one grey scan, oriented by its Exif data.

    Parameters
    ----------
    data : bytes
        The whole file. Bytes after its end are ignored.
    wanted : Wanted
        Its `size` and `fit`: a scan much larger than that square is decoded at 1/2, 1/4 or 1/8 of its
        size, if `reduction` allows it.

    Raises
    ------
    Rejected
        The file is truncated, damaged, too large, or of an unsupported kind.
    """
    grey = decode_strictly(data, lambda data, header: _decode(data, header, wanted))
    header = read_header(data)
    yield 0, Scan(grey, aspect=turned_aspect(header.aspect, header.orientation))


def decode_strictly(data: bytes, decode: Decode) -> npt.NDArray[np.uint8]:
    """Decode a JPEG without faults, or with harmless ones only.

    Parameters
    ----------
    data : bytes
        The whole file.
    decode : callable
        Decodes it or raises a ValueError that names the first fault; called again after a repair.

    Raises
    ------
    Rejected
        The file is damaged, or of an unsupported kind.
    """
    for _ in range(MOST_REPAIRS):
        header = read_header(data)
        check_header(header)
        try:
            return decode(data, header)
        except ValueError as error:
            data = _repaired(data, header, str(error))
    raise Damaged("damaged JPEG: several faults")


def read_header(data: bytes) -> Header:
    """Read the markers up to the image data."""
    frame, adobe, turn, aspect = None, False, 1, 1.0
    for marker, start, end in _segments(data):
        if marker == JPEG_LS or (SOF <= marker <= 0xCF and marker not in (DHT, JPG, DAC)):
            frame = (marker, data[start : start + 6])
        elif marker == APP0 and data.startswith(b"JFIF\0", start):
            densities = data[start + 8 : min(start + 12, end)]
            if len(densities) == 4:
                aspect = pixel_aspect(*struct.unpack(">HH", densities))
        elif marker == APP1 and data.startswith(b"Exif\0\0", start):
            turn = orientation(data[start + 6 : end])
        elif marker == APP14:
            adobe = adobe or data.startswith(b"Adobe", start)
    if frame is None or len(frame[1]) < 6:
        raise Damaged("truncated JPEG: no frame header")
    process, (precision, top, bottom, left, right, components) = frame
    height, width = top << 8 | bottom, left << 8 | right
    return Header(process, precision, height, width, components, adobe, turn, aspect, end)


def jpeg_is_rgb(data: bytes) -> tuple[bool | None, str]:
    """Return whether three components are RGB (or YCbCr), and why; None if unknown.

    Decides like libjpeg: by the JFIF marker, else Adobe's, else the component ids.
    """
    frame = adobe = b""
    for marker, start, end in _segments(data):
        if marker == APP0 and data.startswith(b"JFIF\0", start):
            return False, "JFIF marker"
        if marker == APP14 and data.startswith(b"Adobe", start):
            adobe = data[start:end]
        elif SOF <= marker <= 0xCF and marker not in (DHT, JPG, DAC):
            frame = data[start:end]
    if len(adobe) > ADOBE_TRANSFORM:
        return adobe[ADOBE_TRANSFORM] == 0, "Adobe marker"
    numbers = frame[6:15:3]
    known = {b"\1\2\3": False, b"RGB": True}
    return known.get(numbers), f"component ids {', '.join(map(str, numbers))}"


def adobe_marker(transformed: bool) -> bytes:
    """Make a marker that says whether three components are YCbCr or RGB."""
    return b"\xff\xee\x00\x0eAdobe\x00\x64\0\0\0\0" + bytes([transformed])


def check_header(header: Header) -> None:
    """Reject, by name, what the decoder cannot read or would have to guess."""
    if not header.height:
        raise Rejected("JPEG that gives its height only at its end; save it as PNG")
    check_size(header.height, header.width)
    values = header.height * header.width * header.components
    if (header.process in PROGRESSIVE or header.components == 4) and values > MOST_PIXELS:
        raise Rejected(
            f"declares {header.width}x{header.height} pixels of {header.components} values; at most "
            f"{MOST_PIXELS} values are read of a progressive or CMYK JPEG; shrink it"
        )
    if header.process == JPEG_LS:
        raise Rejected("JPEG-LS; save it as PNG or TIFF")
    if header.precision != 8:
        raise Rejected(f"{header.precision}-bit JPEG; save it as a PNG or TIFF of 16 bits")
    if header.components == 4 and not header.adobe:
        # Adobe stores ink inverted and leaves its marker. Without the marker, nobody can tell.
        raise Rejected("CMYK JPEG that does not say whether it is inverted; save it as grey")


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the marker, and the start and end of the content, of each segment before the image data."""
    at = 2
    try:
        while True:
            if data[at] != 0xFF:
                raise Damaged("damaged JPEG: a marker is missing")
            while data[at] == 0xFF:  # fill bytes
                at += 1
            marker, start = data[at], at + 3
            # The decoder skips markers without a length. Skipping them here could read what follows
            # differently, and so check another image than the decoded one.
            if marker < SOF or RST0 <= marker <= EOI:
                raise Damaged("damaged JPEG: an unexpected marker")
            at += 1 + (data[at + 1] << 8 | data[at + 2])
            yield marker, start, at
            if marker == SOS:
                return
    except IndexError as error:
        raise Damaged("truncated JPEG: no image data") from error


def _decode(data: bytes, header: Header, wanted: Wanted) -> npt.NDArray[np.uint8]:
    """Decode to grey; ValueError names the first fault."""
    if header.process in PROGRESSIVE and data.count(b"\xff\xda") > MOST_PASSES:
        raise Rejected(f"JPEG of over {MOST_PASSES} passes; save it as PNG")
    height, width = header.height, header.width
    if header.orientation > 4:
        height, width = width, height
    # The decoder would write a lossless JPEG at full size into a buffer of the reduced size. Pixels
    # that are not square are too rare to support here.
    whole = header.process in LOSSLESS or not is_square(header.aspect)
    factor = 1 if whole else reduction(height, width, wanted)
    # Drop a last row or column that is less than half covered, to cover the same region.
    covered = [max(1, round(side / factor)) for side in (header.height, header.width)]
    rows, columns = -(-header.height // factor), -(-header.width // factor)
    pixels = simplejpeg.decode_jpeg(data, "GRAY", min_height=rows, min_width=columns, strict=True)
    if pixels.shape != (rows, columns, 1):
        raise Damaged("damaged JPEG: its header and its data disagree on the size")
    grey = pixels[: covered[0], : covered[1], 0]
    return grey if header.orientation == 1 and factor == 1 else upright(grey, header.orientation)


def reduction(height: int, width: int, wanted: Wanted) -> int:
    """Return the factor (8, 4, 2 or 1) by which a scan may be decoded smaller."""
    size, fit = wanted.size, wanted.fit
    if size is None or max(height, width) < 2 * MARGIN * size:
        return 1
    whole = placement(height, width, size, fit)
    for factor in (8, 4, 2):
        if min(height, width) < factor:  # nothing of that side would be left
            continue
        small = placement(round(height / factor), round(width / factor), size, fit)
        sides = zip(small.source, whole.source, whole.shape, strict=True)
        if small[1:] == whole[1:] and all(_covers(*side, factor) for side in sides):
            return factor
    return 1


def _covers(small: slice, whole: slice, prepared: int, factor: int) -> bool:
    """Whether a reduced scan has enough pixels along one side and covers the same region."""
    shift = max(abs(small.start * factor - whole.start), abs(small.stop * factor - whole.stop))
    pixel = (whole.stop - whole.start) / prepared
    return bool(small.stop - small.start >= MARGIN * prepared and shift <= MOST_SHIFT * pixel)


def _repaired(data: bytes, header: Header, fault: str) -> bytes:
    """Repair a fault that does not affect the pixels, so that the next decoding can be as strict.

    The decoder stops at the first fault, even at harmless ones found in real files: an unknown JFIF
    version, a broken colour profile, a baseline scan header without a spectral range (which is not
    used there), and zeros that pad the image data. All other faults are rejected: extraneous bytes
    that are not zero mean that the decoder lost track.
    """
    if fault.startswith("Warning: unknown JFIF"):
        for marker, start, _ in _segments(data):
            if marker == APP0 and data.startswith(b"JFIF\0", start):
                return data[: start + 5] + b"\x01\x01" + data[start + 7 :]
    elif "bad ICC marker" in fault:
        profile = [s for s in _segments(data) if s[0] == APP2]
        for _, start, end in reversed(profile):
            data = data[: start - 4] + data[end:]
        if profile:
            return data
    elif fault.startswith("Invalid SOS parameters"):
        return data[: header.end - 3] + b"\x00\x3f\x00" + data[header.end :]
    elif zeros := re.search(r"(\d+) extraneous bytes before marker 0xd9", fault):
        end = data.find(b"\xff\xd9", header.end)
        padding = int(zeros[1])
        if end > 0 and data[end - padding : end] == bytes(padding):
            return data[: end - padding] + data[end:]
    raise _refusal(fault)


def _refusal(fault: str) -> Rejected:
    """Summarise the decoder's error."""
    if "Premature end" in fault:
        return Damaged("truncated JPEG")
    if "subsampling" in fault:
        return Rejected("JPEG of an unusual colour sampling; save it as PNG")
    if "not implemented" in fault or "nsupported" in fault:
        return Rejected("JPEG of an unusual kind; save it as PNG")
    fault = " ".join(fault.split()).removeprefix("Corrupt JPEG data: ")
    return Damaged(f"damaged JPEG: {fault[:80].lower()}")
