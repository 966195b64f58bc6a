"""Decode the pages of TIFF files (TIFF 6.0, BigTIFF) to grey scans."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from scangan.core.errors import Damaged, Rejected
from scangan.preprocessing.reading.floats import to_float32
from scangan.preprocessing.reading.opencv import luma
from scangan.preprocessing.reading.raster import (
    Frames,
    check_size,
    over_black,
    pixel_aspect,
    turned_aspect,
    upright,
)
from scangan.preprocessing.reading.scan import Scan
from scangan.preprocessing.reading.tiff_data import Layout, packed_size, read_samples
from scangan.preprocessing.reading.tiff_tags import (
    ORIENTATION,
    X_RESOLUTION,
    Y_RESOLUTION,
    Directory,
    directories,
)
from scangan.preprocessing.reading.wanted import Wanted, several_chosen

SUBFILE, BITS, PHOTOMETRIC, SAMPLES, COLOURS = 254, 258, 262, 277, 320
EXTRA, FORMAT, DEPTH, FILL_ORDER = 338, 339, 32_997, 266
REDUCED_OR_MASK = 0b101  # SUBFILE: a smaller copy of another page, or its mask
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR = 0, 1, 2, 3, 6
PHOTOMETRICS = {4: "mask", 5: "CMYK", 8: "CIELAB", 9: "CIELAB", 10: "CIELAB", 32_803: "sensor"}
ASSOCIATED, UNASSOCIATED = 1, 2  # EXTRA: alpha is premultiplied, or not
INTEGER, SIGNED, FLOAT = "u", "i", "f"
FORMATS = {1: INTEGER, 2: SIGNED, 3: FLOAT, 4: INTEGER}
DTYPES = {
    **{(INTEGER, bits): np.uint8 for bits in (1, 2, 4, 8)},
    (INTEGER, 16): np.uint16,
    (INTEGER, 32): np.uint32,
    (SIGNED, 8): np.int8,
    (SIGNED, 16): np.int16,
    (SIGNED, 32): np.int32,
    (FLOAT, 16): np.float16,
    (FLOAT, 32): np.float32,
    (FLOAT, 64): np.float64,
}


class Page(NamedTuple):
    """The meaning of the values of a page."""

    layout: Layout
    photometric: int
    alpha: int  # ASSOCIATED, UNASSOCIATED, or 0 without alpha
    orientation: int


def read_tiff(data: bytes, wanted: Wanted, *_: object) -> Frames:
    """Decode every page of a TIFF to a grey scan at its own depth; a bad page only rejects itself.

    Supports grey of 1 to 32 bits, floats of 16 to 64 bits (as float32), and RGB and palettes (as
    luma); alpha is blended with black. Pages may be uncompressed, PackBits, LZW, Deflate or JPEG, in
    strips or tiles.

    Raises
    ------
    Rejected
        The chain of pages is broken, there are no pages, or ``--slices`` takes none of several.
    """
    pages = packed = 0
    for frame, directory in _pages(data, wanted.slices):
        pages += 1
        try:
            packed += packed_size(directory)
            if packed > len(data):  # a few bytes could serve as any number of pages
                raise Damaged("truncated TIFF: its pages hold more data than the file")
            yield frame, _scan(directory)
        except Rejected as reason:
            yield frame, reason
    if not pages:
        raise Damaged("damaged TIFF: no pages")


def _pages(data: bytes, slices: str | None) -> Iterable[tuple[int, Directory]]:
    """Find the pages that are wanted, by their number in the file, without thumbnails and masks."""
    pages = (
        (frame, directory)
        for frame, directory in enumerate(directories(data))
        if not directory.integer(SUBFILE, 0) & REDUCED_OR_MASK
    )
    if slices is None:
        return pages  # read one by one, as a file may have many
    every = list(pages)
    chosen = several_chosen(slices, len(every), "page")
    return every[chosen.start : chosen.stop]


def _scan(directory: Directory) -> Scan:
    page = _page(directory)
    grey = upright(_grey(page, directory, read_samples(directory, page.layout)), page.orientation)
    white = page.photometric == WHITE_IS_ZERO
    densities = directory.ratio(X_RESOLUTION), directory.ratio(Y_RESOLUTION)
    aspect = turned_aspect(pixel_aspect(*densities), page.orientation)
    if grey.dtype == np.uint8 and white:
        return Scan(255 - grey, aspect=aspect)
    return Scan(grey, inverted=white, aspect=aspect)


def _page(directory: Directory) -> Page:
    """Check that the kind of page is supported; reject it by name otherwise."""
    width, height = directory.integer(256, 0), directory.integer(257, 0)
    check_size(height, width)
    samples = directory.integer(SAMPLES, 1)
    bits, kinds = directory.integers(BITS), directory.integers(FORMAT)
    photometric = directory.integer(PHOTOMETRIC, -1)
    if len(set(bits.tolist())) > 1 or len(set(kinds.tolist())) > 1:
        raise Rejected("TIFF of channels that differ in depth; save it as grey")
    depth, kind = directory.integer(BITS, 1), FORMATS.get(directory.integer(FORMAT, 1), "")
    if (kind, depth) not in DTYPES:
        names = {INTEGER: "", SIGNED: "signed ", FLOAT: "float "}
        raise Rejected(
            f"{names.get(kind, 'complex ')}{depth}-bit TIFF; save it with 8, 16 or 32 bits"
        )
    if directory.integer(DEPTH, 1) != 1:
        raise Rejected("TIFF of volumes; save its slices as pages")
    if directory.integer(FILL_ORDER, 1) != 1:
        raise Rejected("TIFF with its bits in reverse order; save it with the usual bit order")
    if photometric not in (WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, YCBCR):
        raise Rejected(f"{PHOTOMETRICS.get(photometric, 'unknown')} TIFF; save it as grey or RGB")
    extra = directory.integers(EXTRA).tolist()
    colours = 3 if photometric in (RGB, YCBCR) else 1
    alpha = extra[0] if extra and extra[0] in (ASSOCIATED, UNASSOCIATED) else 0
    if not colours <= samples <= colours + (1 if alpha or colours == 3 else 0):
        raise Rejected(f"TIFF of {samples} channels; save it as grey or RGB")
    dtype = np.dtype(DTYPES[kind, depth])
    if samples > 1 and (depth < 8 or dtype not in (np.uint8, np.uint16, np.float32)):
        raise Rejected(f"colour TIFF of {kind}{depth}; save it as grey")
    if alpha and kind == FLOAT:
        raise Rejected("float TIFF with alpha; save it without")
    layout = Layout(height, width, samples, depth, dtype, photometric == YCBCR)
    return Page(layout, photometric, alpha, directory.integer(ORIENTATION, 1))


def _grey(page: Page, directory: Directory, samples: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Convert [H, W, C] as stored to grey [H, W]."""
    if page.photometric == PALETTE:
        grey = _through_palette(directory, page.layout.bits, samples[..., 0])
    elif samples.shape[2] > 2:
        grey = luma(samples[..., :3])
    else:
        grey = samples[..., 0]
    if page.layout.bits < 8 and page.photometric != PALETTE:
        grey = grey * np.uint8(255 // ((1 << page.layout.bits) - 1))
    if page.alpha == UNASSOCIATED:
        turned = page.photometric == WHITE_IS_ZERO  # black is the highest value
        grey = over_black(~grey if turned else grey, samples[..., -1])
        grey = ~grey if turned else grey
    if grey.dtype == np.int8:
        return grey.astype(np.int16)
    return to_float32(grey) if grey.dtype.kind == "f" else grey


def _through_palette(
    directory: Directory, bits: int, indices: npt.NDArray[Any]
) -> npt.NDArray[np.uint8]:
    colours = directory.integers(COLOURS)
    if bits > 8 or len(colours) != 3 << bits:
        raise Damaged("damaged TIFF: its palette does not fit")
    # Colours have 16 bits: 8 bits times 257 or 256. Some writers only fill the lower 8.
    scale = 256 if colours.max() > 255 else 1
    rgb = (colours.reshape(3, -1).T // scale).astype(np.uint8)
    return np.asarray(luma(rgb[None])[0][indices])
