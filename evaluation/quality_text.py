"""A quality evaluation as lines for the terminal."""

from collections.abc import Iterator, Mapping

from scangan.core.counted import counted
from scangan.evaluation.metric_list import METRICS
from scangan.evaluation.quality_result import Figure, Figures, QualityResult, Space

BY_CLASS = ("kid", "recall", "agreement", "two_sample")  # worth a line for each class


def quality_lines(result: QualityResult) -> Iterator[str]:
    """Describe a result: a line per figure, with its interval, beside that of real scans."""
    for info, kind in ((result.real, "real"), (result.synthetic, "synthetic")):
        total = counted(info.scans, f"{kind} scan")
        each = ", ".join(f"{count} {name}" for name, count in info.counts.items())
        yield f"{info.name}: {total}" + (f" ({each})" if len(info.counts) > 1 else "")
    for note in result.notes:
        yield f"note: {note}"
    for space in result.spaces.values():
        yield ""
        yield _heading(space)
        yield from _table(space.figures)
    yield ""
    yield "pixels"
    yield from _table(result.pixels)


def _heading(space: Space) -> str:
    part = (
        "; train-gan picks the checkpoint with it and may train through it, so it is not independent of "
        "models of scangan"
    )
    return f"{space.extractor}: {space.source}{part if space.picked_checkpoint else ''}"


def _table(figures: Mapping[str, Figures]) -> Iterator[str]:
    yield f"  {'':<26} {'synthetic':>9} {'95% interval':>17} {'real':>8} {'95% interval':>17}  n"
    for key, metric in METRICS.items():
        if key not in figures:
            continue
        if overall := figures[key].overall:
            yield _row(key, metric.name, overall)
        if key in BY_CLASS:
            for name, figure in figures[key].classes.items():
                yield _row(key, f"  {name}", figure)


def _row(key: str, name: str, figure: Figure) -> str:
    shown = METRICS[key].shown
    span = f"{shown(figure.low)} to {shown(figure.high)}"
    real, real_span = "", ""
    if figure.real is not None and figure.real_low is not None and figure.real_high is not None:
        real = shown(figure.real)
        real_span = f"{shown(figure.real_low)} to {shown(figure.real_high)}"
    count = f"{figure.n_real} and {figure.n_synthetic}"
    return f"  {name:<26.26} {shown(figure.value):>9} {span:>17} {real:>8} {real_span:>17}  {count}"
