"""A request: which scans of which classes to make, from which latents, in which format."""

import dataclasses
from collections.abc import Iterator

from scangan.artifacts.latents import LARGEST_INDEX, Draw
from scangan.core.errors import USAGE, GenerationError

FORMATS = ("png", "tar", "npz", "dicom")
SHARDED = ("tar", "npz")  # many scans per file
SHARD_SIZE = 1000


@dataclasses.dataclass(frozen=True)
class Span:
    """`count` scans of one class from index `start`; `number` is None for a model without classes."""

    number: int | None
    start: int
    count: int

    @property
    def indices(self) -> range:
        """The indices of the scans."""
        return range(self.start, self.start + self.count)


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
        The scans of each class.
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
            if not 1 <= span.count <= LARGEST_INDEX or span.start + span.count - 1 > LARGEST_INDEX:
                raise GenerationError(
                    f"--count {span.count} is out of range; it takes 1 or more", exit_code=USAGE
                )

    @property
    def total(self) -> int:
        """The number of scans."""
        return sum(span.count for span in self.spans)

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
        for span in self.spans:
            begin, end = max(first - before, 0), min(last - before, span.count)
            for start in range(begin, end, most):
                yield Span(span.number, span.start + start, min(most, end - start))
            before += span.count
