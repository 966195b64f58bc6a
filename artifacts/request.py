"""A request: which scans of which classes to make, from which latents, in which format."""

import dataclasses
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import pairwise

from scangan.artifacts.latents import LARGEST_INDEX, Draw
from scangan.core.errors import USAGE, GenerationError

FORMATS = ("png", "tar", "npz", "dicom")
SHARDED = ("tar", "npz")  # many scans per file
SHARD_SIZE = 1000


@dataclasses.dataclass(frozen=True)
class Span:
    """`count` scans of one class from index `start`, without those in `left_out`.

    Parameters
    ----------
    number : int or None
        Number of the class; None for a model without classes.
    start, count : int
        The indices: `start` to `start` + `count` - 1.
    left_out : tuple of int
        Indices that are not made, in increasing order.
    """

    number: int | None
    start: int
    count: int
    left_out: tuple[int, ...] = ()

    @property
    def indices(self) -> range:
        """The indices of the scans, also of those left out."""
        return range(self.start, self.start + self.count)

    @property
    def kept(self) -> int:
        """The number of scans to make."""
        return self.count - len(self.left_out)

    def without(self, indices: Iterable[int]) -> "Span":
        """Return the span without these indices; those outside it are ignored."""
        more = {index for index in indices if index in self.indices}
        return dataclasses.replace(self, left_out=tuple(sorted(more.union(self.left_out))))

    def runs(self) -> Iterator["Span"]:
        """Yield the scans to make as spans of consecutive indices."""
        start = self.start
        for stop in (*self.left_out, self.start + self.count):
            if stop > start:
                yield Span(self.number, start, stop - start)
            start = stop + 1

    def place(self, index: int) -> int | None:
        """Return how many scans to make come before that of an index; None if it is not made."""
        before = bisect_left(self.left_out, index)
        if index not in self.indices or self.left_out[before : before + 1] == (index,):
            return None
        return index - self.start - before


@dataclasses.dataclass(frozen=True)
class Part:
    """Part `i` of `n` of a request, counted from 0."""

    i: int = 0
    n: int = 1

    def __post_init__(self) -> None:
        if self.n < 1 or not 0 <= self.i < self.n:
            raise GenerationError(
                f"--shard {self.i}/{self.n} is out of range; it takes 0/{max(1, self.n)} to "
                f"{max(1, self.n) - 1}/{max(1, self.n)}",
                exit_code=USAGE,
            )

    @classmethod
    def parse(cls, text: str) -> "Part":
        """Parse ``i/n``.

        Raises
        ------
        GenerationError
            The text has another form, or i is out of range.
        """
        i, slash, n = text.partition("/")
        if not (slash and i.isdecimal() and n.isdecimal() and len(i + n) < 30):
            raise GenerationError(
                f"--shard {text} is not i/n; for the first of eight parts: --shard 0/8",
                exit_code=USAGE,
            )
        return cls(int(i), int(n))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """Scans to make, in a fixed order: class by class, and index by index in each class.

    A position counts scans in that order, from 0.

    Parameters
    ----------
    spans : tuple of Span
        The scans of each class; at least one of each is made.
    draw : Draw
        How to draw latents.
    format : {"png", "tar", "npz", "dicom"}
        One file per scan in a folder per class (png, dicom), or shards of many scans (tar for
        WebDataset, npz).
    shard_size : int
        Scans per shard, 1 or more.

    Raises
    ------
    GenerationError
        A value is out of range, or the format is unknown.
    """

    spans: tuple[Span, ...]
    draw: Draw = dataclasses.field(default_factory=Draw)
    format: str = "png"
    shard_size: int = SHARD_SIZE

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise GenerationError(
                f"--format {self.format} is unknown; choose from: {', '.join(FORMATS)}",
                exit_code=USAGE,
            )
        if self.shard_size < 1:
            raise GenerationError(
                f"--shard-size {self.shard_size} is out of range; it takes 1 or more",
                exit_code=USAGE,
            )
        for span in self.spans:
            if not 0 <= span.start <= LARGEST_INDEX:
                raise GenerationError(
                    f"--start {span.start} is out of range; it takes 0 to 2^63 - 1", exit_code=USAGE
                )
            if not 1 <= span.count <= LARGEST_INDEX:
                raise GenerationError(
                    f"--count {span.count} is out of range; it takes 1 to 2^63 - 1", exit_code=USAGE
                )
            if span.start + span.count - 1 > LARGEST_INDEX:
                raise GenerationError(
                    f"--start {span.start} and --count {span.count} go beyond index 2^63 - 1",
                    exit_code=USAGE,
                )
            out = span.left_out
            if any(a >= b for a, b in pairwise(out)) or not all(i in span.indices for i in out):
                raise GenerationError(
                    f"the scans left out must be in order, from {span.start} to {span.indices[-1]}"
                )
            if not span.kept:
                raise GenerationError(f"all {span.count} scans of class {span.number} are left out")

    @property
    def total(self) -> int:
        """The number of scans."""
        return sum(span.kept for span in self.spans)

    @property
    def unit(self) -> int:
        """The number of scans that share a file, which one part must make together."""
        return self.shard_size if self.format in SHARDED else 1

    def positions(self, part: Part) -> tuple[int, int]:
        """Return the first position of a part and the position after its last; parts never cut a file."""
        files = -(-self.total // self.unit)
        first, last = (files * k // part.n * self.unit for k in (part.i, part.i + 1))
        return min(first, self.total), min(last, self.total)

    def between(self, first: int, last: int, most: int) -> Iterator[Span]:
        """Yield the scans at positions `first` to `last` - 1, in spans of at most `most`."""
        before = 0
        for run in (run for span in self.spans for run in span.runs()):
            begin, end = max(first - before, 0), min(last - before, run.count)
            for start in range(begin, end, most):
                yield Span(run.number, run.start + start, min(most, end - start))
            before += run.count
