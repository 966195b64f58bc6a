"""Start or resume a run: check the options, open the scans, write the configuration."""

import dataclasses
import datetime
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from pathlib import Path

import torch
from msgspec.structs import asdict, replace

from scangan.artifacts.dataset import (
    PreparedDataset,
    is_prepared,
    load_dataset,
)
from scangan.artifacts.run import FORMAT_VERSION, Run, check_places
from scangan.artifacts.run_records import RunConfig, RunItem, TrainedDataset
from scangan.artifacts.train_options import TrainOptions
from scangan.core.address import Place, to_place
from scangan.core.errors import USAGE, TrainingError
from scangan.core.files import only_writer
from scangan.training.context import Context
from scangan.training.data import (
    TrainingScans,
    check_counts,
    enlarged_warning,
    hold_back,
    open_source,
    synthetic_warning,
)
from scangan.training.loop import train_session
from scangan.training.memory_use import explaining_memory
from scangan.training.parallel import Rank, join_processes, raise_first_failure
from scangan.training.per_class import train_each_class
from scangan.training.progress_text import LEGEND
from scangan.training.starting_weights import (
    StartingWeights,
    check_fit,
    name_of,
    read_starting_weights,
    write_weights_file,
)
from scangan.training.step import fast_precision


def train(
    source: str | Place,
    out: str | Path,
    options: TrainOptions | None = None,
    *,
    device: str = "auto",
    force: bool = False,
    command: str = "",
    recipe: str = "",
    say: Callable[[str], None] = lambda line: None,
    quiet: bool = True,
    start: str | None = None,
) -> Run:
    """Train a GAN. To resume a run that was stopped or killed, call it again in the same way.

    Under ``torchrun``, every process makes the same call. The first process reports and writes. On
    failure, the process that failed first raises and the others exit.

    Parameters
    ----------
    source : path or address
        A prepared dataset, or a folder of scans, which is prepared into ``out/dataset`` first.
    out : path
        The run folder.
    options : TrainOptions, optional
        Options of the run; by default, those of the recipe ``stable``.
    device : {"auto", "cpu", "cuda"}
        Where to train; auto uses a GPU if there is one.
    force : bool
        Delete an existing run in `out` and start over.
    command : str
        The command as typed, for the run's ``config.json`` only.
    recipe : str
        Name of the recipe that `options` started from, for ``config.json`` and model cards.
    say : callable
        Called with each line of text about the run.
    quiet : bool
        Whether to hide the progress bar.
    start : str, optional
        A run, or the name of bundled starting weights, whose networks a new run starts from.

    Returns
    -------
    Run
        The finished run.

    Raises
    ------
    TrainingError
        The run cannot be started or resumed as asked, or its losses became NaN.
    Stopped
        A signal stopped the run, which was saved.
    """
    source, run, rank = to_place(source), Run(Path(out)), join_processes()
    options = options or TrainOptions()
    say = say if rank.first else lambda line: None
    lock = _only_writer(source, run.path, start) if rank.first else nullcontext()
    with raise_first_failure(rank), lock:
        title = run.path.resolve().name
        context = Context(run, options, training_device(device), rank, say, quiet, title=title)
        _check_shares(options, rank)
        if rank.first:
            new = force or not run.started
            scans = _begin(context, source, force, (command, recipe), start)
            if new:
                say(LEGEND)
        rank.agree(None)  # the others wait here
        if run.start_file.exists():
            context = dataclasses.replace(context, start=run.start_file)
        if not rank.first:
            dataset = load_dataset(
                source if isinstance(source, Path) and is_prepared(source) else run.dataset
            )
            scans = training_scans(dataset.in_memory(), options, run)
        explaining_memory(train_each_class if options.per_class else train_session, context, scans)
        rank.agree(None)  # and here, until everything is written
    return run


@contextmanager
def _only_writer(source: Place, out: Path, start: str | None) -> Iterator[None]:
    """Lock the run folder, after checking its place: the lock would create the folder."""
    check_places(source, out, start)
    with only_writer(out / ".lock"):
        yield


def _check_shares(options: TrainOptions, rank: Rank) -> None:
    if options.batch % (4 * rank.world):
        raise TrainingError(
            f"--batch {options.batch} must be a multiple of {4 * rank.world} for {rank.world} processes; "
            f"try {-(-options.batch // (4 * rank.world)) * 4 * rank.world}"
        )


