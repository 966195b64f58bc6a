"""Membership inference: attacks on training scans and on scans that were held back."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from scangan.evaluation.membership import FALSE_POSITIVES, attack, blind_attack
from scangan.evaluation.nearest import nearest, scale_of, scaled
from scangan.evaluation.privacy_result import BLIND, Attack
from scangan.evaluation.privacy_sets import FEWEST
from scangan.evaluation.scan_set import ScanSet
from scangan.evaluation.similar import Gallery
from scangan.evaluation.training_search import (
    BY_FEATURES,
    Features,
    Images,
    Indices,
    Labels,
    TrainingSearch,
    Values,
    drawn,
)

MOST_ATTACKED = 5000  # members and non-members each; more would hardly narrow the intervals


@dataclasses.dataclass(frozen=True)
class DiscriminatorScores:
    """A discriminator to attack with.

    Parameters
    ----------
    scores : callable
        Returns a score for each scan, higher for more real, from uint8 [N, H, W] and classes int64
        [N] (indices into the classes of the training scans).
    sha256 : str
        Identifies its weights.
    size : int
        Height and width of the scans that it takes, in pixels.
    by_class : bool
        Whether the scores depend on the classes.
    """

    scores: Callable[[Images, Labels], npt.NDArray[np.floating]]
    sha256: str
    size: int
    by_class: bool = True


def attacks(
    search: TrainingSearch,
    holdout: tuple[ScanSet, Features],
    synthetic: tuple[Images, Features],
    resamples: int,
    seed: int,
    discriminator: DiscriminatorScores | None = None,
) -> tuple[dict[str, Attack], list[str]]:
    """Attack training scans and hold-out scans of the classes that both have.

    If a set has at most one class, and not one of the other's, nothing is known of its classes: then all
    scans are attacked. A discriminator that asks for the class is then left out.

    Parameters
    ----------
    search : TrainingSearch
        The training scans and their features.
    holdout : (ScanSet, ndarray)
        Scans that were held back, and their features.
    synthetic : (ndarray, ndarray)
        The synthetic scans, and their features.
    resamples, seed : int
        Bootstrap samples of the intervals, and their random seed.
    discriminator : DiscriminatorScores, optional
        The discriminator of the run.

    Returns
    -------
    attacks : dict
        Success of the attacks, by name.
    notes : list of str
        What was left out.
    """
    train, (held, held_features) = search.train, holdout
    known = bool(set(train.classes) & set(held.classes))
    rows, classes, notes = _alike(train, held, known)
    if min(map(len, rows)) < FEWEST:
        return {}, [
            f"membership inference cannot be tested: {train.name} ({_named(train)}) and {held.name} "
            f"({_named(held)}) have too few scans of the same classes; if the same class has two names, "
            f"rename one"
        ]
    a, b = (each[drawn(len(each), MOST_ATTACKED, seed)] for each in rows)
    if len(b) < 1 / FALSE_POSITIVES:
        notes.append(
            f"membership: 1% of {len(b)} hold-out scans is less than one scan; the true positive "
            f"rate is that at no false positive"
        )
    images = train.images[a], held.images[b]
    # Scaled by training scans, these would have fewer outliers than others: members by an artefact.
    by = scale_of(synthetic[1])
    real = search.features[a], held_features[b]
    features = scaled(real[0], by), scaled(real[1], by)
    labels = classes[0][a], classes[1][b]
    there = Gallery(synthetic[0], threads=search.gallery.threads)
    rescaled = scaled(synthetic[1], by)
    near = [nearest(row, rescaled, BY_FEATURES) for row in features]
    found = [
        there.search(pixels, candidates=candidates, advance=search.advance)
        for pixels, (_, candidates) in zip(images, near, strict=True)
    ]
    scores: dict[str, Sequence[Values]] = {
        "features": [-distance[:, 0] for distance, _ in near],
        "pixels": [matches.similarity for matches in found],
    }
    if discriminator and discriminator.by_class and not known and len(train.classes) > 1:
        notes.append(
            f"membership: the discriminator needs classes and {held.name} has none, so it was not used"
        )
    elif discriminator is not None:
        scores["discriminator"] = [
            np.asarray(discriminator.scores(*each), np.float64)
            for each in zip(images, labels, strict=True)
        ]
    groups = train.groups[a], held.groups[b]
    success = {
        name: attack((member, other), groups, labels, resamples, seed)
        for name, (member, other) in scores.items()
    }
    blind = blind_attack(real, groups, labels, resamples, seed)  # which knows no synthetic scan
    if blind:
        return success | {BLIND: blind}, notes
    notes.append("membership: one side has only one subject or group, so no blind attack was tried")
    return success, notes


def _alike(
    train: ScanSet, held: ScanSet, known: bool
) -> tuple[tuple[Indices, Indices], tuple[Labels, Labels], list[str]]:
    """Choose the scans of classes that both sets have; also return all classes in common numbers.

    `known` says whether they share a class. If not, and a set has at most one, all scans are chosen.
    """
    if not known and min(len(train.classes), len(held.classes)) <= 1:
        rows = np.arange(len(train)), np.arange(len(held))
        note = f"membership: {train.name} ({_named(train)}) was compared with all of {held.name} ({_named(held)})"
        classes = np.zeros(len(train), np.int64), np.zeros(len(held), np.int64)
        return rows, classes, [note] if train.classes or held.classes else []
    number = {name: k for k, name in enumerate(train.classes)}
    ours = train.labels
    theirs = np.array([number.get(name, -1) for name in held.classes])[held.labels]
    rows = np.flatnonzero(np.isin(ours, theirs)), np.flatnonzero(np.isin(theirs, ours))
    left = len(ours) - len(rows[0]), len(theirs) - len(rows[1])
    note = (
        f"membership: left out {left[0]} training and {left[1]} hold-out scans of classes that only "
        f"one side has"
    )
    return rows, (ours, theirs), [note] if any(left) else []


def _named(scans: ScanSet) -> str:
    return ", ".join(scans.classes) or "no classes"
