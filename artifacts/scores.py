"""Scores of synthetic scans against real ones, as stored in runs and model cards."""

from collections.abc import Iterable

import numpy as np
from msgspec import field
from msgspec.structs import asdict

from scangan.artifacts.records import Record

NEAR_EQUAL = 0.01  # share of the pairs of real scans that count as near-equal
LOW_VARIETY = 0.5  # times the variety of the real class; below it, a class is collapsing


class Scores(Record, frozen=True, kw_only=True):
    """Scores of synthetic scans against real ones.

    Parameters
    ----------
    n : int
        Number of synthetic scans scored.
    kid : float
        Kernel inception distance, every class with the same weight; lower is better, 0 is best.
    class_kid : dict
        KID within each class.
    agreement : dict
        Share of each class's synthetic scans that the probe assigns to that class, 0 to 1; empty
        if there is only one class.
    variety : dict
        Mean pairwise feature distance within each class, relative to that of the real class.
    near_pairs : dict
        For each class, the share of pairs of synthetic scans that are nearer than 99% of the pairs of
        real ones; of real scans it is 0.01. Older runs have none.
    precision, recall : dict
        For each class, the share of synthetic scans that resemble a real one, and the share of real
        scans that a synthetic one resembles, 0 to 1 (`manifold.precision_recall`). Even real scans
        do not reach 1; `RealScores` has what they reach. Older runs have neither.
    mean_class_kid : float
        Mean KID within the classes. Unlike plain KID, it notices good scans of the wrong class. It
        is the KID version of the intra-FID of Miyato and Koyama 2018, and picks the checkpoint.
    mean_agreement, mean_precision, mean_recall : float or None
        Means over the classes; None if no class has a value.
    """

    n: int
    kid: float
    class_kid: dict[str, float]
    agreement: dict[str, float]
    variety: dict[str, float]
    near_pairs: dict[str, float] = field(default_factory=dict)
    precision: dict[str, float] = field(default_factory=dict)
    recall: dict[str, float] = field(default_factory=dict)
    mean_class_kid: float
    mean_agreement: float | None
    mean_precision: float | None = None
    mean_recall: float | None = None


class RealScores(Record, frozen=True, kw_only=True):
    """Scores of real scans, for comparison (`evaluation.metrics.RealReference`)."""

    real_kid: float
    mean_real_class_kid: float
    probe_accuracy: float | None
    real_precision: float | None = None
    real_recall: float | None = None


class KeptScores(Scores, frozen=True, kw_only=True):
    """Scores of the kept generator of a run, next to those of real scans (`RealScores`)."""

    real_kid: float | None = None
    mean_real_class_kid: float | None = None
    probe_accuracy: float | None = None
    real_precision: float | None = None
    real_recall: float | None = None

    @classmethod
    def of(cls, scores: Scores, real: RealScores) -> "KeptScores":
        """Combine both into one record."""
        return cls(**asdict(scores), **asdict(real))


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are not None; None if there are none."""
    found = [value for value in values if value is not None]
    return float(np.mean(found)) if found else None
