"""Suspects: synthetic scans that look like copies of training scans, a line each in ``suspects.jsonl``."""

from pathlib import Path

from scangan.artifacts.latents import LARGEST_INDEX
from scangan.artifacts.records import Record, parse_records
from scangan.artifacts.scan_folder import ScanRecord
from scangan.core.errors import GenerationError, fault_of
from scangan.core.files import read_bytes

SUSPECTS = "suspects.jsonl"


class Pair(Record, frozen=True, kw_only=True, rename={"class_name": "class"}):
    """A line of ``suspects.jsonl``: a synthetic scan and the training scan that it is most similar to.

    Parameters
    ----------
    synthetic : str
        Name of the synthetic scan in its set.
    class_name : str or None
        Its class; None in a set without classes.
    index : int
        Its position in its set, from 0.
    train : str
        Name of the training scan.
    train_index : int
        Its position among the training scans, from 0.
    similarity : float
        Correlation of their details at the best alignment, -1 to 1.
    distance : float
        Distance of their features, in standard deviations over the training scans.
    origin : ScanRecord or None
        The model, seed, class and index that make the synthetic scan again; None if its set does not
        say.
    """

    synthetic: str
    class_name: str | None
    index: int
    train: str
    train_index: int
    similarity: float
    distance: float
    origin: ScanRecord | None = None


def read_suspects(file: Path) -> tuple[Pair, ...]:
    """Read a ``suspects.jsonl``; it is empty if no scan was suspect.

    Raises
    ------
    GenerationError
        There is no such file, or a line is not a suspect.
    """
    give = f"give the {SUSPECTS} that eval-scans privacy wrote"
    if file.is_dir():
        inside = file / SUSPECTS
        raise GenerationError(
            f"{file} is a folder; " + (f"give {inside}" if inside.exists() else give)
        )
    try:
        suspects = tuple(parse_records(Pair, read_bytes(file)))
    except FileNotFoundError as error:
        raise GenerationError(f"{file} does not exist; {give}") from error
    except ValueError as error:
        raise GenerationError(
            f"{file} is not a list of suspects ({fault_of(error)}); {give}"
        ) from error
    for number, each in enumerate(suspects, start=1):
        if each.origin and not 0 <= each.origin.index <= LARGEST_INDEX:
            raise GenerationError(
                f"{file} is damaged (line {number}: index {each.origin.index}); run eval-scans "
                f"privacy again"
            )
    return suspects
