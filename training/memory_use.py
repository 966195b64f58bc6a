"""What to do when the memory does not suffice: say which batch would fit."""

import contextlib
import dataclasses
import gc
import sys
from collections.abc import Callable

import torch

from scangan.artifacts.train_options import NARROWEST, TrainOptions
from scangan.core.errors import TrainingError
from scangan.training.context import Context
from scangan.training.data import TrainingScans
from scangan.training.step import make_step

# What torch's allocators and oneDNN say.
SIGNS = ("not enough memory", "can't allocate memory", "out of memory", "could not create a")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of torch means that memory ran out; on a CPU it has no class of its own."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in SIGNS)


def peak_memory() -> str | None:
    """The most memory that this process has held, in words; None where the system does not say."""
    texts = []
    with contextlib.suppress(ImportError):  # Windows has none
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        texts.append(f"{held / 1e9:.1f} GB")
    if torch.cuda.is_initialized():
        texts.append(f"{torch.cuda.max_memory_reserved() / 1e9:.1f} GB of the GPU's")
    return ", ".join(texts) or None


def explaining_memory(
    work: Callable[[Context, TrainingScans], object], context: Context, scans: TrainingScans
) -> None:
    """Call `work`; where it runs out of memory, say which batch would fit.

    Raises
    ------
    TrainingError
        Memory ran out.
    """
    try:
        work(context, scans)
        return
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        # Its frames hold networks, beside which there is no room for others.
        error.__traceback__ = None
    gc.collect()
    options = context.options
    fits = batch_that_fits(options, scans, context.device, context.rank.world)
    if fits:
        advice = f"--batch {fits} fits; start over with --force"
    elif options.width > NARROWEST:
        advice = f"no batch fits; try --width {max(options.width // 2, NARROWEST)} and start over with --force"
    else:
        advice = "no batch fits; train smaller scans: prepare them into another folder with a lower --size"
    raise TrainingError(f"--batch {options.batch} needs more memory than there is: {advice}")


def batch_that_fits(
    options: TrainOptions,
    scans: TrainingScans,
    device: torch.device,
    processes: int = 1,
) -> int | None:
    """The largest batch of half, a quarter, ... of the wanted one with which a step works."""
    fours = 4 * processes  # each takes its share, in fours
    batch = options.batch // 2 // fours * fours
    while batch >= fours:
        try:
            smaller = dataclasses.replace(options, batch=batch // processes)
            make_step(smaller, scans, device)(0)
            return batch
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            error.__traceback__ = None
        gc.collect()
        batch = batch // 2 // fours * fours
    return None
