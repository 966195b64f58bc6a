"""Scores of synthetic scans against real ones, as runs and model cards keep them."""

from collections.abc import Iterable

import numpy as np
from msgspec import field
from msgspec.structs import asdict

from scangan.artifacts.records import Record

LOW_VARIETY = 0.5  # of the real class's: below it, a class has begun to collapse


class Scores(Record, frozen=True, kw_only=True):
    """Scores of synthetic scans against real ones.

    Parameters
    ----------
    n : int
        Number of synthetic scans scored.
    kid : float
        Kernel inception distance, every class weighing the same; lower is better, 0 at best.
    class_kid : dict
        KID inside each class.
    agreement : dict
        Share of each class's synthetic scans that the probe gives to that class, 0 to 1; empty for
        one class.
    variety : dict
        Mean pairwise feature distance inside each class, as a share of the real class's.
    precision, recall : dict
        Share of each class's synthetic scans that look like a real one, and of its real scans that
        the synthetic ones come near to, 0 to 1 (`manifold.precision_recall`). Real scans do not
        reach 1 either: `RealScores` says what they reach. Older runs have neither.
    mean_class_kid : float
        Mean KID inside the classes: sees pretty pictures of the wrong class, as plain KID does not.
        The kernel twin of the intra-FID of Miyato and Koyama 2018. It picks the checkpoint.
    mean_agreement, mean_precision, mean_recall : float or None
        Means over the classes; None where there is nothing to take one of.
    """

    n: int
    kid: float
    class_kid: dict[str, float]
    agreement: dict[str, float]
    variety: dict[str, float]
    precision: dict[str, float] = field(default_factory=dict)
    recall: dict[str, float] = field(default_factory=dict)
    mean_class_kid: float
    mean_agreement: float | None
    mean_precision: float | None = None
    mean_recall: float | None = None

    @property
    def lacking_variety(self) -> tuple[str, ...]:
        """Classes whose variety is below half of the real one's."""
        return tuple(name for name, share in self.variety.items() if share < LOW_VARIETY)


class RealScores(Record, frozen=True, kw_only=True):
    """What real scans score, to compare with (`evaluation.metrics.RealReference`)."""

    real_kid: float
    mean_real_class_kid: float
    probe_accuracy: float | None
    real_precision: float | None = None
    real_recall: float | None = None


class KeptScores(Scores, frozen=True, kw_only=True):
    """Scores of the kept generator of a run, and beside them those of real scans (`RealScores`)."""

    real_kid: float | None = None
    mean_real_class_kid: float | None = None
    probe_accuracy: float | None = None
    real_precision: float | None = None
    real_recall: float | None = None

    @classmethod
    def of(cls, scores: Scores, real: RealScores) -> "KeptScores":
        """Put both side by side."""
        return cls(**asdict(scores), **asdict(real))


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of what is there; None of nothing."""
    found = [value for value in values if value is not None]
    return float(np.mean(found)) if found else None
