"""Accuracy and the like of a classifier, with intervals: the test scans are drawn again by group."""

import itertools

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from scangan.evaluation.halves import main_classes
from scangan.evaluation.utility_result import Estimate

DRAWS = 1000
SWAPS = 9999
MOST_EXACT = 13  # groups with which all swaps are tried: 2 ** 13 are fewer than `SWAPS`
Scores = npt.NDArray[np.float64]  # [seeds, N, K]: what each training answered
Weights = npt.NDArray[np.float64]  # [draws, N]: how often each scan was drawn
Values = npt.NDArray[np.float64]  # [draws + 1]: all scans once, then each draw


class Resampler:
    """Draws the test scans again and again; the same draws for every classifier, so that they pair.

    Groups are drawn class by class, one less than there are, each then counting a little more: so the
    draws vary as much as other test scans would, however few the groups are (Rao and Wu 1988).

    Parameters
    ----------
    labels, groups : ndarray
        int64 [N]; groups are drawn as a whole.
    classes : int
        Number of classes.
    seeds : int
        Trainings of each classifier. With two or more, the draws also vary as the mean of so many does.
    """

    def __init__(
        self,
        labels: npt.NDArray[np.int64],
        groups: npt.NDArray[np.int64],
        classes: int,
        seeds: int,
    ) -> None:
        rng = np.random.default_rng(0)
        self.labels, self.classes = labels, classes
        self._number, tally, main = main_classes(labels, groups)
        self._groups_of = (tally > 0).sum(axis=0)  # of each class
        self._groups = len(tally)
        of_groups = np.ones((DRAWS, len(tally)))
        for k in range(classes):
            of_class = np.flatnonzero(main == k)
            count = len(of_class)
            if count > 1:
                drawn = rng.multinomial(count - 1, np.full(count, 1 / count), DRAWS)
                of_groups[:, of_class] = drawn * count / (count - 1)
        self._weights = np.concatenate([np.ones((1, len(labels))), of_groups[:, self._number]])
        even = np.full((1, seeds), 1 / seeds)
        self._of_seeds = np.concatenate([even, even + _luck(seeds, rng)])

    def measure(self, scores: npt.NDArray[np.float64]) -> dict[str, Values]:
        """Measure all seeds of a classifier: float64 [seeds, N, K] to figures for every draw.

        Returns
        -------
        dict
            ``accuracy``, ``balanced_accuracy``, ``macro_f1``, ``auroc``, and ``recall 0``,
            ``recall 1``, ... of each class.
        """
        per_seed = [self._of_one(each) for each in scores]
        return {
            name: np.einsum(
                "ds,sd->d", self._of_seeds, np.stack([figures[name] for figures in per_seed])
            )
            for name in per_seed[0]
        }

    def confusion(self, scores: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Count test scans by true and named class, as a mean over the seeds: [K, K]."""
        counts = np.zeros((self.classes, self.classes))
        for each in scores:
            np.add.at(counts, (self.labels, each.argmax(axis=1)), 1 / len(scores))
        return counts

    def estimate(self, name: str, values: Values) -> Estimate:
        """Return a figure of `measure` with its interval, from 0 to 1.

        Where all draws agree, as when every scan is named right, it is Wilson's (1927) for the number
        of groups.
        """
        if not _agree(values):
            return _of_draws(values, 0)
        value, count = float(values[0]), self._groups
        if name.startswith("recall "):
            count = int(self._groups_of[int(name.removeprefix("recall "))])
        elif name != "accuracy":  # a mean over classes: the groups that have the same variance
            count = round(self.classes**2 / (1 / np.maximum(self._groups_of, 1)).sum())
        span = binomtest(round(value * count), count).proportion_ci(method="wilson")
        return Estimate(
            value=value, low=min(value, float(span.low)), high=max(value, float(span.high))
        )

    def difference(self, one: Values, other: Values) -> Estimate:
        """Return one figure minus another with its interval, from -1 to 1.

        Where all draws agree, it is that of Bonett and Price (2012) for groups without a difference.
        """
        values = one - other
        if not _agree(values):
            return _of_draws(values, -1)
        value, reach = float(values[0]), float(1.96 * np.sqrt(2) / (self._groups + 2))
        return Estimate(value=value, low=max(value - reach, -1.0), high=min(value + reach, 1.0))

    def p_value(self, one: Scores, other: Scores, difference: Values) -> float:
        """Return the two-sided p-value that two classifiers have the same balanced accuracy.

        The larger of two. The share of the draws beyond 0 allows for the luck of the trainings, but is
        too small with few groups. A test of swaps is exact however few they are: if both are equally
        good, they could swap their answers about any group, so the difference is compared with that
        after random swaps (Fisher 1935); with few groups, after all possible swaps.

        Parameters
        ----------
        one, other : ndarray
            Scores, float64 [seeds, N, K].
        difference : ndarray
            Their balanced accuracies, as `measure` gives them, one minus the other.
        """
        return max(_beyond_zero(difference), self._swapped(one, other))

    def _swapped(self, one: Scores, other: Scores) -> float:
        right, other_right = (
            (scores.argmax(axis=2) == self.labels).mean(axis=0) for scores in (one, other)
        )
        counts = np.bincount(self.labels, minlength=self.classes)
        weight = 1 / (self.classes * counts[self.labels])
        of_groups = np.bincount(self._number, weight * (right - other_right))
        if len(of_groups) <= MOST_EXACT:
            signs = np.array(list(itertools.product((1, -1), repeat=len(of_groups))))
        else:
            rng = np.random.default_rng(0)
            signs = rng.choice(np.array([1, -1], np.int8), (SWAPS, len(of_groups)))
            signs = np.concatenate([np.ones((1, len(of_groups)), np.int8), signs])
        changes = np.abs(signs @ of_groups)
        return float((changes >= changes[0] - 1e-12).mean())

    def _of_one(self, scores: npt.NDArray[np.float64]) -> dict[str, Values]:
        k, weights = self.classes, self._weights
        pair = self.labels * k + scores.argmax(axis=1)
        counts = np.stack([weights[:, pair == i].sum(axis=1) for i in range(k * k)], axis=1)
        counts = counts.reshape(-1, k, k)
        right, true, named = (
            np.diagonal(counts, axis1=1, axis2=2), counts.sum(axis=2), counts.sum(axis=1),
        )  # fmt: skip
        with np.errstate(invalid="ignore", divide="ignore"):
            recall = right / true  # nan where a draw has no scan of a class
            f1 = 2 * right / (true + named)
        return {
            "accuracy": right.sum(axis=1) / counts.sum(axis=(1, 2)),
            "balanced_accuracy": recall.mean(axis=1),
            "macro_f1": f1.mean(axis=1),
            "auroc": np.mean([self._auroc(scores[:, i], i) for i in range(k)], axis=0),
        } | {f"recall {i}": recall[:, i] for i in range(k)}

    def _auroc(self, score: npt.NDArray[np.float64], number: int) -> Values:
        """Area under the ROC curve of one class against the rest (Mann and Whitney 1947)."""
        inside = self.labels == number
        ours, others = score[inside], score[~inside]
        wins = (ours[:, None] > others) + 0.5 * (ours[:, None] == others)
        w, v = self._weights[:, inside], self._weights[:, ~inside]
        total = w.sum(axis=1) * v.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.einsum("dn,dn->d", w @ wins, v) / total)


def _luck(seeds: int, rng: np.random.Generator) -> Weights:
    """Draw changes [DRAWS, seeds] to the weights of the trainings, which sum to 0.

    A figure's change is then that of its mean over the trainings: Student's t times its standard error.
    To draw a few trainings with replacement would give too little: two thirds of the variance with
    three of them, and none of the tails.
    """
    if seeds < 2:
        return np.zeros((DRAWS, seeds))
    normal = rng.normal(size=(DRAWS, seeds))
    normal -= normal.mean(axis=1, keepdims=True)
    spread = np.sqrt(rng.chisquare(seeds - 1, (DRAWS, 1)) / (seeds - 1))
    return np.asarray(normal / np.sqrt(seeds * (seeds - 1)) / spread)


def _agree(values: Values) -> bool:
    return bool(np.ptp(values[np.isfinite(values)]) < 1e-9)


def _of_draws(values: Values, least: float) -> Estimate:
    low, high = np.clip(np.nanquantile(values[1:], (0.025, 0.975)), least, 1)
    return Estimate(value=float(values[0]), low=float(low), high=float(high))


def _beyond_zero(difference: Values) -> float:
    draws = difference[1:][np.isfinite(difference[1:])]
    tail = min((draws <= 0).sum(), (draws >= 0).sum())
    return float(min(1.0, 2 * (tail + 1) / (len(draws) + 1)))


def holm(p: list[float]) -> list[float]:
    """Correct p-values for their number, in the order given (Holm 1979)."""
    order = np.argsort(p, kind="stable")
    corrected = np.array(p)[order] * np.arange(len(p), 0, -1)
    out = np.empty(len(p))
    out[order] = np.minimum(np.maximum.accumulate(corrected), 1)
    return [float(each) for each in out]
