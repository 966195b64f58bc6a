"""Split a dataset into train, val and test: by subject, and stratified by class."""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from scangan.core.errors import USAGE, PreprocessingError

PART_NAMES = {2: ("train", "test"), 3: ("train", "val", "test")}


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
    if len(fractions) not in PART_NAMES or not all(0 < f < 1 for f in fractions):
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
    *keys: Sequence[Hashable | None], pairs: Iterable[tuple[int, int]] = ()
) -> npt.NDArray[np.int64]:
    """Number the groups of items that must stay in one part, by union-find.

    Parameters
    ----------
    *keys : sequence
        Each has one value per item, such as the subject, the file, or the hash of its bytes. Two
        items with the same value belong together; None never matches.
    pairs : iterable of (int, int)
        Indices of two more items that belong together.

    Returns
    -------
    ndarray
        int64 [N], the group of each item. Groups are numbered from 0 in the order of their first
        item.
    """
    parents = list(range(len(keys[0])))

    def root(item: int) -> int:
        while parents[item] != item:
            parents[item] = item = parents[parents[item]]
        return item

    def join(one: int, two: int) -> None:
        low, high = sorted((root(one), root(two)))
        parents[high] = low

    for values in keys:
        first_with: dict[Hashable, int] = {}
        for item, value in enumerate(values):
            if value is not None:
                join(first_with.setdefault(value, item), item)
    for one, two in pairs:
        join(one, two)
    numbers: dict[int, int] = {}
    return np.array(
        [numbers.setdefault(root(item), len(numbers)) for item in range(len(parents))], np.int64
    )


def split_indices(
    groups: Sequence[Hashable] | npt.NDArray[np.int64],
    classes: npt.NDArray[np.int64],
    fractions: tuple[float, ...],
    *,
    seed: int = 0,
    in_train: npt.NDArray[np.bool_] | None = None,
) -> list[npt.NDArray[np.int64]]:
    """Split items into parts, whole groups at a time, stratified by class.

    Each group, largest first, goes to the part where it raises the chi-square distance between the
    class counts and the wanted ones least. This is the greedy method of scikit-learn's
    ``StratifiedGroupKFold`` with the criterion of Sainte-Laguë apportionment, so that parts of any
    size fill up at the same rate. The first group of a rare class goes to train.

    Parameters
    ----------
    groups : sequence
        The group of each of the N items (from `together`).
    classes : ndarray
        int64 [N], the class of each item.
    fractions : tuple of float
        The share of each part; all positive, adding up to 1.
    seed : int
        Shuffles groups of the same size by a hash, so that the order of the files does not matter.
    in_train : ndarray, optional
        bool [N]: items that go to the first part; whole groups only. The others are split as if
        these were absent.

    Returns
    -------
    list of ndarray
        The indices of the items of each part, int64, ascending. The same on every machine.

    Raises
    ------
    PreprocessingError
        There are too few groups to fill every part.
    """
    members: defaultdict[Hashable, list[int]] = defaultdict(list)
    fixed = np.zeros(len(classes), bool) if in_train is None else in_train
    for item, group in enumerate(groups):
        if not fixed[item]:
            members[group].append(item)
    order = sorted(
        members.values(), key=lambda items: (-len(items), _hash(seed, items[0]), items[0])
    )
    totals = Counter(classes[~fixed].tolist())
    have: list[Counter[int]] = [Counter() for _ in fractions]
    parts: list[list[int]] = [[] for _ in fractions]
    for items in order:
        counts = Counter(classes[items].tolist())
        # How much sum((have - wanted)^2 / wanted) over the classes grows.
        growth = [
            sum((2 * got[name] + n) * n / totals[name] for name, n in counts.items()) / fraction
            for got, fraction in zip(have, fractions, strict=True)
        ]
        best = growth.index(min(growth))
        have[best].update(counts)
        parts[best] += items
    if not all(parts):
        raise PreprocessingError(
            f"{len(order)} groups of scans that belong together (by subject, or as copies) are too "
            f"few for --split {','.join(f'{f:g}' for f in fractions)}; a part would be empty"
        )
    parts[0] += np.flatnonzero(fixed).tolist()
    return [np.sort(np.array(part, np.int64)) for part in parts]


def _hash(seed: int, item: int) -> bytes:
    return hashlib.blake2b(f"{seed} {item}".encode(), digest_size=8).digest()


def lacking(
    parts: Sequence[npt.NDArray[np.int64]], classes: npt.NDArray[np.int64]
) -> dict[int, list[int]]:
    """Return the classes that have no item in some part, each with those parts."""
    present = [set(classes[part].tolist()) for part in parts]
    absent = {
        name: [at for at, names in enumerate(present) if name not in names]
        for name in sorted(set(classes.tolist()))
    }
    return {name: where for name, where in absent.items() if where}
