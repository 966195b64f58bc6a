"""Convert the stored pixels of a DICOM frame to grey values and their window.

Sections are those of DICOM PS3.3, https://dicom.nema.org/medical/dicom/current/output/html/part03.html
"""

import dataclasses
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from scangan.core.errors import Rejected
from scangan.core.printable import quoted
from scangan.preprocessing.reading.dicom_elements import (
    CONVERT,
    CORRECT,
    Elements,
    UnreadableElement,
    named,
)
from scangan.preprocessing.reading.floats import to_float32
from scangan.preprocessing.reading.opencv import luma
from scangan.preprocessing.reading.scan import Scan

if TYPE_CHECKING:
    from pydicom import Dataset

Array = npt.NDArray[Any]
UNSUPPORTED = ("HSV", "ARGB", "CMYK", "YBR_PARTIAL_420", "YBR_PARTIAL_422")  # retired from DICOM
LUMA = "LUMA"  # not a DICOM interpretation; for colours already converted to luma
WITHOUT = "correct it, or choose another way: --window dataset, image or LO,HI"


def scan_of(
    elements: Elements, frame: int, stored: Array, properties: dict[str, Any], *, show: bool
) -> Scan:
    """Make the scan of a decoded frame, without its number, spacing and subject.

    Parameters
    ----------
    elements : Elements
        The elements of the file.
    frame : int
        Number of the frame.
    stored : ndarray
        [H, W] or [H, W, 3], from `decoded_frames`.
    properties : dict
        pydicom's description of `stored`.
    show : bool
        Apply a VOI LUT or a sigmoid; otherwise, keep the values before it, without a window.

    Raises
    ------
    Rejected
        The kind of pixels is not supported, a table contradicts its descriptor, or an element that
        changes the pixels cannot be read.
    """
    interpretation = properties["photometric_interpretation"]
    stored = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    if interpretation == LUMA:
        return Scan(stored)
    raw, stored = stored, without_unused_bits(elements.dataset, stored, properties)
    with np.errstate(all="ignore"):
        if interpretation in ("MONOCHROME1", "MONOCHROME2") and stored.ndim == 2:
            return _monochrome(elements, frame, raw, stored, show)
        if interpretation == "PALETTE COLOR" and stored.ndim == 2:
            return _palette(elements, stored)
        if interpretation == "RGB" and stored.ndim == 3:
            return _full_range(luma(stored), 2 ** properties["bits_stored"] - 1)
        if interpretation.startswith(("YBR_FULL", "YBR_ICT", "YBR_RCT")) and stored.ndim == 3:
            # Y is already the luma of ITU-R BT.601 (C.7.6.3.1.2).
            grey = np.ascontiguousarray(stored[..., 0])
            return _full_range(grey, 2 ** properties["bits_stored"] - 1)
    fact = f"{named('PhotometricInterpretation')} is {quoted(interpretation)}"
    if interpretation in UNSUPPORTED:
        raise UnreadableElement(f"{fact}, which is not supported", CONVERT)
    raise UnreadableElement(f"{fact}, but SamplesPerPixel is {3 if stored.ndim == 3 else 1}")


def without_unused_bits(dataset: "Dataset", stored: Array, properties: dict[str, Any]) -> Array:
    """Clear the bits beyond the stored ones, which may hold anything (PS3.5, 8.1.1).

    JPEG 2000 and JPEG-LS store no other bits, and pydicom has corrected their sign.
    """
    from pydicom.uid import JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes

    syntax = dataset.file_meta.get("TransferSyntaxUID")
    packed = syntax in JPEG2000TransferSyntaxes or syntax in JPEGLSTransferSyntaxes
    if packed or stored.dtype.kind == "f" or properties["bits_allocated"] == 1:
        return stored
    unused = 8 * stored.itemsize - properties["bits_stored"]
    if unused <= 0:
        return stored
    return np.asarray((stored << unused) >> unused, stored.dtype)


