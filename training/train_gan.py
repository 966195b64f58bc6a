"""Start or resume a run: check what was asked for, open the scans, write the configuration."""

import datetime
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path

import torch
from msgspec.structs import asdict

from scangan.artifacts.dataset import (
    PreparedDataset,
    is_prepared,
    is_split,
    load_dataset,
)
from scangan.artifacts.run import FORMAT_VERSION, Run, RunConfig, RunItem, TrainedDataset
from scangan.artifacts.train_options import TrainOptions
from scangan.core.errors import TrainingError
from scangan.core.files import only_writer
from scangan.preprocessing.find_scans import SourceOptions, find_scans
from scangan.training.context import Context
from scangan.training.data import (
    TrainingScans,
    check_counts,
    enlarged_warning,
    hold_back,
    open_prepared,
    open_source,
    synthetic_warning,
)
from scangan.training.loop import train_session
from scangan.training.memory_use import explaining_memory
from scangan.training.parallel import Rank, join_processes, raise_first_failure
from scangan.training.per_class import train_each_class
from scangan.training.progress_text import LEGEND
from scangan.training.step import fast_precision

Report = Callable[[str], None]


def train(
    source: str | Path,
    out: str | Path,
    options: TrainOptions | None = None,
    *,
    device: str = "auto",
    force: bool = False,
    command: str = "",
    recipe: str = "",
    report: Report = lambda line: None,
    quiet: bool = True,
) -> Run:
    """Train a GAN; the same call again resumes a run that was stopped or killed.

    Under ``torchrun`` every process calls it with the same arguments and the same `out`. The first
    one reports and writes; where it fails, only the process that failed first raises, the others exit.

    Parameters
    ----------
    source : path
        A prepared dataset, or a folder of scans, which is first prepared into ``out/dataset``.
    out : path
        The run folder.
    options : TrainOptions, optional
        Networks, objective and schedule.
    device : {"auto", "cpu", "cuda"}
        Where to train; auto takes a GPU if there is one.
    force : bool
        Delete a run that `out` holds and start over.
    command : str
        What was typed, for the record; it stays in the run.
    recipe : str
        Name of the recipe that `options` began with, for the record and for model cards.
    report : callable
        Takes a line of text at every tick.
    quiet : bool
        Show no progress bar.

    Returns
    -------
    Run
        The finished run.

    Raises
    ------
    TrainingError
        The run cannot be started or resumed as asked, or its losses became NaN.
    Stopped
        It was stopped by a signal, and saved.
    """
    source, run, rank = Path(source), Run(Path(out)), join_processes()
    options = options or TrainOptions()
    say = report if rank.first else lambda line: None
    lock = _only_writer(source, run.path) if rank.first else nullcontext()
    with raise_first_failure(rank), lock:
        context = Context(run, options, training_device(device), rank, say, quiet)
        _check_shares(options, rank)
        if rank.first:
            new = force or not run.started
            scans = _begin(context, source, force, (command, recipe))
            if new:
                say(LEGEND)
        rank.agree(None)  # the others wait for that
        if not rank.first:
            dataset = load_dataset(source if is_prepared(source) else run.path / "dataset")
            scans = training_scans(dataset.in_memory(), options, run)
        explaining_memory(train_each_class if options.per_class else train_session, context, scans)
        rank.agree(None)  # and for the last that is written
    return run


@contextmanager
def _only_writer(source: Path, out: Path) -> Iterator[None]:
    """Hold the run folder; where it may not be, it is not made for the lock either."""
    _check_places(source, out)
    with only_writer(out / ".lock"):
        yield


def _check_shares(options: TrainOptions, rank: Rank) -> None:
    if options.batch % (4 * rank.world):
        raise TrainingError(
            f"--batch {options.batch} cannot be shared by {rank.world} processes in fours; "
            f"try {-(-options.batch // (4 * rank.world)) * 4 * rank.world}"
        )


def training_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu`` or ``cuda`` into a device that works; of several GPUs, the process's own."""
    if name == "cuda" and not torch.cuda.is_available():
        raise TrainingError("--device cuda: this torch finds no GPU; use --device cpu, or auto")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        own, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if own >= gpus:
            raise TrainingError(f"every process needs a GPU of its own: --nproc-per-node {gpus}")
        torch.cuda.set_device(own)
    return torch.device(name)


def _begin(context: Context, source: Path, force: bool, typed: tuple[str, str]) -> TrainingScans:
    """Open the scans and write the run's configuration, or check it against the one there.

    `typed` are the command and the recipe's name.
    """
    run, options, say = context.run, context.options, context.say
    run.check_free()
    if force:
        _check_source(source, options)
    with run.beginning(anew=force):
        dataset = open_source(source, run.path / "dataset", options, say, context.quiet)
        check_counts(dataset, options)
        for warning in (enlarged_warning(dataset), synthetic_warning(dataset)):
            if warning and not run.started:
                say(f"warning: {warning}")
        dataset = dataset.in_memory()
        config = run_config(dataset, options, typed, context.device)
        if run.started:
            run.go_on(config)
        else:
            run.start(config, run_items(dataset, options))
        return training_scans(dataset, options, run)


def _check_places(source: Path, out: Path) -> None:
    if not source.exists():
        raise TrainingError(
            f"{source} does not exist; give a prepared dataset or a folder of scans"
        )
    if out.resolve().is_relative_to(source.resolve()):
        raise TrainingError(f"{out} lies in {source}, or is it; choose an --out outside of it")
    if source.resolve().is_relative_to(out.resolve()):
        raise TrainingError(f"{source} lies in {out}; choose an --out that holds nothing else")


def _check_source(source: Path, options: TrainOptions) -> None:
    """Find out what can be found out at once, before a run is deleted for it."""
    if is_prepared(source) or is_split(source):
        check_counts(open_prepared(source, options), options)
    else:
        find_scans(source, SourceOptions())


def run_items(dataset: PreparedDataset, options: TrainOptions) -> list[RunItem]:
    """The items of a new run: those of the dataset, with what is held back."""
    held_back = hold_back(dataset, options.held_back, options.by_class).tolist()
    pairs = zip(dataset.items, held_back, strict=True)
    return [RunItem(**asdict(item), held_back=held) for item, held in pairs]


def training_scans(dataset: PreparedDataset, options: TrainOptions, run: Run) -> TrainingScans:
    """The scans, with those held back that the run has listed as such."""
    held_back = run.held_back(len(dataset.items))
    scans = TrainingScans(
        dataset.images, dataset.labels, dataset.classes, held_back, dataset.synthetic
    )
    return scans if options.by_class else scans.whatever_class()


def run_config(
    dataset: PreparedDataset, options: TrainOptions, typed: tuple[str, str], device: torch.device
) -> RunConfig:
    """The configuration of a new run; `typed` are the command and the recipe's name."""
    return RunConfig(
        format_version=FORMAT_VERSION,
        options=options,
        command=typed[0],
        recipe=typed[1],
        started=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        dataset=TrainedDataset(
            classes=dataset.classes,
            counts=dataset.counts,
            fingerprint=dataset.fingerprint,
            path=str(dataset.path.resolve()),
            preprocessing=dataset.info.options,
        ),
        versions={
            "scangan": version("scangan"),
            "torch": str(torch.__version__),
            "python": platform.python_version(),
            "device": device.type,
            "arithmetic": "bf16" if fast_precision(device) else "fp32",
        },
    )
