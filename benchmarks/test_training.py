"""Training: our step beside the loop of the well-known tutorials, on the same networks and scans.

Both train the same mathematics: generator, discriminator, losses, augmentation, batch, Adam's
settings, moving average. `TutorialLoop` says what it does otherwise.
"""

import time

import cv2
import numpy as np
import pytest
import torch
from tutorial_loop import TutorialLoop

from scangan.artifacts.train_options import TICK
from scangan.evaluation.features import FeatureExtractor
from scangan.evaluation.metrics import RealReference
from scangan.training.data import TrainingScans
from scangan.training.ema import BATCHES, with_own_statistics
from scangan.training.recipe import options_from
from scangan.training.sampling import step_draws
from scangan.training.scoring import score_generator
from scangan.training.step import make_step

TIMES = 9  # each real scan: an epoch of 2160, as sets of a few thousand have
CPU = torch.device("cpu")
CASES = [("stable", 64), ("classic-acgan", 64), ("stable", 128), ("classic-acgan", 128)]
IMAGES = {64: 256, 128: 64}  # a round of CPU time


def make_options(recipe, size):
    """A recipe with its own batch, at the width that all figures are for."""
    return options_from(recipe, {"size": size, "width": 32})


def read_scans(files, size):
    """Scans for training, each several times, none held back."""
    grey = [cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in files]
    images = [cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA) for image in grey]
    names = sorted({file.parent.name for file in files})
    labels = np.array([names.index(file.parent.name) for file in files] * TIMES)
    images = np.tile(np.stack(images), (TIMES, 1, 1))
    return TrainingScans(images, labels, tuple(names), np.zeros(len(labels), bool))


def _time_steps(benchmark, step, options, steps, rounds):
    benchmark.extra_info["images"] = steps * options.batch
    done = 0

    def round():
        nonlocal done
        for _ in range(steps):
            step(done)
            done += 1

    benchmark.pedantic(round, rounds=rounds, warmup_rounds=1)


def _title(recipe, options):
    return f"train {recipe}, {options.size}x{options.size}, width {options.width}, batch {options.batch}"


@pytest.mark.parametrize(("recipe", "size"), CASES)
@pytest.mark.parametrize("who", ["scangan", "tutorial loop"])
def test_step_cpu_time(benchmark, sample_files, recipe, size, who):
    options, scans = make_options(recipe, size), read_scans(sample_files, size)
    benchmark.group, benchmark.name = _title(recipe, options), who
    make = make_step if who == "scangan" else TutorialLoop
    _time_steps(benchmark, make(options, scans, CPU), options, IMAGES[size] // options.batch, 5)


@pytest.mark.benchmark(timer=time.perf_counter)
@pytest.mark.parametrize(("recipe", "size"), CASES)
@pytest.mark.parametrize("who", ["scangan", "tutorial loop", "tutorial loop, 2 workers"])
def test_step_wall_time(benchmark, two_threads, sample_files, recipe, size, who):
    options, scans = make_options(recipe, size), read_scans(sample_files, size)
    benchmark.group, benchmark.name = f"{_title(recipe, options)}, wall time", who
    benchmark.extra_info["wall"] = "two threads"
    if who == "scangan":
        step = make_step(options, scans, CPU)
    else:
        step = TutorialLoop(options, scans, workers=2 if "workers" in who else 0)
    _time_steps(benchmark, step, options, 64 // options.batch, 12)


@pytest.mark.parametrize("what", ["training", "scoring raw and average, every 20 kimg"])
def test_tick(benchmark, sample_files, what):
    options, scans = make_options("stable", 64), read_scans(sample_files, 64)
    benchmark.group, benchmark.name = f"a tick of {_title('stable', options)}", what
    step = make_step(options, scans, CPU)
    if what == "training":
        _time_steps(benchmark, step, options, IMAGES[64] // options.batch, 5)
        return
    benchmark.extra_info |= {"images": round(TICK * 1000), "share": True}
    reference = RealReference(
        scans.images, scans.labels, scans.classes, FeatureExtractor(threads=1)
    )
    draws = step_draws(0, 0, "statistics", CPU)
    latents = [draws.normal(options.batch, options.latent) for _ in range(BATCHES)]
    labels = [torch.arange(options.batch) % len(scans.classes)] * BATCHES

    def tick():
        for model in (step.generator.eval(), with_own_statistics(step.ema, latents, labels)):
            score_generator(model, reference, options.latent, options.seed, CPU)

    benchmark.pedantic(tick, rounds=3, warmup_rounds=1)
