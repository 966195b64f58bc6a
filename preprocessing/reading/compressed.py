"""Decode the frames of DICOM files, each with the most suitable decoder.

JPEG and JPEG 2000 go through Pillow if possible, RLE through pydicom, everything else through gdcm.
`decode_frame`, `is_available` and `DECODER_DEPENDENCIES` are pydicom's interface for decoding plugins.
"""

import struct
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import simplejpeg
from pydicom import uid
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.common import PhotometricInterpretation
from pydicom.pixels.decoders import pillow
from pydicom.pixels.decoders.base import Decoder, DecodeRunner
from pydicom.pixels.utils import as_pixel_options

from scangan.core.counted import counted
from scangan.core.errors import Damaged, MachineFault, Rejected
from scangan.core.printable import quoted
from scangan.preprocessing.reading import gdcm_process
from scangan.preprocessing.reading.dicom_elements import Elements, UnreadableElement, named
from scangan.preprocessing.reading.dicom_values import LUMA
from scangan.preprocessing.reading.jpeg import (
    adobe_marker,
    decode_strictly,
    jpeg_is_rgb,
    read_header,
)

if TYPE_CHECKING:
    from pydicom.uid import UID

Decoded = tuple[npt.NDArray[Any], dict[str, str | int]]

FAMILIES = {
    uid.JPEGBaseline8Bit: "JPEG",
    uid.JPEGExtended12Bit: "12-bit JPEG",
    uid.JPEGLossless: "lossless JPEG",
    uid.JPEGLosslessSV1: "lossless JPEG",
    uid.JPEGLSLossless: "JPEG-LS",
    uid.JPEGLSNearLossless: "JPEG-LS",
    uid.JPEG2000Lossless: "JPEG 2000",
    uid.JPEG2000: "JPEG 2000",
}
DECODER_DEPENDENCIES = dict.fromkeys(FAMILIES, ("gdcm>=3.0.24", "pillow>=11"))
NATIVE = (
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
)
EIGHT_BIT_JPEG = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit)
COLOURS = {each.value for each in PhotometricInterpretation}  # those that pydicom lays out
MOST_SEGMENTS = 15  # of a frame of RLE
DEEPEST = 16  # bits of a JPEG, of any family but JPEG 2000
LARGEST_SIDE = 65_535  # that Rows and Columns can say
JPEG_2000_SIZE = b"\xff\x4f\xff\x51"  # the first two markers of a stream
_machine = threading.local()  # its `fault`, which pydicom would make one of the file
JP2_SIGNATURE = b"\0\0\0\x0cjP  "


def frame_decoder(syntax: "UID") -> Decoder:
    """Return pydicom's decoder for a transfer syntax, restricted to these plugins.

    Raises
    ------
    Rejected
        No installed package decodes it; the reason says which one would.
    """
    decoder = Decoder(syntax)
    if syntax == uid.RLELossless:
        decoder.add_plugin("pydicom", ("pydicom.pixels.decoders.rle", "_decode_frame"))
    elif syntax in FAMILIES:
        if not is_available(syntax):
            raise Rejected(_missing(FAMILIES[syntax]))
        decoder.add_plugin("scangan", (__name__, "decode_frame"))
    elif syntax not in NATIVE:
        fact = f"no decoder for {syntax.name}"
        if syntax.type != "Transfer Syntax":
            fact = f"{named('TransferSyntaxUID')} is {quoted(syntax)}, which is not known"
        raise UnreadableElement(fact, "convert it to Explicit VR Little Endian")
    return decoder


