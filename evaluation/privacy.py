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
  synthetic scan (van Breugel et al. 2023, "Membership inference attacks against synthetic data through
  overfitting detection"), and by the discriminator (LOGAN, Hayes et al. 2019). The true positive rate at
  1 % false positives counts more than the average over all scans (Carlini et al. 2022, "Membership
  inference attacks from first principles"). A classifier that sees no synthetic scan attacks as well: where
  it succeeds, the hold-out differs from the training scans by itself (Das et al. 2024, "Blind baselines beat
  membership inference attacks", arXiv 2406.16201).
"""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from scangan.core.counted import counted
from scangan.core.errors import EvaluationError
from scangan.evaluation.alignment import Gallery, Matches
from scangan.evaluation.cache import Cache
from scangan.evaluation.calibration import SURE_FROM, copies_among, nearness, threshold
from scangan.evaluation.features import DEFAULT, FeatureExtractor
from scangan.evaluation.membership import attack, blind_scores
from scangan.evaluation.nearest import nearest, scale_of, scaled
from scangan.evaluation.planted import LEVELS
from scangan.evaluation.privacy_result import (
    FORMAT,
    Attack,
    Level,
    Nearness,
    Pair,
    PrivacyResult,
    Threshold,
)
from scangan.evaluation.quality import SMALL, differing_settings, extracted, reduced, set_info
from scangan.evaluation.scan_set import ScanSet
from scangan.evaluation.verdict import verdict

Images = npt.NDArray[np.uint8]  # [N, H, W]
Labels = npt.NDArray[np.int64]
Features = npt.NDArray[np.float32]
Values = npt.NDArray[np.float64]
Indices = npt.NDArray[np.intp]
Advance = Callable[[int], None]
Discriminator = Callable[[Images, Labels], npt.NDArray[np.floating]]

FEWEST = 20  # scans of a set
SHOWN = 24  # most similar pairs in the result
BY_FEATURES = 4  # candidates for the alignment that are nearest in feature space
MOST_ATTACKED = 5000  # members and non-members each; more would hardly narrow the intervals
MOST_CALIBRATING = 2000  # training scans, without a hold-out


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
        ranges = {"planted": (10, 1000), "resamples": (100, 10_000)}
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                raise EvaluationError(
                    f"{name} {getattr(self, name)} is out of range; it takes {low} to {high}"
                )


def privacy(
    train: ScanSet,
    synthetic: ScanSet,
    holdout: ScanSet | None = None,
    options: PrivacyOptions | None = None,
    discriminator: Discriminator | None = None,
    advance: Advance = lambda _: None,
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
    discriminator : callable
        Returns a score for each scan, higher for more real, from uint8 [N, H, W] and classes int64
        [N] (indices into ``train.classes``).
    advance : callable
        Called with the number of scans just extracted or searched; `work` tells the total.

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
    total = work(train, synthetic, holdout, options)
    train, synthetic, holdout, notes = _comparable(train, synthetic, holdout)
    done = 0

    def counted_advance(count: int) -> None:
        nonlocal done
        done += count
        advance(count)

    with threadpool_limits(1, "blas"):  # a second thread costs more than it gains on these sizes
        evaluation = _Evaluation(train, synthetic, holdout, options, counted_advance)
        result = evaluation.result(discriminator, notes)
    advance(total - done)  # scans that were left out
    return result


def work(
    train: ScanSet, synthetic: ScanSet, holdout: ScanSet | None, options: PrivacyOptions
) -> int:
    """Return how many scans `privacy` extracts and searches, for `advance`."""
    copies = len(LEVELS) * min(options.planted, len(train))
    both = len(synthetic) + copies  # extracted, then searched
    if holdout is None:
        return len(train) + 2 * both + min(len(train), MOST_CALIBRATING)
    attacked = min(len(train), MOST_ATTACKED) + min(len(holdout), MOST_ATTACKED)
    return len(train) + 2 * (both + len(holdout)) + attacked


def _comparable(
    train: ScanSet, synthetic: ScanSet, holdout: ScanSet | None
) -> tuple[ScanSet, ScanSet, ScanSet | None, list[str]]:
    """Check the sets, bring them to one size, and note what was done."""
    notes = []
    sets = [each for each in (train, holdout, synthetic) if each is not None]
    for each in sets:
        if each is not synthetic and each.synthetic.any():
            raise EvaluationError(
                f"{each.name} holds {counted(int(each.synthetic.sum()), 'synthetic scan')}; "
                f"give a set of real scans only"
            )
        if len(each) < FEWEST:
            raise EvaluationError(
                f"{each.name} has only {counted(len(each), 'scan')}; this needs at least {FEWEST}"
            )
        if len(each) < SMALL:
            notes.append(f"{each.name} has only {len(each)} scans: its figures mean little")
        if each is not train:
            notes += differing_settings(train, each)
            lacking = {k for k, n in each.counts.items() if n} - set(train.classes)
            if lacking and train.classes:
                notes.append(
                    f"{train.name} has no {', '.join(sorted(lacking))}; scans of {each.name} were "
                    f"compared with all its classes"
                )
    sizes = {each.size for each in sets}
    if len(sizes) > 1:
        notes.append(f"scans of {max(sizes)} pixels were reduced to {min(sizes)}, as others have")
        train, synthetic = reduced(train, min(sizes)), reduced(synthetic, min(sizes))
        holdout = None if holdout is None else reduced(holdout, min(sizes))
    if holdout is not None:
        holdout, found = _apart(holdout, train)
        notes += found
    return train, synthetic, holdout, notes


def _apart(holdout: ScanSet, train: ScanSet) -> tuple[ScanSet, list[str]]:
    """Leave out hold-out scans that are training scans, pixel by pixel."""
    trained = set(map(_digest, train.images))
    apart = np.array([_digest(image) not in trained for image in holdout.images])
    if apart.all():
        return holdout, []
    if apart.sum() < FEWEST:
        raise EvaluationError(
            f"{len(holdout) - int(apart.sum())} of {len(holdout)} scans of {holdout.name} are training "
            f"scans; give a hold-out of scans that the generator was not trained on"
        )
    note = (
        f"left out {counted(int((~apart).sum()), 'scan')} of {holdout.name}: also in {train.name}"
    )
    return holdout.take(np.flatnonzero(apart)), [note]


def _digest(image: Images) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(image).data).digest()


@dataclasses.dataclass(frozen=True)
class _Found:
    """What the search among the training scans found for some scans.

    Parameters
    ----------
    features : ndarray
        float32 [N, D]: their scaled features.
    distance : ndarray
        float64 [N]: to the nearest training scan in feature space.
    matches : Matches
        The most similar training scan of each.
    """

    features: Features
    distance: Values
    matches: Matches

    def take(self, rows: Indices) -> "_Found":
        """Return what was found for some of the scans."""
        index, similarity = self.matches.index[rows], self.matches.similarity[rows]
        return _Found(self.features[rows], self.distance[rows], Matches(index, similarity))


@dataclasses.dataclass(frozen=True)
class _Planted:
    """Copies of training scans at one level of change, and what the search found for them."""

    change: str
    sources: Indices
    found: _Found

    def level(self, limit: Threshold, groups: Labels) -> Level:
        """Count the copies that are suspects, with their own training scan or one of its group."""
        matches = self.found.matches
        right = groups[matches.index] == groups[self.sources]
        found = int((right & (matches.similarity > limit.similarity)).sum())
        return Level(change=self.change, planted=len(self.sources), found=found)


class _Evaluation:
    """The sets, and the search among the training scans."""

    def __init__(
        self,
        train: ScanSet,
        synthetic: ScanSet,
        holdout: ScanSet | None,
        options: PrivacyOptions,
        advance: Advance,
    ) -> None:
        self.train, self.synthetic, self.holdout = train, synthetic, holdout
        self.options, self.advance = options, advance
        self.extract = FeatureExtractor(options.extractor, options.threads)
        self.cache = Cache(options.cache)
        raw = self._raw(train.images)
        self.scale = scale_of(raw)
        self.features = scaled(raw, self.scale)
        self.gallery = Gallery(train.images, train.groups, options.threads)

    def result(self, discriminator: Discriminator | None, notes: list[str]) -> PrivacyResult:
        """Evaluate."""
        planted = self._planted()
        copies = [each.found.matches.similarity for each in planted]
        synthetic = self._found(self.synthetic.images)
        near: dict[str, Nearness] = {}
        attacks: dict[str, Attack] = {}
        if self.holdout is None:
            limit = self._limit_among_training_scans(copies)
            notes.append(
                "membership inference cannot be tested: there are no real scans that the generator "
                "was not trained on; give a hold-out, or the run"
            )
        else:
            real = self._found(self.holdout.images)
            limit = threshold(real.matches.similarity, self.holdout.groups, copies, "holdout")
            rows = np.flatnonzero(~copies_among(real.matches.similarity, copies)[0])
            holdout, real = self.holdout.take(rows), real.take(rows)
            near = self._nearness(synthetic, holdout, real)
            attacks, more = self._membership(synthetic, holdout, real, discriminator)
            notes += more
        order = np.argsort(-synthetic.matches.similarity, kind="stable")
        suspect = synthetic.matches.similarity > limit.similarity
        levels = tuple(each.level(limit, self.train.groups) for each in planted)
        notes += _of_limit(limit, self.train if self.holdout is None else self.holdout)
        suspects = tuple(self._pair(n, synthetic) for n in order if suspect[n])
        return PrivacyResult(
            format_version=FORMAT,
            scangan=version("scangan"),
            train=set_info(self.train),
            synthetic=set_info(self.synthetic),
            holdout=None if self.holdout is None else set_info(self.holdout),
            extractor=self.extract.name,
            extractor_sha256=self.extract.sha256,
            threshold=limit,
            suspects=suspects,
            nearest=tuple(self._pair(n, synthetic) for n in order[:SHOWN]),
            nearness=near,
            membership=attacks,
            sensitivity=levels,
            seed=self.options.seed,
            verdict=verdict(len(self.synthetic), len(suspects), limit, levels, attacks),
            notes=tuple(notes),
        )

    def _raw(self, images: Images) -> Features:
        """Extract features; scans whose features were kept count as done, too."""
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            self.advance(count)

        features = extracted(images, self.extract, self.cache, advance)
        self.advance(len(images) - done)
        return features

    def _found(self, images: Images) -> _Found:
        features = scaled(self._raw(images), self.scale)
        distance, near = nearest(features, self.features, BY_FEATURES)
        matches = self.gallery.search(images, candidates=near, advance=self.advance)
        return _Found(features, distance[:, 0], matches)

    def _limit_among_training_scans(self, planted: Sequence[Values]) -> Threshold:
        """Calibrate on training scans, each compared with those of other groups."""
        some = _some(len(self.train), MOST_CALIBRATING, self.options.seed)
        groups = self.train.groups
        _, near = nearest(
            self.features[some], self.features, BY_FEATURES, groups=(groups[some], groups)
        )
        found = self.gallery.search(
            self.train.images[some], candidates=near, groups=groups[some], advance=self.advance
        )
        return threshold(found.similarity, groups[some], planted, "train")

    def _nearness(self, synthetic: _Found, holdout: ScanSet, real: _Found) -> dict[str, Nearness]:
        groups = self.synthetic.groups, holdout.groups
        distances = {
            "features": (synthetic.distance, real.distance),
            "pixels": (1 - synthetic.matches.similarity, 1 - real.matches.similarity),
        }
        return {
            name: nearness(
                (ours, groups[0]), (theirs, groups[1]), self.options.resamples, self.options.seed
            )
            for name, (ours, theirs) in distances.items()
        }

    def _membership(
        self,
        synthetic: _Found,
        holdout: ScanSet,
        real: _Found,
        discriminator: Discriminator | None,
    ) -> tuple[dict[str, Attack], list[str]]:
        """Attack training scans and hold-out scans of the classes that both have."""
        number = {name: k for k, name in enumerate(self.train.classes)}
        theirs = np.array([number.get(name, -1) for name in holdout.classes] or [0])[holdout.labels]
        ours = self.train.labels if holdout.classes else np.zeros(len(self.train), np.int64)
        rows = np.flatnonzero(np.isin(ours, theirs)), np.flatnonzero(np.isin(theirs, ours))
        notes = []
        if min(map(len, rows)) < FEWEST:
            return {}, [
                f"membership inference cannot be tested: {self.train.name} and {holdout.name} share "
                f"too few scans of one class"
            ]
        left = len(ours) - len(rows[0]), len(theirs) - len(rows[1])
        if any(left):
            notes.append(
                f"membership: left out {left[0]} training and {left[1]} hold-out scans of classes that "
                f"only one side has"
            )
        a, b = (each[_some(len(each), MOST_ATTACKED, self.options.seed)] for each in rows)
        if len(b) < 100:
            notes.append(
                f"membership: 1% of {len(b)} hold-out scans is less than one scan; the true positive "
                f"rate is that at no false positive"
            )
        images = self.train.images[a], holdout.images[b]
        # Scaled by training scans, these would have fewer outliers than others: members by an artefact.
        by = scale_of(synthetic.features)
        features = scaled(self.features[a], by), scaled(real.features[b], by)
        labels = ours[a], theirs[b]
        there = Gallery(self.synthetic.images, threads=self.options.threads)
        rescaled = scaled(synthetic.features, by)
        near = [nearest(row, rescaled, BY_FEATURES) for row in features]
        found = [
            there.search(pixels, candidates=candidates, advance=self.advance)
            for pixels, (_, candidates) in zip(images, near, strict=True)
        ]
        scores: dict[str, Sequence[Values]] = {
            "features": [-distance[:, 0] for distance, _ in near],
            "pixels": [matches.similarity for matches in found],
        }
        if discriminator is not None:
            scores["discriminator"] = [
                np.asarray(discriminator(*each), np.float64)
                for each in zip(images, labels, strict=True)
            ]
        groups = self.train.groups[a], holdout.groups[b]
        scores["blind"] = blind_scores(features, groups)
        attacks = {
            name: attack((member, other), groups, labels, self.options.resamples, self.options.seed)
            for name, (member, other) in scores.items()
        }
        return attacks, notes

    def _planted(self) -> list[_Planted]:
        """Plant copies of random training scans, and search them."""
        rng = np.random.default_rng(self.options.seed)
        planted = []
        for change, function in LEVELS.items():
            chosen = rng.permutation(len(self.train))[: self.options.planted]
            copies = np.stack([function(self.train.images[n], rng) for n in chosen])
            planted.append(_Planted(change, chosen, self._found(copies)))
        return planted

    def _pair(self, n: int, found: _Found) -> Pair:
        other = int(found.matches.index[n])
        apart = found.features[n].astype(np.float64) - self.features[other]
        classes = self.synthetic.classes
        return Pair(
            synthetic=self.synthetic.sources[n],
            class_name=classes[self.synthetic.labels[n]] if classes else None,
            index=int(n),
            train=self.train.sources[other],
            train_index=other,
            similarity=round(float(found.matches.similarity[n]), 6),
            distance=round(float(np.linalg.norm(apart)), 4),
        )


def _some(count: int, most: int, seed: int) -> Indices:
    """Draw some of `count` indices at random, or return all."""
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).permutation(count)[:most])


def _of_limit(limit: Threshold, real: ScanSet) -> list[str]:
    notes = []
    if limit.copies:
        which = (
            "training scans of other groups" if limit.calibrated_on == "train" else "training scans"
        )
        notes.append(
            f"{counted(limit.copies, 'scan is a copy', 'scans are copies')} of {which} by similarity "
            f"({limit.copies_from:.3f} or more) and did not count as other real scans: {real.name}"
        )
    if limit.groups < SURE_FROM:
        notes.append(
            f"with only {limit.groups} subjects or groups to calibrate on, up to "
            f"{limit.flagged_at_most:.1%} of real scans may be suspects; {SURE_FROM} keep it under 1%"
        )
    return notes
