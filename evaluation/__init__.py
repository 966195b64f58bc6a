"""Real and synthetic scans to scores."""

from scangan.evaluation.errors import EvaluationError as EvaluationError

__all__ = ["EvaluationError"]
