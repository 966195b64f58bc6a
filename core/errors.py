"""Errors that a user can act on: one sentence that says what, where and what to do."""

from pathlib import Path

FAILED, USAGE = 1, 2


class ScanganError(Exception):
    """Base of every error that scangan raises on purpose; its text is one line for the user.

    Parameters
    ----------
    message : str
        What is wrong, where, and what to do.
    exit_code : int
        What a command ends with: `FAILED`, or `USAGE` where an option is out of range.
    """

    def __init__(self, message: str = "", *, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


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


class EvaluationError(ScanganError):
    """Scans cannot be scored as asked."""


class TrainingError(ScanganError):
    """A run cannot be started, resumed or read as asked."""


class ExportError(ScanganError):
    """A run cannot be exported, or what was exported is not what was trained."""


class GenerationError(ScanganError):
    """A model file cannot be used, or scans cannot be generated or written as asked."""


class FolderError(ScanganError):
    """A folder cannot be read as a folder of scans."""


class Rejected(ScanganError):
    """One file is refused; the text is the reason that goes to ``rejects.jsonl``."""


class Unreadable(Rejected):
    """The system does not give the file's bytes: it is not there, or a disk or a network failed."""


def first_line(error: BaseException) -> str:
    """What an error says first; its kind, if it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
