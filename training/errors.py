"""The errors of this folder."""

from scangan.runtime.errors import ScanganError


class TrainingError(ScanganError):
    """A run cannot be started, resumed or read as asked."""
