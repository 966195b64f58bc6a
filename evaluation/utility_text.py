"""A utility evaluation as lines for the terminal."""

from collections.abc import Iterator

from scangan.core.counted import counted
from scangan.evaluation.utility_result import Estimate, UtilityResult


def utility_lines(result: UtilityResult) -> Iterator[str]:
    """Describe a result: a line per classifier and diet, the learning curve, and the verdict."""
    yield f"{result.train.name}: {counted(result.train.scans, 'scan')} to learn from"
    yield f"{result.synthetic.name}: {counted(result.synthetic.scans, 'synthetic scan')}"
    yield f"{result.test.name}: {counted(result.test.scans, 'scan')} to test on"
    for note in result.notes:
        yield f"note: {note}"
    yield ""
    yield (
        f"{'classifier':<12} {'diet':<17} {'scans':>6}  {'balanced accuracy':<22} "
        f"{'macro F1':>8} {'AUROC':>6}  {'against real':<22} p (Holm)"
    )
    for d in result.diets:
        change = "" if d.difference is None else span(d.difference)
        p = "" if d.p_holm is None else f"{d.p_holm:.2g}"
        yield (
            f"{d.classifier:<12} {d.diet:<17} {d.n_train:>6}  "
            f"{span(d.metrics['balanced_accuracy']):<22} {d.metrics['macro_f1'].value:>8.3f} "
            f"{d.metrics['auroc'].value:>6.3f}  {change:<22} {p}"
        )
    if result.curve:
        yield ""
        yield f"{'classifier':<12} {'real scans':>10}  {'real alone':<22} {'with synthetic':<22} gain"
        for point in result.curve:
            yield (
                f"{point.classifier:<12} {point.n_real:>10}  {span(point.real):<22} "
                f"{span(point.with_synthetic):<22} {span(point.gain)}"
            )
    yield ""
    yield from result.verdict


def span(found: Estimate) -> str:
    """Write a figure with its interval."""
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"
