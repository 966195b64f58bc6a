"""What is asked for: which scans of which classes, from which latents, in which files."""

import dataclasses
from collections.abc import Iterator

from scangan.artifacts.latents import LARGEST_INDEX, Draw
from scangan.core.errors import USAGE, GenerationError

FORMATS = ("png", "tar", "npz", "dicom")
SHARDED = ("tar", "npz")  # many scans a file
SHARD_SIZE = 1000


@dataclasses.dataclass(frozen=True)
class Span:
    """Scans of one class: `count` of them from index `start`; the class is None without classes."""

    number: int | None
    start: int
    count: int

    @property
    def indices(self) -> range:
        """Indices of the scans."""
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
        """Read ``i/n``."""
        i, slash, n = text.partition("/")
        if not (slash and i.isdecimal() and n.isdecimal() and len(i + n) < 30):
            raise GenerationError(
                f"--shard {text} is not a part; for the first of eight: --shard 0/8",
                exit_code=USAGE,
            )
        return cls(int(i), int(n))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """Scans to make. They stand in an order: class after class, index after index.

    Parameters
    ----------
    spans : tuple of Span
        Of each class.
    draw : Draw
        How latents are drawn.
    format : {"png", "tar", "npz", "dicom"}
        A file a scan, in a folder a class; or shards of many: WebDataset's tar, or npz.
    shard_size : int
        Scans a shard.
    """

    spans: tuple[Span, ...]
    draw: Draw = dataclasses.field(default_factory=Draw)
    format: str = "png"
    shard_size: int = SHARD_SIZE

    def __post_init__(self) -> None:
        if self.format not in FORMATS:
            raise GenerationError(
                f"--format {self.format} is unknown; there are: {', '.join(FORMATS)}",
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
        """Number of scans."""
        return sum(span.count for span in self.spans)

    @property
    def unit(self) -> int:
        """Scans that one part must make together."""
        return self.shard_size if self.format in SHARDED else 1

    def positions(self, part: Part) -> tuple[int, int]:
        """Where in the order a part begins and ends; no file is cut."""
        files = -(-self.total // self.unit)
        first, last = (files * k // part.n * self.unit for k in (part.i, part.i + 1))
        return min(first, self.total), min(last, self.total)

    def between(self, first: int, last: int, most: int) -> Iterator[Span]:
        """The scans from one position to before another, `most` of one class at a time."""
        before = 0
        for span in self.spans:
            begin, end = max(first - before, 0), min(last - before, span.count)
            for start in range(begin, end, most):
                yield Span(span.number, span.start + start, min(most, end - start))
            before += span.count
