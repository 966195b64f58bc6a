"""Judge synthetic scans against real ones: their quality, their use and whose scans are in them."""

from typing import TYPE_CHECKING

from scangan.core.errors import EvaluationError as EvaluationError
from scangan.core.lazy import lazily

if TYPE_CHECKING:
    from scangan.evaluation.judge_privacy import PrivacyOptions as PrivacyOptions
    from scangan.evaluation.judge_privacy import privacy as privacy
    from scangan.evaluation.judge_quality import QualityOptions as QualityOptions
    from scangan.evaluation.judge_quality import quality as quality
    from scangan.evaluation.judge_utility import UtilityOptions as UtilityOptions
    from scangan.evaluation.judge_utility import utility as utility
    from scangan.evaluation.judgement import JudgeOptions as JudgeOptions
    from scangan.evaluation.judgement import judge_all as judge_all
    from scangan.evaluation.report.write import write_report as write_report
    from scangan.evaluation.scan_set import ScanSet as ScanSet

__all__ = [
    "EvaluationError",
    "JudgeOptions",
    "PrivacyOptions",
    "QualityOptions",
    "ScanSet",
    "UtilityOptions",
    "judge_all",
    "privacy",
    "quality",
    "utility",
    "write_report",
]

__getattr__ = lazily(
    __name__,
    {
        "JudgeOptions": "scangan.evaluation.judgement",
        "judge_all": "scangan.evaluation.judgement",
        "write_report": "scangan.evaluation.report.write",
        "PrivacyOptions": "scangan.evaluation.judge_privacy",
        "privacy": "scangan.evaluation.judge_privacy",
        "QualityOptions": "scangan.evaluation.judge_quality",
        "quality": "scangan.evaluation.judge_quality",
        "UtilityOptions": "scangan.evaluation.judge_utility",
        "utility": "scangan.evaluation.judge_utility",
        "ScanSet": "scangan.evaluation.scan_set",
    },
)
