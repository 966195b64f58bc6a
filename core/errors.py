"""Errors that a user can act on: one sentence says what happened, where, and what to do."""

from pathlib import Path

from scangan.core.printable import printable, quoted

LONGEST = 200  # characters of what another program says
FAILED, USAGE = 1, 2


class ScanganError(Exception):
    """Base class of all errors that scangan raises on purpose; the text is one line for the user.

    Parameters
    ----------
    message : str
        What is wrong, where, and what to do.
    exit_code : int
        Exit code of the command: `FAILED`, or `USAGE` if an option is out of range.
    """

    def __init__(self, message: str = "", *, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class PreprocessingError(ScanganError):
    """A source, an option or a prepared dataset cannot be used."""


class OtherDataset(PreprocessingError):
    """An existing dataset was prepared from other files or with other options.

    Parameters
    ----------
    out : Path
        Folder of the dataset.
    difference : str
        How it differs, worded to follow "was prepared".
    """

    def __init__(self, out: Path, difference: str) -> None:
        super().__init__(f"{out} was prepared {difference}; choose another OUT, or delete it")
        self.difference = difference


class EvaluationError(ScanganError):
    """Scans cannot be scored as requested."""


class TrainingError(ScanganError):
    """A run cannot be started, resumed or read as requested."""


class ExportError(ScanganError):
    """A run cannot be exported, or the exported model differs from the trained one."""


class GenerationError(ScanganError):
    """A model file cannot be used, or scans cannot be generated or written as requested."""


class StoreError(ScanganError):
    """An object store refuses, does not answer, or keeps other bytes than it was given."""


class FolderError(ScanganError):
    """A folder cannot be used as a folder of scans."""


class Rejected(ScanganError):
    """A file is refused; the text is the reason in ``rejects.jsonl``."""


class Damaged(Rejected):
    """A file whose bytes were changed or lost on the way.

    Parameters
    ----------
    what : str
        What is wrong: ``damaged PNG: a checksum is wrong``. The advice is always the same.
    """

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}; copy it again")
        self.what = what

    def __reduce__(self) -> tuple[type["Damaged"], tuple[str]]:
        """Pickle what is wrong: the advice is added again."""
        return type(self), (self.what,)


class Unreadable(Rejected):
    """A file's bytes cannot be read: the file is missing, or a disk or network failed."""


class MachineFault(OSError):
    """What the machine cannot do for a file that is not at fault, such as start a process."""


def first_line(error: BaseException) -> str:
    """Return the beginning of an error's first line, or its type if the text is empty."""
    text = printable((str(error).strip() or type(error).__name__).splitlines()[0])
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def fault_of(error: Exception) -> str:
    """Say in a few words, and not in those of Python, what is wrong with a file of ours."""
    if isinstance(error, KeyError) and error.args:
        return f"it lacks {quoted(error.args[0])}"
    if isinstance(error, TypeError | AttributeError):
        return "a value has the wrong type"
    if isinstance(error, UnicodeError):
        return "it is not UTF-8"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if type(error).__name__ == "JSONDecodeError":  # without importing json
        return "it is not JSON"
    return first_line(error)
