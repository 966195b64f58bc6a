"""Runs after a few steps, without the scores and pictures of a whole training."""

import torch

from scangan.artifacts.run import Run
from scangan.training import TrainOptions
from scangan.training.checkpoints import Checkpoint, save_checkpoint
from scangan.training.early_stopping import EarlyStopping
from scangan.training.step import make_step
from scangan.training.train_gan import run_config, run_items, training_scans

SMALL = {"size": 32, "width": 4, "latent": 6, "batch": 8, "kimg": 0.08}


def start_run(path, prepared, steps=2, **given):
    """A run after a few steps, and its discriminator."""
    options, run = TrainOptions(**SMALL | given), Run(path)
    run.start(
        run_config(prepared, options, ("", ""), torch.device("cpu")), run_items(prepared, options)
    )
    step = make_step(options, training_scans(prepared, options, run), torch.device("cpu"))
    for number in range(steps):
        step(number)
    save(run, step)
    return run, step.discriminator.eval()


def save(run, step):
    stopping, sums = EarlyStopping(), torch.zeros(3)
    save_checkpoint(
        run, Checkpoint(step=2, networks=step.state_dict(), progress=stopping, sums=sums, summed=0)
    )
