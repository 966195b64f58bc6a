"""The errors of this folder."""

from scangan.core.errors import Rejected as Rejected
from scangan.core.errors import ScanganError


class PreprocessingError(ScanganError):
    """A source, an option or a prepared dataset cannot be used."""
