"""Bring the sets of a privacy evaluation to a form in which they can be compared."""

import numpy as np

from scangan.core.counted import counted
from scangan.core.errors import EvaluationError
from scangan.evaluation.leaks import shared, whole_groups
from scangan.evaluation.scan_set import SMALL, ScanSet, differing_settings, refused_files, sha256_of

FEWEST = 20  # scans of a set


def comparable(
    train: ScanSet, synthetic: ScanSet, holdout: ScanSet | None
) -> tuple[ScanSet, ScanSet, ScanSet | None, list[str]]:
    """Check the sets, bring them to one size, and note what was done."""
    sets = [each for each in (train, holdout, synthetic) if each is not None]
    notes = refused_files(*sets)
    for each in sets:
        if each is not synthetic:
            each.check_real()
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
        notes.append(
            f"scans of {max(sizes)} pixels were reduced to {min(sizes)} to match the others"
        )
        train, synthetic = train.resized(min(sizes)), synthetic.resized(min(sizes))
        holdout = None if holdout is None else holdout.resized(min(sizes))
    if holdout is not None:
        holdout, found = _apart(holdout, train)
        notes += found
    elif len(np.unique(train.groups)) < 2:
        raise EvaluationError(
            f"all scans of {train.name} are of one subject, or copies of one scan, so nothing says how similar "
            f"those of different people are; give real scans of others with --holdout"
        )
    return train, synthetic, holdout, notes


def _apart(holdout: ScanSet, train: ScanSet) -> tuple[ScanSet, list[str]]:
    """Leave out hold-out scans of training files or subjects, or with the pixels of a training scan.

    Others of the same people would count as similar, and hide copies.
    """
    trained = set(map(sha256_of, train.images))
    same = np.array([sha256_of(image) in trained for image in holdout.images])
    apart = ~whole_groups(holdout, same | shared(train, holdout))
    if apart.all():
        return holdout, []
    if apart.sum() < FEWEST:
        raise EvaluationError(
            f"{len(holdout) - int(apart.sum())} of {len(holdout)} scans of {holdout.name} are training "
            f"scans, or of the same subjects; give a hold-out of people that the generator was not trained on"
        )
    note = (
        f"left out {counted(int((~apart).sum()), 'scan')} of {holdout.name}: also in {train.name}"
    )
    return holdout.take(np.flatnonzero(apart)), [note]
