"""Records of a privacy evaluation, as ``result.json`` holds them."""

from scangan.artifacts.records import Record
from scangan.artifacts.suspects import Pair as Pair  # a part of a result
from scangan.evaluation.scan_set import SetInfo

FORMAT = 2  # 1 had no `suspects_by_chance`, and in `Nearness` an interval of the share
BLIND = "blind"  # the attack that knows no synthetic scan


class Threshold(Record, frozen=True, kw_only=True):
    """The similarity above which a synthetic scan is suspect, and what it comes from.

    Parameters
    ----------
    similarity : float
        A scan is suspect above it.
    calibrated_on : {"holdout", "train"}
        The scans whose similarity to the training scans gave it: the hold-out, or training scans
        compared with those of other groups.
    scans, groups : int
        How many.
    copies : int
        Real scans left out, as they are copies of training scans themselves: at least as similar as
        19 of 20 planted copies of some level of change are.
    copies_from : float
        That similarity.
    flagged : float
        Share of them that it would call suspect.
    flagged_at_most : float
        With 95% confidence, no more than this share of such groups of real scans is called suspect.
    above : int
        Groups of these scans that lie above the limit.
    """

    similarity: float
    calibrated_on: str
    scans: int
    groups: int
    copies: int
    copies_from: float
    flagged: float
    flagged_at_most: float
    above: int = 0


class Nearness(Record, frozen=True, kw_only=True):
    """How near synthetic scans are to the training scans, beside the hold-out.

    Parameters
    ----------
    limit : float
        The first percentile of the distances from hold-out to training scans, or the least of fewer
        than 99.
    expected : float
        Share of other real scans that would be nearer: 0.01, or more with fewer than 99 of the hold-out.
    low, high : float
        Of generators that copy nothing, 95% have a share from `low` to `high`.
    share : float
        Share of the synthetic scans that are nearer.
    median, holdout_median : float
        Median distances of synthetic and of hold-out scans to their nearest training scan.
    """

    limit: float
    expected: float
    low: float
    high: float
    share: float
    median: float
    holdout_median: float


class Attack(Record, frozen=True, kw_only=True):
    """Success of a membership inference attack.

    Parameters
    ----------
    auc : float
        Area under the ROC curve: 0.5 is guessing.
    auc_low, auc_high : float
        Its 95% interval.
    tpr : float
        True positive rate at 1% false positives: 0.01 is guessing.
    tpr_low, tpr_high : float
        Its 95% interval.
    p_auc, p_tpr : float
        How likely it is to reach these by guessing.
    members, non_members : int
        Number of scans attacked.
    """

    auc: float
    auc_low: float
    auc_high: float
    tpr: float
    tpr_low: float
    tpr_high: float
    p_auc: float
    p_tpr: float
    members: int
    non_members: int


class Level(Record, frozen=True, kw_only=True):
    """How many planted copies of training scans were found at one level of change.

    Parameters
    ----------
    change : str
        What was changed in the copies.
    planted : int
        How many were planted.
    found : int
        How many were suspects, with the right training scan.
    """

    change: str
    planted: int
    found: int


class PrivacyResult(Record, frozen=True, kw_only=True):
    """Everything that a privacy evaluation found.

    Parameters
    ----------
    format_version : int
        Version of this record.
    scangan : str
        Version of scangan.
    train, synthetic, holdout : SetInfo
        The sets; `holdout` is None if there is none.
    extractor, extractor_sha256 : str
        The network of the feature space, and SHA-256 of its file.
    threshold : Threshold
        Above which similarity a scan is suspect.
    suspects : tuple of Pair
        The suspects, most similar first.
    suspects_by_chance : int
        The most suspects that a generator without copies has in 19 of 20 cases.
    nearest : tuple of Pair
        The most similar pairs, suspect or not, most similar first.
    nearness : dict
        Share of synthetic scans nearer to training scans than the hold-out's first percentile, in
        ``features`` and in ``pixels`` (1 - similarity); empty without a hold-out.
    membership : dict
        Success of the attacks, by name: by distance in ``features`` and in ``pixels``, and by
        ``discriminator``; empty without a hold-out. ``blind`` is a classifier that knows no synthetic
        scan: where it succeeds, the hold-out differs from the training scans by itself.
    sensitivity : tuple of Level
        Share of planted copies that were found.
    seed : int
        Random seed.
    verdict : tuple of str
        What the evidence supports, in sentences.
    notes : tuple of str
        What a reader has to know.
    """

    format_version: int
    scangan: str
    train: SetInfo
    synthetic: SetInfo
    holdout: SetInfo | None
    extractor: str
    extractor_sha256: str
    threshold: Threshold
    suspects: tuple[Pair, ...]
    suspects_by_chance: int
    nearest: tuple[Pair, ...]
    nearness: dict[str, Nearness]
    membership: dict[str, Attack]
    sensitivity: tuple[Level, ...]
    seed: int
    verdict: tuple[str, ...]
    notes: tuple[str, ...]
