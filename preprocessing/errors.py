"""The errors of this folder."""

from scangan.runtime.errors import ScanganError


class PreprocessingError(ScanganError):
    """A source, an option or a prepared dataset cannot be used."""


class Rejected(PreprocessingError):
    """One file is refused; the text is the reason that goes to ``rejects.jsonl``."""


class Unreadable(Rejected):
    """The system does not give the file's bytes: it is not there, or a disk or a network failed."""
