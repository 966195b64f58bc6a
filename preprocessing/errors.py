"""The errors of this folder."""

from pathlib import Path

from scangan.core.errors import Rejected as Rejected
from scangan.core.errors import ScanganError
from scangan.core.errors import Unreadable as Unreadable


class PreprocessingError(ScanganError):
    """A source, an option or a prepared dataset cannot be used."""


class OtherDataset(PreprocessingError):
    """What was prepared before is not what is asked for now.

    Parameters
    ----------
    out : Path
        Where it lies.
    difference : str
        In words that follow "was prepared".
    """

    def __init__(self, out: Path, difference: str) -> None:
        super().__init__(f"{out} was prepared {difference}; choose another OUT, or delete it")
        self.difference = difference
