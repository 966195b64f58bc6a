"""Does a classifier gain from synthetic scans? Five diets, one schedule, real test scans."""

import dataclasses
import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from scangan.core.errors import EvaluationError
from scangan.evaluation.cache import Cache, code
from scangan.evaluation.classifiers import Classifier, Rows, check_names, make_classifier
from scangan.evaluation.diets import (
    ADDED,
    BASELINE,
    BOTH,
    CLASSICAL,
    DIETS,
    TOPPED_UP,
    Diet,
    classical_copies,
    make_diet,
)
from scangan.evaluation.features import DEFAULT
from scangan.evaluation.leaks import without_leaks
from scangan.evaluation.ranges import check_range
from scangan.evaluation.resampling import Resampler, Values, estimate, holm, p_value
from scangan.evaluation.scan_set import ScanSet
from scangan.evaluation.track import Advance, Track, untracked
from scangan.evaluation.utility_result import FORMAT, CurvePoint, DietResult, UtilityResult
from scangan.evaluation.utility_sets import check_enough, check_groups, comparable
from scangan.evaluation.utility_verdict import verdict

Indices = npt.NDArray[np.intp]
LEAST_STEPS = 20  # of a network, whose rate rises over the first tenth
# The modules that decide what a classifier learns: kept scores are those of the same code.
LEARNING = "classifiers", "probe", "cnn", "keras_networks", "diets", "features"


@dataclasses.dataclass(frozen=True)
class UtilityOptions:
    """How to evaluate utility.

    Parameters
    ----------
    classifiers : tuple of str
        Which classifiers learn (`classifiers.CLASSIFIERS`).
    seeds : int
        How often each is trained, 1 to 20.
    fractions : tuple of float
        Shares of the real scans for a learning curve; empty for none.
    extractor : str
        Feature extractor of the probe.
    weights : Path, optional
        Pretrained weights for a network of Keras.
    steps : int, optional
        Training steps of a network.
    drop_leaks : bool
        Leave out test scans that are also in the training set, instead of refusing the set.
    threads : int, optional
        Number of threads.
    cache : Path, optional
        Where features and results of trained classifiers are kept; by default the user's cache.
    """

    classifiers: tuple[str, ...] = ("probe",)
    seeds: int = 3
    fractions: tuple[float, ...] = ()
    extractor: str = DEFAULT
    weights: Path | None = None
    steps: int | None = None
    drop_leaks: bool = False
    threads: int | None = None
    cache: Path | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_names(self.classifiers)
        check_range("--seeds", self.seeds, 1, 20)
        check_range("--threads", self.threads, 1)
        check_range("--steps", self.steps, LEAST_STEPS)
        if any(not 0 < share <= 1 for share in self.fractions):
            raise EvaluationError("--real-fractions takes shares above 0, at most 1")
        if (self.weights or self.steps) and set(self.classifiers) <= {"probe"}:
            raise EvaluationError(
                "the probe takes neither --weights nor --steps; choose a network with --classifier, too"
            )


def utility(
    train: ScanSet,
    synthetic: ScanSet,
    test: ScanSet,
    options: UtilityOptions | None = None,
    track: Track = untracked,
    notes: tuple[str, ...] = (),
) -> UtilityResult:
    """Train classifiers on real scans, on synthetic ones and on both, and test them on real scans.

    Parameters
    ----------
    train, test : ScanSet
        Real scans; no scan or subject may be in both.
    synthetic : ScanSet
        Synthetic scans, from a generator that was trained on `train` only.
    options : UtilityOptions, optional
        How to evaluate.
    track : callable, optional
        Shows how many classifiers were trained. See `scangan.evaluation.track`.
    notes : tuple of str
        More for the notes of the result.

    Raises
    ------
    EvaluationError
        The sets cannot be compared, or the test scans leak.
    """
    options = options or UtilityOptions()
    cache = Cache(options.cache)
    classifiers = [
        make_classifier(
            name,
            cache=cache,
            extractor=options.extractor,
            threads=options.threads,
            weights=options.weights,
            steps=options.steps,
        )
        for name in dict.fromkeys(options.classifiers)
    ]
    sets = [each.identity for each in (train, synthetic, test)]
    how = options.seeds, options.fractions, options.drop_leaks, notes
    return cache.result(
        UtilityResult,
        (sets, [each.described for each in classifiers], how),
        lambda: _utility(train, synthetic, test, options, classifiers, track, notes),
    )


