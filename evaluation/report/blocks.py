"""What a report consists of, whether it becomes HTML or Markdown."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of text.

    Parameters
    ----------
    caption : str
        What it shows.
    columns : tuple of str
        The heading of each column.
    rows : tuple of tuple of str
        The cells; the first one of a row names it.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    kind = "table"


@dataclasses.dataclass(frozen=True)
class Matrix:
    """A confusion matrix.

    Parameters
    ----------
    caption : str
        What rows and columns are.
    names : tuple of str
        The classes, of rows and columns alike.
    counts : tuple of tuple of float
        The number in each cell.
    """

    caption: str
    names: tuple[str, ...]
    counts: tuple[tuple[float, ...], ...]
    kind = "matrix"

    @property
    def rows(self) -> tuple[tuple[str, tuple[tuple[str, int], ...]], ...]:
        """Each row's name, and the text and share (in percent of the row) of its cells."""
        return tuple(
            (name, tuple((f"{n:.0f}", round(100 * n / (sum(row) or 1))) for n in row))
            for name, row in zip(self.names, self.counts, strict=True)
        )


@dataclasses.dataclass(frozen=True)
class Plot:
    """A plot.

    Parameters
    ----------
    name : str
        Name of its file, without a suffix.
    caption : str
        What it shows.
    alt : str
        The same in numbers, for readers who cannot see it.
    svg : str
        The drawing.
    """

    name: str
    caption: str
    alt: str
    svg: str
    kind = "plot"


@dataclasses.dataclass(frozen=True)
class Picture:
    """Scans, side by side in one picture.

    Parameters
    ----------
    caption : str
        What it shows.
    alt : str
        The same, for readers who cannot see it.
    png : bytes
        The picture.
    width : int
        Its width in pixels.
    height : int
        Its height in pixels.
    """

    caption: str
    alt: str
    png: bytes
    width: int
    height: int
    kind = "picture"


@dataclasses.dataclass(frozen=True)
class Verbatim:
    """Text to copy, such as BibTeX."""

    caption: str
    text: str
    kind = "verbatim"


Block = Table | Matrix | Plot | Picture | Verbatim


@dataclasses.dataclass(frozen=True)
class Section:
    """A heading, sentences, and what comes below them."""

    title: str
    text: tuple[str, ...] = ()
    blocks: tuple[Block, ...] = ()
