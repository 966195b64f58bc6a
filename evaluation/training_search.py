"""Search among the training scans: the nearest in feature space, and the most similar aligned one."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from scangan.artifacts.suspects import Pair
from scangan.evaluation.cache import Cache
from scangan.evaluation.calibration import threshold
from scangan.evaluation.features import FeatureExtractor
from scangan.evaluation.nearest import nearest, scale_of, scaled
from scangan.evaluation.planted import LEVELS
from scangan.evaluation.privacy_result import Level, Threshold
from scangan.evaluation.scan_set import ScanSet
from scangan.evaluation.similar import Gallery, Matches

Images = npt.NDArray[np.uint8]  # [N, H, W]
Labels = npt.NDArray[np.int64]
Features = npt.NDArray[np.float32]
Values = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]

BY_FEATURES = 4  # candidates for the alignment that are nearest in feature space
MOST_CALIBRATING = 2000  # training scans that calibrate, without a hold-out


@dataclasses.dataclass(frozen=True)
class Found:
    """What the search among the training scans found for some scans.

    Parameters
    ----------
    features : ndarray
        float32 [N, D]: their scaled features.
    distance : ndarray
        float64 [N]: to the nearest training scan in feature space.
    matches : Matches
        The most similar training scan of each.
    """

    features: Features
    distance: Values
    matches: Matches

    def take(self, rows: Indices) -> "Found":
        """Return what was found for some of the scans."""
        index, similarity = self.matches.index[rows], self.matches.similarity[rows]
        return Found(self.features[rows], self.distance[rows], Matches(index, similarity))


@dataclasses.dataclass(frozen=True)
class Planted:
    """Copies of training scans at one level of change, and what the search found for them."""

    change: str
    sources: Indices
    found: Found

    def level(self, limit: Threshold, groups: Labels) -> Level:
        """Count the copies that are suspects, with their own training scan or one of its group."""
        matches = self.found.matches
        right = groups[matches.index] == groups[self.sources]
        found = int((right & (matches.similarity > limit.similarity)).sum())
        return Level(change=self.change, planted=len(self.sources), found=found)


class TrainingSearch:
    """A search among training scans.

    Parameters
    ----------
    train : ScanSet
        The training scans.
    extract : FeatureExtractor
        The network of the feature space.
    cache : Cache
        Where features are kept.
    threads : int, optional
        Number of threads; by default, all that the process may use.
    advance : callable
        Called with the number of scans just extracted or searched.
    """

    def __init__(
        self,
        train: ScanSet,
        extract: FeatureExtractor,
        cache: Cache,
        threads: int | None = None,
        advance: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.train, self.extract, self.cache, self.advance = train, extract, cache, advance
        raw = self._raw(train.images)
        self.scale = scale_of(raw)
        self.features = scaled(raw, self.scale)
        self.gallery = Gallery(train.images, train.groups, threads)

    def _raw(self, images: Images) -> Features:
        return self.cache.features(images, self.extract, self.advance)

    def found(self, images: Images) -> Found:
        """Search the training scans for some scans."""
        features = scaled(self._raw(images), self.scale)
        distance, near = nearest(features, self.features, BY_FEATURES)
        matches = self.gallery.search(images, candidates=near, advance=self.advance)
        return Found(features, distance[:, 0], matches)

    def limit(self, planted: Sequence[Values], seed: int) -> Threshold:
        """Calibrate on training scans, each compared with those of other groups."""
        some = drawn(len(self.train), MOST_CALIBRATING, seed)
        groups = self.train.groups
        _, near = nearest(
            self.features[some], self.features, BY_FEATURES, groups=(groups[some], groups)
        )
        found = self.gallery.search(
            self.train.images[some], candidates=near, groups=groups[some], advance=self.advance
        )
        return threshold(found.similarity, groups[some], planted, "train")

    def planted(self, count: int, seed: int) -> list[Planted]:
        """Plant copies of random training scans, and search them."""
        rng = np.random.default_rng(seed)
        planted = []
        for change, function in LEVELS.items():
            chosen = rng.permutation(len(self.train))[:count]
            copies = np.stack([function(self.train.images[n], rng) for n in chosen])
            planted.append(Planted(change, chosen, self.found(copies)))
        return planted

    def pair(self, synthetic: ScanSet, n: int, found: Found) -> Pair:
        """Describe a synthetic scan and the training scan that it is most similar to."""
        other = int(found.matches.index[n])
        apart = found.features[n].astype(np.float64) - self.features[other]
        classes = synthetic.classes
        return Pair(
            synthetic=synthetic.sources[n],
            class_name=classes[synthetic.labels[n]] if classes else None,
            index=int(n),
            train=self.train.sources[other],
            train_index=other,
            similarity=round(float(found.matches.similarity[n]), 6),
            distance=round(float(np.linalg.norm(apart)), 4),
            origin=synthetic.origins[n],
        )


def drawn(count: int, most: int, seed: int) -> Indices:
    """Draw some of `count` indices at random, or return all."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).permutation(count)[:most])
