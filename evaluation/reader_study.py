"""What readers found in a blind study: how often they told synthetic scans from real ones."""

import itertools
import statistics
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest
from sklearn.metrics import cohen_kappa_score

from scangan.artifacts.reader_study import StudyKey, StudyResult
from scangan.artifacts.records import Record
from scangan.evaluation.utility_result import Estimate

DRAWS = 2000
Flags = npt.NDArray[np.bool_]


class ReaderFigures(Record, frozen=True, kw_only=True):
    """What one reader reached.

    Parameters
    ----------
    reader : str
        The name that the reader typed, numbered if several typed the same.
    unsure : int
        Answers "unsure", which no other figure counts.
    accuracy : Estimate or None
        Share of the other answers that are right; 0.5 is guessing. The interval is Wilson's (1927).
        None if all answers are unsure.
    p : float or None
        Of a two-sided exact binomial test against guessing.
    real, synthetic : Estimate or None
        The same among the real scans, and among the synthetic ones.
    classes : dict
        The same for each class.
    seconds : float
        Median time of an answer.
    """

    reader: str
    unsure: int
    accuracy: Estimate | None
    p: float | None
    real: Estimate | None
    synthetic: Estimate | None
    classes: dict[str, Estimate | None]
    seconds: float


class Kappa(Record, frozen=True, kw_only=True):
    """Cohen's kappa of two readers over all three answers; None if it is not defined.

    1 is full agreement, and 0 what chance would give (Cohen 1960).
    """

    readers: tuple[str, str]
    kappa: float | None


class StudyFigures(Record, frozen=True, kw_only=True):
    """What all readers of a study reached.

    Parameters
    ----------
    study, name, model : str
        Which study; the model's name, and SHA-256 of its file.
    scans : int
        Number of scans; half of them are real.
    readers : tuple of ReaderFigures
        One for each reader.
    accuracy : Estimate or None
        Over all readers' answers; with several readers, the interval is a bootstrap over scans, since
        they judge the same, unless all answers are right, or none.
    classes : dict
        The same for each class.
    kappas : tuple of Kappa
        Of each two readers.
    paragraph : str
        The result in words, for a paper.
    """

    study: str
    name: str
    model: str
    scans: int
    readers: tuple[ReaderFigures, ...]
    accuracy: Estimate | None
    classes: dict[str, Estimate | None]
    kappas: tuple[Kappa, ...]
    paragraph: str


def judge_study(key: StudyKey, results: Sequence[StudyResult]) -> StudyFigures:
    """Compare readers' answers with the truth.

    Parameters
    ----------
    key : StudyKey
        The truth.
    results : sequence of StudyResult
        One for each reader, read with `read_result`.
    """
    names = _numbered([each.reader for each in results])
    real = np.array([scan.real for scan in key.scans])
    classes = [scan.class_name for scan in key.scans]
    given = np.array([[answer.answer for answer in each.answers] for each in results])
    right = given == np.where(real, "real", "synthetic")
    sure = given != "unsure"
    members = {
        name: np.array([each == name for each in classes])
        for name in sorted({*filter(None, classes)})
    }
    everything = np.ones(len(real), bool)
    readers = tuple(
        _figures(name, result, r, s, real, members)
        for name, result, r, s in zip(names, results, right, sure, strict=True)
    )
    accuracy = _over_readers(right, sure, everything)
    kappas = tuple(
        Kappa(readers=(names[a], names[b]), kappa=_kappa(given[a], given[b]))
        for a, b in itertools.combinations(range(len(names)), 2)
    )
    return StudyFigures(
        study=key.study,
        name=key.name,
        model=key.model,
        scans=len(real),
        readers=readers,
        accuracy=accuracy,
        classes={name: _over_readers(right, sure, these) for name, these in members.items()},
        kappas=kappas,
        paragraph=_paragraph(key, readers, accuracy, kappas),
    )


def _numbered(names: Sequence[str]) -> list[str]:
    """Return the names, with a number where one is there again: AB, AB (2)."""
    return [
        f"{name} ({names[:n].count(name) + 1})" if name in names[:n] else name
        for n, name in enumerate(names)
    ]


def _figures(
    name: str,
    result: StudyResult,
    right: Flags,
    sure: Flags,
    real: Flags,
    members: dict[str, Flags],
) -> ReaderFigures:
    n = int(sure.sum())
    hits = int((right & sure).sum())
    return ReaderFigures(
        reader=name,
        unsure=int((~sure).sum()),
        accuracy=_share(right, sure),
        p=float(binomtest(hits, n, 0.5).pvalue) if n else None,
        real=_share(right, sure & real),
        synthetic=_share(right, sure & ~real),
        classes={name: _share(right, sure & these) for name, these in members.items()},
        seconds=statistics.median(each.ms for each in result.answers) / 1000,
    )


def _share(right: Flags, among: Flags) -> Estimate | None:
    """Share of right answers among some, with its 95% interval (Wilson 1927)."""
    n = int(among.sum())
    if not n:
        return None
    hits = int((right & among).sum())
    interval = binomtest(hits, n).proportion_ci(method="wilson")
    return Estimate(value=hits / n, low=float(interval.low), high=float(interval.high))


def _over_readers(right: Flags, sure: Flags, these: Flags) -> Estimate | None:
    """Share of right answers of all readers, [readers, N], among `these` scans."""
    if len(right) == 1:
        return _share(right[0], sure[0] & these)
    hits, given = ((each & these).sum(axis=0) for each in (right & sure, sure))
    if hits.sum() in (0, given.sum()):  # where no draw differs, a scan counts once
        return _share(hits > 0, given > 0)
    at = np.flatnonzero(these)
    drawn = np.random.default_rng(0).choice(at, (DRAWS, len(at)))
    counts = given[drawn].sum(axis=1)
    shares = hits[drawn].sum(axis=1)[counts > 0] / counts[counts > 0]
    low, high = np.percentile(shares, [2.5, 97.5])
    return Estimate(value=float(hits.sum() / given.sum()), low=float(low), high=float(high))


def _kappa(one: npt.NDArray[np.str_], two: npt.NDArray[np.str_]) -> float | None:
    kappa = float(cohen_kappa_score(one, two)) if len({*one, *two}) > 1 else float("nan")
    return None if np.isnan(kappa) else kappa


def _paragraph(
    key: StudyKey,
    readers: Sequence[ReaderFigures],
    accuracy: Estimate | None,
    kappas: Iterable[Kappa],
) -> str:
    half = len(key.scans) // 2
    one = len(readers) == 1
    who = "One reader" if one else f"{len(readers)} readers"
    judged = (
        f"{who} judged {len(key.scans)} scans, {half} real and {half} made by {key.name} (SHA-256 "
        f"{key.model[:12]}), blind, one after the other and in one random order."
    )
    if accuracy is None:
        return f"{judged} All answers were “unsure”."
    # Where all answers are right, or none, no draw differs.
    how = "Wilson's interval" if one or accuracy.value in (0, 1) else "bootstrap over scans"
    unsure = sum(each.unsure for each in readers) / (len(readers) * len(key.scans))
    told = (
        f"They were right in {accuracy.value:.1%} of the answers that were not “unsure” ({unsure:.1%} "
        f"were), 95% interval {accuracy.low:.1%} to {accuracy.high:.1%} ({how}); guessing gives 50%."
    )
    known = [each.kappa for each in kappas if each.kappa is not None]
    if not known:
        return f"{judged} {told}"
    mean = "Mean Cohen's kappa" if len(known) > 1 else "Cohen's kappa"
    return f"{judged} {told} {mean} between readers was {statistics.fmean(known):.2f}."
