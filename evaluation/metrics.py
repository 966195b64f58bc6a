"""Score synthetic scans class by class while a generator trains, and when it is exported."""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.pipeline import Pipeline

from scangan.artifacts.scores import Scores, mean
from scangan.core.counted import counted
from scangan.core.errors import EvaluationError
from scangan.evaluation import manifold
from scangan.evaluation.features import FeatureExtractor
from scangan.evaluation.folds import FOLDS, fold_count, folds_of
from scangan.evaluation.halves import group_halves
from scangan.evaluation.kid import kernel_distances, mean_kernels
from scangan.evaluation.manifold import Manifold, precision_recall
from scangan.evaluation.probe import named_right, train_probe

Features = npt.NDArray[np.float32]  # [N, D]
Labels = npt.NDArray[np.int64]  # [N]

FEWEST = 8  # real scans per class; fewer say nothing about a distribution
MOST = 700  # real scans to use per class; fixed, as precision and recall depend on it
# Synthetic scans per class for a score in training. Scores of real scans use as many. A model without
# classes makes more, so its recall is not quite comparable with that of real scans.
PER_TICK = 100


class RealReference:
    """Real scans to score synthetic ones against.

    Synthetic scans are scored against the held-back scans of their class, so a generator gains
    nothing by copying the training scans. A class with fewer than 8 scans on either side is scored
    against all its scans. At most 700 scans per class are used on each side.

    Parameters
    ----------
    images : ndarray
        uint8 [N, H, W].
    labels : ndarray
        int64 [N], indices into `classes`.
    classes : sequence of str
        Class names.
    extractor : FeatureExtractor, optional
        By default, the bundled network on all threads.
    held_back : ndarray, optional
        bool [N]: the scans that training does not see. By default, it sees all.
    groups : ndarray, optional
        int64 [N]: scans of one group, as of one subject, belong together. By default, each stands alone.

    Attributes
    ----------
    not_held_back : tuple of str
        Classes scored against all their scans.
    real_kid : float
        KID of the training scans against those held back, with equal class weights: about what a
        perfect generator would score. For a class without held-back scans, one half against the
        other; groups stay whole, except where nearly all scans are of one.
    mean_real_class_kid : float
        Mean of the same within each class.
    real_precision, real_recall : float
        Means over the classes for the same two sides, with at most 100 scans per class in place of
        synthetic ones.
    probe_accuracy : float or None
        Share of held-back scans that a probe trained on the others classifies correctly; mean over
        classes. For a class without held-back scans, a fifth is kept from the probe. None if there
        is only one class.

    Raises
    ------
    EvaluationError
        A class has fewer than 8 scans.
    """

    def __init__(
        self,
        images: npt.NDArray[np.uint8],
        labels: Labels,
        classes: tuple[str, ...],
        extractor: FeatureExtractor | None = None,
        *,
        held_back: npt.NDArray[np.bool_] | None = None,
        groups: Labels | None = None,
    ) -> None:
        self.classes = tuple(classes)
        self._extract = extractor or FeatureExtractor()
        if held_back is None:
            held_back = np.zeros(len(labels), bool)
        if groups is None:
            groups = np.arange(len(labels))
        rng = np.random.default_rng(0)
        shuffled = [rng.permutation(np.flatnonzero(labels == k)) for k in range(len(self.classes))]
        self._check_counts([len(of_class) for of_class in shuffled])
        sides = [self._two_sides(images, of_class, held_back, groups) for of_class in shuffled]
        self.not_held_back = tuple(
            name for name, side in zip(self.classes, sides, strict=True) if side.seen is None
        )
        self._real = [Manifold(side.reference.features) for side in sides]
        self._real_kernels = mean_kernels(
            [m.features for m in self._real], [side.reference.groups for side in sides]
        )
        self._measure_anchors(sides)
        self._probe, self.probe_accuracy = self._train_probe(sides)

    def _check_counts(self, counts: list[int]) -> None:
        for name, count in zip(self.classes, counts, strict=True):
            if count < FEWEST:
                raise EvaluationError(
                    f"class {name!r} has {counted(count, 'scan')}; scoring needs at least {FEWEST}; "
                    f"add scans, merge classes or leave this class out"
                )

    def _two_sides(
        self,
        images: npt.NDArray[np.uint8],
        of_class: Labels,
        held_back: npt.NDArray[np.bool_],
        groups: Labels,
    ) -> "_Sides":
        def some(scans: Labels) -> _Scans:
            return _Scans(self._extract(images[scans[:MOST]]), groups[scans[:MOST]])

        held, seen = of_class[held_back[of_class]], of_class[~held_back[of_class]]
        if min(len(held), len(seen)) < FEWEST:
            return _Sides(some(of_class), None)
        return _Sides(some(held), some(seen))

    def _measure_anchors(self, sides: list["_Sides"]) -> None:
        pairs = [side.for_anchors() for side in sides]
        one, other = zip(*pairs, strict=True)
        self.real_kid, class_kid = kernel_distances(
            [real.features for real in one],
            [as_if.features for as_if in other],
            mean_kernels([real.features for real in one], [real.groups for real in one]),
            synthetic_groups=[as_if.groups for as_if in other],
        )
        self.mean_real_class_kid = _mean(class_kid.tolist())
        precision, recall = zip(
            *(
                precision_recall(Manifold(a.features), Manifold(b.features[:PER_TICK]))
                for a, b in pairs
            ),
            strict=True,
        )
        self.real_precision, self.real_recall = _mean(precision), _mean(recall)

    def _train_probe(self, sides: list["_Sides"]) -> tuple[Pipeline | None, float | None]:
        if len(self.classes) < 2:
            return None, None
        pairs = [side.for_probe() for side in sides]
        probe = train_probe([learnt.features for _, learnt in pairs])
        accuracy = _mean(named_right(probe, [asked.features for asked, _ in pairs]))
        if self.not_held_back:  # its accuracy is known; now it may also learn from the test scans
            probe = train_probe([(s.seen or s.reference).features for s in sides])
        return probe, accuracy

    def score(self, images: npt.NDArray[np.uint8], labels: Labels) -> Scores:
        """Score synthetic scans.

        Parameters
        ----------
        images : ndarray
            uint8 [N, H, W].
        labels : ndarray
            int64 [N], the classes they were generated for; at least four scans of every class.
        """
        features = self._extract(images)
        of_classes = [features[labels == k] for k in range(len(self.classes))]
        if min(map(len, of_classes)) < manifold.FEWEST:
            raise EvaluationError(
                f"scoring needs at least {manifold.FEWEST} synthetic scans of every class"
            )
        synthetic = [Manifold(f) for f in of_classes]
        kid, class_kid = kernel_distances(
            [m.features for m in self._real], [m.features for m in synthetic], self._real_kernels
        )
        agreement = [] if self._probe is None else named_right(self._probe, of_classes)
        pairs = list(zip(self._real, synthetic, strict=True))
        precision, recall = zip(*(precision_recall(r, s) for r, s in pairs), strict=True)
        found = self._by_class(class_kid.tolist())
        right = self._by_class(agreement) if agreement else {}
        return Scores(
            n=len(images),
            kid=kid,
            class_kid=found,
            agreement=right,
            variety=self._by_class([s.spread / max(r.spread, 1e-12) for r, s in pairs]),
            near_pairs=self._by_class([s.share_within(r.near_equal) for r, s in pairs]),
            precision=self._by_class(precision),
            recall=self._by_class(recall),
            mean_class_kid=_mean(found.values()),
            mean_agreement=mean(right.values()),
            mean_precision=_mean(precision),
            mean_recall=_mean(recall),
        )

    def _by_class(self, values: Collection[float]) -> dict[str, float]:
        return dict(zip(self.classes, values, strict=True))


