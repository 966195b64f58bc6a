"""Describe the progress of a run in plain words."""

from collections.abc import Sequence

from scangan.artifacts.run_records import Tick
from scangan.artifacts.scores import LOW_VARIETY, RealScores, Scores

MUCH_WORSE = 2.0  # times the best KID; a healthy run's ticks stay within 1.3 times
TELLABLE = 0.01  # KID; smaller differences are noise with a hundred scans per class
ROUGH = 0.5  # times the KID of the first tick, whose scans are close to noise
RECOVERED = (
    0.6  # variety; above LOW_VARIETY, so that a class close to that does not warn at every tick
)
LEARNT_BY = 8  # ticks after which to warn of a class that never had variety

LEGEND = (
    "KID: distance from real scans, lower is better; class agreement: share that a classifier puts "
    "into the right class; variety: of the least varied class, 1 as in real scans"
)


def best_so_far(lines: Sequence[Tick]) -> tuple[Tick, Scores] | None:
    """Find the tick of the best generator so far.

    Parameters
    ----------
    lines : sequence of Tick
        Lines of ``metrics.jsonl``, in order.

    Returns
    -------
    (Tick, Scores) or None
        The line of that tick, and the scores of its generator; None if there is none yet.
    """
    for line in reversed(lines):
        if line.kept is not None:
            return line, line.kept
    return None


def describe(lines: Sequence[Tick], real_scores: RealScores) -> str:
    """Describe the last tick in columns that line up from tick to tick.

    The numbers are the mean KID within classes, the mean class agreement and the lowest variety of
    the better of the tick's two generators, which is the one that may be saved.

    Parameters
    ----------
    lines : sequence of Tick
        Lines of ``metrics.jsonl`` from the start of the run; at least one.
    real_scores : RealScores
        Scores of real scans.

    Returns
    -------
    str
        One line of about 110 characters, without class names.
    """
    line = lines[-1]
    scores, found = line.better, best_so_far(lines)
    if found is None or found[0] is line:
        # The estimate is unbiased and can be negative, which would only confuse here.
        against = f"(real {_thousandfold(max(real_scores.mean_real_class_kid, 0.0))})"
    else:
        against = f"(best {_thousandfold(found[1].mean_class_kid)})"
    kid = scores.mean_class_kid
    parts = [
        f"{line.kimg:7.1f} kimg",
        f"{_verdict(lines, kid, real_scores.mean_real_class_kid):<23}",
        f"KID x1000 {_thousandfold(kid):>4} {against:<11}",
    ]
    if scores.mean_agreement is not None:
        probe = real_scores.probe_accuracy
        real = "" if probe is None else f" (real {probe:.0%})"
        parts.append(f"class agreement {scores.mean_agreement:4.0%}{real}")
    parts.append(f"variety {min(scores.variety.values()):.2f}")
    return "  ".join(parts)


def _verdict(lines: Sequence[Tick], kid: float, real_kid: float) -> str:
    if len(lines) == 1:
        return "first scores"
    found = best_so_far(lines)
    if found is None:  # all scores were NaN
        return "no best yet"
    line, kept = found
    if line is lines[-1]:
        rough = kid > ROUGH * lines[0].better.mean_class_kid
        return "best, but still rough" if rough else "best so far"
    if kid > MUCH_WORSE * max(kept.mean_class_kid, real_kid, TELLABLE):
        return "much worse: diverging?"
    since = lines[-1].kimg - line.kimg
    return f"no better for {since:.{0 if since >= 1 else 1}f} kimg"


def variety_warning(lines: Sequence[Tick], classes_warned: set[str]) -> list[str]:
    """Warn of classes whose synthetic scans have become too similar.

    A class is reported when the variety of its EMA scans falls below half of that of real scans, and
    not again until it has recovered. It must have had that variety at an earlier tick other than the
    first, whose noise can look varied; so the third tick is the first that can warn. A class that
    never had it is reported after eight ticks. There are no warnings before a first best generator.

    Parameters
    ----------
    lines : sequence of Tick
        Lines of ``metrics.jsonl`` from the start of the run; the last one is checked.
    classes_warned : set of str
        Classes already reported; changed in place, so pass the same set at each tick.

    Returns
    -------
    list of str
        One line for each newly reported class.
    """
    if best_so_far(lines[:-1]) is None:
        return []
    warnings = []
    for name, variety in lines[-1].ema.variety.items():
        if variety >= RECOVERED:
            classes_warned.discard(name)
        if variety >= LOW_VARIETY or name in classes_warned:
            continue
        had = any(line.ema.variety.get(name, 0) >= LOW_VARIETY for line in lines[1:-1])
        if had or len(lines) > LEARNT_BY:
            classes_warned.add(name)
            warnings.append(
                f"class {name!r} {'loses' if had else 'lacks'} variety: its synthetic scans are only "
                f"{variety:.2f} times as varied as real ones and many look alike; add scans of this "
                f"class, or try a stronger --set augment=..."
            )
    return warnings


def _thousandfold(kid: float) -> str:
    scaled = kid * 1000
    return f"{scaled:.0f}" if abs(scaled) >= 99.5 else f"{scaled:.1f}"
