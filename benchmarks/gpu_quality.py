"""Train several generators side by side on one GPU, for as long as there is time.

    python benchmarks/gpu_quality.py WORK --minutes 9 --data brain-64=PREPARED --data chest-128=PREPARED
    python benchmarks/gpu_quality.py WORK --list

WORK gets a folder for each run: ``config.json`` and ``best.safetensors`` as train-gan writes them
(the average of the last generator, in float16 precision, without scores). `export-onnx` takes it; it is
scored elsewhere, where there is time. Without a GPU this says so and ends with status 1.

A run lasts as long as the others, not as many kimg: its learning rates follow the clock.
"""

import argparse
import dataclasses
import subprocess
import sys
import time
from pathlib import Path

import torch

from scangan.artifacts.run import Run
from scangan.preprocessing import load_dataset
from scangan.training import step as steps
from scangan.training.checkpoints import Best, save_best
from scangan.training.ema import BATCHES, with_own_statistics
from scangan.training.recipe import options_from
from scangan.training.sampling import step_draws
from scangan.training.step import make_step
from scangan.training.train_gan import run_config, run_items, training_scans

DECAY = {"lr_schedule": "linear", "lr_hold": 2 / 3, "batch": 32, "ema_kimg": 20.0}
BRAIN = DECAY | {"mirror": True}
CUTOUT = ("brightness", "contrast", "translation", "cutout")
# name: (data, what differs from stable). What matters most comes first.
RUNS = {
    "brain-64-w64": ("brain-64", BRAIN | {"width": 64}),
    "brain-64-w64-features": ("brain-64", BRAIN | {"width": 64, "feature_weight": 0.1}),
    "brain-64-w64-residual": ("brain-64", BRAIN | {"width": 64, "residual": True}),
    "brain-64": ("brain-64", BRAIN),
    "brain-64-residual": ("brain-64", BRAIN | {"residual": True}),
    "brain-128": ("brain-128", BRAIN | {"size": 128}),
    "brain-128-residual": ("brain-128", BRAIN | {"size": 128, "residual": True}),
    "brain-64-lecam": ("brain-64", BRAIN | {"lecam": 0.3}),
    "brain-64-cutout": ("brain-64", BRAIN | {"augment": CUTOUT}),
    "brain-64-not-mirrored": ("brain-64", DECAY),
    "brain-64-constant": ("brain-64", BRAIN | {"lr_schedule": "constant"}),
    "brain-64-seed-1": ("brain-64", BRAIN | {"seed": 1}),
    "brain-64-residual-seed-1": ("brain-64", BRAIN | {"residual": True, "seed": 1}),
    "chest-128": ("chest-128", DECAY | {"size": 128}),
    "chest-256": ("chest-256", DECAY | {"size": 256, "width": 16}),
}


def train(name: str, data: Path, work: Path, until: float, device: torch.device) -> None:
    """Train one run until the clock says `until`, and write it down."""
    began = time.time()
    options = options_from("stable", RUNS[name][1])
    dataset = load_dataset(data)
    run = Run(work / name)
    run.start(run_config(dataset, options, ("", "stable"), device), run_items(dataset, options))
    scans = training_scans(dataset.in_memory(), options, run)
    by_kimg = steps.learning_rate_factor

    def by_clock(schedule: str, share: float, hold: float) -> float:
        return by_kimg(schedule, min(1.0, (time.time() - began) / (until - began)), hold)

    steps.learning_rate_factor = by_clock
    networks = make_step(options, scans, device)
    done, shown = 0, time.time()
    while time.time() < until:
        losses = networks(done)
        done += 1
        if done % 200 == 0:
            values = [round(v, 3) for v in losses.tolist()]
            if time.time() - shown > 15:
                shown = time.time()
                speed = done * options.batch / (time.time() - began)
                print(
                    f"{name}: {done * options.batch / 1000:.0f} kimg, {speed:.0f}/s, {values}",
                    flush=True,
                )
    if not done:
        sys.exit(f"{name}: the time was over before the first step; give more --minutes")
    draws = step_draws(options.seed, 0, "statistics", device)
    latents = [draws.normal(options.batch, options.latent) for _ in range(BATCHES)]
    order = torch.arange(BATCHES * options.batch, device=device)
    labels = list((order % len(dataset.classes)).split(options.batch))
    half = with_own_statistics(networks.ema, latents, labels).cpu()
    state = {k: rounded(v) for k, v in half.state_dict().items()}
    options = dataclasses.replace(options, kimg=done * options.batch / 1000)
    run.start(run_config(dataset, options, ("", "stable"), device), run_items(dataset, options))
    save_best(run, Best(state, "ema", options.kimg, None))
    print(f"{name}: whole, {options.kimg:.0f} kimg in {time.time() - began:.0f} s", flush=True)


def rounded(tensor: torch.Tensor) -> torch.Tensor:
    """Matrices in float16 precision: half the bytes to carry home, once they are compressed."""
    return tensor.half().float() if tensor.is_floating_point() and tensor.ndim > 1 else tensor


def main() -> int:
    """Start all runs that there are data for, and wait for them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--minutes", type=float, default=9.0)
    parser.add_argument("--until", type=float, help="instead of --minutes: seconds since 1970")
    parser.add_argument("--data", action="append", default=[], metavar="NAME=PREPARED")
    parser.add_argument("--most", type=int, default=len(RUNS), help="runs side by side, at most")
    parser.add_argument("--only", help="one run, in this process")
    parser.add_argument("--device", default="cuda", help="cpu tries the script")
    parser.add_argument("--list", action="store_true")
    given = parser.parse_args()
    if given.list:
        print("\n".join(f"{name}: {data}, {changed}" for name, (data, changed) in RUNS.items()))
        return 0
    if given.device == "cuda" and not torch.cuda.is_available():
        print("no GPU here (torch sees no CUDA device): nothing was trained", file=sys.stderr)
        return 1
    until = given.until or time.time() + 60 * given.minutes
    pairs = [pair.partition("=") for pair in given.data]
    data = {name: path for name, _, path in pairs}
    needed = {each for each, _ in RUNS.values()}
    if not data or not data.keys() <= needed or not all(data.values()):
        parser.error(f"give --data NAME=PREPARED, with a name out of {', '.join(sorted(needed))}")
    if given.only:
        train(
            given.only,
            Path(data[RUNS[given.only][0]]),
            given.work,
            until,
            torch.device(given.device),
        )
        return 0
    given.work.mkdir(parents=True, exist_ok=True)
    chosen = [name for name, (each, _) in RUNS.items() if each in data][: given.most]
    started = [
        subprocess.Popen(
            [
                sys.executable,
                __file__,
                given.work,
                "--device",
                given.device,
                "--until",
                str(until),
                "--only",
                name,
                *(f"--data={pair}" for pair in given.data),
            ]
        )
        for name in chosen
    ]
    codes = [process.wait() for process in started]  # that of a killed one is negative
    return int(any(codes))


if __name__ == "__main__":
    sys.exit(main())
