"""The page of a project, and the table over all pages: rows of figures, laid out as Markdown.

A page keeps what an earlier one says of generators and seeds that were not run this time.
"""

import dataclasses
import shlex
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from project import HERE, PHANTOMS, Project

from scangan.artifacts.run_records import Tick
from scangan.evaluation.diets import BASELINE, CLASSICAL, DIETS, SYNTHETIC, TOPPED_UP
from scangan.evaluation.judgement import Judgement
from scangan.evaluation.privacy_result import BLIND
from scangan.evaluation.utility_result import Estimate, UtilityResult

PICTURE_OF_PHANTOMS = "phantoms.png"
COLUMNS = (
    "generator", "seed", "kimg", "KID x1000", "FID", "FID ratio", "precision", "recall", "least variety",
    "class agreement", "told from real", "membership AUC", "suspects",
)  # fmt: skip
Rows: TypeAlias = list[list[str]]  # the cells of a table
COMPARED = BASELINE, CLASSICAL, TOPPED_UP  # in the rarest class
USES = "generator", "seed", "classifier", *DIETS, *(f"rarest class: {diet}" for diet in COMPARED)
GENERATORS = "## Generators"  # headings of a page
CLASSIFIERS = "## Classifiers that learn from the scans"
HELD_BACK = "## Classifiers, tested on scans held back from training"
TICKS = "kimg", "scans a second", "KID x1000"
OVERVIEW = "## Main figures"  # in README.md here: the last section
IN_OVERVIEW = (
    "generator",
    "seed",
    "kimg",
    "KID x1000",
    "FID ratio",
    "class agreement",
    "membership AUC",
)
LEARN_ONCE = " Intervals of the large networks, which learn once, leave out how trainings differ."
ACCURACY = "accuracy, trained on synthetic scans alone (on real ones)"


@dataclasses.dataclass
class Measured:
    """What was measured this time: rows of the page's tables, and texts.

    Parameters
    ----------
    generators : list of rows
        In the order of `COLUMNS`.
    classifiers, on_held_back : list of rows
        In the order of `USES`: tested on the test set, and on scans that the run held back.
    truths : dict
        What is known of the truth, by model.
    demonstrations : dict of list of rows
        In the order of `TICKS`, by size.
    """

    generators: Rows = dataclasses.field(default_factory=list)
    classifiers: Rows = dataclasses.field(default_factory=list)
    on_held_back: Rows = dataclasses.field(default_factory=list)
    truths: dict[str, str] = dataclasses.field(default_factory=dict)
    demonstrations: dict[str, Rows] = dataclasses.field(default_factory=dict)


def figures(found: Judgement) -> Iterator[str]:
    """Yield the figures of a row: in brackets, what real scans score; intervals are in the reports."""
    space = found.quality.spaces["efficientnet-lite0"].figures
    for key, scale, digits in (("kid", 1000, 0), ("fid", 1, 0), ("fid_ratio", 1, 2)):
        yield _with_real(space[key].overall, scale, digits)
    for key in ("precision", "recall"):
        yield _with_real(space[key].overall, 100, 0)
    variety = space["variety"]
    of_each = variety.classes.values() or (variety.overall,)  # a DCGAN has no classes
    yield f"{min(each.value for each in of_each if each):.2f}"
    for key in ("agreement", "two_sample"):
        yield _with_real(space[key].overall, 100, 0) if key in space else "-"
    reached = (
        {name: each.auc for name, each in found.privacy.membership.items()} if found.privacy else {}
    )
    blind = reached.pop(BLIND, None)
    told = f" ({blind:.2f})" if blind is not None else ""
    yield f"{max(reached.values()):.2f}{told}" if reached else "-"
    yield str(len(found.privacy.suspects)) if found.privacy else "-"


def uses(found: UtilityResult) -> Iterator[list[str]]:
    """Yield a row for each classifier: balanced accuracy after each diet, and recall of the rarest class."""
    counts = found.train.counts
    rarest = min(counts, key=lambda name: counts[name])
    reached = {(each.classifier, each.diet): each for each in found.diets}
    for classifier in dict.fromkeys(classifier for classifier, _ in reached):
        of = {diet: reached[classifier, diet] for diet in DIETS}
        accuracies = [of[diet].metrics["balanced_accuracy"] for diet in DIETS]
        recalls = [of[diet].recall[rarest] for diet in COMPARED]
        yield [classifier, *map(_with_interval, [*accuracies, *recalls])]


def demonstrated(size: str) -> str:
    """Return the name of the run that shows that a larger size trains."""
    return f"demonstration-{size}"


def ticks(told: Sequence[Tick]) -> Iterator[list[str]]:
    """Yield a row for each tick of a run: how far it was, how fast, and the better one's KID."""
    for tick in told:
        yield [
            f"{tick.kimg:.0f}",
            f"{tick.images_per_second:.3g}",
            f"{1000 * tick.better.kid:.0f}",
        ]


def _with_interval(share: Estimate) -> str:
    return f"{100 * share.value:.0f} ({100 * share.low:.0f} to {100 * share.high:.0f})"


def _with_real(figure: Any, scale: float, digits: int) -> str:
    if figure is None:
        return "-"
    real = "" if figure.real is None else f" ({figure.real * scale:.{digits}f})"
    return f"{figure.value * scale:.{digits}f}{real}"


