"""What `prep-scans` can be told."""

import dataclasses
from typing import Any, Literal, get_args

from scangan.preprocessing.errors import PreprocessingError
from scangan.runtime.errors import USAGE

Equalize = Literal["none", "global"]

SMALLEST, LARGEST = 16, 1024


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepOptions:
    """Options of a prepared dataset; stored in its ``dataset.json``.

    Parameters
    ----------
    size : int
        Side of the prepared square in pixels, 16 to 1024.
    equalize : {"none", "global"}
        Histogram equalisation before resizing: none, or over the whole scan.
    """

    size: int = 64
    equalize: Equalize = "none"

    def __post_init__(self) -> None:
        if not SMALLEST <= self.size <= LARGEST:
            raise PreprocessingError(
                f"--size {self.size} is out of range; it takes {SMALLEST} to {LARGEST}",
                exit_code=USAGE,
            )
        if self.equalize not in get_args(Equalize):
            known = ", ".join(get_args(Equalize))
            raise PreprocessingError(
                f"--equalize {self.equalize!r} is unknown; it takes {known}", exit_code=USAGE
            )

    def to_dict(self) -> dict[str, Any]:
        """The options as JSON values."""
        return dataclasses.asdict(self)