def _utility(
    train: ScanSet,
    synthetic: ScanSet,
    test: ScanSet,
    options: UtilityOptions,
    classifiers: Sequence[Classifier],
    track: Track,
    notes: tuple[str, ...],
) -> UtilityResult:
    train, synthetic, test, found = comparable(train, synthetic, test)
    test, left_out = without_leaks(train, test, drop=options.drop_leaks, threads=options.threads)
    check_enough(test, f" that are not also in {train.name}")
    left_out += check_groups(test)
    bench = _Bench(train, synthetic, test, options)
    trainings = options.seeds * (len(DIETS) + 2 * len(options.fractions))
    diets: list[DietResult] = []
    curve: list[CurvePoint] = []
    for classifier in classifiers:
        with track(f"training {classifier.name}", trainings, "classifiers") as advance:
            diets += bench.diets(classifier, advance)
            curve += bench.curve(classifier, advance)
    return UtilityResult(
        format_version=FORMAT,
        scangan=version("scangan"),
        train=train.info,
        synthetic=synthetic.info,
        test=test.info,
        seeds=options.seeds,
        diets=tuple(diets),
        curve=tuple(curve),
        verdict=tuple(verdict(diets, curve)),
        notes=(*notes, *found, *left_out),
    )


class _Bench:
    """All scans as each classifier sees them, and the diets made of them."""

    def __init__(
        self, train: ScanSet, synthetic: ScanSet, test: ScanSet, options: UtilityOptions
    ) -> None:
        self.train, self.synthetic, self.test = train, synthetic, test
        self.options, self.cache = options, Cache(options.cache)
        self.scans = Resampler(test.labels, test.groups, len(train.classes), options.seeds)
        self.classical = classical_copies(train.images)
        self._seen: dict[str, tuple[Rows, Rows, Rows, Rows]] = {}

    def diets(self, classifier: Classifier, advance: Advance) -> list[DietResult]:
        """Train a classifier on each diet."""
        every = np.arange(len(self.train))
        results: dict[str, DietResult] = {}
        balanced: dict[str, Values] = {}
        for name in DIETS:
            scores, count = self._scores(classifier, name, every, advance)
            found = self.scans.measure(scores)
            balanced[name] = found["balanced_accuracy"]
            results[name] = self._result(classifier, name, scores, found, count)
        gains = {name: balanced[name] - balanced[BASELINE] for name in DIETS if name != BASELINE}
        for name, gain in gains.items():
            results[name] = replace(results[name], difference=estimate(gain))
        for name in ADDED:
            beyond = estimate(balanced[name] - balanced[CLASSICAL])
            results[name] = replace(results[name], beyond_classical=beyond)
        if self.options.seeds < 2:  # one training does not tell how others would end
            # Chance also decides which synthetic scans top up a class.
            without = DIETS if classifier.by_chance else (TOPPED_UP,)
            gains = {name: gain for name, gain in gains.items() if name not in without}
        p = [p_value(gain) for gain in gains.values()]
        for name, alone, corrected in zip(gains, p, holm(p), strict=True):
            results[name] = replace(results[name], p=alone, p_holm=corrected)
        return list(results.values())

    def curve(self, classifier: Classifier, advance: Advance) -> list[CurvePoint]:
        """Train with shares of the real scans, with and without all the synthetic ones."""
        points = []
        for fraction in sorted(self.options.fractions):
            chosen = share_of(self.train, fraction)
            alone, both = (
                self.scans.measure(self._scores(classifier, diet, chosen, advance)[0])[
                    "balanced_accuracy"
                ]
                for diet in (BASELINE, BOTH)
            )
            points.append(
                CurvePoint(
                    classifier=classifier.name,
                    fraction=fraction,
                    n_real=len(chosen),
                    real=estimate(alone, 0),
                    with_synthetic=estimate(both, 0),
                    gain=estimate(both - alone),
                )
            )
        return points

    def _result(
        self,
        classifier: Classifier,
        diet: str,
        scores: npt.NDArray[np.float64],
        found: dict[str, Values],
        count: int,
    ) -> DietResult:
        names = self.train.classes
        table = self.scans.confusion(scores)
        return DietResult(
            classifier=classifier.name,
            diet=diet,
            n_train=count,
            metrics={k: estimate(v, 0) for k, v in found.items() if not k.startswith("recall ")},
            recall={name: estimate(found[f"recall {k}"], 0) for k, name in enumerate(names)},
            confusion={
                name: {other: float(table[k, j]) for j, other in enumerate(names)}
                for k, name in enumerate(names)
            },
        )

    def _scores(
        self, classifier: Classifier, name: str, chosen: Indices, advance: Advance
    ) -> tuple[npt.NDArray[np.float64], int]:
        """Train with every seed: scores of the test scans [seeds, N, K], and how many were learnt."""
        found = []
        for seed in range(self.options.seeds):
            diet = make_diet(name, self.train, chosen, self.synthetic, np.random.default_rng(seed))
            found.append(self._of_diet(classifier, diet, seed))
            advance(1)
        return np.stack(found), len(diet.real) + len(diet.synthetic) + len(diet.classical)

    def _of_diet(self, classifier: Classifier, diet: Diet, seed: int) -> npt.NDArray[np.float64]:
        # The real scans alone teach the same beside any synthetic set: trained once for all of them.
        synthetic = self.synthetic.sha256 if len(diet.synthetic) else ""
        sets = self.train.sha256, synthetic, self.test.sha256
        how = code(*LEARNING), classifier.described, seed
        key = ("classifier", *how, *sets, diet_key(diet))
        return np.asarray(
            self.cache.get(key, lambda: {"scores": self._train(classifier, diet, seed)})["scores"]
        )

    def _train(self, classifier: Classifier, diet: Diet, seed: int) -> npt.NDArray[np.float64]:
        real, synthetic, classical, test = self._as_seen(classifier)
        rows = np.concatenate(
            [real[diet.real], synthetic[diet.synthetic], classical[diet.classical]]
        )
        again = np.tile(self.train.labels, len(classical) // len(real))
        labels = np.concatenate(
            [
                self.train.labels[diet.real],
                self.synthetic.labels[diet.synthetic],
                again[diet.classical],
            ]
        )
        return classifier.scores(rows, labels, test, len(self.train.classes), seed)

    def _as_seen(self, classifier: Classifier) -> tuple[Rows, Rows, Rows, Rows]:
        if classifier.name not in self._seen:
            parts = (self.train.images, self.synthetic.images, self.classical, self.test.images)
            real, synthetic, classical, test = map(classifier.sees, parts)
            self._seen = {classifier.name: (real, synthetic, classical, test)}
        return self._seen[classifier.name]


def diet_key(diet: Diet) -> str:
    """Identify a diet by the scans in it."""
    digest = hashlib.sha256()
    for indices in (diet.real, diet.synthetic, diet.classical):
        digest.update(repr(len(indices)).encode() + indices.astype("<i8").tobytes())
    return digest.hexdigest()


def share_of(real: ScanSet, fraction: float) -> Indices:
    """Return a share of the scans of each class, at least one, group by group.

    Smaller shares are part of larger ones.
    """
    order = np.random.default_rng(0).permutation(np.unique(real.groups))
    rank = np.empty(int(real.groups.max()) + 1, np.int64)
    rank[order] = np.arange(len(order))
    chosen = []
    for k in range(len(real.classes)):
        of_class = real.of_class(k)
        of_class = of_class[np.argsort(rank[real.groups[of_class]], kind="stable")]
        chosen.append(of_class[: max(1, round(fraction * len(of_class)))])
    return np.sort(np.concatenate(chosen))
