"""The errors of this folder, and those of all commands."""

from scangan.core.errors import FAILED as FAILED
from scangan.core.errors import USAGE as USAGE
from scangan.core.errors import ScanganError as ScanganError
from scangan.core.errors import first_line as first_line


class GenerationError(ScanganError):
    """A model file cannot be used, or scans cannot be generated or written as asked."""
