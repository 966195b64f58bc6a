"""How fast a GPU trains: our step beside the loop of the tutorials, and how busy the GPU is.

    python benchmarks/gpu_training.py SCANS > benchmarks/results/gpu-training.md

SCANS is a prepared dataset; it is enlarged where a size asks for it, which does not change the
speed. Without a GPU this says so and ends with status 1 (`--device cpu` tries the script itself).
"""

import argparse
import itertools
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.profiler import DeviceType, ProfilerActivity, profile
from tutorial_loop import TutorialLoop

from scangan.preprocessing import load_dataset
from scangan.training.data import TrainingScans
from scangan.training.recipe import options_from
from scangan.training.step import make_step

WARM_UP, PROFILED = 10, 20  # steps
EPOCH = 2000  # scans, at least


def read_scans(path, size):
    """All scans at `size`, none held back; each several times, so that an epoch is that of a larger set."""
    scans = load_dataset(path)
    images = np.stack([cv2.resize(image, (size, size)) for image in scans.images])
    times = -(-EPOCH // len(images))
    images, labels = np.tile(images, (times, 1, 1)), np.tile(scans.labels, times)
    return TrainingScans(images, labels, scans.classes, np.zeros(len(images), bool))


def settle(device):
    """Wait for what was queued."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def images_per_second(step, options, steps, device):
    """Rate of a loop once it is warm."""
    for number in range(WARM_UP):
        step(number)
    settle(device)
    start = time.perf_counter()
    for number in range(WARM_UP, WARM_UP + steps):
        step(number)
    settle(device)
    return steps * options.batch / (time.perf_counter() - start)


def busy_share(step, steps, device):
    """Share of the time in which a kernel runs on the device, 0 to 1, by the profiler."""
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        start = time.perf_counter()
        for number in range(steps):
            step(10_000 + number)
        settle(device)
        whole = time.perf_counter() - start
    events = [event for event in profiler.events() if event.device_type == DeviceType.CUDA]
    # One stream: kernels never overlap. Annotations that span kernels are no kernels.
    kernels = [event for event in events if not event.is_user_annotation]
    return sum(event.device_time for event in kernels) / 1e6 / whole


def main():
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scans", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--recipes", nargs="+", default=["stable", "classic-acgan"])
    parser.add_argument("--sizes", nargs="+", type=int, default=[64, 128, 256])
    parser.add_argument("--batches", nargs="+", type=int, default=[16, 64])
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--steps", type=int, default=200)
    given = parser.parse_args()
    if given.device.startswith("cuda") and not torch.cuda.is_available():
        sys.exit("no GPU here (torch sees no CUDA device): nothing was measured")
    device = torch.device(given.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(
        "# GPU training",
        "",
        f"Made by `python benchmarks/gpu_training.py SCANS` on: {name}, torch {torch.__version__}, "
        f"width {given.width}, {given.steps} steps each. Images a second, batches as given.",
        "",
        "| recipe | size | batch | scangan | GPU busy | tutorial loop | scangan is |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
        sep="\n",
    )
    for recipe, size, batch in itertools.product(given.recipes, given.sizes, given.batches):
        scans = read_scans(given.scans, size)
        options = options_from(recipe, {"size": size, "batch": batch, "width": given.width})
        ours = make_step(options, scans, device)
        rate = images_per_second(ours, options, given.steps, device)
        busy = f"{busy_share(ours, PROFILED, device):.0%}" if device.type == "cuda" else "-"
        theirs = images_per_second(
            TutorialLoop(options, scans, device, 4), options, given.steps, device
        )
        print(
            f"| {recipe} | {size} | {batch} | {rate:.0f} | {busy} | {theirs:.0f} "
            f"| {rate / theirs:.2f}x as fast |",
            flush=True,
        )


if __name__ == "__main__":
    main()
