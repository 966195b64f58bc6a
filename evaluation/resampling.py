"""Accuracy and the like of a classifier, with intervals: the test scans are drawn again by group."""

import numpy as np
import numpy.typing as npt

from scangan.evaluation.utility_result import Estimate

DRAWS = 1000
Weights = npt.NDArray[np.float64]  # [draws, N]: how often each scan was drawn
Values = npt.NDArray[np.float64]  # [draws + 1]: all scans once, then each draw


class Resampler:
    """Draws the test scans again and again; the same draws for every classifier, so that they pair.

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
        _, number = np.unique(groups, return_inverse=True)
        of_groups = rng.multinomial(
            number.max() + 1, np.full(number.max() + 1, 1 / (number.max() + 1)), DRAWS
        )
        self._weights = np.concatenate([np.ones((1, len(labels))), of_groups[:, number]])
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
            "balanced_accuracy": np.nanmean(recall, axis=1),
            "macro_f1": np.nanmean(f1, axis=1),
            "auroc": np.nanmean([self._auroc(scores[:, i], i) for i in range(k)], axis=0),
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


def estimate(values: Values, least: float = -1.0) -> Estimate:
    """Return the figure of all scans, and the interval of the draws, from `least` to 1."""
    low, high = np.clip(np.nanquantile(values[1:], (0.025, 0.975)), least, 1)
    return Estimate(value=float(values[0]), low=float(low), high=float(high))


def p_value(difference: Values) -> float:
    """Return the two-sided p-value that a difference is 0, from its draws."""
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
