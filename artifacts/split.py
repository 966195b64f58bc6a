"""Split a dataset into train, val and test: by subject, and stratified by class."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from scangan.core.counted import counted
from scangan.core.errors import USAGE, PreprocessingError

ALL = -1  # in place of a class: all of them
SUBSET_NAMES = {2: ("train", "test"), 3: ("train", "val", "test")}


def parse_split(text: str) -> tuple[float, ...]:
    """Parse the fractions of ``--split``: two (train, test) or three (train, val, test).

    Raises
    ------
    PreprocessingError
        They are not two or three positive numbers that add up to 1.
    """
    try:
        fractions = tuple(float(part) for part in text.split(","))
    except ValueError:
        fractions = ()
    check_fractions(fractions, text)
    return fractions


def check_fractions(fractions: tuple[float, ...], given: str) -> None:
    """Raise `PreprocessingError` unless they are two or three positive numbers that add up to 1."""
    if len(fractions) not in SUBSET_NAMES or not all(0 < f < 1 for f in fractions):
        problem = "is not a split"
    elif not math.isclose(math.fsum(fractions), 1, abs_tol=1e-6):
        problem = f"adds up to {math.fsum(fractions):.6g}, not 1"
    else:
        return
    raise PreprocessingError(
        f"--split {given!r} {problem}; it takes fractions for train,val,test (0.8,0.1,0.1) or "
        f"train,test (0.8,0.2)",
        exit_code=USAGE,
    )


def together(
    *keys: npt.NDArray[np.int64], pairs: Iterable[tuple[int, int]] = ()
) -> npt.NDArray[np.int64]:
    """Number the groups of items that must stay in one subset.

    Parameters
    ----------
    *keys : ndarray
        int64 [N]: each has one number per item, for its subject, its file, or the bytes of the file.
        Two items with the same number belong together; a negative number matches none.
    pairs : iterable of (int, int)
        Indices of two more items that belong together.

    Returns
    -------
    ndarray
        int64 [N], the group of each item. Groups are numbered from 0 in the order of their first
        item.
    """
    first_items = np.arange(len(keys[0]))  # of the group of each item
    for key in keys:
        known = np.flatnonzero(key >= 0)
        _, first, number = np.unique(key[known], return_index=True, return_inverse=True)
        _join(first_items, known[first[number]], known)
    others = np.array(list(pairs), np.int64).reshape(-1, 2)
    _join(first_items, others[:, 0], others[:, 1])
    return np.unique(first_items, return_inverse=True)[1].astype(np.int64)


def _join(
    first_items: npt.NDArray[np.int64], one: npt.NDArray[np.int64], two: npt.NDArray[np.int64]
) -> None:
    """Join the groups of each two items, all at once, until no two are apart."""
    while True:
        low, high = np.sort([first_items[one], first_items[two]], axis=0)
        if np.array_equal(low, high):
            return
        np.minimum.at(first_items, high, low)
        while not np.array_equal(further := first_items[first_items], first_items):
            first_items[:] = further


def split_indices(
    groups: npt.NDArray[np.int64],
    classes: npt.NDArray[np.int64],
    fractions: tuple[float, ...],
    *,
    seed: int = 0,
    in_train: npt.NDArray[np.bool_] | None = None,
) -> list[npt.NDArray[np.int64]]:
    """Split items into subsets, whole groups at a time, stratified by class.

    Each group, largest first, goes to the subset where it raises the chi-square distance between the
    class counts and the wanted ones least. This is the greedy method of scikit-learn's
    ``StratifiedGroupKFold`` with the criterion of Sainte-Laguë apportionment, so that subsets of any
    size fill up at the same rate. The first group of a rare class goes to the largest subset. If this
    leaves a subset empty, as classes of few groups are all rounded alike, the number of all items counts
    like one more class.

    Parameters
    ----------
    groups : ndarray
        int64 [N], the group of each item (from `together`).
    classes : ndarray
        int64 [N], the class of each item.
    fractions : tuple of float
        The share of each subset; all positive, adding up to 1.
    seed : int
        Shuffles groups of the same size by a hash, so that the order of the files does not matter.
    in_train : ndarray, optional
        bool [N]: items that go to the first subset; whole groups only. The others are split as if
        these were absent.

    Returns
    -------
    list of ndarray
        The indices of the items of each subset, int64, ascending. The same on every machine.

    Raises
    ------
    PreprocessingError
        There are too few groups to fill every subset.
    """
    free = np.arange(len(classes)) if in_train is None else np.flatnonzero(~in_train)
    _, first, group, sizes = np.unique(
        groups[free], return_index=True, return_inverse=True, return_counts=True
    )
    by_group = free[np.argsort(group, kind="stable")]
    ends = np.cumsum(sizes)
    first = free[first]
    hashes = np.fromiter((_hash(seed, item) for item in first.tolist()), np.uint64, len(first))
    order = np.lexsort((first, hashes, -sizes)).tolist()
    for overall in (False, True):
        in_turn = (by_group[ends[number] - sizes[number] : ends[number]] for number in order)
        where = _divided(in_turn, classes, free, fractions, overall)
        subsets = [np.flatnonzero(where == subset) for subset in range(len(fractions))]
        filled = subsets if in_train is None else [subset[~in_train[subset]] for subset in subsets]
        if all(map(len, filled)):
            return subsets
    raise PreprocessingError(
        f"{counted(len(sizes), 'group')} of scans that belong together (by subject, or as copies): too "
        f"few for --split {','.join(f'{f:g}' for f in fractions)}; a subset would be empty"
    )


def _divided(
    in_turn: Iterable[npt.NDArray[np.int64]],
    classes: npt.NDArray[np.int64],
    free: npt.NDArray[np.int64],
    fractions: tuple[float, ...],
    overall: bool,
) -> npt.NDArray[np.int8]:
    """Return the subset of each item, int8 [N], from the items of each group; 0 for those not in `free`."""
    where = np.zeros(len(classes), np.int8)
    totals = Counter(classes[free].tolist())
    totals[ALL] = len(free)
    have: list[Counter[int]] = [Counter() for _ in fractions]
    for items in in_turn:
        counts = Counter(classes[items].tolist())
        if overall:
            counts[ALL] = len(items)
        # How much sum((have - wanted)^2 / wanted) over the classes grows.
        growth = [
            sum((2 * got[name] + n) * n / totals[name] for name, n in counts.items()) / fraction
            for got, fraction in zip(have, fractions, strict=True)
        ]
        best = growth.index(min(growth))
        have[best].update(counts)
        where[items] = best
    return where


def _hash(seed: int, item: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed} {item}".encode(), digest_size=8).digest())


def lacking(
    subsets: Sequence[npt.NDArray[np.int64]], classes: npt.NDArray[np.int64]
) -> dict[int, list[int]]:
    """Return the classes that have no item in some subset, each with those subsets."""
    present = [set(classes[subset].tolist()) for subset in subsets]
    absent = {
        name: [at for at, names in enumerate(present) if name not in names]
        for name in sorted(set(classes.tolist()))
    }
    return {name: where for name, where in absent.items() if where}