def training_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu`` or ``cuda`` into a usable device: for GPUs, the one of this process."""
    if name == "cuda" and not torch.cuda.is_available():
        raise TrainingError(
            "--device cuda: this torch finds no GPU; use --device cpu, or auto", exit_code=USAGE
        )
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda":
        own, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if own >= gpus:
            raise TrainingError(f"every process needs its own GPU; use --nproc-per-node {gpus}")
        torch.cuda.set_device(own)
    return torch.device(name)


def _begin(
    context: Context, source: Place, force: bool, typed: tuple[str, str], start: str | None
) -> TrainingScans:
    """Open the scans and write the run's configuration, or check it against the existing one.

    `typed` holds the command and the recipe's name; `start` says what a new run starts from.
    """
    run, options, say = context.run, context.options, context.say
    run.check_free()
    weights = None
    # A run that goes on has a copy of what it started from, which may be gone or trained further.
    if start == "":
        raise TrainingError("--start-from is empty; give a run", exit_code=USAGE)
    if start and run.started and not force:
        _check_same_start(run, start)
    if start and (force or not run.started):
        weights = read_starting_weights(start)
        check_fit(weights, options)
    with run.beginning(anew=force):
        dataset = open_source(source, run, options, say, context.quiet)
        check_counts(dataset, options)
        for warning in (enlarged_warning(dataset), synthetic_warning(dataset)):
            if warning and not run.started:
                say(f"warning: {warning}")
        dataset = dataset.in_memory()
        config = run_config(dataset, options, typed, context.device)
        if run.started:
            run.go_on(config, start and name_of(start))
        else:
            items = run_items(dataset, options)
            if weights:
                if warning := _known_warning(weights, items):
                    say(f"warning: {warning}")
                write_weights_file(weights, run.start_file, torch.float32)
                config = replace(config, started_from=weights.told)
            run.start(config, items, weights.trained_on if weights else ())
        return training_scans(dataset, options, run)


def _check_same_start(run: Run, start: str) -> None:
    """Refuse another run of the same name; one that is gone, or was trained further, is no other."""
    before, other = run.config.started_from, Run(start)
    if before is None or not other.started:
        return
    try:
        now = other.config.dataset.fingerprint
    except TrainingError:  # damaged since; the run has a copy of its networks
        return
    if now != before.dataset_fingerprint:
        raise TrainingError(
            f"{run.path} started from another run named {before.name}, which had other scans than {start}; "
            f"give that run, or choose another --out",
            exit_code=USAGE,
        )


def _known_warning(weights: StartingWeights, items: list[RunItem]) -> str:
    seen = {(item.sha256, item.frame) for item in weights.trained_on}
    held = [(item.sha256, item.frame) for item in items if item.held_back]
    known = sum(scan in seen for scan in held)
    if not known:
        return ""
    return (
        f"{weights.told.name} was trained on {known} of the {len(held)} scans held back, so scores will be "
        f"too good; judge the result with scans that neither run has seen"
    )


def run_items(dataset: PreparedDataset, options: TrainOptions) -> list[RunItem]:
    """Return the items of a new run: those of the dataset, with the choice of what to hold back."""
    held_back = hold_back(dataset, options.held_back, options.by_class).tolist()
    pairs = zip(dataset.items, held_back, strict=True)
    return [RunItem(**asdict(item), held_back=held) for item, held in pairs]


def training_scans(dataset: PreparedDataset, options: TrainOptions, run: Run) -> TrainingScans:
    """Return the scans of the run, holding back those that its ``items.jsonl`` lists as held back."""
    held_back = run.held_back(len(dataset.items))
    scans = TrainingScans(
        dataset.images,
        dataset.labels,
        dataset.classes,
        held_back,
        dataset.synthetic,
        dataset.groups,
    )
    return scans if options.by_class else scans.whatever_class()


def run_config(
    dataset: PreparedDataset, options: TrainOptions, typed: tuple[str, str], device: torch.device
) -> RunConfig:
    """Return the configuration of a new run; `typed` holds the command and the recipe's name."""
    return RunConfig(
        format_version=FORMAT_VERSION,
        options=options,
        command=typed[0],
        recipe=typed[1],
        started=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        dataset=TrainedDataset(
            classes=dataset.classes,
            counts=dataset.counts,
            synthetic=dataset.synthetic_counts,
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