class _Scans(NamedTuple):
    """Features and groups of real scans of one class, in random order."""

    features: Features
    groups: Labels

    def parted(self, first: npt.NDArray[np.bool_]) -> tuple["_Scans", "_Scans"]:
        """Return those that `first` marks, and the others."""
        one, other = (_Scans(self.features[i], self.groups[i]) for i in (first, ~first))
        return one, other


class _Sides(NamedTuple):
    """The real scans of one class."""

    reference: _Scans  # what synthetic scans are scored against
    seen: _Scans | None  # those training sees; None if the class has no held-back scans

    def for_anchors(self) -> tuple[_Scans, _Scans]:
        """Return real scans, and others that take the place of synthetic ones."""
        if self.seen is not None:
            return self.reference, self.seen
        groups = self.reference.groups
        half = group_halves(np.zeros_like(groups), groups, np.random.default_rng(0))
        if min(half.sum(), (~half).sum()) < manifold.FEWEST:  # nearly all scans are of one group
            half = np.arange(len(groups)) < len(groups) // 2
        return self.reference.parted(half)

    def for_probe(self) -> tuple[_Scans, _Scans]:
        """Return scans to test a probe on, and others to train it on."""
        if self.seen is not None:
            return self.reference, self.seen
        groups = self.reference.groups
        count = fold_count(groups)
        if count == 1:  # all scans are of one group
            groups = np.arange(len(groups))
            count = fold_count(groups)
        tested = folds_of(groups, count, np.random.default_rng(0)) == 0
        if tested.sum() > len(tested) / 2:  # most scans are of one group
            tested = np.arange(len(groups)) < len(groups) // FOLDS
        return self.reference.parted(tested)


def _mean(values: Collection[float]) -> float:
    return float(np.mean(list(values)))
