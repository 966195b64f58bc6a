"""How well an attack tells training scans (members) from other scans (non-members).

A membership inference attack gives each scan a score, higher for scans that it takes for members. The
area under the ROC curve is its success over all scans. The true positive rate at 1% false positives is
its success on the scans that it is surest of, which is what counts for privacy (Carlini et al. 2022).
"""

import itertools
from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve

from scangan.evaluation.folds import folds_of
from scangan.evaluation.nearest import scale_of, scaled
from scangan.evaluation.privacy_result import Attack

FALSE_POSITIVES = 0.01
BY_CHANCE = 1000  # random divisions of the groups
BLIND_FOLDS = 10
Features = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Sides = npt.NDArray[np.bool_]  # [divisions, N]: who is a member
Scorer = Callable[[Sides], Scores]  # to scores of all scans [divisions, N]


def attack(
    scores: tuple[Scores, Scores],
    groups: tuple[Labels, Labels],
    labels: tuple[Labels, Labels],
    resamples: int,
    seed: int = 0,
    again: Scorer | None = None,
) -> Attack:
    """Measure an attack: 95% intervals by bootstrap over groups, p-values by permutation of them.

    Non-members are weighted so that each class counts as much as among the members: else an attack
    would seem to succeed where the two sides only differ in how common a class is.

    Parameters
    ----------
    scores : (ndarray, ndarray)
        Scores of members and of non-members, float64 [N] and [M].
    groups : (ndarray, ndarray)
        Their groups; scans of one group are drawn together.
    labels : (ndarray, ndarray)
        Their classes; both sides have the same.
    resamples : int
        Number of bootstrap samples.
    seed : int
        Random seed of them.
    again : callable, optional
        Scores all scans again for other members, if the scores came from knowing who they are.
    """
    level = _ranks(np.concatenate(scores))
    levels = level[: len(scores[0])], level[len(scores[0]) :]
    count = int(level.max()) + 1
    numbers = [_ranks(each) for each in groups]
    rng = np.random.default_rng(seed)
    found = [_success(levels, _weights(labels, [np.ones(len(each)) for each in labels]), count)]
    for _ in range(resamples):
        drawn = [_drawn(each, rng) for each in numbers]
        found.append(_success(levels, _weights(labels, drawn), count))
    low, high = np.nanquantile(np.array(found[1:]), (0.025, 0.975), axis=0)
    sides = _divisions(groups, labels, rng)
    ranks = map(_ranks, again(sides)) if again else itertools.repeat(level, len(sides))
    chance = _reached(ranks, sides, labels)
    at_least = (chance >= np.array(found[0]) - 1e-12).sum(axis=0)
    p_auc, p_tpr = map(float, (1 + at_least) / (1 + BY_CHANCE))
    return Attack(
        auc=found[0][0],
        auc_low=float(low[0]),
        auc_high=float(high[0]),
        tpr=found[0][1],
        tpr_low=float(low[1]),
        tpr_high=float(high[1]),
        p_auc=p_auc,
        p_tpr=p_tpr,
        members=len(scores[0]),
        non_members=len(scores[1]),
    )


def _divisions(
    groups: tuple[Labels, Labels], labels: tuple[Labels, Labels], rng: np.random.Generator
) -> Sides:
    """Divide the groups at random into as many members and others; each class keeps its numbers.

    If nothing tells members from others, an attack succeeds as often on any such division. This holds
    with few scans, too, where one non-member decides the threshold of 1% false positives, and a
    bootstrap only draws it again.
    """
    label, number = np.concatenate(labels), _numbered(groups)
    _, first = np.unique(number, return_index=True)
    member, stratum = first < len(labels[0]), label[first]
    member = member[np.argsort(stratum, kind="stable")]
    sides = np.empty((BY_CHANCE, len(label)), bool)
    for side in sides:
        drawn = np.empty_like(member)
        drawn[np.lexsort((rng.random(len(member)), stratum))] = member
        side[:] = drawn[number]
    return sides


def _numbered(groups: tuple[Labels, Labels]) -> npt.NDArray[np.intp]:
    """Number the groups of both sides from 0; those of one side are none of the other's."""
    return _ranks(np.concatenate([2 * groups[0], 2 * groups[1] + 1]))


def _ranks(values: npt.NDArray[np.generic]) -> npt.NDArray[np.intp]:
    """Rank values among all distinct ones, from 0; equal values have the same rank."""
    return np.asarray(np.unique(values, return_inverse=True)[1])


