"""Early stopping: the run diverged, or nothing improves any more."""

import dataclasses
import math

DIVERGED, TICKS = 5.0, 3  # times the best score, for this many ticks in a row


@dataclasses.dataclass
class EarlyStopping:
    """The best score of a run so far, and how many ticks were far worse; saved in checkpoints."""

    best_score: float = float("inf")
    best_kimg: float = 0.0
    bad_ticks: int = 0

    def note(self, score: float, kimg: float) -> bool:
        """Record a score (lower is better) and return whether it is the best so far."""
        improved = score < self.best_score
        if improved:
            self.best_score, self.best_kimg = score, kimg
        # Scores near zero are noise; a run that good has not diverged because they vary.
        far = not math.isfinite(score) or score > DIVERGED * max(self.best_score, 0.01)
        self.bad_ticks = self.bad_ticks + 1 if far else 0
        return improved

    def why_stop(self, kimg: float, patience: float) -> str | None:
        """Return why to stop the run early, or None to go on."""
        if self.bad_ticks >= TICKS:
            return f"{self.bad_ticks} scores in a row were far worse than the best: it diverged"
        if patience and kimg - self.best_kimg >= patience:
            return (
                f"nothing improved for {kimg - self.best_kimg:.0f} kimg (--patience {patience:g})"
            )
        return None
