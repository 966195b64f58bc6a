"""Records of a utility evaluation: ``result.json`` of ``eval-scans utility``."""

from msgspec import field

from scangan.artifacts.records import Record
from scangan.evaluation.scan_set import SetInfo

FORMAT = 1


class Estimate(Record, frozen=True, kw_only=True):
    """A figure with its 95% interval."""

    value: float
    low: float
    high: float


class DietResult(Record, frozen=True, kw_only=True):
    """What one classifier reached on real test scans after one diet.

    Parameters
    ----------
    classifier, diet : str
        Which.
    n_train : int
        Scans that it learnt from.
    metrics : dict
        ``accuracy``, ``balanced_accuracy``, ``macro_f1`` and ``auroc`` (one class against the rest,
        mean over classes), each from 0 to 1; means over the seeds.
    recall : dict
        Share of the test scans of each class that it named right.
    confusion : dict
        For each true class, the mean number of test scans named as each class.
    difference : Estimate or None
        Balanced accuracy minus that of the real scans alone; None for these.
    p : float or None
        Of a paired test that there is no difference; None after one training, if another could end
        elsewhere.
    p_holm : float or None
        The same, corrected for the number of diets (Holm 1979).
    beyond_classical : Estimate or None
        For real scans with synthetic ones added: balanced accuracy minus that of "real + classical";
        None after one training.
    """

    classifier: str
    diet: str
    n_train: int
    metrics: dict[str, Estimate]
    recall: dict[str, Estimate]
    confusion: dict[str, dict[str, float]]
    difference: Estimate | None = None
    p: float | None = None
    p_holm: float | None = None
    beyond_classical: Estimate | None = None


class CurvePoint(Record, frozen=True, kw_only=True):
    """A point of the learning curve: balanced accuracy with a share of the real scans.

    Parameters
    ----------
    classifier : str
        Which.
    fraction, n_real : float, int
        The share of the real scans, and how many that are.
    real, with_synthetic, gain : Estimate
        Balanced accuracy without synthetic scans, with them, and the difference.
    p_holm : float or None
        Of a paired test that there is no gain, corrected for the number of points (Holm 1979); None
        after one training.
    """

    classifier: str
    fraction: float
    n_real: int
    real: Estimate
    with_synthetic: Estimate
    gain: Estimate
    p_holm: float | None = None


class UtilityResult(Record, frozen=True, kw_only=True):
    """Everything that a utility evaluation found.

    Parameters
    ----------
    format_version : int
        Version of this record.
    scangan : str
        Version of scangan.
    train, synthetic, test : SetInfo
        Real scans to learn from, synthetic ones, and real ones to test on.
    seeds : int
        How often each classifier was trained.
    diets : tuple of DietResult
        One for each classifier and diet.
    curve : tuple of CurvePoint
        The learning curve, if one was asked for.
    verdict : tuple of str
        What it says, in sentences.
    notes : tuple of str
        What a reader has to know.
    """

    format_version: int
    scangan: str
    train: SetInfo
    synthetic: SetInfo
    test: SetInfo
    seeds: int
    diets: tuple[DietResult, ...]
    curve: tuple[CurvePoint, ...] = field(default_factory=tuple)
    verdict: tuple[str, ...] = field(default_factory=tuple)
    notes: tuple[str, ...] = field(default_factory=tuple)
