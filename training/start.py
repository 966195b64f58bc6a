"""Start or resume a run: check what was asked for, open the scans, write the configuration."""

import datetime
import platform
import shutil
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scangan.evaluation.metrics import RealReference
from scangan.preprocessing.dataset import PreparedDataset, is_prepared, is_split, load_dataset
from scangan.preprocessing.options import PrepOptions
from scangan.preprocessing.pipeline import prepare
from scangan.preprocessing.report import one_line
from scangan.runtime.files import only_writer
from scangan.training.errors import TrainingError
from scangan.training.loop import Session
from scangan.training.options import TrainOptions
from scangan.training.run import FORMAT_VERSION, Run
from scangan.training.step import fast_precision


def train(
    source: str | Path,
    out: str | Path,
    options: TrainOptions | None = None,
    *,
    device: str = "auto",
    command: str = "",
    report: Callable[[str], None] = lambda line: None,
    quiet: bool = True,
) -> Run:
    """Train a GAN; the same call again resumes a run that was stopped or killed.

    Parameters
    ----------
    source : path
        A prepared dataset, or a folder of scans, which is first prepared into ``out/dataset``.
    out : path
        The run folder.
    options : TrainOptions, optional
        Networks and schedule.
    device : {"auto", "cpu", "cuda"}
        Where to train; auto takes a GPU if there is one.
    command : str
        What was typed, for the record.
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
        The run cannot be started or resumed as asked, or its losses are no numbers any more.
    Stopped
        It was stopped by a signal, and saved.
    """
    options, run = options or TrainOptions(), Run(Path(out))
    place = choose_device(device)
    run.check_free()
    with only_writer(run.path / ".lock"):
        _train(Path(source), run, options, place, command, report, quiet)
    return run


def _train(
    source: Path,
    run: Run,
    options: TrainOptions,
    device: torch.device,
    command: str,
    report: Callable[[str], None],
    quiet: bool,
) -> None:
    dataset = _open_source(source, run, options, report, quiet)
    conditional = options.arch == "acgan"
    if conditional and len(dataset.classes) < 2:
        raise TrainingError(
            f"{source} has one class only ({dataset.classes[0]}); an ACGAN needs two or more: "
            f"use --arch dcgan"
        )
    labels = dataset.labels if conditional else np.zeros_like(dataset.labels)
    reference = RealReference(dataset.images, labels, dataset.classes if conditional else ("all",))
    run.start(_config(dataset, options, command, device), dataset.items)
    session = Session(run, options, dataset, reference, device, report)
    session.resume()
    session.loop(quiet)


def choose_device(name: str) -> torch.device:
    """Turn ``auto``, ``cpu`` or ``cuda`` into a device that works."""
    if name == "cuda" and not torch.cuda.is_available():
        raise TrainingError("--device cuda: this torch finds no GPU; use --device cpu, or auto")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def _open_source(
    source: Path, run: Run, options: TrainOptions, report: Callable[[str], None], quiet: bool
) -> PreparedDataset:
    if not source.exists():
        raise TrainingError(
            f"{source} does not exist; give a prepared dataset or a folder of scans"
        )
    if run.path.resolve().is_relative_to(source.resolve()):
        raise TrainingError(f"{run.path} lies in {source}, or is it; choose an --out outside of it")
    if is_prepared(source) or is_split(source):
        dataset = load_dataset(source)
        if dataset.size != options.size:
            raise TrainingError(
                f"{source} is prepared at {dataset.size} pixels, not {options.size}; "
                f"use --size {dataset.size}, or prepare it with --size {options.size}"
            )
        return dataset
    target = run.path / "dataset"
    if not (run.path / "config.json").exists():
        shutil.rmtree(target, ignore_errors=True)  # of a start that failed; the scans may be others
    dataset = prepare(source, target, PrepOptions(size=options.size), quiet=quiet)
    report(one_line(dataset.info))
    return dataset


def _config(
    dataset: PreparedDataset, options: TrainOptions, command: str, device: torch.device
) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "options": options.to_dict(),
        "command": command,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "dataset": {
            "classes": list(dataset.classes),
            "counts": dataset.counts,
            "fingerprint": dataset.fingerprint,
            "preprocessing": dataset.info["options"],
        },
        "versions": {
            "scangan": version("scangan"),
            "torch": torch.__version__,
            "python": platform.python_version(),
            "device": device.type,
            "arithmetic": "bf16" if fast_precision(device) else "fp32",
        },
    }
