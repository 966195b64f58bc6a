"""What a utility evaluation says, in sentences."""

from collections.abc import Iterator, Sequence

from scangan.evaluation.diets import ADDED, BASELINE, CLASSICAL, SYNTHETIC
from scangan.evaluation.utility_result import CurvePoint, DietResult, Estimate

SIGNIFICANT = 0.05
CLOSE = 0.01  # balanced accuracy: as good as with all real scans


def verdict(diets: Sequence[DietResult], curve: Sequence[CurvePoint]) -> Iterator[str]:
    """Say for each classifier whether synthetic scans helped, and what the learning curve shows."""
    for name in dict.fromkeys(d.classifier for d in diets):
        of_this = {d.diet: d for d in diets if d.classifier == name}
        yield _helped(name, of_this)
        yield _alone(name, of_this)
        points = [point for point in curve if point.classifier == name]
        if points:
            yield _enough(name, points)


def _helped(name: str, of_this: dict[str, DietResult]) -> str:
    added = [of_this[diet] for diet in ADDED]
    # What is proven comes first, whichever diet has the larger value.
    tested = [diet for diet in added if diet.p_holm is not None]
    added = [diet for diet in tested if (diet.p_holm or 0) < SIGNIFICANT] or tested or added
    best = max(added, key=lambda d: d.difference.value if d.difference else 0.0)
    if best.difference is None:
        return f"{name}: not compared"
    base = _balanced(of_this[BASELINE])
    change = f"{name}: {best.diet} changes balanced accuracy from {base:.1%} by {_points(best.difference)}"
    if best.p_holm is None:
        return f"{change}; one training proves nothing, as another could end elsewhere (--seeds 3)"
    change = f"{change} (p {best.p_holm:.2g} after Holm)"
    if best.p_holm >= SIGNIFICANT:
        return f"{change}; no gain is proven"
    if best.difference.value < 0:
        return f"{change}; synthetic scans make it worse"
    classical = _points(of_this[CLASSICAL].difference)
    if best.beyond_classical is None:
        return f"{change}; it helps (classical augmentation: {classical})"
    return (
        f"{change}; it helps, {_beside(best.beyond_classical)} classical augmentation ({classical})"
    )


def _beside(beyond: Estimate) -> str:
    """Compare with classical augmentation, as far as the interval of the difference allows."""
    if beyond.low <= 0 <= beyond.high:
        return "about as much as"
    return "and more than" if beyond.low > 0 else "but less than"


def _alone(name: str, of_this: dict[str, DietResult]) -> str:
    return (
        f"{name}: trained on synthetic scans alone, it reaches {_balanced(of_this[SYNTHETIC]):.1%} on "
        f"real ones; trained on real ones, {_balanced(of_this[BASELINE]):.1%}"
    )


def _gains(points: Sequence[CurvePoint]) -> str:
    """Say with how many real scans synthetic ones helped."""
    gains = " and ".join(
        str(point.n_real)
        for point in points
        if point.gain.value > 0 and point.p_holm is not None and point.p_holm < SIGNIFICANT
    )
    if gains:
        return f"adding synthetic scans helped with {gains} real scans"
    where = f"{points[0].n_real} real scans" if len(points) == 1 else "any number of real ones"
    return f"adding synthetic scans did not measurably help with {where}"


def _enough(name: str, points: Sequence[CurvePoint]) -> str:
    full = points[-1]
    helped = "one training does not show whether synthetic scans help (--seeds 3)"
    if full.p_holm is not None:
        helped = _gains(points)
    if len(points) == 1:
        return f"{name}: {helped}"
    enough = next(p for p in points if p.real.value >= full.real.value - CLOSE)
    if enough is full:
        return (
            f"{name}: accuracy was still rising at {full.n_real} real scans, the most that were tried; "
            f"{helped}"
        )
    return (
        f"{name}: {enough.n_real} real scans come within {100 * CLOSE:.0f} point of the accuracy with "
        f"{full.n_real}, the most that were tried; {helped}"
    )


def _balanced(result: DietResult) -> float:
    return result.metrics["balanced_accuracy"].value


def _points(found: Estimate | None) -> str:
    if found is None:
        return "0"
    return f"{found.value * 100:+.1f} points ({found.low * 100:+.1f} to {found.high * 100:+.1f})"
