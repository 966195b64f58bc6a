"""Out of memory: recognise it, and find the batch that would fit."""

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

# Phrases in the errors of torch's allocators and oneDNN.
SIGNS = ("not enough memory", "can't allocate memory", "out of memory", "could not create a")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error from torch means that memory ran out; on CPUs it has no class of its own."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in SIGNS)


def peak_memory() -> str | None:
    """Return the peak memory of this process as text; None if the system does not report it."""
    texts = []
    with contextlib.suppress(ImportError):  # Windows has none
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        texts.append(f"{held / 1e9:.1f} GB")
    if torch.cuda.is_initialized():
        texts.append(f"{torch.cuda.max_memory_reserved() / 1e9:.1f} GB on the GPU")
    return ", ".join(texts) or None


def explaining_memory(
    work: Callable[[Context, TrainingScans], object], context: Context, scans: TrainingScans
) -> None:
    """Call `work`; if it runs out of memory, raise an error that says which batch would fit.

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
        # The frames hold networks, and leave no room to try others.
        error.__traceback__ = None
    gc.collect()
    options = context.options
    fits = batch_that_fits(options, scans, context.device, context.rank.world)
    if (context.run.path / "last.pt").exists():  # it did fit
        smaller = f", or start a run with --batch {fits} in another --out" if fits else ""
        raise TrainingError(
            f"out of memory; close other programs and run the same command again to continue{smaller}"
        )
    if fits:
        advice = f"--batch {fits} fits; start over with --force"
    elif options.width > NARROWEST:
        advice = f"no batch fits; try --width {max(options.width // 2, NARROWEST)} and start over with --force"
    else:
        advice = "no batch fits; train smaller scans: prepare them into another folder with a lower --size"
    raise TrainingError(f"--batch {options.batch} does not fit in memory: {advice}")


def batch_that_fits(
    options: TrainOptions,
    scans: TrainingScans,
    device: torch.device,
    processes: int = 1,
) -> int | None:
    """Return the first of 1/2, 1/4, ... of the batch for which a step fits in memory."""
    fours = 4 * processes  # the share of each process is a multiple of four
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
