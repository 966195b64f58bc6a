"""The directories of a TIFF file and their tags (TIFF 6.0, BigTIFF)."""

import math
import struct
from collections.abc import Iterator
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from scangan.core.errors import Damaged, Rejected

Order: TypeAlias = Literal["<", ">"]  # byte order in the notation of numpy and struct

ORIENTATION, X_RESOLUTION, Y_RESOLUTION = 274, 282, 283
RATIONAL = 5
MOST_PAGES = 65_535
_INTEGERS = {1: "u1", 3: "u2", 4: "u4", 6: "i1", 8: "i2", 9: "i4", 13: "u4", 16: "u8", 18: "u8"}
_BYTES = {1: 1, 2: 1, 6: 1, 7: 1}
# Writers use all of these for resolutions, which should be fractions.
_NUMBERS = {RATIONAL: "II", 10: "ii", 11: "f", 12: "d", 3: "H", 4: "I"}
_WIDTHS = {**_BYTES, RATIONAL: 8, 10: 8, 11: 4, 12: 8}


class Directory:
    """The tags of one page, by number."""

    def __init__(self, data: bytes, order: Order, tags: dict[int, tuple[int, int, int]]) -> None:
        self.data = data
        self.order = order
        self._tags = tags  # number to (type, count, position of the values)

    def __contains__(self, tag: int) -> bool:
        return tag in self._tags

    def integers(self, tag: int) -> npt.NDArray[np.int64]:
        """Return all values of a tag; none if it is absent. Rejects tags that are not integers."""
        if tag not in self._tags:
            return np.zeros(0, np.int64)
        kind, count, at = self._tags[tag]
        if kind not in _INTEGERS:
            raise Damaged(f"damaged TIFF: tag {tag} is not an integer")
        dtype = np.dtype(self.order + _INTEGERS[kind])
        if at + count * dtype.itemsize > len(self.data):
            raise Damaged("truncated TIFF: a tag lies outside of the file")
        return np.frombuffer(self.data, dtype, count, at).astype(np.int64)

    def integer(self, tag: int, default: int) -> int:
        """Return the first value of a tag, or `default`."""
        values = self.integers(tag)
        return int(values[0]) if len(values) else default

    def ratio(self, tag: int) -> float:
        """Return the first value of a tag of numbers, such as a fraction; 0 if it has none."""
        kind, count, at = self._tags.get(tag, (0, 0, 0))
        form = self.order + _NUMBERS.get(kind, "")
        if count < 1 or at + struct.calcsize(form) > len(self.data):
            return 0.0
        above, below = (*struct.unpack_from(form, self.data, at), 1, 1)[:2]
        value = float(above) / below if below else 0.0
        return value if kind in _NUMBERS and math.isfinite(value) else 0.0

    def raw(self, tag: int) -> bytes:
        """Return the bytes of a tag of bytes; empty if it is absent."""
        kind, count, at = self._tags.get(tag, (7, 0, 0))
        if kind not in _BYTES or at + count > len(self.data):
            raise Damaged(f"damaged TIFF: tag {tag}")
        return self.data[at : at + count]


def directories(data: bytes) -> Iterator[Directory]:
    """Follow the chain of pages; raise `Rejected` if it leaves the file or is circular."""
    order: Order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    counts, pointers = (order + "Q", order + "Q") if big else (order + "H", order + "I")
    entry = order + ("HHQ8s" if big else "HHI4s")
    seen: set[int] = set()
    link = 8 if big else 4
    try:
        while at := struct.unpack_from(pointers, data, link)[0]:
            if at in seen:
                raise Damaged("damaged TIFF: its list of pages is circular")
            if len(seen) == MOST_PAGES:
                raise Rejected(f"TIFF of over {MOST_PAGES} pages; split it")
            seen.add(at)
            count = struct.unpack_from(counts, data, at)[0]
            start = at + struct.calcsize(counts)
            link = start + count * struct.calcsize(entry)
            if link > len(data):
                raise Damaged("truncated TIFF: a page lies outside of the file")
            yield Directory(data, order, _tags(data, start, link, entry, pointers))
    except (struct.error, OverflowError) as error:
        raise Damaged("truncated TIFF: a page lies outside of the file") from error


def orientation(exif: bytes) -> int:
    """Read the orientation of an image, 1 to 8, from Exif data (a small TIFF file).

    Damaged Exif data are ignored, as in every viewer.
    """
    try:
        value = next(directories(exif)).integer(ORIENTATION, 1)
    except (Rejected, StopIteration):
        return 1
    return value if 1 <= value <= 8 else 1


def _tags(
    data: bytes, start: int, end: int, entry: str, pointers: str
) -> dict[int, tuple[int, int, int]]:
    tags: dict[int, tuple[int, int, int]] = {}
    size, inline = struct.calcsize(entry), struct.calcsize(pointers)
    entries = struct.iter_unpack(entry, memoryview(data)[start:end])
    for number, (tag, kind, count, value) in enumerate(entries):
        width = np.dtype(_INTEGERS[kind]).itemsize if kind in _INTEGERS else _WIDTHS.get(kind, 9)
        at = start + number * size + size - inline
        if count * width > inline:  # the field holds the position of the values
            at = struct.unpack(pointers, value)[0]
        tags.setdefault(tag, (kind, count, at))
    return tags
