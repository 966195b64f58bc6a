"""Real and synthetic scans to scores."""

from scangan.core.errors import EvaluationError as EvaluationError

__all__ = ["EvaluationError"]
