"""Membership inference: attacks on training scans and on scans that were held back."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from scangan.evaluation.membership import attack, blind_scores
from scangan.evaluation.nearest import nearest, scale_of, scaled
from scangan.evaluation.privacy_result import Attack
from scangan.evaluation.privacy_sets import FEWEST
from scangan.evaluation.scan_set import ScanSet
from scangan.evaluation.similar import Gallery
from scangan.evaluation.training_search import (
    BY_FEATURES,
    Features,
    Images,
    Labels,
    TrainingSearch,
    Values,
    drawn,
)

Discriminator = Callable[[Images, Labels], npt.NDArray[np.floating]]

MOST_ATTACKED = 5000  # members and non-members each; more would hardly narrow the intervals


def attacks(
    search: TrainingSearch,
    holdout: tuple[ScanSet, Features],
    synthetic: tuple[Images, Features],
    resamples: int,
    seed: int,
    discriminator: Discriminator | None = None,
) -> tuple[dict[str, Attack], list[str]]:
    """Attack training scans and hold-out scans of the classes that both have.

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
    discriminator : callable, optional
        See `privacy`.

    Returns
    -------
    attacks : dict
        Success of the attacks, by name.
    notes : list of str
        What was left out.
    """
    train, (held, held_features) = search.train, holdout
    number = {name: k for k, name in enumerate(train.classes)}
    theirs = np.array([number.get(name, -1) for name in held.classes] or [0])[held.labels]
    ours = train.labels if held.classes else np.zeros(len(train), np.int64)
    rows = np.flatnonzero(np.isin(ours, theirs)), np.flatnonzero(np.isin(theirs, ours))
    notes = []
    if min(map(len, rows)) < FEWEST:
        return {}, [
            f"membership inference cannot be tested: {train.name} and {held.name} share "
            f"too few scans of one class"
        ]
    left = len(ours) - len(rows[0]), len(theirs) - len(rows[1])
    if any(left):
        notes.append(
            f"membership: left out {left[0]} training and {left[1]} hold-out scans of classes that "
            f"only one side has"
        )
    a, b = (each[drawn(len(each), MOST_ATTACKED, seed)] for each in rows)
    if len(b) < 100:
        notes.append(
            f"membership: 1% of {len(b)} hold-out scans is less than one scan; the true positive "
            f"rate is that at no false positive"
        )
    images = train.images[a], held.images[b]
    # Scaled by training scans, these would have fewer outliers than others: members by an artefact.
    by = scale_of(synthetic[1])
    features = scaled(search.features[a], by), scaled(held_features[b], by)
    labels = ours[a], theirs[b]
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
    if discriminator is not None:
        scores["discriminator"] = [
            np.asarray(discriminator(*each), np.float64)
            for each in zip(images, labels, strict=True)
        ]
    groups = train.groups[a], held.groups[b]
    scores["blind"] = blind_scores(features, groups)
    success = {
        name: attack((member, other), groups, labels, resamples, seed)
        for name, (member, other) in scores.items()
    }
    return success, notes
