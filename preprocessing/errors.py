"""The errors of this folder."""

from scangan.runtime.errors import ScanganError


class PreprocessingError(ScanganError):
    """A source, an option or a prepared dataset cannot be used."""


class Rejected(PreprocessingError):
    """One file is refused; the text is the reason that goes to ``rejects.jsonl``."""
