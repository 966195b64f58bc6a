"""Quality, utility and privacy of a synthetic set, for one report."""

import dataclasses

from scangan.artifacts.records import Record
from scangan.core.errors import EvaluationError
from scangan.evaluation import privacy_sets
from scangan.evaluation.attacks import DiscriminatorScores
from scangan.evaluation.judge_privacy import PrivacyOptions, privacy
from scangan.evaluation.judge_quality import QualityOptions, quality
from scangan.evaluation.judge_utility import UtilityOptions, utility
from scangan.evaluation.privacy_result import PrivacyResult
from scangan.evaluation.quality_result import QualityResult
from scangan.evaluation.scan_set import ScanSet
from scangan.evaluation.track import Track, untracked
from scangan.evaluation.utility_result import UtilityResult

NO_TRAIN = "give the training scans with --train"


class Judgement(Record, frozen=True, kw_only=True):
    """What the evaluations of a synthetic set found.

    Parameters
    ----------
    quality : QualityResult
        Whether it looks like real scans.
    utility : UtilityResult or None
        Whether a classifier gains from it; None if that could not be evaluated.
    why_no_utility : str
        Why not; empty if it was.
    privacy : PrivacyResult or None
        Whether training scans are in it; None if they are not known.
    """

    quality: QualityResult
    utility: UtilityResult | None
    why_no_utility: str = ""
    privacy: PrivacyResult | None


@dataclasses.dataclass(frozen=True)
class JudgeOptions:
    """How to evaluate quality, utility and privacy."""

    quality: QualityOptions = dataclasses.field(default_factory=QualityOptions)
    utility: UtilityOptions = dataclasses.field(default_factory=UtilityOptions)
    privacy: PrivacyOptions = dataclasses.field(default_factory=PrivacyOptions)


def judge_all(
    real: ScanSet,
    synthetic: ScanSet,
    train: ScanSet | None = None,
    options: JudgeOptions | None = None,
    *,
    discriminator: DiscriminatorScores | None = None,
    quality_notes: tuple[str, ...] = (),
    utility_notes: tuple[str, ...] = (),
    privacy_notes: tuple[str, ...] = (),
    track: Track = untracked,
) -> Judgement:
    """Evaluate quality, and utility and privacy if the training scans are known.

    Parameters
    ----------
    real : ScanSet
        Real scans that the generator was not trained on.
    synthetic : ScanSet
        The synthetic scans.
    train : ScanSet, optional
        The real scans that the generator was trained on.
    options : JudgeOptions, optional
        How to evaluate.
    discriminator : DiscriminatorScores, optional
        See `privacy`.
    quality_notes, utility_notes, privacy_notes : tuple of str
        More for the notes of these results.
    track : callable, optional
        Shows how many scans were compared and classifiers trained, one after the other.
        See `scangan.evaluation.track`.

    Raises
    ------
    EvaluationError
        The sets cannot be compared.
    """
    options = options or JudgeOptions()
    if train is not None:  # before the long work
        privacy_sets.comparable(train, synthetic, real)
    looks = quality(real, synthetic, options.quality, track, quality_notes)
    if train is None:
        return Judgement(quality=looks, utility=None, why_no_utility=NO_TRAIN, privacy=None)
    use, why = None, ""
    try:
        use = utility(train, synthetic, real, options.utility, track, utility_notes)
    except EvaluationError as error:  # such as one class, or test scans that all leak
        why = str(error)
    secrecy = privacy(train, synthetic, real, options.privacy, discriminator, track, privacy_notes)
    return Judgement(quality=looks, utility=use, why_no_utility=why, privacy=secrecy)
