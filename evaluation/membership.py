"""How well an attack tells training scans (members) from other scans (non-members).

A membership inference attack gives each scan a score, higher for scans that it takes for members. The
area under the ROC curve is its success over all scans. The true positive rate at 1% false positives is
its success on the scans that it is surest of, which is what counts for privacy (Carlini et al. 2022).
"""

import numpy as np
import numpy.typing as npt

from scangan.evaluation.folds import fold_count, folds_of
from scangan.evaluation.nearest import scale_of, scaled
from scangan.evaluation.privacy_result import Attack

FALSE_POSITIVES = 0.01
BY_CHANCE = 1000  # random divisions of the groups
Features = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


def attack(
    scores: tuple[Scores, Scores],
    groups: tuple[Labels, Labels],
    labels: tuple[Labels, Labels],
    resamples: int,
    seed: int = 0,
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
    """
    _, level = np.unique(np.concatenate(scores), return_inverse=True)
    levels = level[: len(scores[0])], level[len(scores[0]) :]
    count = int(level.max()) + 1
    numbers = [np.unique(each, return_inverse=True)[1] for each in groups]
    rng = np.random.default_rng(seed)
    found = [_success(levels, _weights(labels, [np.ones(len(each)) for each in labels]), count)]
    for _ in range(resamples):
        drawn = [_drawn(each, rng) for each in numbers]
        found.append(_success(levels, _weights(labels, drawn), count))
    low, high = np.nanquantile(np.array(found[1:]), (0.025, 0.975), axis=0)
    p_auc, p_tpr = _by_chance(levels, groups, labels, count, rng)
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


def _by_chance(
    levels: tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]],
    groups: tuple[Labels, Labels],
    labels: tuple[Labels, Labels],
    count: int,
    rng: np.random.Generator,
) -> tuple[float, float]:
    """Return how often an attack succeeds as well by chance, in AUC and in the true positive rate.

    If nothing tells members from others, then any division of the groups into as many members and
    others would do; classes keep their numbers of groups. So this holds with few scans, too, where one
    non-member decides the threshold of 1% false positives, and a bootstrap only draws it again.
    """
    level, label = np.concatenate(levels), np.concatenate(labels)
    # Groups of the two sides are different ones, whatever their numbers.
    group = np.concatenate([2 * groups[0], 2 * groups[1] + 1])
    _, first, number = np.unique(group, return_index=True, return_inverse=True)
    member, stratum = first < len(levels[0]), label[first]
    member = member[np.argsort(stratum, kind="stable")]

    def success(side: npt.NDArray[np.bool_]) -> tuple[float, float]:
        sides = label[side], label[~side]
        weights = _weights(sides, [np.ones(len(each)) for each in sides])
        return _success((level[side], level[~side]), weights, count)

    reached = np.array(success(np.arange(len(level)) < len(levels[0])))
    chance = np.empty((BY_CHANCE, 2))
    for each in chance:
        drawn = np.empty_like(member)
        drawn[np.lexsort((rng.random(len(member)), stratum))] = member
        each[:] = success(drawn[number])
    at_least = (chance >= reached - 1e-12).sum(axis=0)
    p_auc, p_tpr = (1 + at_least) / (1 + BY_CHANCE)
    return float(p_auc), float(p_tpr)


def blind_scores(
    features: tuple[Features, Features], groups: tuple[Labels, Labels]
) -> tuple[Scores, Scores] | None:
    """Score scans without any synthetic scan, by a ridge classifier of members against non-members.

    Cross-validated in up to five folds that keep groups whole; None if a side has only one group. It
    cannot know who was a member: if it does better than guessing, then the two sides differ by
    themselves, such as in their source.

    Parameters
    ----------
    features : (ndarray, ndarray)
        Features of members and of non-members, float32 [N, D] and [M, D].
    groups : (ndarray, ndarray)
        Their groups.
    """
    from sklearn.linear_model import Ridge  # two seconds of import, not for a result that was kept

    rng = np.random.default_rng(0)
    rows = np.concatenate(features)
    rows = scaled(rows, scale_of(rows))  # by both sides, which are then alike if nothing differs
    members = np.arange(len(rows)) < len(features[0])
    target = np.where(members, 1 / members.sum(), -1 / (~members).sum()) * len(rows)
    folds = fold_count(*groups)
    if folds < 2:
        return None
    fold = np.concatenate([folds_of(each, folds, rng) for each in groups])
    # A typical direction keeps half of its weight.
    alpha = float(np.square(rows, dtype=np.float64).sum() / min(rows.shape))
    scores = np.empty(len(rows))
    for k in range(folds):
        ridge = Ridge(alpha=alpha, solver="cholesky").fit(rows[fold != k], target[fold != k])
        scores[fold == k] = ridge.predict(rows[fold == k])
    return scores[members], scores[~members]


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