def _reached(
    ranks: Iterable[npt.NDArray[np.intp]], sides: Sides, labels: tuple[Labels, Labels]
) -> npt.NDArray[np.float64]:
    """Return AUC and true positive rate of each division: float64 [divisions, 2]."""
    label, found = np.concatenate(labels), np.empty((len(sides), 2))
    for each, level, side in zip(found, ranks, sides, strict=True):
        of_sides = label[side], label[~side]
        weights = _weights(of_sides, [np.ones(len(part)) for part in of_sides])
        each[:] = _success((level[side], level[~side]), weights, int(level.max()) + 1)
    return found


def blind_attack(
    features: tuple[Features, Features],
    groups: tuple[Labels, Labels],
    labels: tuple[Labels, Labels],
    resamples: int,
    seed: int = 0,
) -> Attack | None:
    """Attack without any synthetic scan: with a ridge classifier of members against the others.

    It cannot know who was a member: if it does better than guessing, then the two sides differ by
    themselves, such as in their source.

    Parameters
    ----------
    features : (ndarray, ndarray)
        Features of members and of non-members, float32 [N, D] and [M, D].
    groups, labels, resamples, seed
        See `attack`.

    Returns
    -------
    Attack or None
        None if a side has only one group.
    """
    if min(len(np.unique(each)) for each in groups) < 2:
        return None
    members, scorer = len(features[0]), blind_scorer(features, groups)
    (scores,) = scorer(np.arange(sum(map(len, features)))[None] < members)
    return attack((scores[:members], scores[members:]), groups, labels, resamples, seed, scorer)


def blind_scorer(features: tuple[Features, Features], groups: tuple[Labels, Labels]) -> Scorer:
    """Return what scores all scans for any division of them into members and others.

    It is a ridge classifier, cross-validated in up to ten folds that keep groups whole.
    """
    rows = np.concatenate(features)
    rows = scaled(rows, scale_of(rows)).astype(np.float64)
    number = _numbered(groups)
    # The folds do not depend on the sides, as they are the same for every division.
    count = min(BLIND_FOLDS, int(number.max()) + 1)
    fold = folds_of(number, count, np.random.default_rng(0))
    alpha = np.square(rows).sum() / min(rows.shape)  # a typical direction keeps half of its weight
    tests = [np.flatnonzero(fold == k) for k in range(count)]

    def scores(sides: Sides) -> Scores:
        if not alpha:  # all scans are the same
            return np.zeros(sides.shape)
        members = sides.sum(axis=1, keepdims=True)
        target = np.where(sides, 1 / members, -1 / (len(rows) - members)).T * len(rows)
        found, products, right = np.empty(target.shape), rows.T @ rows, rows.T @ target
        for test in tests:
            own, n = rows[test], len(rows) - len(test)  # all others are learnt from
            mean = -own.sum(axis=0) / n  # as the mean of all rows is 0
            level = (target.sum(axis=0) - target[test].sum(axis=0)) / n
            centred = products - own.T @ own - n * np.outer(mean, mean)
            centred.flat[:: len(centred) + 1] += alpha
            wanted = right - own.T @ target[test] - n * np.outer(mean, level)
            weights = cho_solve(cho_factor(centred, overwrite_a=True), wanted)
            found[test] = (own - mean) @ weights + level
        return np.asarray(found.T)

    return scores


def _drawn(number: Labels, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Draw groups with replacement: how often each scan was drawn."""
    count = int(number.max()) + 1
    return np.bincount(rng.integers(count, size=count), minlength=count)[number].astype(np.float64)


def _weights(
    labels: tuple[Labels, Labels], drawn: list[npt.NDArray[np.float64]]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Weight the non-members so that their classes have the shares of the members'."""
    count = int(max(each.max() for each in labels)) + 1
    members, others = (
        np.bincount(each, weights=weight, minlength=count)
        for each, weight in zip(labels, drawn, strict=True)
    )
    factor = np.divide(members, others, out=np.zeros(count), where=others > 0)
    return drawn[0], drawn[1] * factor[labels[1]]


def _success(
    levels: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]],
    weights: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]],
    count: int,
) -> tuple[float, float]:
    """Return the area under the ROC curve, and the true positive rate at 1% false positives.

    Parameters
    ----------
    levels : (ndarray, ndarray)
        The rank of each score among all distinct ones, from 0; equal scores have the same.
    weights : (ndarray, ndarray)
        Weight of each scan.
    count : int
        Number of ranks.
    """
    members, others = (
        np.bincount(level, weights=weight, minlength=count)
        for level, weight in zip(levels, weights, strict=True)
    )
    if not members.sum() or not others.sum():  # no class of both sides was drawn
        return np.nan, np.nan
    members, others = members / members.sum(), others / others.sum()
    below = np.cumsum(others) - others
    auc = float(members @ (below + others / 2))
    above = np.append(np.cumsum(others[::-1])[::-1], 0.0)  # false positives from each rank up
    threshold = int((above > FALSE_POSITIVES + 1e-12).sum())
    return auc, float(members[threshold:].sum())
