"""The files of a blind reader study: its key, and what a reader's page saves."""

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Literal, TypeVar

from scangan.artifacts.records import Record, parse_record
from scangan.core.errors import EvaluationError
from scangan.core.files import read_bytes
from scangan.core.printable import quoted
from scangan.core.versions import why_newer

FORMAT = 1
R = TypeVar("R", bound=Record)
Verdict = Literal["real", "synthetic", "unsure"]


class StudyScan(Record, frozen=True, rename={"class_name": "class"}):
    """One scan of a study, and the truth about it.

    Parameters
    ----------
    id : str
        A random number in hexadecimal, which says nothing about the scan.
    real : bool
        Whether it is real.
    class_name : str or None
        Its class; None for a model without classes.
    source : str
        ``file#frame`` of a real scan, or the index of a synthetic one.
    """

    id: str
    real: bool
    class_name: str | None
    source: str


class StudyKey(Record, frozen=True):
    """What ``scangan demo --study`` keeps for whoever runs the study.

    Parameters
    ----------
    format_version : int
        Version of this record.
    study : str
        A random number in hexadecimal, which the page has, too.
    model : str
        SHA-256 of the model file.
    name : str
        The model's name.
    seed : int
        Seed of the synthetic scans.
    scans : tuple of StudyScan
        In the order in which they are shown.
    """

    format_version: int
    study: str
    model: str
    name: str
    seed: int
    scans: tuple[StudyScan, ...]


class Answer(Record, frozen=True):
    """What a reader said of a scan, and after how many milliseconds."""

    id: str
    answer: Verdict
    ms: int


class StudyResult(Record, frozen=True):
    """What a reader's page saves.

    Parameters
    ----------
    format_version : int
        Version of this record.
    study : str
        Which study.
    reader : str
        The name that the reader typed.
    started : str
        When, ISO 8601.
    answers : tuple of Answer
        One for each scan, in their order.
    check : str
        SHA-256 of the others, which shows an edit. It proves nothing, as anyone can compute it again.
    """

    format_version: int
    study: str
    reader: str
    started: str
    answers: tuple[Answer, ...]
    check: str

    @property
    def computed_check(self) -> str:
        """What `check` must be."""
        lines = [self.study, self.reader, self.started]
        lines += [f"{each.id} {each.answer} {each.ms}" for each in self.answers]
        return hashlib.sha256("\n".join(lines).encode(errors="replace")).hexdigest()


def _parsed(kind: type[R], path: Path) -> R:
    data = read_bytes(path)
    newer = ""
    with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError):  # said below
        told = json.loads(data)
        if told["study"]:  # other files have a format_version too
            newer = why_newer(path, told["format_version"], FORMAT)
    if newer:
        raise EvaluationError(newer)
    return parse_record(kind, data)


def read_key(path: Path) -> StudyKey:
    """Read a study's key.

    Raises
    ------
    EvaluationError
        The file is not one.
    """
    try:
        return _parsed(StudyKey, path)
    except ValueError as error:
        raise EvaluationError(
            f"{path} is not the key of a study, which scangan demo --study writes: {error}"
        ) from error


def read_result(path: Path, key: StudyKey) -> StudyResult:
    """Read what a reader's page saved.

    Raises
    ------
    EvaluationError
        The file is not one, is of another study, or was edited.
    """
    try:
        found = _parsed(StudyResult, path)
    except ValueError as error:
        raise EvaluationError(
            f"{path} is not a reader's results, which the page of a study saves: {error}"
        ) from error
    if found.study != key.study:
        raise EvaluationError(
            f"{path} belongs to another study ({quoted(found.study)}; this key is for {key.study}); give "
            f"the key that was written beside its page"
        )
    shown = [scan.id for scan in key.scans]
    if found.check != found.computed_check or [each.id for each in found.answers] != shown:
        raise EvaluationError(f"{path} was edited or damaged; ask the reader for the saved file")
    return found