def _full_range(pixels: Array, top: int) -> Scan:
    """Make a scan with the window 0 to `top`, so that no other window is needed."""
    if top == 255:
        return Scan(pixels.astype(np.uint8, copy=False))
    return Scan(pixels, window=(0.0, float(top)))


def _palette(elements: Elements, stored: Array) -> Scan:
    dataset = elements.dataset
    entries, first, bits = _descriptor(elements, "RedPaletteColorLookupTableDescriptor", stored)
    if "RedPaletteColorLookupTableData" in dataset:
        names = [f"{name}PaletteColorLookupTableData" for name in ("Red", "Green", "Blue")]
        if missing := [name for name in names if name not in dataset]:
            raise Rejected(f"DICOM without {', '.join(missing)}; {CORRECT}")
        channels = [_table(dataset, dataset[name].value, entries) for name in names]
        # C.7.6.3.1.6: the length of the data is decisive, not the descriptor.
        bits = min(bits, 8 * channels[0].itemsize)
        colours = np.stack(channels, axis=-1)
    else:
        from pydicom.pixels.processing import apply_color_lut

        colours = apply_color_lut(np.arange(first, first + entries), dataset)[:, :3]
    table = luma(colours[None])[0]
    return _full_range(table[_index(stored, first, entries)], 2**bits - 1)


def _monochrome(elements: Elements, frame: int, raw: Array, stored: Array, show: bool) -> Scan:
    inverted = elements.word("PhotometricInterpretation") == "MONOCHROME1"
    allocated, bits = elements.whole("BitsAllocated"), elements.whole("BitsStored") or 0
    scan = Scan(_plain(stored, allocated or 0), inverted=inverted)
    scan = _voi(elements, frame, _modality(elements, frame, scan), show)
    scan = _cover_padding(scan, _padding(elements, raw, stored))
    if scan.pixels.dtype == np.uint8 and scan.window is None:
        if allocated == 8 and bits < 8 and not elements.items("ModalityLUTSequence"):
            white = scan.intercept + scan.slope * (2**bits - 1)
            black = scan.intercept
            return dataclasses.replace(scan, window=(min(black, white), max(black, white)))
        # Show as stored, from the lowest to the highest physical value.
        return Scan(255 - scan.pixels if inverted != (scan.slope < 0) else scan.pixels)
    return scan


def _plain(stored: Array, bits_allocated: int) -> Array:
    """Convert stored pixels to one of the types of a `Scan`."""
    if bits_allocated == 1:
        return stored * np.uint8(255)
    if stored.dtype == np.int8:
        return stored.astype(np.int16)
    if stored.dtype.kind != "f":
        return stored
    return to_float32(stored)


def _modality(elements: Elements, frame: int, scan: Scan) -> Scan:
    """Set slope and intercept, or apply the Modality LUT, which excludes them (C.11.1)."""
    if items := elements.items("ModalityLUTSequence"):
        pixels, _ = _look_up(elements, items[0], scan.pixels, CORRECT)
        return dataclasses.replace(scan, pixels=pixels)
    item = elements.macro(frame, "PixelValueTransformationSequence")
    names = ("RescaleSlope", "RescaleIntercept")
    both = [elements.numbers(name, item) for name in names]
    for name, found in zip(names, both, strict=True):
        if len(found) > 1:
            raise UnreadableElement(f"{named(name)} has {len(found)} numbers, not one")
    slope, intercept = (found[0] if found else None for found in both)
    holder = elements.dataset if item is None else item
    for name, value, other in zip(names, (slope, intercept), (intercept, slope), strict=True):
        if value is None and other is not None and name in holder:
            raise UnreadableElement(f"{named(name)} is empty, though the other of the pair is not")
    if slope == 0:
        raise UnreadableElement(f"{named('RescaleSlope')} is 0: every value would be the same")
    return dataclasses.replace(
        scan, slope=1.0 if slope is None else slope, intercept=intercept or 0.0
    )


