"""What real scans score, to judge synthetic ones by."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr, betaincinv
from scipy.stats import betabinom

from scangan.evaluation.privacy_result import Nearness, Threshold
from scangan.evaluation.similar import ALIKE

SHARE = 0.01  # of real scans that may be called suspect
CONFIDENCE = 0.95
SURE_FROM = 299  # groups from which `threshold` keeps both promises: 0.99 ** 299 < 0.05
COPIES = 0.05  # quantile of the planted copies from which real scans count as copies
MOST_COPIES = 0.1  # share of the real scans
PERCENTILE = 0.01  # of the hold-out's distances
Values = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


def copies_among(
    similarities: Values, planted: Sequence[Values]
) -> tuple[npt.NDArray[np.bool_], float]:
    """Find real scans that are copies of training scans themselves.

    Public datasets repeat scans, often re-saved or cropped, across their official splits. Such a scan
    says nothing about how similar scans of different people are.

    Parameters
    ----------
    similarities : ndarray
        Of real scans to training scans.
    planted : sequence of ndarray
        Of planted copies to theirs, for each level of change.

    Returns
    -------
    copies : ndarray
        bool [N]: at least as similar as 19 of 20 planted copies of some level of change, and so similar
        that they show the same. None is if that were over a tenth of the scans: then scans of this kind
        are alike.
    limit : float
        That similarity.
    """
    # Some copies are less similar than scans of different people: those must not count as copies, as
    # they are what a limit is calibrated on.
    limit = max(ALIKE, float(min(np.quantile(each, COPIES) for each in planted)))
    copies = similarities >= limit
    return copies & (copies.mean() <= MOST_COPIES), limit


def threshold(
    similarities: Values, groups: Labels, planted: Sequence[Values], calibrated_on: str
) -> Threshold:
    """Choose the similarity above which a scan is suspect, from that of real scans to training scans.

    This is a distribution-free tolerance limit (Wilks 1941): with 95% confidence, it flags under 1%
    of the groups that the real scans come from. It takes the highest similarity of each group, as
    scans of one group are alike. With fewer than `SURE_FROM` groups no limit is that sure; it is then
    the highest similarity, and `Threshold.flagged_at_most` tells what can be said. Real scans that
    are copies of training scans (`copies_among`) do not count.
    """
    copies, copies_from = copies_among(similarities, planted)
    similarities, groups = similarities[~copies], groups[~copies]
    names, number = np.unique(groups, return_inverse=True)
    highest = np.full(len(names), -1.0)
    np.maximum.at(highest, number, similarities)
    count = len(highest)
    above = -1  # groups that may lie above the limit: the most that is still sure
    while bdtr(above + 1, count, SHARE) <= 1 - CONFIDENCE:
        above += 1
    above = max(above, 0)
    limit = float(np.sort(highest)[-1 - above])
    return Threshold(
        similarity=limit,
        calibrated_on=calibrated_on,
        scans=len(similarities),
        groups=count,
        copies=int(copies.sum()),
        copies_from=copies_from,
        flagged=float((similarities > limit).mean()),
        flagged_at_most=_at_most(above, count),
        above=above,
    )


def suspects_by_chance(limit: Threshold, scans: int) -> int:
    """Return how many suspects a generator that copies nothing has at most, in 19 of 20 cases.

    Of scans like the real ones, the share above the limit has a beta distribution, whatever the
    similarities (the limit is one of theirs, counted from the top). Scans that are less like real ones
    have fewer.

    Parameters
    ----------
    limit : Threshold
        The limit.
    scans : int
        Number of synthetic scans.
    """
    return int(
        betabinom.ppf(CONFIDENCE, scans, limit.above + 1, max(limit.groups - limit.above, 1))
    )


def _at_most(above: int, count: int) -> float:
    """Bound a share from above, with 95% confidence (Clopper and Pearson 1934)."""
    return float(betaincinv(above + 1, count - above, CONFIDENCE)) if above < count else 1.0


def nearness(synthetic: Values, holdout: tuple[Values, Labels]) -> Nearness:
    """Compare distances to training scans of synthetic scans with those of a hold-out.

    Parameters
    ----------
    synthetic : ndarray
        Distances of the synthetic scans.
    holdout : (ndarray, ndarray)
        Distances and groups of the hold-out.
    """
    limit = _first_percentile(holdout[0])
    expected = max(PERCENTILE, 1 / (len(holdout[0]) + 1))
    # The share of other scans below one of so many has a beta distribution, whatever the distances are.
    sure = len(np.unique(holdout[1])) + 1
    by_chance = betabinom(len(synthetic), expected * sure, (1 - expected) * sure)
    low, high = by_chance.ppf((0.025, 0.975)) / len(synthetic)
    return Nearness(
        limit=limit,
        expected=expected,
        low=float(low),
        high=float(high),
        share=float((synthetic < limit).mean()),
        median=float(np.median(synthetic)),
        holdout_median=float(np.median(holdout[0])),
    )


def _first_percentile(distances: Values) -> float:
    """Return the distance below which 1% of such scans lie; of fewer than 99, it is the least one.

    Other definitions of a quantile promise it for these scans, not for others of the kind: below that
    of 50 scans lie 3% of others (Hyndman and Fan 1996, definition 6).
    """
    return float(np.quantile(distances, PERCENTILE, method="weibull"))