def decoded_frames(elements: Elements, decoder: Decoder, frames: int) -> Iterator[Decoded]:
    """Decode the pixels of a file, one frame at a time.

    Parameters
    ----------
    elements : Elements
        The elements of a file with pixels.
    decoder : pydicom.pixels.Decoder
        The decoder for its transfer syntax.
    frames : int
        Number of frames that the file declares; any others are ignored.

    Yields
    ------
    pixels : ndarray
        [H, W] or [H, W, 3] as stored: YBR colours stay YBR, and unused bits are unchanged. Colour
        JPEG is [H, W], converted to luma and labelled so.
    properties : dict
        pydicom's description of the pixels after decoding.

    Raises
    ------
    Rejected
        A frame is missing, truncated or damaged, or needs gdcm, which is not installed.
    """
    dataset = elements.dataset
    colour_jpeg = decoder.UID in EIGHT_BIT_JPEG and elements.whole("SamplesPerPixel") == 3
    by_markers = colour_jpeg and elements.whole("BitsStored") == 8
    colour = elements.word("PhotometricInterpretation")
    if not by_markers and colour not in COLOURS:
        fact = f"{named('PhotometricInterpretation')} is {quoted(colour)}, which is not known"
        raise UnreadableElement(fact)
    if decoder.is_native:
        yield from _native_frames(elements, decoder, frames)
        return
    options = as_pixel_options(dataset, number_of_frames=1)
    # PlanarConfiguration describes pixels that are not compressed, and is often missing here. Plugins
    # decode to colours by pixel; pydicom's own of RLE says itself that it does not.
    options["planar_configuration"] = 0
    offsets = options.pop("extended_offsets", None)
    options["correct_unused_bits"] = False  # padding may lie there
    sources = generate_frames(dataset.PixelData, number_of_frames=frames, extended_offsets=offsets)
    for frame in range(frames):
        source = next(sources, None)
        if source is None:
            raise UnreadableElement(
                f"{named('NumberOfFrames')} is {frames}, but the file holds {counted(frame, 'frame')}"
            )
        if decoder.UID in FAMILIES:
            _check_frame(source, decoder.UID)
            _check_frame_size(elements, source, FAMILIES[decoder.UID])
        if by_markers:
            yield _luma_of_jpeg(elements, source), {"photometric_interpretation": LUMA}
            continue
        _machine.fault = None
        try:
            yield decoder.as_array(
                encapsulate([source], has_bot=False), index=0, raw=True, **options
            )
        except RuntimeError as error:
            if _machine.fault:
                raise _machine.fault from error
            # pydicom wraps the plugin's reason in its own text.
            reason = str(error).rpartition("scangan: ")[2]
            if reason == str(error):
                _check_segments(elements, source)
                raise Damaged("damaged RLE DICOM") from error
            raise Rejected(reason) from error


def _check_segments(elements: Elements, source: bytes) -> None:
    """Reject a frame of RLE with another number of segments than its file declares (PS3.5, G.5)."""
    found = int.from_bytes(source[:4], "little")
    samples, bits = elements.whole("SamplesPerPixel") or 1, elements.whole("BitsAllocated") or 0
    if 1 <= found <= MOST_SEGMENTS and found != samples * bits // 8:
        raise UnreadableElement(
            f"SamplesPerPixel {samples} and BitsAllocated {bits} need {samples * bits // 8} segments of "
            f"RLE, but the frame has {found}"
        )


def _native_frames(elements: Elements, decoder: Decoder, frames: int) -> Iterator[Decoded]:
    dataset = elements.dataset
    if elements.whole("BitsAllocated") == 1 and frames > 1:
        # PS3.5, 8.1.1: a frame may begin within a byte. `iter_array` supposes that none does.
        pixels, told = decoder.as_array(dataset, raw=True)
        yield from ((frame, told) for frame in pixels[:frames])
        return
    yield from decoder.iter_array(
        dataset, raw=True, allow_excess_frames=False, correct_unused_bits=False
    )


def _luma_of_jpeg(elements: Elements, source: bytes) -> npt.NDArray[np.uint8]:
    """Decode a colour JPEG to grey. Its markers determine the colour space, if they say anything.

    PhotometricInterpretation is wrong in many files: some writers give the colour space before
    compression. It is only used without markers and usual component ids.
    """
    told = elements.word("PhotometricInterpretation")
    is_rgb, why = jpeg_is_rgb(source)
    if is_rgb is None:
        is_rgb = told == "RGB"
        source = source[:2] + adobe_marker(not is_rgb) + source[2:]
    elif is_rgb != (told == "RGB"):
        colour = "RGB" if is_rgb else "YCbCr"
        elements.note(
            f"PhotometricInterpretation is {quoted(told)}, but the JPEG is {colour} ({why})"
        )
    return np.asarray(_decoded(source)[..., 0])


def is_available(syntax: str) -> bool:
    """Whether frames of this transfer syntax can be decoded, at least for most files."""
    return syntax in FAMILIES and (gdcm_process.is_installed() or pillow.is_available(syntax))


