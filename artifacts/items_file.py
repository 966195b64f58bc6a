"""``items.jsonl``: a line for each scan, read from the disk as needed, as there may be millions."""

import hashlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np
import numpy.typing as npt

from scangan.artifacts.dataset_records import Item
from scangan.core.errors import PreprocessingError
from scangan.core.files import naming, opened_lines
from scangan.core.printable import quoted

ITEMS = "items.jsonl"


class ItemsFile(Sequence[Item]):
    """The items of a prepared dataset, which are not kept in memory.

    Parameters
    ----------
    path : Path
        The file.
    parse : callable
        Turns a line into an item; raises `ValueError` if it is not one.

    Raises
    ------
    ValueError
        A line is not an item; the text says which line.
    OSError
        The file cannot be read.
    """

    def __init__(self, path: Path, parse: Callable[[bytes], Item]) -> None:
        self.path, self.parse = path, parse
        digest = hashlib.sha256()
        ends, numbers, kinds = array("q", [0]), array("q"), dict[str, int]()
        for number, line in enumerate(self._lines(), start=1):
            digest.update(line)
            ends.append(ends[-1] + len(line))
            try:
                name = parse(line).class_name
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from error
            numbers.append(kinds.setdefault(name, len(kinds)))
        self.sha256 = digest.hexdigest()
        self.ends = np.frombuffer(ends, np.int64)
        self._names, self._numbers = tuple(kinds), np.frombuffer(numbers, np.int64)

    def labels(self, classes: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return the label of each item: int64 [N], indices into `classes`.

        Raises
        ------
        ValueError
            An item has another class.
        """
        if others := {*self._names} - {*classes}:
            raise ValueError(f"an item has another class, {quoted(min(others))}")
        numbers = np.array([classes.index(name) for name in self._names], np.int64)
        return numbers[self._numbers]

    def _lines(self) -> Iterator[bytes]:
        with opened_lines(self.path) as lines:
            yield from lines

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.ends) - 1

    def __iter__(self) -> Iterator[Item]:
        """Read the items one after another.

        Raises
        ------
        PreprocessingError
            They are no longer what they were; told at the end, or where a line is no item.
        """
        digest = hashlib.sha256()
        changed = f"{self.path} was changed meanwhile; restore it, and run the same command again"
        for line in self._lines():
            digest.update(line)
            try:
                item = self.parse(line)
            except ValueError as error:
                raise PreprocessingError(changed) from error
            yield item
        if digest.hexdigest() != self.sha256:
            raise PreprocessingError(changed)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        """Read one item, or several."""
        with naming(self.path), self.path.open("rb") as file:
            found = []
            chosen = range(len(self))[index]
            for number in [chosen] if isinstance(chosen, int) else chosen:
                file.seek(self.ends[number])
                found.append(self.parse(file.read(self.ends[number + 1] - self.ends[number])))
        return found if isinstance(index, slice) else found[0]