def _voi(elements: Elements, frame: int, scan: Scan, show: bool) -> Scan:
    """Set the window of the file, or apply its VOI LUT or sigmoid (C.11.2)."""
    try:
        return _shown(elements, elements.macro(frame, "FrameVOILUTSequence"), scan, show)
    except UnreadableElement as reason:
        if show:
            raise
        elements.note(f"{reason.fact}; not needed with this --window")
        return scan


def _shown(elements: Elements, voi: "Dataset | None", scan: Scan, show: bool) -> Scan:
    center, width = (elements.number(f"Window{k}", voi, WITHOUT) for k in ("Center", "Width"))
    function = elements.word("VOILUTFunction", voi) or "LINEAR"
    if items := elements.items("VOILUTSequence", voi):
        if show:
            values = scan.pixels * scan.slope + scan.intercept
            pixels, top = _look_up(elements, items[0], values, WITHOUT)
            return Scan(pixels, inverted=scan.inverted, window=(0.0, float(top)))
    elif center is None or width is None:
        return scan
    elif width <= 0 or (width < 1 and function == "LINEAR"):  # C.11.2.1.2.1
        elements.note(f"{named('WindowWidth')} is {width:g}, which shows nothing; ignored")
    elif function == "SIGMOID":
        if show:
            # C.11.2.1.3.1
            from_center = scan.pixels * scan.slope + (scan.intercept - center)
            shown = 1 / (1 + np.exp(-4 * from_center / width))
            return Scan(shown.astype(np.float32), inverted=scan.inverted, window=(0.0, 1.0))
    elif function == "LINEAR_EXACT":
        return dataclasses.replace(scan, window=(center - width / 2, center + width / 2))
    elif function == "LINEAR":
        # C.11.2.1.2.1. A width of 1 is a step, here a narrow ramp.
        half = max((width - 1) / 2, 2**-10)
        return dataclasses.replace(scan, window=(center - 0.5 - half, center - 0.5 + half))
    else:
        raise UnreadableElement(
            f"{named('VOILUTFunction')} is {quoted(function)}, which is not known", WITHOUT
        )
    return scan


def _look_up(elements: Elements, item: "Dataset", values: Array, advice: str) -> tuple[Array, int]:
    """Apply a Modality or VOI LUT; return the values and the highest possible one.

    pydicom's `apply_voi` and `apply_modality_lut` index with the type of the entries or pixels. That
    is too narrow for 8-bit entries with 12-bit pixels, among others.
    """
    entries, first, bits = _descriptor(elements, "LUTDescriptor", values, item, advice)
    if not 8 <= bits <= 16:
        raise UnreadableElement(f"{named('LUTDescriptor')} says {bits} bits, not 8 to 16", advice)
    if "LUTData" not in item:
        raise UnreadableElement(f"a look-up table without {named('LUTData')}", advice)
    table = _table(elements.dataset, item.LUTData, entries, advice)
    if bits == 8:
        table = table.astype(np.uint8)
    return table[_index(values, first, entries)], 2**bits - 1


def _descriptor(
    elements: Elements,
    keyword: str,
    values: Array,
    item: "Dataset | None" = None,
    advice: str = CORRECT,
) -> tuple[int, int, int]:
    """Return a table's number of entries, first mapped value and bits per entry (C.11.1.1.1).

    The first mapped value has the sign of the values that are looked up, whatever the element's own
    representation says. So of both readings of its 16 bits, the one counts that covers more of `values`.
    """
    numbers = elements.numbers(keyword, item, advice)
    if len(numbers) != 3:
        raise UnreadableElement(f"{named(keyword)} has {len(numbers)} numbers, not three", advice)
    entries, told, bits = map(int, numbers)
    entries, least, most = entries % (1 << 16) or 1 << 16, float(values.min()), float(values.max())

    def covered(first: int) -> float:
        return min(most, first + entries - 1) - max(least, first)

    unsigned = told % (1 << 16)
    either = [told, unsigned, unsigned - (1 << 16)] if unsigned >> 15 else [told]
    return entries, max(either, key=covered), bits