def decode_frame(source: bytes, runner: DecodeRunner) -> bytes:
    """Decode one frame of JPEG, JPEG-LS or JPEG 2000 as pydicom's plugins do."""
    family = FAMILIES[runner.transfer_syntax]
    by_gdcm = gdcm_process.is_installed()
    if not by_gdcm and not _pillow_can(runner):
        raise Rejected(_missing(family))
    try:
        if _pillow_can(runner):
            return pillow._decode_frame(source, runner)
    except Exception as error:
        if not by_gdcm:
            raise Damaged(f"damaged {family} DICOM") from error
    try:
        return gdcm_process.decode(source, runner)
    except gdcm_process.DecodingFailed as error:
        raise Damaged(f"damaged {family} DICOM") from error
    except (MachineFault, MemoryError) as error:
        _machine.fault = error
        raise


def _missing(family: str) -> str:
    return f'{family} DICOM; to read it: pip install "scangan[dicom]"'


def _pillow_can(runner: DecodeRunner) -> bool:
    syntax = runner.transfer_syntax
    if not pillow.is_available(syntax):
        return False
    if syntax in uid.JPEG2000TransferSyntaxes:
        precision = runner.get_option("j2k_precision", runner.bits_stored)
        return bool(precision <= (16 if runner.samples_per_pixel == 1 else 8))
    return syntax == uid.JPEGBaseline8Bit or runner.bits_stored == 8


def _check_frame(source: bytes, syntax: "UID") -> None:
    """Reject frames that a decoder would pad, guess or never finish."""
    family = FAMILIES[syntax]
    # The three standards share the end marker; padding may follow it.
    if not source.rstrip(b"\x00\xff").endswith(b"\xd9"):
        raise Damaged(f"truncated {family} DICOM: a frame without its end")
    if syntax == uid.JPEGBaseline8Bit:
        _decoded(source, min_factor=8)  # an eighth of the size saves time
    if source.startswith(JP2_SIGNATURE):
        at = len(JP2_SIGNATURE) + 4
        while at < len(source) and source[at + 4 : at + 8] != b"jp2c":
            length = int.from_bytes(source[at : at + 4], "big")
            if length < 8:  # with 0, pydicom 3.0.2 loops forever
                raise Damaged("damaged JPEG 2000 DICOM")
            at += length


def _check_frame_size(elements: Elements, source: bytes, family: str) -> None:
    """Reject a frame of another size than its file declares."""
    at = source.find(JPEG_2000_SIZE)
    if at >= 0:  # T.800, A.5.1
        right, bottom, left, top, _, _, _, _, components, depth = struct.unpack_from(
            ">8IHB", source.ljust(at + 43, b"\0"), at + 8
        )
        height, width, precision = bottom - top, right - left, depth % 128 + 1
    else:
        try:
            header = read_header(source)
        except Rejected as error:
            raise Damaged(f"damaged {family} DICOM") from error
        height, width = header.height, header.width
        components, precision = header.components, header.precision
        if not 2 <= precision <= DEEPEST:
            raise Damaged(f"damaged {family} DICOM")
    if not 0 < width <= LARGEST_SIDE or not 0 <= height <= LARGEST_SIDE:
        raise Damaged(f"damaged {family} DICOM")
    for keyword, least, what in (
        ("SamplesPerPixel", components, counted(components, "component")),
        ("BitsAllocated", precision, f"{precision} bits"),
    ):
        told = elements.whole(keyword) or 0
        if told < least or (told > least and keyword == "SamplesPerPixel"):
            raise UnreadableElement(f"{named(keyword)} is {told}, but the frame has {what}")
    rows, columns = elements.whole("Rows"), elements.whole("Columns")
    if (height, width) != (rows, columns) and height:  # else it is said at the end of the frame
        raise UnreadableElement(
            f"Rows and Columns say {columns}x{rows} pixels, but the frame has {width}x{height}"
        )


def _decoded(source: bytes, **options: int) -> npt.NDArray[np.uint8]:
    """Decode a JPEG to grey; libjpeg only warns about most damage, some of which is harmless."""

    def decode(data: bytes, _: object) -> npt.NDArray[np.uint8]:
        return np.asarray(simplejpeg.decode_jpeg(data, "GRAY", strict=True, **options))

    try:
        return decode_strictly(source, decode)
    except Rejected as error:
        raise Damaged("damaged JPEG DICOM") from error
