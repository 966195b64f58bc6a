"""Tell what readers found in a study, in lines for the terminal."""

from collections.abc import Iterator

from scangan.evaluation.reader_study import StudyFigures
from scangan.evaluation.utility_result import Estimate


def study_lines(found: StudyFigures) -> Iterator[str]:
    """Yield a table of the readers, and what holds over all of them."""
    names = [each.reader for each in found.readers]
    width = max(6, *map(len, (*names, *found.classes)))
    yield f"{'reader':<{width}}  {'accuracy':<21}  real right  synthetic right  unsure  seconds  p"
    for each in found.readers:
        p = "-" if each.p is None else "<0.001" if each.p < 0.001 else f"{each.p:.3f}"
        yield (
            f"{each.reader:<{width}}  {_interval(each.accuracy):<21}  {_percent(each.real):>10}  "
            f"{_percent(each.synthetic):>15}  {each.unsure:>6}  {each.seconds:>7.1f}  {p}"
        )
    if len(found.readers) > 1:
        yield f"{'all':<{width}}  {_interval(found.accuracy)}"
    if found.classes:
        yield ""
        yield f"{'class':<{width}}  accuracy"
        for name, share in found.classes.items():
            yield f"{name:<{width}}  {_interval(share)}"
    for pair in found.kappas:
        kappa = "not defined" if pair.kappa is None else f"{pair.kappa:.2f}"
        yield f"Cohen's kappa of {pair.readers[0]} and {pair.readers[1]}: {kappa}"


def _percent(share: Estimate | None) -> str:
    return "-" if share is None else f"{share.value:.0%}"


def _interval(share: Estimate | None) -> str:
    if share is None:
        return "all unsure"
    return f"{share.value:.0%} ({share.low:.0%} to {share.high:.0%})"
