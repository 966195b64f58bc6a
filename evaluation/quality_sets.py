"""Bring the sets of a quality evaluation to a form in which they can be compared."""

import numpy as np
import numpy.typing as npt

from scangan.core.counted import counted
from scangan.core.errors import EvaluationError
from scangan.evaluation.pairwise import FEWEST
from scangan.evaluation.scan_set import (
    SMALL,
    ScanSet,
    differing_settings,
    refused_files,
    sha256_of,
    with_shared_classes,
)

MOST = 2500  # scans per side; the time grows with their square
LEAST = 2 * FEWEST  # scans of a class, as half of them need neighbours
LEAST_GROUPS = 2  # subjects or other groups of a class, as each half needs one


def comparable(
    real: ScanSet, synthetic: ScanSet, *, strict: bool, seed: int
) -> tuple[ScanSet, ScanSet, list[str]]:
    """Reduce two sets to what can be compared, and note what was done.

    Parameters
    ----------
    real, synthetic : ScanSet
        The two sets.
    strict : bool
        Refuse sets of different size or preparation.
    seed : int
        Random seed of the scans that are drawn from a large set.
    """
    real.check_real()
    counts = [(each.name, len(each)) for each in (real, synthetic)]
    real, synthetic, notes = with_shared_classes(real, synthetic)
    differences = differing_settings(real, synthetic)
    sizes = f"{real.name} has {real.size} pixels and {synthetic.name} {synthetic.size}"
    if real.size != synthetic.size:
        differences.append(sizes)
    if differences and strict:
        raise EvaluationError(f"{'; '.join(differences)}; prepare both alike, or omit --strict")
    if real.size != synthetic.size:
        small = min(real.size, synthetic.size)
        real, synthetic = (each.resized(small) for each in (real, synthetic))
        differences[-1] = f"{sizes}; the larger was reduced to {small}"
    notes += refused_files(real, synthetic) + differences
    notes += [
        f"{name} has only {counted(count, 'scan')}: its figures mean little"
        for name, count in counts
        if count < SMALL
    ]
    known = set(map(sha256_of, real.images))
    if same := sum(sha256_of(image) in known for image in synthetic.images):
        notes.append(
            f"every pixel of {same} of {counted(len(synthetic), 'synthetic scan')} is that of a real scan; "
            f"figures of copies are too good"
        )
    real, synthetic, left_out = _large_enough(real, synthetic)
    notes += left_out
    rng = np.random.default_rng(seed)
    for each in (real, synthetic):
        if len(each) > MOST:
            notes.append(f"{each.name}: {MOST} of {len(each)} scans were drawn at random")
    # Drawing can leave one subject of a class of two.
    real, synthetic, left_out = _large_enough(_drawn(real, rng), _drawn(synthetic, rng))
    return real, synthetic, notes + left_out


def _large_enough(real: ScanSet, synthetic: ScanSet) -> tuple[ScanSet, ScanSet, list[str]]:
    """Leave out classes that are too small; without any large one, compare all scans as one.

    A class of one subject is too small, whatever its scans: it has no interval, and no halves.
    """
    if min(len(real), len(synthetic)) < LEAST:
        raise EvaluationError(
            f"a comparison needs at least {LEAST} scans on each side; {real.name} has {len(real)} and "
            f"{synthetic.name} {len(synthetic)}; add scans, or let a model make more (--count)"
        )
    for each in (real, synthetic):
        if len(np.unique(each.groups)) < LEAST_GROUPS:
            raise EvaluationError(
                f"a comparison needs scans of {LEAST_GROUPS} subjects or more; all scans of {each.name} are "
                f"of one, or copies of one scan; add others"
            )
    short = [
        name
        for k, name in enumerate(real.classes)
        if any(_is_small(each, each.of_class(k)) for each in (real, synthetic))
    ]
    if not short:
        return real, synthetic, []
    rest = tuple(name for name in real.classes if name not in short)
    if not rest:
        note = (
            f"no class has {LEAST} scans and {LEAST_GROUPS} subjects on both sides, so all scans were "
            f"compared at once"
        )
        return real.without_classes(), synthetic.without_classes(), [note]
    note = f"left out, with fewer than {LEAST} scans or {LEAST_GROUPS} subjects on a side: {', '.join(short)}"
    return real.with_classes(rest), synthetic.with_classes(rest), [note]


def _is_small(scans: ScanSet, rows: npt.NDArray[np.intp]) -> bool:
    return len(rows) < LEAST or len(np.unique(scans.groups[rows])) < LEAST_GROUPS


def _drawn(scans: ScanSet, rng: np.random.Generator) -> ScanSet:
    """Draw `MOST` scans, as evenly from the classes as they allow: a rare class keeps all of its scans."""
    if len(scans) <= MOST:
        return scans
    of_class = [scans.of_class(k) for k in range(max(len(scans.classes), 1))]
    drawn, left = [], MOST
    for number, rows in enumerate(sorted(of_class, key=len)):
        drawn.append(rng.permutation(rows)[: left // (len(of_class) - number)])
        left -= len(drawn[-1])
    return scans.take(np.sort(np.concatenate(drawn)))
