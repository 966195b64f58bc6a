"""Which part of the stable recipe brings how much, on real scans.

    python benchmarks/ablation.py SCANS WORK              train what is not trained yet
    python benchmarks/ablation.py SCANS WORK --table      print the table of what is there

SCANS is a prepared dataset, WORK a folder for the runs. It may be stopped and started again, and
several may share a WORK, each on cores of its own: a run that another one writes is passed over.
"""

import argparse
import dataclasses
import json
import statistics
from pathlib import Path

from scangan.runtime import ScanganError
from scangan.training import Run, TrainOptions, train
from scangan.training.loop import Stopped
from scangan.training.progress_text import best_so_far
from scangan.training.recipe import options_from

KIMG = 300.0
SEVERAL = "classic-acgan", "stable", "stable, classes by product"
CLASSIC = options_from("classic-acgan", {})
STABLE = options_from("stable", {})


def rungs() -> dict[str, TrainOptions]:
    """From classic-acgan to stable, one part after the other; then stable with one part changed."""
    spectral = dataclasses.replace(
        CLASSIC, spectral_norm=True, batch_norm=False, dropout=0.0, pool="sum"
    )
    augmented = dataclasses.replace(spectral, augment=STABLE.augment)
    small = dataclasses.replace(augmented, balanced=True, ema_kimg=10.0, minibatch_std=True)
    hinge = dataclasses.replace(small, loss="hinge", label_smoothing=0.0)
    # Huang et al. 2024: no norm in D but two gradient penalties.
    relativistic = dataclasses.replace(
        hinge, loss="relativistic", spectral_norm=False, pool="flatten", r1=1.0, r2=1.0,
        penalty_every=4, beta1=0.0, beta2=0.99,
    )  # fmt: skip
    # What is left then are the rates: stable has both of them doubled.
    both_heads = dataclasses.replace(STABLE, batch=64, lr_g=CLASSIC.lr_g, lr_d=CLASSIC.lr_d)
    heads = ("auxiliary", "auxiliary-normalized", "projection")
    return {
        "classic-acgan": CLASSIC,
        "stable": STABLE,
        "classic-acgan, batch 16": dataclasses.replace(CLASSIC, batch=16),
        "+ spectral norm, summed": spectral,
        "+ DiffAugment": augmented,
        "+ balanced, EMA, minibatch std": small,
        "+ relativistic, R1 and R2": relativistic,
        "+ hinge instead": hinge,
        "+ conditional BatchNorm": dataclasses.replace(hinge, conditioning="norm"),
        "+ classifier on real scans alone": dataclasses.replace(both_heads, head=CLASSIC.head),
        "+ both heads": both_heads,
        "+ batch 16": dataclasses.replace(both_heads, batch=16),
        "stable, classes by product": dataclasses.replace(STABLE, conditioning="product"),
        **{f"stable, head {head}": dataclasses.replace(STABLE, head=head) for head in heads},
    }


def plan(width: int, kimg: float, seeds: int) -> dict[tuple[str, int], TrainOptions]:
    """All runs by name and seed: `seeds` of the two ends and of the class as a product, else one."""
    runs = {}
    for seed in range(seeds):
        for name, options in rungs().items():
            if seed == 0 or name in SEVERAL:
                runs[name, seed] = dataclasses.replace(
                    options, width=width, kimg=kimg, seed=seed, patience=0.0, tick=20.0
                )
    return runs


def folder(work: Path, name: str, seed: int) -> Path:
    """Where a run lies."""
    words = "".join(c if c.isalnum() else " " for c in name).split()
    return work / f"{'-'.join(words)}-{seed}"


def table(work: Path, runs: dict[tuple[str, int], TrainOptions]) -> list[str]:
    """A line for each rung: what its best and its last generator score (means over the seeds)."""
    lines = [
        "| recipe | seeds | KID x1000, best | inside classes | at the end | class agreement "
        "| least variety | kimg of the best |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name in dict.fromkeys(name for name, _ in runs):
        rows = [
            _row(folder(work, *run), options) for run, options in runs.items() if run[0] == name
        ]
        rows = [row for row in rows if row]
        if rows:
            cells = [_mean_and_range(list(values)) for values in zip(*rows, strict=True)]
            lines.append(f"| {name} | {len(rows)} | " + " | ".join(cells) + " |")
    return lines


def _row(path: Path, options: TrainOptions) -> list[float] | None:
    lines = [line for line in Run(path).read_metrics() if line.step <= options.steps]
    found = best_so_far(lines)
    if not found or lines[-1].step < options.steps:
        return None  # it is not there yet
    line, best = found
    return [
        best.kid * 1000, best.mean_class_kid * 1000, lines[-1].better.mean_class_kid * 1000,
        (best.mean_agreement or 0.0) * 100, min(best.variety.values()) * 100, line.kimg,
    ]  # fmt: skip


def _mean_and_range(values: list[float]) -> str:
    mean = f"{statistics.fmean(values):.0f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.0f} to {max(values):.0f})"


def main() -> None:
    """Train or tabulate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scans", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--kimg", type=float, default=KIMG)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="the runs of this name alone")
    parser.add_argument("--table", action="store_true")
    given = parser.parse_args()
    runs = plan(given.width, given.kimg, given.seeds)
    if given.table:
        print("\n".join(table(given.work, runs)))
        return
    for (name, seed), options in runs.items():
        if given.only not in ("", name):
            continue
        out = folder(given.work, name, seed)
        print(f"{name}, seed {seed}: {out}", flush=True)
        try:
            train(given.scans, out, options, report=lambda line: print(line, flush=True))
        except Stopped:
            raise SystemExit("stopped; the same command again goes on") from None
        except ScanganError as error:
            print(json.dumps({"run": str(out), "error": str(error)}), flush=True)


if __name__ == "__main__":
    main()
