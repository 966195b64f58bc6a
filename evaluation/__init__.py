"""Score synthetic scans against real ones."""

from scangan.core.errors import EvaluationError as EvaluationError

__all__ = ["EvaluationError"]