def _table(dataset: "Dataset", data: Any, entries: int, advice: str = CORRECT) -> Array:
    """Return the entries of a look-up table, stored as bytes or numbers of 8 or 16 bits."""
    if isinstance(data, bytes):
        little = dataset.original_encoding[1]
        wide = len(data) >= 2 * entries
        table = np.frombuffer(data, ("<u2" if little else ">u2") if wide else "u1")
        table = table.astype(np.uint16 if wide else np.uint8)
    else:
        table = np.atleast_1d(np.asarray(data, np.uint16))
    if len(table) < entries:
        raise UnreadableElement(
            f"a look-up table has {len(table)} entries, but its descriptor says {entries}", advice
        )
    return table[:entries]


def _index(values: Array, first: int, entries: int) -> npt.NDArray[np.int32]:
    last = first + entries - 1
    return (np.clip(values.astype(np.float64), first, last) - first).astype(np.int32)


def _padding(elements: Elements, raw: Array, stored: Array) -> npt.NDArray[np.bool_] | None:
    """Return where the padding is (C.7.5.1.1.2); None if there is none or nothing else."""
    if stored.dtype.kind == "f":
        return _float_padding(elements, stored)
    value = elements.number("PixelPaddingValue")
    if value is None or elements.whole("BitsAllocated") == 1:
        return None
    limit = elements.number("PixelPaddingRangeLimit")
    ends = np.array([int(v) for v in (value, value if limit is None else limit)])
    if stored.itemsize == 2:
        # The sign may be lost: -2000 is often written as 63536.
        ends = (ends % (1 << 16)).astype(np.uint16).view(stored.dtype)
    elif stored.dtype == np.int32 and not ((stored >= min(ends)) & (stored <= max(ends))).any():
        ends = np.where(ends >> 15 == 1, ends - (1 << 16), ends)
    low, high = np.sort(ends)
    possible = np.iinfo(stored.dtype)
    if high < possible.min or possible.max < low:
        elements.note(f"{named('PixelPaddingValue')} is {value:g}, which no pixel can be")
        return None
    low, high = max(low, possible.min), min(high, possible.max)
    bits = elements.whole("BitsStored") or 8 * stored.itemsize
    signed = stored.dtype.kind == "i"
    least, most = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    beyond = not (least <= int(low) and int(high) <= most)
    # Old scanners mark padding with a value that only differs in the unused bits.
    found = raw if beyond else stored
    padding: npt.NDArray[np.bool_] = (found >= low) & (found <= high)
    if not padding.any() or padding.all():
        return None
    if beyond:
        elements.note(f"{named('PixelPaddingValue')} does not fit in the {bits} stored bits")
    return padding


def _float_padding(elements: Elements, stored: Array) -> npt.NDArray[np.bool_] | None:
    """Return where the padding of float pixels is (C.7.6.24, C.7.6.25)."""
    for name in ("FloatPixelPadding", "DoubleFloatPixelPadding"):
        if isinstance(told := elements.dataset.get(f"{name}Value"), float) and math.isnan(told):
            return None  # pixels that are not finite are taken care of anyway
        value, limit = (elements.number(name + end) for end in ("Value", "RangeLimit"))
        if value is not None:
            ends = [stored.dtype.type(v) for v in (value, value if limit is None else limit)]
            padding: npt.NDArray[np.bool_] = (stored >= min(ends)) & (stored <= max(ends))
            return padding if padding.any() and not padding.all() else None
    return None


def _cover_padding(scan: Scan, padding: npt.NDArray[np.bool_] | None) -> Scan:
    """Make padding as dark as the darkest other pixel."""
    if padding is None:
        return scan
    others = scan.pixels[~padding]
    low_is_bright = scan.inverted != (scan.slope < 0)
    pixels = scan.pixels.copy()
    pixels[padding] = others.max() if low_is_bright else others.min()
    return dataclasses.replace(scan, pixels=pixels)
