"""Halve two sets of scans at random, again and again, without tearing a group apart.

Unlike the bootstrap, this repeats no scan, so distances between neighbours keep their meaning. Two
halves of the real scans also show what real scans score against real scans of the same number.

The mean of a figure over all halves has the variance Var(figure of a half) - Var(figure of a half,
given the scans), by the law of total variance. The two halves of a split are independent samples, so
half the mean square of their difference estimates the first term; the spread over the splits
estimates the second. For a plain mean this is the known estimate from half-samples (McCarthy 1969);
it also holds for figures of pairs, where half-samples alone, like the bootstrap, are too wide.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Indices = npt.NDArray[np.intp]
Labels = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Halves:
    """Indices of the two random halves of each set, by class.

    Parameters
    ----------
    real, other_real : list of ndarray
        For each class, the two halves of the real scans.
    synthetic, other_synthetic : list of ndarray
        For each class, the two halves of the synthetic scans.
    beside : list of ndarray
        As many scans of `other_real` as a synthetic half has: real scans in its place.
    """

    real: list[Indices]
    other_real: list[Indices]
    synthetic: list[Indices]
    other_synthetic: list[Indices]
    beside: list[Indices]

    @property
    def have_all_classes(self) -> bool:
        """Whether each half has scans of every class; groups of several classes can leave one without."""
        sides = self.real, self.other_real, self.synthetic, self.other_synthetic
        return all(len(part) for side in sides for part in side)


def group_halves(labels: Labels, groups: Labels, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Halve a set at random, so that groups stay whole and each class is halved.

    Parameters
    ----------
    labels, groups : ndarray
        int64 [N]: the class and the group of each scan.
    rng : Generator
        Where the randomness comes from.

    Returns
    -------
    ndarray
        bool [N]: whether each scan is in the first half.
    """
    number, tally, main = main_classes(labels, groups)
    first = np.zeros(len(tally), bool)
    balance = rng.choice([-1, 1], tally.shape[1])  # decides who gets the odd scan
    balance = balance * 0.5
    # Large groups first: small ones then even out what they leave.
    order = rng.permutation(len(tally))
    order = order[np.argsort(-tally[order].sum(axis=1), kind="stable")]
    for group in order:
        first[group] = balance[main[group]] < 0
        balance += tally[group] if first[group] else -tally[group]
    return np.asarray(first[number])


def main_classes(labels: Labels, groups: Labels) -> tuple[Labels, Labels, Labels]:
    """Tell which class each group stands for.

    Parameters
    ----------
    labels, groups : ndarray
        int64 [N]: the class and the group of each scan.

    Returns
    -------
    number : ndarray
        int64 [N]: the group of each scan, numbered from 0.
    tally : ndarray
        int64 [G, K]: scans of each group and class.
    main : ndarray
        int64 [G]: the class of each group; of several, the rarest, which few other groups could replace.
    """
    names, number = np.unique(groups, return_inverse=True)
    tally = np.zeros((len(names), int(labels.max()) + 1), np.int64)
    np.add.at(tally, (number, labels), 1)
    main = np.where(tally > 0, tally.sum(axis=0), len(labels) + 1).argmin(axis=1)
    return number, tally, main


def halved(
    real: tuple[Labels, Labels], synthetic: tuple[Labels, Labels], repeats: int, seed: int = 0
) -> Iterator[Halves]:
    """Halve both sets at random, `repeats` times.

    The real halves have the proportions of the synthetic ones, so that a figure over all classes does
    not depend on how common each class is. More synthetic than real scans of a class are not used.

    Parameters
    ----------
    real, synthetic : (ndarray, ndarray)
        Labels and groups of the scans, int64 [N]; both have the same classes.
    repeats : int
        How many times.
    seed : int
        Random seed.
    """
    rng = np.random.default_rng(seed)
    classes = range(int(real[0].max()) + 1)
    most = np.bincount(real[0])
    used = np.concatenate([np.flatnonzero(synthetic[0] == k)[: most[k]] for k in classes])
    labels, groups = synthetic[0][used], synthetic[1][used]
    for _ in range(repeats):
        a, b = _two_halves(*real, rng)
        s, t = ([used[i] for i in half] for half in _two_halves(labels, groups, rng))
        counts = [min(map(len, each)) for each in zip(a, b, s, t, strict=True)]
        s, t = ([i[:n] for i, n in zip(half, counts, strict=True)] for half in (s, t))
        share = min(
            (min(len(i), len(j)) / n for i, j, n in zip(a, b, counts, strict=True) if n), default=0
        )
        yield Halves(
            [i[: round(n * share)] for i, n in zip(a, counts, strict=True)],
            [i[: round(n * share)] for i, n in zip(b, counts, strict=True)],
            s,
            t,
            [i[:n] for i, n in zip(b, counts, strict=True)],
        )


def _two_halves(
    labels: Labels, groups: Labels, rng: np.random.Generator
) -> tuple[list[Indices], list[Indices]]:
    """Halve a set; each half by class, in random order."""
    first = group_halves(labels, groups, rng)
    classes = range(int(labels.max()) + 1)
    a, b = (
        [rng.permutation(np.flatnonzero(half & (labels == k))) for k in classes]
        for half in (first, ~first)
    )
    return a, b
