"""Place a scan in the prepared square."""

from typing import NamedTuple

from scangan.preprocessing.options import PrepOptions
from scangan.preprocessing.reading.scan import Scan

SQUARE = 0.005


class Placement(NamedTuple):
    """How a scan becomes a square: crop it, resize it, paste it onto black.

    The rows and columns `source` of the scan are resized to `shape` and pasted at `corner`.
    """

    source: tuple[slice, slice]  # rows and columns of the scan to use
    shape: tuple[int, int]  # rows and columns after resizing, at most those of the square
    corner: tuple[int, int]  # where the first row and column go

    @property
    def enlarges(self) -> bool:
        """Whether the scan has fewer rows or columns than after resizing."""
        used = (part.stop - part.start for part in self.source)
        return any(pixels < given for pixels, given in zip(used, self.shape, strict=True))


def is_square(aspect: float) -> bool:
    """Whether a pixel with this height over width counts as square: the difference is below rounding."""
    return abs(aspect - 1) < SQUARE


def placement(
    height: int,
    width: int,
    options: PrepOptions,
    spacing: tuple[float, float] | None = None,
    aspect: float = 1.0,
) -> Placement:
    """Return how a scan of `height` x `width` pixels fills the square.

    Parameters
    ----------
    height, width : int
        Of the scan.
    options : PrepOptions
        Its `size`, `fit`, `pixel_spacing` and `ignore_spacing` are used.
    spacing : tuple of float, optional
        (row, column) spacing of the scan in millimetres; required if `options` sets a pixel spacing.
    aspect : float
        Height of a pixel over its width. If it is not 1, rows and columns are resized by different
        factors, so that circles stay circles.
    """
    size = options.size
    if options.pixel_spacing is not None and spacing is not None:
        scales = spacing[0] / options.pixel_spacing, spacing[1] / options.pixel_spacing
    elif options.fit == "stretch":
        scales = size / height, size / width
    else:
        tall = 1.0 if options.ignore_spacing or is_square(aspect) else aspect
        sides = (height * tall, float(width))  # in pixel widths
        scale = size / (max(sides) if options.fit == "pad" else min(sides))
        scales = tall * scale, scale
    rows, columns = (
        _along(length, size, scale) for length, scale in zip((height, width), scales, strict=True)
    )
    return Placement((rows[0], columns[0]), (rows[1], columns[1]), (rows[2], columns[2]))


def place_of(scan: Scan, options: PrepOptions) -> Placement:
    """Return how a scan fills the square."""
    height, width = scan.pixels.shape
    return placement(height, width, options, scan.spacing, scan.aspect)


def _along(length: int, size: int, scale: float) -> tuple[slice, int, int]:
    """Return, for one side, the pixels to use, their number after resizing, and where they go."""
    if round(length * scale) > size:
        used = max(1, round(size / scale))
        start = (length - used) // 2
        return slice(start, start + used), size, 0
    resized = max(1, round(length * scale))
    return slice(0, length), resized, (size - resized) // 2
