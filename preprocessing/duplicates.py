"""Near-duplicates: scans of the same image after re-encoding, resizing, shifting or windowing."""

import functools
import mmap
from collections.abc import Iterable
from typing import Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

# Thresholds were measured on scans prepared at 64 pixels. Of the 12.6 million pairs of 5,028 chest
# radiographs, none is above 0.81. The 73 pairs of 2,466 brain slices above 0.9 all looked like copies
# or neighbours in one head. Copies that were re-encoded (JPEG quality 25), resized, windowed again or
# rotated by a degree score above 0.9, and a limit of 10 differing bits loses few of them.
DISTANCE = 10  # of the 64 coarse bits
# Similar layouts (such as two chests) differ in the next higher frequencies. 128 more bits leave a
# ninth of those candidates, but every pair of real scans above 0.9 (at most 29 bits differ).
FINE_DISTANCE = 38
CORRELATION = 0.9
PARTNERS = 10
COMPARED = 200  # candidates per scan; if all layouts are similar, there may be thousands
# Among many scans, a kernel first compares candidates in 8 bits, in a fifth of the time. For the 3,819 pairs
# above 0.9 among 8,000 scans of a GAN, 2,161 brain slices, and 1,400 scans and their altered copies, it
# was off by at most 0.004.
MANY = 5000  # for fewer scans, it is not worth importing numba
MARGIN = 0.02
KEPT = 1 << 17  # scans whose detail is kept for the kernel: 512 MiB

SIDE = 64  # pixels; scans are compared at this size at most
FLAT = 0.5  # grey levels; a scan with weaker detail shows nothing to compare
READ_AT_ONCE = 1 << 25  # bytes of a memory-mapped dataset to keep in memory
AROUND = 1 << 21  # bytes that Linux may map around a touched page


class Pair(NamedTuple):
    """Two scans that show the same: their indices, `first` below `second`, and their similarity."""

    first: int
    second: int
    distance: int  # differing bits of their perceptual hashes
    correlation: float  # correlation of their detail, at most 1


class NearDuplicates(NamedTuple):
    """The pairs found, and the number of candidates not compared because a scan had too many."""

    pairs: list[Pair]
    left_off: int


class Leak(NamedTuple):
    """A near-duplicate that can leak between training and test data, and why."""

    pair: Pair
    across: Literal["classes", "subjects", "unknown subjects"]


@functools.cache
def _cosines() -> npt.NDArray[np.float64]:
    """Return rows 1 to 16 of the DCT-II of 32 values, as whole numbers.

    Sums of whole numbers below 2**53 are exact, so every processor computes the same bits.
    """
    rows, columns = np.arange(1, 17)[:, None], np.arange(32)
    return np.asarray(np.rint(1024 * np.cos(np.pi * rows * (2 * columns + 1) / 64)), np.float64)


@functools.cache
def _order() -> npt.NDArray[np.int64]:
    """Return the positions of the hash bits among the 16 x 16 frequencies."""
    at = np.arange(256).reshape(16, 16)
    blocks = at[:8, :8], at[:8, 8:], at[8:, :8]
    return np.concatenate([block.ravel() for block in blocks])


def perceptual_hash(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    """Hash a scan to 192 bits, so that similar images have similar hashes.

    Each bit says whether a coefficient of the discrete cosine transform of the scan at 32 x 32
    pixels is positive, for the lowest frequencies except the constant (Zauner 2010, "Implementation
    and benchmarking of perceptual image hash functions", section 3.2.1). Zauner compares with the
    median instead; the sign finds as many copies with a third fewer candidates.

    Parameters
    ----------
    image : ndarray
        uint8 [H, W].

    Returns
    -------
    ndarray
        uint64 [3]: the 8 x 8 lowest frequencies, then the next 8 along the columns, and along the
        rows. Zeros for a constant image.
    """
    small = cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float64)
    cosines = _cosines()
    positive = (cosines @ small @ cosines.T).ravel()[_order()] > 0
    return np.packbits(positive).view(">u8").astype(np.uint64)


