"""What all parts of training share: the run, its options, the device, and where lines of text go."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import torch

from scangan.artifacts.run import Run
from scangan.artifacts.train_options import TrainOptions
from scangan.training.parallel import Rank


@dataclasses.dataclass(frozen=True)
class Context:
    """A run as seen by one training process.

    Parameters
    ----------
    run : Run
        The run folder to write to.
    options : TrainOptions
        The options of the run.
    device : torch.device
        Where to compute.
    rank : Rank
        This process; the first one scores, saves, and says what happens.
    say : callable
        Called with each line of text about the run.
    quiet : bool
        Whether to hide the progress bar.
    start : Path or None
        File of the networks that a new run starts from; None for random weights.
    title : str
        What the report calls the run.
    """

    run: Run
    options: TrainOptions
    device: torch.device
    rank: Rank
    say: Callable[[str], None]
    quiet: bool
    start: Path | None = None
    title: str = ""
