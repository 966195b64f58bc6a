"""How fast two processes train beside one, and whether they learn the same.

    python benchmarks/two_processes.py SCANS WORK [--kimg 4] > benchmarks/results/two-processes.md

SCANS is a prepared dataset, WORK a folder for the runs, which are made anew. Three ways, in turn:
one process on two threads, one on one thread, two of one thread each that share every batch.
"""

import argparse
import itertools
import os
import platform
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import torch

from scangan.preprocessing import load_dataset
from scangan.training import Run

ONE = [sys.executable, "-m", "scangan.cli", "train"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
TWO = [*TORCHRUN, "-m", "scangan.cli", "train"]
WAYS = {
    "1 process, 2 threads": (ONE, 2),
    "1 process, 1 thread": (ONE, 1),
    "2 processes, 1 thread each": (TWO, 1),
}
LOSSES = ("loss_d", "loss_g", "loss_class")


def train(way, given, out):
    """Train one way; the lines of its ``metrics.jsonl``."""
    command, threads = WAYS[way]
    options = [f"--{key}={getattr(given, key)}" for key in ("recipe", "kimg", "batch", "width")]
    options += [f"--size={load_dataset(given.scans).size}", f"--tick={given.kimg / given.ticks}"]
    argv = [*command, given.scans, "--out", out, "--device=cpu", "--quiet", *options]
    shutil.rmtree(out, ignore_errors=True)
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(list(map(str, argv)), env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{way}: {done.stderr.strip().splitlines()[0]}")
    print(f"{way}: {out}", file=sys.stderr, flush=True)
    return Run(out).read_metrics()


def speed_table(runs):
    """Scans a second of each way: the median of all ticks but each run's first, least and most."""
    median = {}
    lines = [
        "| | scans/s, median | range | to 1 process, 2 threads |",
        "| --- | ---: | ---: | ---: |",
    ]
    for way, metrics in runs.items():
        speeds = [line.images_per_second for run in metrics for line in run[1:]]
        median[way] = statistics.median(speeds)
        ratio = median[way] / median["1 process, 2 threads"]
        lines.append(
            f"| {way} | {median[way]:.0f} | {min(speeds):.0f} to {max(speeds):.0f} | {ratio:.2f} |"
        )
    return lines


def loss_table(runs):
    """Mean losses of D, of G and of the classifier, tick by tick, of each way's first run."""
    lines = ["| kimg | " + " | ".join(f"{way}: D / G / class" for way in runs) + " |"]
    lines.append("| ---: |" + " ---: |" * len(runs))
    for ticks in zip(*(metrics[0] for metrics in runs.values()), strict=True):
        cells = [" / ".join(f"{getattr(tick, loss):.3f}" for loss in LOSSES) for tick in ticks]
        lines.append(f"| {ticks[0].kimg:.2f} | " + " | ".join(cells) + " |")
    return lines


def main():
    """Train all ways and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scans", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--recipe", default="stable")
    parser.add_argument("--kimg", type=float, default=4.0)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--ticks", type=int, default=4, help="scored so often; at least 4")
    parser.add_argument("--times", type=int, default=3, help="runs of each way")
    given = parser.parse_args()
    runs = {way: [] for way in WAYS}
    for time, (number, way) in itertools.product(range(given.times), enumerate(WAYS)):
        runs[way].append(train(way, given, given.work / f"{number}-{time}"))
    lines = [
        "# Two processes",
        "",
        f"Made by `python benchmarks/two_processes.py SCANS WORK --recipe {given.recipe} "
        f"--kimg {given.kimg:g} --batch {given.batch} --width {given.width} --ticks {given.ticks} "
        f"--times {given.times}` at {load_dataset(given.scans).size} pixels on a shared machine of "
        f"{os.cpu_count()} cores ({platform.machine()}, torch {torch.__version__}). The batch is "
        "that of all processes together. Scoring is not counted.",
        "",
        *speed_table(runs),
        "",
        "## Losses",
        "",
        "Means since the tick before, same seed. They part by rounding alone (and by what dropout drops).",
        "",
        *loss_table(runs),
    ]
    print("\n".join(lines))


if __name__ == "__main__":
    main()
