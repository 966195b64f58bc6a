"""The errors of this folder."""

from scangan.runtime.errors import ScanganError


class ExportError(ScanganError):
    """A run cannot be exported, or what was exported is not what was trained."""
