"""Whose scan is in a synthetic set? Near copies of training scans, and membership inference.

No single test settles this, so three kinds of evidence stand side by side:

- **Copies.** Each synthetic scan is compared with the training scan that it is most similar to, whatever
  its shift, scale, mirroring, brightness and contrast (`alignment`). A scan is suspect if it is more
  similar than real scans of other people are. Known copies are planted into the set at five levels of
  change each time, so the result tells which copies the search would have found.
- **Distances.** The share of synthetic scans that are nearer to training scans than the first percentile
  of a hold-out. Such tests alone are discredited: sets that pass them leak under membership inference
  ("The DCR Delusion", Yao et al. 2025, arXiv 2505.01524).
- **Membership inference.** Can an attacker tell who was in the training set? By the distance to the nearest
  synthetic scan (the black-box attack of "GAN-Leaks", Chen et al. 2020, without its calibration by a
  second generator), and by the discriminator (LOGAN, Hayes et al. 2019). The true positive rate at
  1% false positives counts more than the average over all scans (Carlini et al. 2022, "Membership
  inference attacks from first principles"). A classifier that sees no synthetic scan attacks as well: where
  it succeeds, the hold-out differs from the training scans by itself (Das et al. 2024, "Blind baselines beat
  membership inference attacks", arXiv 2406.16201).
"""

import dataclasses
from importlib.metadata import version
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from scangan.core.counted import counted
from scangan.evaluation.attacks import MOST_ATTACKED, DiscriminatorScores, attacks
from scangan.evaluation.cache import Cache
from scangan.evaluation.calibration import (
    SURE_FROM,
    copies_among,
    nearness,
    suspects_by_chance,
    threshold,
)
from scangan.evaluation.features import DEFAULT, FeatureExtractor
from scangan.evaluation.planted import LEVELS
from scangan.evaluation.privacy_result import FORMAT, Attack, Nearness, PrivacyResult, Threshold
from scangan.evaluation.privacy_sets import comparable
from scangan.evaluation.privacy_verdict import verdict
from scangan.evaluation.ranges import LARGEST_SEED, check_range
from scangan.evaluation.scan_set import ScanSet
from scangan.evaluation.track import Track, to_the_end, untracked
from scangan.evaluation.training_search import MOST_CALIBRATING, Found, TrainingSearch

SHOWN = 24  # most similar pairs in the result


@dataclasses.dataclass(frozen=True)
class PrivacyOptions:
    """How to evaluate privacy.

    Parameters
    ----------
    extractor : str
        Feature extractor (`FeatureExtractor`).
    planted : int
        Copies to plant at each level of change, 10 to 1000.
    resamples : int
        Bootstrap samples of the intervals, 100 to 10000.
    seed : int
        Random seed.
    threads : int, optional
        Number of threads; by default, all that the process may use.
    cache : Path, optional
        Folder of features that were computed before; by default the user's cache folder.
    """

    extractor: str = DEFAULT
    planted: int = 40
    resamples: int = 1000
    seed: int = 0
    threads: int | None = None
    cache: Path | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        check_range("planted", self.planted, 10, 1000)
        check_range("resamples", self.resamples, 100, 10_000)
        check_range("--seed", self.seed, 0, LARGEST_SEED)
        check_range("--threads", self.threads, 1)


def privacy(
    train: ScanSet,
    synthetic: ScanSet,
    holdout: ScanSet | None = None,
    options: PrivacyOptions | None = None,
    discriminator: DiscriminatorScores | None = None,
    track: Track = untracked,
    notes: tuple[str, ...] = (),
) -> PrivacyResult:
    """Look for training scans in a synthetic set.

    Parameters
    ----------
    train : ScanSet
        The real scans that the generator was trained on.
    synthetic : ScanSet
        The synthetic scans.
    holdout : ScanSet, optional
        Real scans of other people that it was not trained on. Without them, membership inference
        cannot be tested.
    options : PrivacyOptions, optional
        How to evaluate.
    discriminator : DiscriminatorScores, optional
        The discriminator of the run, to attack with it, too.
    track : callable, optional
        Shows how many scans were extracted or searched. See `scangan.evaluation.track`.
    notes : tuple of str
        More for the notes of the result.

    Returns
    -------
    PrivacyResult
        What was found.

    Raises
    ------
    EvaluationError
        The sets cannot be compared.
    """
    options = options or PrivacyOptions()
    extract = FeatureExtractor(options.extractor, options.threads)
    cache = Cache(options.cache)

    def compute() -> PrivacyResult:
        ours, made, held, found = comparable(train, synthetic, holdout)
        attacker = discriminator
        if attacker and attacker.size != ours.size:
            found.append(
                f"the discriminator takes scans of {attacker.size} pixels, and these have {ours.size}: it "
                f"did not attack"
            )
            attacker = None
        most = _work(ours, made, held, options)
        with to_the_end(track, "comparing with the training scans", most, "scans") as advance:
            search = TrainingSearch(ours, extract, cache, options.threads, advance)
            return _result(search, made, held, options, attacker, [*notes, *found])

    sets = [each.identity for each in (train, synthetic, holdout) if each]
    attacked = discriminator.sha256 if discriminator else None
    how = options.planted, options.resamples, options.seed, notes
    with threadpool_limits(1, "blas"):  # a second thread costs more than it gains on these sizes
        return cache.result(
            PrivacyResult, (sets, extract.name, extract.sha256, attacked, how), compute
        )


