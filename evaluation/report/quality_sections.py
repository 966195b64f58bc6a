"""Quality in a report: a section for each feature space, and one for the pixels."""

from collections.abc import Callable, Iterator, Mapping

from scangan.evaluation.metric_list import METRICS, SHARES, Metric
from scangan.evaluation.quality_result import Figure, Figures, QualityResult, Space
from scangan.evaluation.report import plots
from scangan.evaluation.report.blocks import Block, Matrix, Plot, Section, Table


def quality_sections(result: QualityResult, maps: Mapping[str, Plot]) -> Iterator[Section]:
    """Describe a quality evaluation.

    Parameters
    ----------
    result : QualityResult
        What it found.
    maps : mapping
        The map of scans in each feature space, by extractor.
    """
    for space in result.spaces.values():
        part = "train-gan picks the checkpoint with it and may train through it, so it flatters models of scangan."
        text = (f"Network: {space.source}.",) + ((part,) if space.picked_checkpoint else ())
        blocks = [*_figures(space.figures), *_plots(space), maps[space.extractor]]
        if any(map(sum, (row.values() for row in space.named_as.values()))):
            blocks.append(_named_as(space))
        yield Section(f"Quality in {space.extractor}", text, tuple(blocks))
    yield Section("Quality of the pixels", (), tuple(_figures(result.pixels)))


def verdict(result: QualityResult) -> str:
    """Say what matters most, in a space that did not pick the checkpoint if there is one."""
    space = next(
        (each for each in result.spaces.values() if not each.picked_checkpoint),
        next(iter(result.spaces.values())),
    )
    found = {key: f.overall for key, f in space.figures.items() if f.overall}
    kid = found["kid"]
    said = [f"KID x1000 is {_with_real(METRICS['kid'], kid)}"]
    if "two_sample" in found:
        told = METRICS["two_sample"].shown(found["two_sample"].value)
        said.append(f"Asked “real or synthetic?”, a classifier is right on {told} (50% is perfect)")
    if "recall" in found:
        resembled = " of real scans have a synthetic one like them"
        said.append(_with_real(METRICS["recall"], found["recall"], resembled))
    classes = space.figures["kid"].classes
    if classes:
        worst = max(classes, key=lambda name: classes[name].value)
        said.append(f"The class furthest from its real scans is {worst}")
    picked = " (with which train-gan picks checkpoints)" if space.picked_checkpoint else ""
    return f"In the features of {space.extractor}{picked}, {'. '.join(said)}."


def reading() -> Table:
    """Tell how to read each figure, what misleads about it, and which paper defines it."""
    rows = tuple(
        (metric.name, metric.better, metric.reads, metric.trap, metric.cites)
        for metric in METRICS.values()
    )
    columns = ("figure", "better", "what it is", "what misleads", "reference")
    return Table("How to read each figure of quality", columns, rows)


def _with_real(metric: Metric, figure: Figure, words: str = "") -> str:
    real = "" if figure.real is None else f" (real {metric.shown(figure.real)})"
    return f"{metric.shown(figure.value)}{words}{real}"


def _figures(figures: Mapping[str, Figures]) -> Iterator[Table]:
    """List the figures over all classes, then those of each class."""
    shown = {key: METRICS[key] for key in METRICS if key in figures}
    overall = [(metric, figures[key].overall) for key, metric in shown.items()]
    rows = [_row(metric, figure) for metric, figure in overall if figure]
    if rows:
        columns = ("", "synthetic", "real against real", "n real, synthetic")
        yield Table("All classes, with 95% intervals", columns, tuple(rows))
    names = tuple(dict.fromkeys(name for key in shown for name in figures[key].classes))
    if names:
        each = tuple(
            (metric.name, *(_cell(metric.shown, figures[key].classes.get(name)) for name in names))
            for key, metric in shown.items()
            if figures[key].classes
        )
        yield Table("Each class, and in brackets real against real", ("", *names), each)


def _row(metric: Metric, figure: Figure) -> tuple[str, ...]:
    real = ""
    if figure.real is not None and figure.real_low is not None and figure.real_high is not None:
        real = _span(metric, figure.real, figure.real_low, figure.real_high)
    count = f"{figure.n_real}, {figure.n_synthetic}"
    return metric.name, _span(metric, figure.value, figure.low, figure.high), real, count


def _span(metric: Metric, value: float, low: float, high: float) -> str:
    shown = (metric.shown(each) for each in (low, high))
    first, last = (each.removesuffix(metric.unit) for each in shown)
    return f"{metric.shown(value)} ({first} to {last})"


def _cell(shown: Callable[[float], str], figure: Figure | None) -> str:
    if figure is None:
        return ""
    return shown(figure.value) + ("" if figure.real is None else f" ({shown(figure.real)})")


def _plots(space: Space) -> Iterator[Block]:
    overall = {key: figure for key in SHARES if (figure := _overall(space, key))}
    if overall:
        named = {METRICS[key].name: figure for key, figure in overall.items()}
        yield plots.shares(space.extractor, named)
    classes = space.figures["kid"].classes
    if classes:
        yield plots.distances(space.extractor, classes)
    precision, recall = (space.figures.get(key) for key in ("precision", "recall"))
    if precision and recall:
        yield plots.precision_recall(space.extractor, _scopes(precision), _scopes(recall))


def _scopes(figures: Figures) -> dict[str, Figure]:
    """Return the figure of each class, or of all scans if there are no classes."""
    whole = {"all scans": figures.overall} if figures.overall else {}
    return figures.classes or whole


def _overall(space: Space, key: str) -> Figure | None:
    return space.figures[key].overall if key in space.figures else None


def _named_as(space: Space) -> Matrix:
    names = tuple(space.named_as)
    counts = tuple(tuple(float(space.named_as[a][b]) for b in names) for a in names)
    caption = "Class agreement: rows are the classes asked for, columns the predictions of a probe"
    return Matrix(caption, names, counts)
