"""Divide a prepared dataset into the scans that a run was trained on, and those that it held back."""

import dataclasses
from pathlib import Path

import numpy as np

from scangan.artifacts.dataset import load_dataset
from scangan.artifacts.run import Run
from scangan.core.counted import counted
from scangan.core.errors import EvaluationError
from scangan.evaluation.leaks import without_trained_on
from scangan.evaluation.scan_set import ScanSet

STARTED = (
    "the run started from other networks; scans that only those were trained on were not searched"
)


def subsets_of_run(path: str | Path, run: Run) -> tuple[ScanSet, ScanSet | None, list[str]]:
    """Divide a prepared dataset as a run did.

    Scans are recognised by the SHA-256 of their file and the number of their frame.

    Parameters
    ----------
    path : path
        The prepared dataset that the run was trained on.
    run : Run
        The run.

    Returns
    -------
    train, held_back : ScanSet
        The scans that it was trained on, and those held back; None if it held back none.
    notes : list of str
        What was left out.

    Raises
    ------
    EvaluationError
        The run was trained on none of these scans.
    TrainingError
        `run` is not a run, or is damaged.
    """
    before = run.config.started_from  # raises if this is not a run, which is the likelier mistake
    scans = ScanSet.of_dataset(path)
    known = {(item.sha256, item.frame): True for item in run.read_items()}
    # Of a scan that was held back, a copy may have been trained on, here or by the run before.
    known |= {(item.sha256, item.frame): False for item in run.trained_on()}
    found = [known.get((item.sha256, item.frame)) for item in load_dataset(path).items]
    train, held, other = (
        np.flatnonzero([each is part for each in found]) for part in (False, True, None)
    )
    notes = []
    if len(other):
        notes.append(f"left out {counted(len(other), 'real scan')} that the run does not know")
    synthetic = scans.synthetic[train]
    if synthetic.any():
        notes.append(f"left out {counted(int(synthetic.sum()), 'synthetic training scan')}")
        train = train[~synthetic]
    if not len(train):
        raise EvaluationError(
            f"{run.path} was trained on no real scan of {path}; give the dataset that it was trained on"
        )
    if before:
        notes.append(STARTED)
    trained = dataclasses.replace(scans.take(train), name=f"{path} (trained on)")
    if not len(held):
        return trained, None, notes
    return trained, dataclasses.replace(scans.take(held), name=f"{path} (held back)"), notes


def trained_and_held_back(path: str | Path, run: Run) -> tuple[ScanSet, ScanSet, tuple[str, ...]]:
    """Divide a prepared dataset as `subsets_of_run` does, to test on what the run held back.

    Test scans of a subject that the networks before this run learnt from are left out.

    Raises
    ------
    EvaluationError
        The run was trained on none of these scans, or held back none of a class.
    TrainingError
        `run` is not a run, or is damaged.
    """
    try:
        train, held, notes = subsets_of_run(path, run)
    except EvaluationError as error:
        raise EvaluationError(f"{error}, or test scans: --test") from error
    lacking = [name for name, count in train.counts.items() if held and not held.counts[name]]
    if held is None or lacking:
        of = f" of {', '.join(lacking)}" if lacking else ""
        raise EvaluationError(
            f"{run.path} held back no scan{of}; give scans of every class to test on: --test"
        )
    held, more = without_trained_on(run, held, drop=True)
    notes = [note for note in notes if note != STARTED] + list(more)
    picked = (
        "the test scans are those that the run held back: they trained nothing, but picked the checkpoint, "
        "so figures on them may be slightly too good"
    )
    return train, held, (*notes, picked)
