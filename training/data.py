"""Open or prepare the scans of a run, check them, and hold some back for scoring."""

import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from scangan.artifacts.dataset import (
    PreparedDataset,
    is_dataset,
    load_dataset,
    read_summary,
)
from scangan.artifacts.run import Run
from scangan.artifacts.split import split_indices
from scangan.artifacts.train_options import SIZES, TrainOptions
from scangan.core.address import Place
from scangan.core.counted import counted
from scangan.core.errors import OtherDataset, PreprocessingError, TrainingError
from scangan.evaluation.metrics import FEWEST
from scangan.preprocessing.options import PrepOptions
from scangan.preprocessing.pipeline import prepare
from scangan.preprocessing.summary_text import looked_through, one_line


@dataclasses.dataclass(frozen=True)
class TrainingScans:
    """Scans to train on and scans to score against.

    Parameters
    ----------
    images : ndarray
        uint8 [N, H, W].
    labels : ndarray
        int64 [N], indices into `classes`.
    classes : tuple of str
        Class names; ``("all",)`` for an unconditional model.
    held_back : ndarray
        bool [N]: used for scoring, not for training.
    synthetic : ndarray, optional
        bool [N]: made by a generative model, so never scored against. None by default.
    groups : ndarray, optional
        int64 [N]: scans of one group, as of one subject, belong together. By default, each stands alone.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    held_back: npt.NDArray[np.bool_]
    synthetic: npt.NDArray[np.bool_] | None = None
    groups: npt.NDArray[np.int64] | None = None

    def of_class(self, number: int) -> "TrainingScans":
        """Return the scans of one class."""
        chosen = self._take(self.labels == number)
        return dataclasses.replace(
            chosen, labels=np.zeros_like(chosen.labels), classes=(self.classes[number],)
        )

    def real(self) -> "TrainingScans":
        """Return the scans that are not synthetic."""
        if self.synthetic is None or not self.synthetic.any():
            return self
        return dataclasses.replace(self._take(~self.synthetic), synthetic=None)

    def _take(self, chosen: npt.NDArray[np.bool_]) -> "TrainingScans":
        return TrainingScans(
            self.images[chosen],
            self.labels[chosen],
            self.classes,
            self.held_back[chosen],
            None if self.synthetic is None else self.synthetic[chosen],
            None if self.groups is None else self.groups[chosen],
        )

    def whatever_class(self) -> "TrainingScans":
        """Return the same scans, all in one class."""
        return dataclasses.replace(self, labels=np.zeros_like(self.labels), classes=("all",))


def open_source(
    source: Place,
    run: Run,
    options: TrainOptions,
    say: Callable[[str], None] = lambda line: None,
    quiet: bool = True,
) -> PreparedDataset:
    """Open a prepared dataset, or prepare a folder of scans into the run's folder.

    Raises
    ------
    TrainingError
        The dataset was prepared at another size, or the run has other scans.
    PreprocessingError
        There are no usable scans.
    """
    if isinstance(source, Path) and is_dataset(source):
        dataset = open_prepared(source, options)
        if not run.started:  # those of a start that was stopped
            run.drop_dataset()
        return dataset
    prepared = partial(prepare, source, run.dataset, PrepOptions(size=options.size), quiet=quiet)
    try:
        dataset = prepared()
    except OtherDataset as error:
        if run.started:
            raise TrainingError(
                f"{run.path} holds a run whose scans were prepared {error.difference}; choose "
                f"another --out, or start over with --force"
            ) from error
        run.drop_dataset()
        dataset = prepared()
    summary = read_summary(run.dataset)
    for line in (*looked_through(summary), one_line(summary)):
        say(line)
    return dataset


def open_prepared(source: Path, options: TrainOptions) -> PreparedDataset:
    """Open a prepared dataset; raises as `open_source` does."""
    dataset = load_dataset(source)
    if dataset.size != options.size:
        use = f"use --size {dataset.size}, or " if dataset.size in SIZES else ""
        raise TrainingError(
            f"{source} was prepared at {dataset.size} pixels, not {options.size}; {use}prepare the "
            f"scans into another folder with --size {options.size}"
        )
    return dataset


def enlarged_warning(dataset: PreparedDataset) -> str | None:
    """Return a warning if scans are smaller than the training size, else None."""
    enlarged = sum(item.enlarged for item in dataset.items)
    if not enlarged:
        return None
    of = f"of {counted(len(dataset.items), 'scan')} "
    return (
        f"{counted(enlarged, of + 'is', of + 'are')} smaller than {dataset.size} pixels; "
        f"enlarging adds no detail for the generator to learn"
    )


def synthetic_warning(dataset: PreparedDataset) -> str | None:
    """Return a warning if the generator would learn from synthetic scans, else None."""
    count = int(dataset.synthetic.sum())
    if not count:
        return None
    of = f"of {counted(len(dataset.items), 'scan')} "
    return (
        f"{counted(count, of + 'is', of + 'are')} synthetic (made by a generative model): used for "
        f"training, but never scored against"
    )


def hold_back(
    dataset: PreparedDataset, share: float, by_class: bool = True
) -> npt.NDArray[np.bool_]:
    """Choose the scans to hold back from training: bool [N], the same share of every class.

    Groups are never divided. Scores are by class, or over all scans if not `by_class`. A class (or
    all scans) with too few scans to hold back 8, or too few groups, holds back none. Synthetic
    scans and their groups are never held back.
    """
    none = np.zeros(len(dataset.labels), bool)
    if share == 0:
        return none
    groups = dataset.groups
    try:
        trained = np.isin(groups, groups[dataset.synthetic])
        _, held = split_indices(groups, dataset.labels, (1 - share, share), in_train=trained)
    except PreprocessingError:  # too few groups
        return none
    mask = none.copy()
    mask[held] = True
    scored = dataset.labels if by_class else np.zeros_like(dataset.labels)
    of_classes = [scored == number for number in np.unique(scored)]
    while small := [of_class for of_class in of_classes if _too_few(mask[of_class])]:
        # A group may span classes. Returning it whole may leave another class with too few.
        mask &= ~np.isin(groups, groups[mask & small[0]])
    return mask


def _too_few(held: npt.NDArray[np.bool_]) -> bool:
    """Whether a class holds back some scans but too few, or has too few left to train on."""
    return bool(held.any()) and min(held.sum(), (~held).sum()) < FEWEST


def check_counts(dataset: PreparedDataset, options: TrainOptions) -> None:
    """Refuse datasets that are too small to learn from.

    Raises
    ------
    TrainingError
        An ACGAN has only one class, or a class (for a DCGAN, the whole dataset) has fewer than 8
        scans that are not synthetic.
    """
    if options.arch == "acgan" and len(dataset.classes) < 2:
        raise TrainingError(
            f"there is only one class ({dataset.classes[0]}); an ACGAN needs two or more: "
            f"use --arch dcgan"
        )
    real = np.bincount(dataset.labels[~dataset.synthetic], minlength=len(dataset.classes))
    counts = dict(zip(dataset.classes, map(int, real), strict=True))
    small = {name: n for name, n in counts.items() if n < FEWEST}
    scans = "real scans" if dataset.synthetic.any() else "scans"
    if options.by_class and small:
        named = ", ".join(f"{name!r} ({n})" for name, n in small.items())
        if real.sum() < FEWEST:  # however they are named
            without = ""
        elif options.per_class:
            without = ", merge classes, or train without classes (--no-per-class)"
        else:
            without = ", merge classes, or train without classes (--arch dcgan)"
        raise TrainingError(
            f"too few {scans} of {named}: each class needs at least {FEWEST}; add scans{without}"
        )
    if not options.by_class and real.sum() < FEWEST:
        raise TrainingError(f"{real.sum()} {scans} are too few; training needs {FEWEST}; add more")
