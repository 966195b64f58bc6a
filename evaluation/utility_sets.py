"""Bring the sets of a utility evaluation to a form in which they can be compared."""

import dataclasses

import numpy as np

from scangan.core.counted import counted
from scangan.core.errors import EvaluationError
from scangan.evaluation.halves import group_halves
from scangan.evaluation.scan_set import (
    SMALL,
    ScanSet,
    differing_settings,
    refused_files,
    with_shared_classes,
)

FEWEST = 2  # scans of each class, in training and in the test
LEAST_GROUPS = 2  # subjects or other groups of test scans, which are drawn again to make intervals
FEW_GROUPS = 20  # under which intervals say little


def split_for_test(real: ScanSet, seed: int = 0) -> tuple[ScanSet, ScanSet]:
    """Split real scans in three quarters to train and one to test, and keep groups whole."""
    rng = np.random.default_rng(seed)
    groups = len(np.unique(real.groups))
    if groups < 4 * LEAST_GROUPS:
        raise EvaluationError(
            f"{real.name} has scans of {counted(groups, 'subject')} (copies of a scan count as one); a "
            f"quarter of them is too few to test on; give scans of others with --test"
        )
    half = group_halves(real.labels, real.groups, rng)
    # Half of a half is a quarter; the other quarter goes back to training.
    test = np.zeros(len(real), bool)
    held = np.flatnonzero(half)
    test[held[group_halves(real.labels[held], real.groups[held], rng)]] = True
    parts = np.flatnonzero(~test), np.flatnonzero(test)
    train, held_back = (real.take(indices) for indices in parts)
    name = f"{real.name}, a quarter kept for the test"
    return train, dataclasses.replace(held_back, name=name, refused=0)


def comparable(
    train: ScanSet, synthetic: ScanSet, test: ScanSet
) -> tuple[ScanSet, ScanSet, ScanSet, list[str]]:
    """Reduce the sets to the classes that all have, bring them to one size, and note what was done."""
    for each in (train, test):
        each.check_real()
    train, synthetic, notes = with_shared_classes(train, synthetic)
    train, test, more = with_shared_classes(train, test)
    if len(train.classes) < 2:
        raise EvaluationError(
            f"a classifier needs two classes; {train.name}, {synthetic.name} and {test.name} share "
            f"{len(train.classes)}"
        )
    synthetic = synthetic.with_classes(train.classes)
    notes += refused_files(train, synthetic, test)
    notes += differing_settings(train, synthetic) + differing_settings(train, test)
    sizes = {each.size for each in (train, synthetic, test)}
    if len(sizes) > 1:
        small = min(sizes)
        notes.append(f"scans have {sorted(sizes)} pixels; the larger were reduced to {small}")
        train, synthetic, test = (each.resized(small) for each in (train, synthetic, test))
    for each in (train, synthetic, test):
        check_enough(each)
    if len(test) < SMALL:
        notes.append(f"only {len(test)} test scans: the intervals are wide and mean little")
    return train, synthetic, test, [*notes, *more]


def check_enough(scans: ScanSet, which: str = "") -> None:
    """Refuse a set with too few scans of a class; `which` says which of them count."""
    few = [name for name, count in scans.counts.items() if count < FEWEST]
    if few:
        raise EvaluationError(
            f"{scans.name} has fewer than {FEWEST} scans of {', '.join(few)}{which}; add scans"
        )


def check_groups(test: ScanSet) -> list[str]:
    """Refuse test scans of one subject, which would have no interval; note where there are few subjects."""
    groups = len(np.unique(test.groups))
    if groups < LEAST_GROUPS:
        raise EvaluationError(
            f"all scans of {test.name} are of one subject, or copies of one scan; test on scans of others, too"
        )
    notes = [
        f"all scans of {name} in {test.name} are of one subject, which says nothing about others"
        for k, name in enumerate(test.classes)
        if len(np.unique(test.groups[test.of_class(k)])) == 1
    ]
    if groups < FEW_GROUPS:
        notes.append(f"only {groups} subjects in {test.name}: the intervals mean little")
    return notes
