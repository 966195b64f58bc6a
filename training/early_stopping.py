"""When a run ends before its time: it diverged, or nothing improves any more."""

import dataclasses
import math

DIVERGED, TICKS = 5.0, 3  # times the best score, in so many ticks one after the other


@dataclasses.dataclass
class EarlyStopping:
    """What a run remembers of its ticks; saved with it."""

    best_score: float = float("inf")
    best_kimg: float = 0.0
    bad_ticks: int = 0

    def note(self, score: float, kimg: float) -> bool:
        """Note a score (lower is better); whether it is the best."""
        improved = score < self.best_score
        if improved:
            self.best_score, self.best_kimg = score, kimg
        # Scores near zero are chance; a run that good does not diverge by wavering.
        far = not math.isfinite(score) or score > DIVERGED * max(self.best_score, 0.01)
        self.bad_ticks = self.bad_ticks + 1 if far else 0
        return improved

    def why_stop(self, kimg: float, patience: float) -> str | None:
        """Say why to end the run early; None to go on."""
        if self.bad_ticks >= TICKS:
            return f"{self.bad_ticks} scores one after the other were far worse than the best: it diverged"
        if patience and kimg - self.best_kimg >= patience:
            return (
                f"nothing improved for {kimg - self.best_kimg:.0f} kimg (--patience {patience:g})"
            )
        return None
