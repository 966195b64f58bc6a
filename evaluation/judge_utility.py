"""Does a classifier gain from synthetic scans? Five diets, one schedule, real test scans."""

import dataclasses
import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from scangan.core.counted import counted
from scangan.core.errors import USAGE, EvaluationError
from scangan.evaluation.cache import Cache, code
from scangan.evaluation.classifiers import Classifier, Rows, check_names, make_classifier
from scangan.evaluation.diets import (
    ADDED,
    BASELINE,
    BOTH,
    CLASSICAL,
    COPIES,
    DIETS,
    TOPPED_UP,
    Diet,
    classical_copies,
    make_diet,
)
from scangan.evaluation.features import DEFAULT
from scangan.evaluation.leaks import look_alike, without_leaks
from scangan.evaluation.ranges import check_range
from scangan.evaluation.resampling import Resampler, Scores, Values, holm
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
            raise EvaluationError(
                "--real-fractions takes shares above 0, at most 1", exit_code=USAGE
            )
        if (self.weights or self.steps) and set(self.classifiers) <= {"probe"}:
            raise EvaluationError(
                "the probe takes neither --weights nor --steps; choose a network with --classifier, too",
                exit_code=USAGE,
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
    left_out += [*check_groups(test), *_seen_by_generator(synthetic, test, options)]
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


def _seen_by_generator(synthetic: ScanSet, test: ScanSet, options: UtilityOptions) -> list[str]:
    """Note test scans that synthetic ones repeat, as those of a generator that learnt from them do."""
    repeated = int(look_alike(synthetic, test, options.threads).sum())
    if not repeated:
        return []
    told = counted(repeated, "test scan looks", "test scans look")
    return [f"{told} the same as a synthetic scan: was the generator trained on the test scans?"]


class _Bench:
    """All scans as each classifier sees them, and the diets made of them."""

    def __init__(
        self, train: ScanSet, synthetic: ScanSet, test: ScanSet, options: UtilityOptions
    ) -> None:
        self.train, self.synthetic, self.test = train, synthetic, test
        self.options, self.cache = options, Cache(options.cache)
        self.scans = Resampler(test.labels, test.groups, len(train.classes), options.seeds)
        self._seen: dict[str, tuple[Rows, Rows, Rows]] = {}

    def diets(self, classifier: Classifier, advance: Advance) -> list[DietResult]:
        """Train a classifier on each diet."""
        every = np.arange(len(self.train))
        results: dict[str, DietResult] = {}
        balanced: dict[str, Values] = {}
        scores: dict[str, Scores] = {}
        for name in DIETS:
            scores[name], count = self._scores(classifier, name, every, advance)
            found = self.scans.measure(scores[name])
            balanced[name] = found["balanced_accuracy"]
            results[name] = self._result(classifier, name, scores[name], found, count)
        others = [name for name in DIETS if name != BASELINE]
        for name in others:
            gain = self.scans.difference(balanced[name], balanced[BASELINE])
            results[name] = replace(results[name], difference=gain)
        tested = others
        if self.options.seeds < 2:  # one training does not tell how others would end
            # Chance also decides which synthetic scans top up a class, and how real ones are changed.
            by_chance = DIETS if classifier.by_chance else (TOPPED_UP, CLASSICAL)
            tested = [name for name in others if name not in by_chance]
        else:
            for name in ADDED:
                beyond = self.scans.difference(balanced[name], balanced[CLASSICAL])
                results[name] = replace(results[name], beyond_classical=beyond)
        p = [
            self.scans.p_value(scores[name], scores[BASELINE], balanced[name] - balanced[BASELINE])
            for name in tested
        ]
        for name, alone, corrected in zip(tested, p, holm(p), strict=True):
            results[name] = replace(results[name], p=alone, p_holm=corrected)
        return list(results.values())

    def curve(self, classifier: Classifier, advance: Advance) -> list[CurvePoint]:
        """Train with shares of the real scans, with and without all the synthetic ones."""
        points, p = [], []
        for fraction in sorted(self.options.fractions):
            chosen = share_of(self.train, fraction)
            scores = [
                self._scores(classifier, diet, chosen, advance)[0] for diet in (BASELINE, BOTH)
            ]
            alone, both = (self.scans.measure(each)["balanced_accuracy"] for each in scores)
            p.append(self.scans.p_value(scores[1], scores[0], both - alone))
            points.append(
                CurvePoint(
                    classifier=classifier.name,
                    fraction=fraction,
                    n_real=len(chosen),
                    real=self.scans.estimate("balanced_accuracy", alone),
                    with_synthetic=self.scans.estimate("balanced_accuracy", both),
                    gain=self.scans.difference(both, alone),
                )
            )
        if self.options.seeds < 2 and classifier.by_chance:
            return points
        return [
            replace(point, p_holm=corrected)
            for point, corrected in zip(points, holm(p), strict=True)
        ]

    def _result(
        self,
        classifier: Classifier,
        diet: str,
        scores: Scores,
        found: dict[str, Values],
        count: int,
    ) -> DietResult:
        names = self.train.classes
        table = self.scans.confusion(scores)
        figures = {name: self.scans.estimate(name, values) for name, values in found.items()}
        return DietResult(
            classifier=classifier.name,
            diet=diet,
            n_train=count,
            metrics={k: each for k, each in figures.items() if not k.startswith("recall ")},
            recall={name: figures[f"recall {k}"] for k, name in enumerate(names)},
            confusion={
                name: {other: float(table[k, j]) for j, other in enumerate(names)}
                for k, name in enumerate(names)
            },
        )

    def _scores(
        self, classifier: Classifier, name: str, chosen: Indices, advance: Advance
    ) -> tuple[Scores, int]:
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
        # Once, all trainings learnt from the copies of seed 0.
        changed = ("changed with the seed",) if len(diet.classical) and seed else ()
        key = ("classifier", *how, *sets, diet_key(diet), *changed)
        return np.asarray(
            self.cache.get(key, lambda: {"scores": self._train(classifier, diet, seed)})["scores"]
        )

    def _train(self, classifier: Classifier, diet: Diet, seed: int) -> npt.NDArray[np.float64]:
        real, synthetic, test = self._as_seen(classifier)
        parts = [real[diet.real], synthetic[diet.synthetic]]
        labels = [self.train.labels[diet.real], self.synthetic.labels[diet.synthetic]]
        if len(diet.classical):
            changed = classifier.sees(classical_copies(self.train.images, seed))
            parts.append(changed[diet.classical])
            labels.append(np.tile(self.train.labels, COPIES)[diet.classical])
        rows, of_rows = np.concatenate(parts), np.concatenate(labels)
        return classifier.scores(rows, of_rows, test, len(self.train.classes), seed)

    def _as_seen(self, classifier: Classifier) -> tuple[Rows, Rows, Rows]:
        if classifier.name not in self._seen:
            parts = (self.train.images, self.synthetic.images, self.test.images)
            real, synthetic, test = map(classifier.sees, parts)
            self._seen = {classifier.name: (real, synthetic, test)}
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