def near_duplicates(
    images: npt.NDArray[np.uint8],
    hashes: npt.NDArray[np.uint64],
    natural: npt.NDArray[np.int64] | None = None,
    *,
    distance: int = DISTANCE,
    correlation: float = CORRELATION,
    partners: int = PARTNERS,
) -> NearDuplicates:
    """Find the scans that show the same image.

    Candidates are all pairs whose hashes differ in few bits. They are compared by the correlation of
    the detail that a blur removes, at the best shift of up to 1/32 of the side. (Plain correlation
    is high for any two heads on black.)

    Parameters
    ----------
    images : ndarray
        uint8 [N, H, W], possibly memory-mapped.
    hashes : ndarray
        uint64 [N, 3], the `perceptual_hash` of each.
    natural : ndarray, optional
        int64 [N]: scans with the same number are similar by nature (such as slices of one volume)
        and are not compared with each other. Those with a negative number are compared with all.
    distance : int
        Maximum number of differing bits among a candidate's coarse 64, 0 to 64.
    correlation : float
        Minimum correlation of near-duplicates, 0 to 1.
    partners : int
        Maximum number of near-duplicates to keep for one scan among those after it, nearest first.
        So 20,000 equal scans do not give 2e8 pairs, but a chain of pairs still connects them.

    Returns
    -------
    NearDuplicates
        The pairs in the order of their indices, and the number of candidates not compared.

    Notes
    -----
    At 16 pixels, too little detail is left: scans of two patients may match.

    Time grows with the square of N (3 s for 100,000 scans) and with the number of candidates
    (20 µs each, at most the nearest 200 per scan). Memory is needed for the pairs, about 10 bytes per
    scan, and half a GiB at most; little of a read-only memory map stays in memory.
    """
    compare = _Comparison(images)
    rough = _RoughComparison(compare, correlation - MARGIN) if len(images) >= MANY else None
    pairs: list[Pair] = []
    left_off = 0
    coarse, fine = np.ascontiguousarray(hashes[:, 0]), hashes[:, 1:]
    for first in range(len(hashes) - 1):
        if not hashes[first].any():  # constant
            continue
        distances = np.bitwise_count(coarse[first + 1 :] ^ coarse[first])
        near = np.flatnonzero(distances <= distance)
        finer = np.bitwise_count(fine[near + (first + 1)] ^ fine[first]).sum(1, np.int64)
        near = near[finer <= FINE_DISTANCE]
        if natural is not None and natural[first] >= 0:
            near = near[natural[near + (first + 1)] != natural[first]]
        found: list[Pair] = []
        near = near[np.argsort(distances[near], kind="stable")]
        alike = None if rough is None else rough(first, near[:COMPARED] + (first + 1))
        for done, at in enumerate(near.tolist()):
            if len(found) == partners or done == COMPARED:
                left_off += len(near) - done
                break
            if alike is not None and not alike[done]:
                continue
            second = first + 1 + at
            likeness = compare(first, second)
            if likeness >= correlation:
                found.append(Pair(first, second, int(distances[at]), likeness))
        pairs += sorted(found)
    return NearDuplicates(pairs, left_off)


class _Comparison:
    """Correlates the detail of two of the `images`; keeps that of the first for the next call."""

    def __init__(self, images: npt.NDArray[np.uint8]) -> None:
        self.images = images
        self.first, self.template = -1, np.empty(0, np.float32)
        self.flat = False
        self.read = 0

    def __call__(self, first: int, second: int) -> float:
        if first != self.first:
            detail = self.detail(first)
            self.first, self.flat = first, detail is None
            if detail is not None:
                shift = len(detail) // 32
                middle = slice(shift, len(detail) - shift)
                self.template = np.ascontiguousarray(detail[middle, middle])
        other = None if self.flat else self.detail(second)
        if other is None:
            return 0.0
        return float(cv2.matchTemplate(other, self.template, cv2.TM_CCOEFF_NORMED).max())

    def detail(self, index: int) -> npt.NDArray[np.float32] | None:
        """Return a scan, at most `SIDE` wide, minus its blurred version; None if nothing is left."""
        image = self.images[index]
        self._let_go(image.nbytes)
        side = min(SIDE, *image.shape)
        if image.shape != (side, side):
            image = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
        grey = np.asarray(image, np.float32)
        detail = grey - cv2.GaussianBlur(grey, (0, 0), 3 * side / 64)
        return None if cv2.norm(detail) < FLAT * side else detail

    def _let_go(self, size: int) -> None:
        """Release the pages read so far, which would otherwise count as memory of this process."""
        self.read += size + AROUND
        pages: object = self.images.base
        if self.read < READ_AT_ONCE or not isinstance(pages, mmap.mmap):
            return
        if hasattr(pages, "madvise") and not self.images.flags.writeable:
            pages.madvise(mmap.MADV_DONTNEED)
        self.read = 0


class _RoughComparison:
    """Tells which candidates may be near-duplicates, by their detail in 8 bits."""

    def __init__(self, exact: _Comparison, least: float) -> None:
        from scangan.preprocessing.kernels.likeness import likenesses

        self.likenesses, self.exact, self.least = likenesses, exact, least
        self.side = min(SIDE, *exact.images.shape[1:])
        slots = min(KEPT, len(exact.images))
        # The system only allocates the pages in use.
        self.kept = np.zeros((slots, self.side, self.side), np.int8)
        self.holds = np.full(slots, -1, np.int64)

    def __call__(self, first: int, others: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        if not len(others):
            return np.empty(0, bool)
        shift = self.side // 32
        middle = slice(shift, self.side - shift)
        template = self._detail(first)[middle, middle].astype(np.int16)
        template -= np.int16(np.rint(template.mean()))
        details = np.empty((len(others), self.side, self.side), np.int8)
        for number, other in enumerate(others.tolist()):
            details[number] = self._detail(other)
        return np.asarray(self.likenesses(template, details) >= self.least)

    def _detail(self, index: int) -> npt.NDArray[np.int8]:
        slot = index % len(self.holds)
        if self.holds[slot] != index:
            detail = self.exact.detail(index)
            self.holds[slot] = index
            self.kept[slot] = 0 if detail is None else np.rint(detail * (127 / abs(detail).max()))
        return np.asarray(self.kept[slot])


def leaks(
    pairs: Iterable[Pair], classes: npt.NDArray[np.int64], subjects: npt.NDArray[np.int64]
) -> list[Leak]:
    """Find the near-duplicates that are not of the same class and subject.

    Parameters
    ----------
    pairs : iterable of Pair
    classes, subjects : ndarray
        int64 [N], the class and subject of each scan; the subject is negative if unknown.
    """
    found = []
    for pair in pairs:
        one, two = subjects[[pair.first, pair.second]]
        if classes[pair.first] != classes[pair.second]:
            found.append(Leak(pair, "classes"))
        elif one < 0 or two < 0:
            found.append(Leak(pair, "unknown subjects"))
        elif one != two:
            found.append(Leak(pair, "subjects"))
    return found
