"""Train the runs of a list, judge them by networks that had no part in it, and tabulate both.

    python benchmarks/ablation.py benchmarks/ablations/late.toml SCANS WORK            train
    python benchmarks/ablation.py benchmarks/ablations/late.toml SCANS WORK --judge    judge
    python benchmarks/ablation.py benchmarks/ablations/late.toml SCANS WORK --table    print tables

SCANS is a prepared dataset, WORK a folder for the runs. It may be stopped and started again, and
several may share a WORK, each on cores of its own: a run that another one writes is passed over.
``--keep 0.5`` judges the half of twice the scans that the discriminator scores higher.

A list is a TOML file of ``[[runs]]``: a ``name``, the number of ``seeds``, and what ``set`` changes in a
``recipe`` (stable if it names none) or in the run that it comes ``after``. A run whose steps take
longer than others' can ``set`` a smaller ``kimg``: compare at equal time, which the table shows. With
``start``, which stands first, all runs start from a run or from bundled networks.
"""

import argparse
import dataclasses
import json
import statistics
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

from ablation_judge import FIGURES, judge, read_judged

from scangan.artifacts.run import Run
from scangan.artifacts.train_options import TrainOptions
from scangan.core.errors import ScanganError
from scangan.training import Stopped
from scangan.training.progress_text import best_so_far
from scangan.training.recipe import options_from
from scangan.training.train_gan import train

KIMG, TICK = 300.0, 20.0
SCORES = (
    "KID x1000, best", "inside classes", "at the end", "class agreement", "least variety",
    "near-equal pairs", "kimg of the best", "minutes",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Entry:
    """One run: its name in the list, its seed and options, where it lies, and what it starts from."""

    name: str
    recipe: str
    options: TrainOptions
    path: Path
    start: str | None


def entries(file: Path, work: Path) -> Iterator[Entry]:
    """Read a list of runs: an entry for each run and seed."""
    listed = tomllib.loads(file.read_text(encoding="utf-8"))
    known: dict[str, tuple[str, dict[str, object]]] = {}
    for run in listed["runs"]:
        recipe, before = (
            known[run["after"]] if "after" in run else (run.get("recipe", "stable"), {})
        )
        known[run["name"]] = recipe, before | run.get("set", {})
        words = "".join(c if c.isalnum() else " " for c in run["name"]).split()
        for seed in range(run.get("seeds", 1)):
            values = {"kimg": KIMG, "tick": TICK, "patience": 0.0} | known[run["name"]][1]
            options = options_from(recipe, values | {"seed": seed})
            path = work / f"{'-'.join(words)}-{seed}"
            yield Entry(run["name"], recipe, options, path, listed.get("start"))


def trained(entry: Entry) -> bool:
    """Whether a run has reached its end."""
    lines = Run(entry.path).read_metrics()
    return bool(lines) and lines[-1].step >= entry.options.steps


def scores(entry: Entry) -> list[float] | None:
    """Return what training measured, in the order of `SCORES`; None for a run that is not there."""
    # A run may have gone on since, to more kimg than the list has.
    lines = [tick for tick in Run(entry.path).read_metrics() if tick.step <= entry.options.steps]
    found = best_so_far(lines)
    if not found or not trained(entry):
        return None
    line, best = found
    speeds = statistics.harmonic_mean([tick.images_per_second for tick in lines])
    return [
        best.kid * 1000, best.mean_class_kid * 1000, lines[-1].better.mean_class_kid * 1000,
        (best.mean_agreement or 0.0) * 100, min(best.variety.values()) * 100,
        max(best.near_pairs.values(), default=float("nan")) * 100, line.kimg,
        lines[-1].kimg * 1000 / speeds / 60,
    ]  # fmt: skip


def table(
    runs: list[Entry], heads: tuple[str, ...], row: Callable[[Entry], list[float] | None]
) -> list[str]:
    """Lay out a line for each name: means over the seeds, and the least and the most."""
    lines = [
        f"| run | seeds | {' | '.join(heads)} |",
        f"| --- | ---: |{' ---: |' * len(heads)}",
    ]
    for name in dict.fromkeys(entry.name for entry in runs):
        found = [row(entry) for entry in runs if entry.name == name]
        rows = [values for values in found if values]
        if rows:
            cells = [_mean_and_range(values) for values in zip(*rows, strict=True)]
            lines.append(f"| {name} | {len(rows)} | {' | '.join(cells)} |")
    return lines


def _mean_and_range(values: tuple[float, ...]) -> str:
    digits = 0 if max(map(abs, values)) >= 10 else 1
    mean, low, high = (f"{f(values):.{digits}f}" for f in (statistics.fmean, min, max))
    return mean if len(values) == 1 else f"{mean} ({low} to {high})"


def main() -> None:
    """Train, judge or tabulate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("list", type=Path)
    parser.add_argument("scans", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--only", default="", help="only runs with this name")
    parser.add_argument("--judge", action="store_true", help="judge the runs that are trained")
    parser.add_argument("--keep", type=float, default=1.0, help="share of the scans to judge")
    parser.add_argument("--table", action="store_true", help="print what is known")
    given = parser.parse_args()
    runs = [e for e in entries(given.list, given.work) if given.only in ("", e.name)]
    if given.table:
        print("\n".join([*table(runs, SCORES, scores), ""]))
        print(
            "\n".join(table(runs, FIGURES, lambda entry: read_judged(Run(entry.path), given.keep)))
        )
        return
    for entry in runs:
        print(f"{entry.name}, seed {entry.options.seed}: {entry.path}", flush=True)
        try:
            if not given.judge:
                train(
                    given.scans,
                    entry.path,
                    entry.options,
                    recipe=entry.recipe,
                    say=lambda line: print(line, flush=True),
                    start=entry.start,
                )
            elif trained(entry):
                judge(Run(entry.path), given.scans, given.keep)
        except Stopped:
            raise SystemExit("stopped; the same command again goes on") from None
        except ScanganError as error:
            print(json.dumps({"run": str(entry.path), "error": str(error)}), flush=True)


if __name__ == "__main__":
    main()