def _work(
    train: ScanSet, synthetic: ScanSet, holdout: ScanSet | None, options: PrivacyOptions
) -> int:
    """Return how many scans `privacy` extracts and searches at most."""
    copies = len(LEVELS) * min(options.planted, len(train))
    both = len(synthetic) + copies  # extracted, then searched
    if holdout is None:
        return len(train) + 2 * both + min(len(train), MOST_CALIBRATING)
    attacked = min(len(train), MOST_ATTACKED) + min(len(holdout), MOST_ATTACKED)
    return len(train) + 2 * (both + len(holdout)) + attacked


def _result(
    search: TrainingSearch,
    synthetic: ScanSet,
    holdout: ScanSet | None,
    options: PrivacyOptions,
    discriminator: DiscriminatorScores | None,
    notes: list[str],
) -> PrivacyResult:
    """Evaluate; `notes` are those about the sets."""
    planted = search.planted(options.planted, options.seed)
    copies = [each.found.matches.similarity for each in planted]
    ours = search.found(synthetic.images)
    near: dict[str, Nearness] = {}
    success: dict[str, Attack] = {}
    if holdout is None:
        limit = search.limit(copies, options.seed)
        notes.append(
            "membership inference was not tested: it needs real scans that the generator was not "
            "trained on; give some with --holdout"
        )
    else:
        real = search.found(holdout.images)
        limit = threshold(real.matches.similarity, holdout.groups, copies, "holdout")
        rows = np.flatnonzero(~copies_among(real.matches.similarity, copies)[0])
        held, real = holdout.take(rows), real.take(rows)
        near = _nearness(ours, held, real)
        success, more = attacks(
            search,
            (held, real.features),
            (synthetic.images, ours.features),
            options.resamples,
            options.seed,
            discriminator,
        )
        notes += more
    notes += _of_limit(limit, search.train if holdout is None else holdout)
    order = np.argsort(-ours.matches.similarity, kind="stable")
    suspect = ours.matches.similarity > limit.similarity
    suspects = tuple(search.pair(synthetic, n, ours) for n in order if suspect[n])
    chance = suspects_by_chance(limit, len(synthetic))
    levels = tuple(each.level(limit, search.train.groups) for each in planted)
    return PrivacyResult(
        format_version=FORMAT,
        scangan=version("scangan"),
        train=search.train.info,
        synthetic=synthetic.info,
        holdout=None if holdout is None else holdout.info,
        extractor=search.extract.name,
        extractor_sha256=search.extract.sha256,
        threshold=limit,
        suspects=suspects,
        suspects_by_chance=chance,
        nearest=tuple(search.pair(synthetic, n, ours) for n in order[:SHOWN]),
        nearness=near,
        membership=success,
        sensitivity=levels,
        seed=options.seed,
        verdict=verdict(len(synthetic), (len(suspects), chance), limit, levels, success),
        notes=tuple(notes),
    )


def _nearness(ours: Found, holdout: ScanSet, real: Found) -> dict[str, Nearness]:
    """Compare distances to training scans, in features and in pixels."""
    distances = {
        "features": (ours.distance, real.distance),
        "pixels": (1 - ours.matches.similarity, 1 - real.matches.similarity),
    }
    return {name: nearness(a, (b, holdout.groups)) for name, (a, b) in distances.items()}


def _of_limit(limit: Threshold, real: ScanSet) -> list[str]:
    notes = []
    if limit.copies:
        which = (
            "training scans of other groups" if limit.calibrated_on == "train" else "training scans"
        )
        notes.append(
            f"{counted(limit.copies, 'scan')} of {real.name} left out as copies of "
            f"{which} (similarity {limit.copies_from:.3f} or more)"
        )
    if limit.groups < SURE_FROM:
        notes.append(
            f"calibrated on only {limit.groups} subjects or groups, so up to {limit.flagged_at_most:.1%} "
            f"of those may have scans that are called suspects; with {SURE_FROM}, it would be under 1%"
        )
    return notes
