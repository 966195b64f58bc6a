"""What all parts of a training run are told: where it is, how it trains, and who reads of it."""

import dataclasses
from collections.abc import Callable

import torch

from scangan.artifacts.run import Run
from scangan.artifacts.train_options import TrainOptions
from scangan.training.parallel import Rank


@dataclasses.dataclass(frozen=True)
class Context:
    """A run, as one process trains it.

    Parameters
    ----------
    run : Run
        Where everything is written.
    options : TrainOptions
        Of the run.
    device : torch.device
        Where to compute.
    rank : Rank
        This process; the first one scores, says and saves.
    say : callable
        Takes lines of text.
    quiet : bool
        Show no progress bar.
    """

    run: Run
    options: TrainOptions
    device: torch.device
    rank: Rank
    say: Callable[[str], None]
    quiet: bool
