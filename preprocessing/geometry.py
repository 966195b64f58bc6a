"""Place a scan in the prepared square."""

from typing import NamedTuple

from scangan.preprocessing.options import PrepOptions
from scangan.preprocessing.reading.scan import Scan
from scangan.preprocessing.reading.wanted import Fit

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
    height: int, width: int, size: int, fit: Fit = "pad", aspect: float = 1.0
) -> Placement:
    """Return how a scan fills the square.

    Parameters
    ----------
    height, width : int
        Of the scan, in pixels.
    size : int
        Side of the square, in pixels.
    fit : {"pad", "crop", "stretch"}
        How to make the scan square.
    aspect : float
        Height of a pixel over its width. If it is not 1, rows and columns are resized by different
        factors, so that circles stay circles.
    """
    if fit == "stretch":
        return _scaled(height, width, size, (size / height, size / width))
    tall = 1.0 if is_square(aspect) else aspect
    sides = (height * tall, float(width))  # in pixel widths
    scale = size / (max(sides) if fit == "pad" else min(sides))
    return _scaled(height, width, size, (tall * scale, scale))


def place_of(scan: Scan, options: PrepOptions) -> Placement:
    """Return how a scan fills the square; it has a spacing if `options` sets one."""
    height, width = scan.pixels.shape
    if options.pixel_spacing is not None and scan.spacing is not None:
        row, column = scan.spacing
        scales = row / options.pixel_spacing, column / options.pixel_spacing
        return _scaled(height, width, options.size, scales)
    aspect = 1.0 if options.ignore_spacing else scan.aspect
    return placement(height, width, options.size, options.fit, aspect)


def _scaled(height: int, width: int, size: int, scales: tuple[float, float]) -> Placement:
    rows, columns = _along(height, size, scales[0]), _along(width, size, scales[1])
    return Placement((rows[0], columns[0]), (rows[1], columns[1]), (rows[2], columns[2]))


def _along(length: int, size: int, scale: float) -> tuple[slice, int, int]:
    """Return, for one side, the pixels to use, their number after resizing, and where they go."""
    if round(length * scale) > size:
        used = max(1, round(size / scale))
        start = (length - used) // 2
        return slice(start, start + used), size, 0
    resized = max(1, round(length * scale))
    return slice(0, length), resized, (size - resized) // 2