def page(project: Project, measured: Measured, before: str = "") -> str:
    """Write the project's page; what was not measured this time is kept as the page said it `before`."""
    rows = _kept(before, GENERATORS, COLUMNS, measured.generators, 2, project)
    uses = _kept(before, CLASSIFIERS, USES, measured.classifiers, 3, project)
    held = _kept(before, HELD_BACK, USES, measured.on_held_back, 3, project)
    models = [f"{name}-{seed}" for name, seed, *_ in rows]
    others = "phantoms" if project.test == PHANTOMS else "real scans"
    sections = [
        f"# {project.title}",
        f"Claimed: {project.claim}",
        project.reading.strip(),
        GENERATORS,
        f"In brackets: what {others} reach. In brackets beside the membership AUC, which is that of the best "
        "attack: the AUC of an attack that sees no synthetic scan. Intervals are in the reports (`*-report.md`). "
        "Precision, recall, class agreement and told from real in percent. The columns from KID to told "
        "from real are computed with EfficientNet-Lite0, which picked the checkpoint; the reports have "
        "independent networks, too.",
        _table(COLUMNS, rows, left=2),
    ]
    every = [f"{name}-{seed}" for name in project.generators for seed in range(project.seeds)]
    if missing := [model for model in every if model not in models]:
        sections.append(f"Not run yet: {', '.join(missing)}.")
    if uses:
        sections += [
            CLASSIFIERS,
            f"Balanced accuracy on {others} of the test set, in percent, by what they learn from; then how many "
            "scans of the rarest training class they name right (class recall). In brackets: 95% intervals."
            + (LEARN_ONCE if project.large_classifiers and not project.held_back else ""),
            _table(USES, uses, left=3),
        ]
    if held:
        sections += [
            HELD_BACK,
            "The same, on scans of the training set that no classifier and no generator learnt from; they only "
            "picked the checkpoint." + (LEARN_ONCE if project.large_classifiers else ""),
            _table(USES, held, left=3),
        ]
    sections += ["## Scans, seed 0"]
    if project.test == PHANTOMS:
        sections.append(f"![Phantoms]({PICTURE_OF_PHANTOMS})")
    drawn_of = [name for name in project.generators if f"{name}-0" in models]
    sections += [f"![Synthetic scans of {name}]({name}-0.png)" for name in drawn_of]
    for model in models:
        heading = f"## {model}, and the truth"
        if told := measured.truths.get(model) or _section(before, heading):
            sections += [heading, told.strip()]
    for size, options in project.demonstrations.items():
        heading = f"## Demonstration at {size} pixels"
        if made := measured.demonstrations.get(size) or _cells(before, heading, TICKS):
            sections += [
                heading,
                "Scans enlarged to this size have no more detail than before. So this shows that it trains, and "
                f"was not evaluated (`train-gan train-{size} --size {size} {shlex.join(options)}`). KID, without "
                "classes, is that of scans held back, in EfficientNet-Lite0.",
                _table(TICKS, made, left=0),
                f"![Synthetic scans of {size} pixels]({demonstrated(size)}.png)",
            ]
    return "\n\n".join(filter(None, sections)) + "\n"


def _kept(
    before: str,
    heading: str,
    columns: Sequence[str],
    rows: Rows,
    named_by: int,
    project: Project,
) -> Rows:
    """Add the rows of an earlier page to those made now, which replace theirs; sort by generator and seed."""
    made = {tuple(row[:named_by]) for row in rows}
    earlier = _cells(before, heading, columns)
    order = list(project.generators)
    known = {(name, str(seed)) for name in order for seed in range(project.seeds)}
    kept = [row for row in earlier if tuple(row[:named_by]) not in made and (*row[:2],) in known]
    return sorted([*kept, *rows], key=lambda row: (order.index(row[0]), int(row[1])))


def _cells(before: str, heading: str, columns: Sequence[str]) -> Rows:
    """Read the cells of an earlier page's table; columns that it lacks get a dash."""
    return [[row.get(column, "-") for column in columns] for row in _read_table(before, heading)]


def _table(columns: Sequence[str], rows: Rows, left: int) -> str:
    aligned = ["---"] * left + ["---:"] * (len(columns) - left)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (columns, aligned, *rows))


def overview() -> str:
    """Write one table over the pages of all projects that have one, from the tables of those pages."""
    rows = []
    for file in sorted(HERE.glob("*/README.md")):
        told = file.read_text("utf-8")
        accuracies = defaultdict[tuple[str, str], list[str]](list)
        for use in _read_table(told, CLASSIFIERS):
            synthetic, real = (use[diet].partition(" ")[0] for diet in (SYNTHETIC, BASELINE))
            reached = f"{use['classifier']} {synthetic} ({real})"
            accuracies[use["generator"], use["seed"]].append(reached)
        for row in _read_table(told, GENERATORS):
            learnt = ", ".join(accuracies[row["generator"], row["seed"]]) or "-"
            project = f"[{file.parent.name}]({file.parent.name}/README.md)"
            rows.append([project, *(row[column] for column in IN_OVERVIEW), learnt])
    return _table(["project", *IN_OVERVIEW, ACCURACY], rows, left=3)


def _read_table(page: str, heading: str) -> list[dict[str, str]]:
    """Read the rows of the first table below a heading, if there is one, by column."""
    lines = [
        line.strip("| ").split(" | ")
        for line in _section(page, heading).splitlines()
        if line.startswith("|")
    ]
    return [dict(zip(lines[0], cells, strict=True)) for cells in lines[2:]]


def _section(page: str, heading: str) -> str:
    """Return what a page says below a heading."""
    return page.partition(f"{heading}\n")[2].partition("\n## ")[0]


def with_overview(text: str) -> str:
    """Return the text of README.md here with its last section made anew."""
    return f"{text.partition(OVERVIEW)[0]}{OVERVIEW}\n\n{overview()}\n"
