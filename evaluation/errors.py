"""The errors of this folder."""

from scangan.runtime.errors import ScanganError


class EvaluationError(ScanganError):
    """Scans cannot be scored as asked."""
