"""Ticks of a run, written short: as changeable dictionaries, which become records when they are used."""

from scangan.artifacts.records import to_record
from scangan.artifacts.run_records import Tick
from scangan.artifacts.scores import RealScores

NOTHING = {
    "step": 1, "kimg": 1.0, "loss_d": 0.0, "loss_g": 0.0, "loss_class": 0.0, "augment_p": 1.0,
    "images_per_second": 1.0,
}  # fmt: skip
NO_SCORES = {
    "n": 1, "kid": 0.0, "class_kid": {}, "agreement": {}, "variety": {}, "mean_class_kid": 0.0,
    "mean_agreement": None,
}  # fmt: skip
NO_REAL = {"real_kid": 0.0, "mean_real_class_kid": 0.0, "probe_accuracy": None}


def tick(line):
    """One line of ``metrics.jsonl``; what it leaves out is nothing."""
    scores = {kind: NO_SCORES | line.get(kind, {}) for kind in ("raw", "ema")}
    return to_record(Tick, NOTHING | line | scores)


def ticks(lines):
    """Several of them."""
    return list(map(tick, lines))


def real_scores(told):
    """What real scans score; what it leaves out is nothing."""
    return to_record(RealScores, NO_REAL | told)
