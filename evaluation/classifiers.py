"""The classifiers that learn from each diet, behind one protocol."""

from collections.abc import Iterator
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from scangan.core.errors import USAGE, EvaluationError
from scangan.evaluation.cache import Cache
from scangan.evaluation.features import DEFAULT, FeatureExtractor
from scangan.evaluation.probe import train_probe

Rows = npt.NDArray[np.generic]  # what a classifier sees of N scans: [N, ...]
Scores = npt.NDArray[np.float64]  # [N, K], rows sum to 1

CLASSIFIERS = ("probe", "cnn", "vgg16", "resnet152v2", "mobilenetv2")


class Classifier(Protocol):
    """Learns to name the class of a scan.

    Attributes
    ----------
    name : str
        One of `CLASSIFIERS`.
    described : str
        Everything that its results depend on, besides scans and seed.
    by_chance : bool
        Whether two trainings on the same scans differ with their seed.
    """

    name: str
    described: str
    by_chance: bool

    def sees(self, images: npt.NDArray[np.uint8]) -> Rows:
        """Turn scans, uint8 [N, H, W], into what it learns from."""
        ...

    def scores(
        self, rows: Rows, labels: npt.NDArray[np.int64], test: Rows, classes: int, seed: int
    ) -> Scores:
        """Learn from rows with labels, and return the probability of each class for other rows."""
        ...


class Probe:
    """Logistic regression on the features of a pretrained network.

    Parameters
    ----------
    extractor : str
        See `FeatureExtractor`.
    cache : Cache
        Where features are kept.
    threads : int, optional
        Threads of onnxruntime.
    """

    name = "probe"
    by_chance = False

    def __init__(self, extractor: str, cache: Cache, threads: int | None = None) -> None:
        self._extract, self._cache = FeatureExtractor(extractor, threads), cache
        self.described = (
            f"logistic regression on {extractor} {self._extract.sha256} "
            f"scikit-learn {version('scikit-learn')}"
        )

    def sees(self, images: npt.NDArray[np.uint8]) -> Rows:
        """Extract features: float32 [N, D]."""
        return self._cache.features(images, self._extract)

    def scores(
        self,
        rows: Rows,
        labels: npt.NDArray[np.int64],
        test: Rows,
        classes: int,
        seed: int,  # noqa: ARG002  its optimum does not depend on where it starts
    ) -> Scores:
        """Fit, and return the probability of each class."""
        probe = train_probe([np.asarray(rows[labels == k], np.float32) for k in range(classes)])
        return np.asarray(probe.predict_proba(test), np.float64)


def check_names(names: tuple[str, ...]) -> None:
    """Refuse names that are not among `CLASSIFIERS`."""
    for name in names:
        if name not in CLASSIFIERS:
            raise EvaluationError(
                f"there is no classifier {name}; choose from {', '.join(CLASSIFIERS)}",
                exit_code=USAGE,
            )


def make_classifier(
    name: str,
    *,
    cache: Cache,
    extractor: str = DEFAULT,
    threads: int | None = None,
    weights: Path | None = None,
    steps: int | None = None,
) -> Classifier:
    """Make a classifier by its name.

    Parameters
    ----------
    name : str
        One of `CLASSIFIERS`.
    cache : Cache
        Where features are kept.
    extractor : str
        The probe's feature extractor.
    threads : int, optional
        Number of threads.
    weights : Path, optional
        Pretrained weights for a network of Keras.
    steps : int, optional
        Training steps of a network; by default, its own schedule.
    """
    if name == "probe":
        return Probe(extractor, cache, threads)
    # Only these need torch: imported when they are asked for.
    module = "cnn" if name == "cnn" else "keras_networks"
    made: Classifier = import_module(f"scangan.evaluation.{module}").make(
        name, threads=threads, weights=weights, steps=steps
    )
    return made


def balanced_batches(
    labels: npt.NDArray[np.int64], classes: int, batch: int, steps: int, rng: np.random.Generator
) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.int64]]]:
    """Draw batches with every class as often: indices of scans and their labels, int64 [batch]."""
    of_class = [np.flatnonzero(labels == k) for k in range(classes)]
    for _ in range(steps):
        asked = rng.integers(0, classes, batch)
        yield np.array([rng.choice(of_class[k]) for k in asked]), asked
