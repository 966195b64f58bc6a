"""The records of a run folder: ``config.json``, and a line of ``items.jsonl`` and of ``metrics.jsonl``."""

from typing import Literal

from msgspec import field

from scangan.artifacts.dataset_records import Item, Settings, Shade
from scangan.artifacts.records import Record
from scangan.artifacts.scores import Scores, mean
from scangan.artifacts.train_options import TrainOptions


class TrainedDataset(Record, frozen=True, kw_only=True):
    """The prepared dataset of a run, as stored in ``config.json``.

    `counts` are all scans of each class, `synthetic` those of them that a generative model made; it is
    empty if there are none.
    """

    classes: tuple[str, ...]
    counts: dict[str, int]
    synthetic: dict[str, int] = field(default_factory=dict)
    fingerprint: str
    path: str = ""
    preprocessing: Settings


class StartedFrom(Record, frozen=True, kw_only=True):
    """What a run started from, if not from random weights.

    Parameters
    ----------
    name : str
        Name of bundled weights, or of a run's folder, without its path.
    classes : tuple of str
        The classes that it was trained on.
    kimg : float
        How long, in thousands of real scans shown.
    scans : int
        Number of scans in its dataset.
    dataset_fingerprint : str
        The dataset.
    started_from : StartedFrom or None
        What that started from in turn.
    listed : bool
        Whether the run lists all scans that these networks were trained on, there and before.
    """

    name: str
    classes: tuple[str, ...]
    kimg: float
    scans: int
    dataset_fingerprint: str
    started_from: "StartedFrom | None" = None
    listed: bool = False


class RunConfig(Record, frozen=True, kw_only=True):
    """The content of ``config.json``.

    Parameters
    ----------
    format_version : int
        Format of the run folder.
    options : TrainOptions
        The options of the run.
    command, recipe : str
        The command as typed, and the name of the recipe that the options started from.
    started : str
        When the run started, ISO 8601.
    dataset : TrainedDataset
        The dataset it trains on.
    versions : dict
        Versions of the tools, and the device and arithmetic used for training.
    started_from : StartedFrom or None
        What the networks started from; None if from random weights.
    """

    format_version: int
    options: TrainOptions
    command: str = ""
    recipe: str = ""
    started: str
    dataset: TrainedDataset
    versions: dict[str, str]
    started_from: StartedFrom | None = None


class RunItem(Item, frozen=True, kw_only=True):
    """A line of a run's ``items.jsonl``: a dataset item, and whether it is held back.

    Runs on older datasets lack the fields that have a default.
    """

    aspect: float = 1.0
    blank: Shade = ""
    synthetic: bool = False
    notes: tuple[str, ...] = ()
    group: int | None = None
    held_back: bool


class Tick(Record, frozen=True, kw_only=True):
    """A line of ``metrics.jsonl``: what was measured after `step` steps.

    Parameters
    ----------
    step : int
        Number of steps so far.
    kimg : float
        Thousands of real scans shown so far.
    loss_d, loss_g, loss_class : float
        Means since the last tick.
    augment_p : float
        Probability of each augmentation.
    images_per_second : float
        Real scans shown per second.
    raw, ema : Scores
        Scores of the generator as trained, and of its moving average.
    auc_training, auc_synthetic : dict
        For each class, how well the discriminator tells training scans from held-back ones, and held-back
        ones from those of the generator as trained: area under the ROC curve, 0.5 if it cannot. A class
        that has too few scans lacks them, as do the lines of older versions.
    best : {"raw", "ema"} or None
        Which of the two was kept as the best so far; None if neither.
    """

    step: int
    kimg: float
    loss_d: float
    loss_g: float
    loss_class: float
    augment_p: float
    images_per_second: float
    raw: Scores
    ema: Scores
    auc_training: dict[str, float] = field(default_factory=dict)
    auc_synthetic: dict[str, float] = field(default_factory=dict)
    best: Literal["raw", "ema"] | None = None

    @property
    def mean_auc_training(self) -> float | None:
        """Mean over the classes; None if no class has a value."""
        return mean(self.auc_training.values())

    @property
    def mean_auc_synthetic(self) -> float | None:
        """Mean over the classes; None if no class has a value."""
        return mean(self.auc_synthetic.values())

    @property
    def kept(self) -> Scores | None:
        """Scores of the generator that was kept at this tick; None if neither was."""
        return None if self.best is None else self.raw if self.best == "raw" else self.ema

    @property
    def better(self) -> Scores:
        """Scores of the better of the two generators."""
        return min(self.ema, self.raw, key=lambda scores: scores.mean_class_kid)
