"""From the stored pixels of a DICOM frame to grey values and the window that shows them.

Sections are those of DICOM PS3.3, https://dicom.nema.org/medical/dicom/current/output/html/part03.html
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from scangan.preprocessing.errors import Rejected
from scangan.preprocessing.reading.scan import Scan

if TYPE_CHECKING:
    from pydicom import Dataset

Array = npt.NDArray[Any]


def scan_of(
    dataset: "Dataset", frame: int, stored: Array, properties: dict[str, Any], *, show: bool
) -> Scan:
    """Make the scan of one decoded frame, without its number, spacing and subject.

    Parameters
    ----------
    dataset : pydicom.Dataset
        Of the file.
    frame : int
        Number of the frame.
    stored : ndarray
        [H, W] or [H, W, 3] as decoded, raw: YBR is still YBR.
    properties : dict
        What pydicom says of `stored`.
    show : bool
        Apply a VOI LUT or a sigmoid; else give the values before it, without a window.

    Raises
    ------
    Rejected
        The pixels are of a kind that is not read, or a table contradicts its descriptor.
    """
    interpretation = properties["photometric_interpretation"]
    stored = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    with np.errstate(all="ignore"):
        if interpretation in ("MONOCHROME1", "MONOCHROME2") and stored.ndim == 2:
            return _monochrome(dataset, frame, stored, show)
        if interpretation == "PALETTE COLOR" and stored.ndim == 2:
            return _palette(dataset, stored)
        if interpretation == "RGB" and stored.ndim == 3:
            return _full_range(luma(stored), 2 ** properties["bits_stored"] - 1)
        if interpretation.startswith(("YBR_FULL", "YBR_ICT", "YBR_RCT")) and stored.ndim == 3:
            # Their Y is the luma of ITU-R BT.601 already (C.7.6.3.1.2).
            grey = np.ascontiguousarray(stored[..., 0])
            return _full_range(grey, 2 ** properties["bits_stored"] - 1)
    raise Rejected(f"PhotometricInterpretation {interpretation} is not read")


def luma(colour: Array) -> Array:
    """Luma (ITU-R BT.601) of [H, W, 3] unsigned RGB pixels, in their own type."""
    if colour.dtype in (np.uint8, np.uint16):
        return np.asarray(cv2.cvtColor(np.ascontiguousarray(colour), cv2.COLOR_RGB2GRAY))
    if colour.dtype != np.uint32:
        raise Rejected("colour of signed values")
    return np.asarray(np.rint(colour @ np.array([0.299, 0.587, 0.114])), np.uint32)


def macro(dataset: "Dataset", frame: int, name: str) -> "Dataset":
    """What holds for a frame (C.7.6.16): its own item, else the shared one, else the file."""
    for groups, item in (
        (dataset.get("PerFrameFunctionalGroupsSequence"), frame),
        (dataset.get("SharedFunctionalGroupsSequence"), 0),
    ):
        if groups and item < len(groups) and (found := groups[item].get(name)):
            return found[0]  # type: ignore[no-any-return]
    return dataset


def number(dataset: "Dataset", keyword: str) -> float | None:
    """The first value of an element; None where it is missing, empty or no finite number."""
    value = dataset.get(keyword)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        value = value[0] if value else None
    try:
        result = float(value)
    except (TypeError, ValueError):
        return None
    return result if math.isfinite(result) else None


def _full_range(pixels: Array, top: int) -> Scan:
    """A scan that goes from black to `top`, so that no window need be looked for."""
    if top == 255:
        return Scan(pixels.astype(np.uint8, copy=False))
    return Scan(pixels, window=(0.0, float(top)))


def _palette(dataset: "Dataset", stored: Array) -> Scan:
    descriptor = [int(value) for value in dataset.RedPaletteColorLookupTableDescriptor]
    entries, first, bits = descriptor[0] or 1 << 16, descriptor[1], descriptor[2]
    if "RedPaletteColorLookupTableData" in dataset:
        channels = [
            _table(dataset, dataset[f"{name}PaletteColorLookupTableData"].value, entries)
            for name in ("Red", "Green", "Blue")
        ]
        # C.7.6.3.1.6: the length of the data counts, whatever the descriptor says.
        bits = min(bits, 8 * channels[0].itemsize)
        colours = np.stack(channels, axis=-1)
    else:
        from pydicom.pixels.processing import apply_color_lut

        colours = apply_color_lut(np.arange(first, first + entries), dataset)[:, :3]
    table = luma(colours[None])[0]
    return _full_range(table[_index(stored, first, entries)], 2**bits - 1)


def _monochrome(dataset: "Dataset", frame: int, stored: Array, show: bool) -> Scan:
    inverted = dataset.PhotometricInterpretation == "MONOCHROME1"
    scan = Scan(_plain(stored, dataset.BitsAllocated), inverted=inverted)
    scan = _voi(dataset, frame, _modality(dataset, frame, scan), show)
    scan = _cover_padding(scan, _padding(dataset, stored))
    if scan.pixels.dtype == np.uint8 and scan.window is None:
        if dataset.BitsAllocated == 8 and dataset.BitsStored < 8:
            white = scan.intercept + scan.slope * (2**dataset.BitsStored - 1)
            black = scan.intercept
            return dataclasses.replace(scan, window=(min(black, white), max(black, white)))
        # Shown as stored, from the lowest physical value to the highest.
        return Scan(255 - scan.pixels if inverted != (scan.slope < 0) else scan.pixels)
    return scan


def _plain(stored: Array, bits_allocated: int) -> Array:
    """The stored pixels as one of the types that a `Scan` holds."""
    if bits_allocated == 1:
        return stored * np.uint8(255)
    if stored.dtype == np.int8:
        return stored.astype(np.int16)
    if stored.dtype.kind != "f":
        return stored
    finite = np.isfinite(stored)
    if not finite.any():
        raise Rejected("a frame without a finite value")
    largest = np.finfo(np.float32).max
    pixels = np.clip(stored, -largest, largest).astype(np.float32)
    pixels[~finite] = pixels[finite].min()
    return pixels


def _modality(dataset: "Dataset", frame: int, scan: Scan) -> Scan:
    """With slope and intercept, or after the Modality LUT, which excludes them (C.11.1)."""
    if items := dataset.get("ModalityLUTSequence"):
        pixels, _ = _look_up(dataset, items[0], scan.pixels)
        return dataclasses.replace(scan, pixels=pixels)
    transformation = macro(dataset, frame, "PixelValueTransformationSequence")
    slope, intercept = (number(transformation, f"Rescale{k}") for k in ("Slope", "Intercept"))
    if slope == 0:
        raise Rejected("RescaleSlope 0")
    return dataclasses.replace(
        scan, slope=1.0 if slope is None else slope, intercept=intercept or 0.0
    )


def _voi(dataset: "Dataset", frame: int, scan: Scan, show: bool) -> Scan:
    """With the window of the file, or as shown by its VOI LUT or sigmoid (C.11.2)."""
    voi = macro(dataset, frame, "FrameVOILUTSequence")
    center, width = number(voi, "WindowCenter"), number(voi, "WindowWidth")
    function = str(voi.get("VOILUTFunction") or "LINEAR").upper()
    if items := dataset.get("VOILUTSequence"):
        if show:
            values = scan.pixels * scan.slope + scan.intercept
            pixels, top = _look_up(dataset, items[0], values)
            return Scan(pixels, inverted=scan.inverted, window=(0.0, float(top)))
    elif center is None or width is None or width <= 0:
        return scan
    elif function == "SIGMOID":
        if show:
            # C.11.2.1.3.1
            from_center = scan.pixels * scan.slope + (scan.intercept - center)
            shown = 1 / (1 + np.exp(-4 * from_center / width))
            return Scan(shown.astype(np.float32), inverted=scan.inverted, window=(0.0, 1.0))
    elif function == "LINEAR_EXACT":
        return dataclasses.replace(scan, window=(center - width / 2, center + width / 2))
    elif width >= 1:
        # C.11.2.1.2.1. A width of 1 is a step, here a narrow ramp.
        half = max((width - 1) / 2, 2**-10)
        return dataclasses.replace(scan, window=(center - 0.5 - half, center - 0.5 + half))
    return scan


def _look_up(dataset: "Dataset", item: "Dataset", values: Array) -> tuple[Array, int]:
    """The values that a Modality or VOI LUT gives, and the highest that it could give.

    pydicom's `apply_voi` and `apply_modality_lut` index with the type of the entries or of the
    pixels, which is too narrow for 8-bit entries of 12-bit pixels, among others.
    """
    entries, first, bits = (int(value) for value in item.LUTDescriptor)
    entries = entries or 1 << 16
    if not 8 <= bits <= 16:
        raise Rejected(f"a LUT of {bits} bits")
    table = _table(dataset, item.LUTData, entries)
    if bits == 8:
        table = table.astype(np.uint8)
    return table[_index(values, first, entries)], 2**bits - 1


def _table(dataset: "Dataset", data: Any, entries: int) -> Array:
    """Entries of a look-up table, which may be bytes or numbers, 8 or 16 bits wide."""
    if isinstance(data, bytes):
        little = dataset.original_encoding[1]
        wide = len(data) >= 2 * entries
        table = np.frombuffer(data, ("<u2" if little else ">u2") if wide else "u1")
        table = table.astype(np.uint16 if wide else np.uint8)
    else:
        table = np.atleast_1d(np.asarray(data, np.uint16))
    if len(table) < entries:
        raise Rejected(f"a LUT of {len(table)} entries; its descriptor says {entries}")
    return table[:entries]


def _index(values: Array, first: int, entries: int) -> npt.NDArray[np.int32]:
    last = first + entries - 1
    return (np.clip(values.astype(np.float64), first, last) - first).astype(np.int32)


def _padding(dataset: "Dataset", stored: Array) -> npt.NDArray[np.bool_] | None:
    """Where there is padding (C.7.5.1.1.2), if there is and if not everywhere."""
    value = number(dataset, "PixelPaddingValue")
    if value is None or stored.dtype.kind == "f" or dataset.BitsAllocated == 1:
        return None
    limit = number(dataset, "PixelPaddingRangeLimit")
    # Its sign may be lost: -2000 is often written as 63536.
    ends = [int(v) % (1 << 8 * stored.itemsize) for v in (value, value if limit is None else limit)]
    low, high = np.sort(np.array(ends, np.uint64).astype(f"u{stored.itemsize}").view(stored.dtype))
    padding: npt.NDArray[np.bool_] = (stored >= low) & (stored <= high)
    return padding if padding.any() and not padding.all() else None


def _cover_padding(scan: Scan, padding: npt.NDArray[np.bool_] | None) -> Scan:
    """With padding as dark as the darkest of the other pixels."""
    if padding is None:
        return scan
    others = scan.pixels[~padding]
    low_is_bright = scan.inverted != (scan.slope < 0)
    pixels = scan.pixels.copy()
    pixels[padding] = others.max() if low_is_bright else others.min()
    return dataclasses.replace(scan, pixels=pixels)
