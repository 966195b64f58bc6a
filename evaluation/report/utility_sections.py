"""Utility in a report."""

from collections.abc import Iterator

from scangan.evaluation.diets import BASELINE, BOTH, SYNTHETIC
from scangan.evaluation.report import plots
from scangan.evaluation.report.blocks import Block, Matrix, Section, Table
from scangan.evaluation.utility_result import DietResult, Estimate, UtilityResult
from scangan.evaluation.utility_text import span

SHOWN = (BASELINE, SYNTHETIC, BOTH)  # diets whose confusion matrix is worth its place


def utility_sections(result: UtilityResult) -> Iterator[Section]:
    """Describe a utility evaluation: a section for each classifier."""
    for name in dict.fromkeys(diet.classifier for diet in result.diets):
        diets = [diet for diet in result.diets if diet.classifier == name]
        curve = [point for point in result.curve if point.classifier == name]
        blocks: list[Block] = [_table(diets), plots.diets(name, diets), _recalls(diets)]
        if curve:
            blocks.append(plots.learning_curve(name, curve))
        blocks += [_confusion(diet) for diet in diets if diet.diet in SHOWN]
        said = tuple(line for line in result.verdict if line.startswith(f"{name}:"))
        text = tuple(f"{line.removeprefix(f'{name}: ')}." for line in said)
        yield Section(
            f"Utility for a classifier: {name}",
            tuple(_capital(line) for line in text),
            tuple(blocks),
        )


def verdict(result: UtilityResult) -> str:
    """Say in one sentence whether a classifier gains."""
    name, _, said = result.verdict[0].partition(": ")
    return f"For a classifier ({name}), {said}."


def _capital(line: str) -> str:
    return line[:1].upper() + line[1:]


def _table(diets: list[DietResult]) -> Table:
    rows = tuple(
        (
            diet.diet,
            str(diet.n_train),
            span(diet.metrics["balanced_accuracy"]),
            "" if diet.difference is None else _points(diet.difference),
            "" if diet.p_holm is None else f"{diet.p_holm:.2g}",
            *(f"{diet.metrics[key].value:.3f}" for key in ("accuracy", "macro_f1", "auroc")),
        )
        for diet in diets
    )
    columns = (
        "diet", "scans", "balanced accuracy", "against real, points", "p (Holm)",
        "accuracy", "macro F1", "AUROC",
    )  # fmt: skip
    return Table("On real test scans, with 95% intervals", columns, rows)


def _recalls(diets: list[DietResult]) -> Table:
    names = tuple(diets[0].recall)
    rows = tuple((diet.diet, *(span(diet.recall[name]) for name in names)) for diet in diets)
    return Table("Recall of each class", ("diet", *names), rows)


def _confusion(diet: DietResult) -> Matrix:
    names = tuple(diet.confusion)
    counts = tuple(tuple(diet.confusion[a][b] for b in names) for a in names)
    return Matrix(
        f"Trained on “{diet.diet}”: rows are true classes, columns predicted ones", names, counts
    )


def _points(found: Estimate) -> str:
    value, low, high = (f"{100 * each:+.1f}" for each in (found.value, found.low, found.high))
    return f"{value} ({low} to {high})"
