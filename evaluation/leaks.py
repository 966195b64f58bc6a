"""Find test scans that were also trained on, and so would make a result better than it is."""

import dataclasses
from collections.abc import Set

import numpy as np
import numpy.typing as npt

from scangan.artifacts.run import Run
from scangan.core.counted import counted
from scangan.core.errors import EvaluationError
from scangan.evaluation.scan_set import ScanSet
from scangan.evaluation.similar import ALIKE, Gallery


def leaking(train: ScanSet, test: ScanSet, threads: int | None = None) -> npt.NDArray[np.bool_]:
    """Tell which test scans share their file, subject or picture with a training scan: bool [N].

    Pictures are compared whatever their shift, scale, mirroring and brightness (`similar`). Scans of
    one group leak together.
    """
    return whole_groups(test, shared(train, test) | look_alike(train, test, threads))


def look_alike(scans: ScanSet, test: ScanSet, threads: int | None = None) -> npt.NDArray[np.bool_]:
    """Tell which test scans have a scan that shows the same: bool [N]."""
    found = Gallery(scans.images, threads=threads).search(test.images)
    return np.asarray(found.similarity >= ALIKE)


def shared(train: ScanSet, test: ScanSet) -> npt.NDArray[np.bool_]:
    """Tell which test scans share their file or subject with a training scan: bool [N]."""
    return _among(test, set(train.hashes), set(train.subjects))


def whole_groups(test: ScanSet, some: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Mark all scans of the groups, as of the subjects, of which some are marked: bool [N]."""
    return np.isin(test.groups, test.groups[some])


def _among(test: ScanSet, files: Set[str], subjects: Set[str | None]) -> npt.NDArray[np.bool_]:
    files, subjects = files - {""}, subjects - {"", None}
    return np.array(
        [
            file in files or subject in subjects
            for file, subject in zip(test.hashes, test.subjects, strict=True)
        ],
        bool,
    )


def without_leaks(
    train: ScanSet, test: ScanSet, *, drop: bool = False, threads: int | None = None
) -> tuple[ScanSet, list[str]]:
    """Refuse test scans that leak, or leave them out.

    Parameters
    ----------
    train, test : ScanSet
        Real scans to learn from, and to test on.
    drop : bool
        Leave them out instead of refusing the set.
    threads : int, optional
        Number of threads.

    Returns
    -------
    test : ScanSet
        Test scans that do not leak.
    notes : list of str
        How many were left out.

    Raises
    ------
    EvaluationError
        A test scan leaks, and `drop` is not set; or all of them do.
    """
    leaks = leaking(train, test, threads)
    if not leaks.any():
        return test, []
    number, first = int(leaks.sum()), test.sources[int(np.argmax(leaks))]
    of = f"scan of {test.name}", f"scans of {test.name}"
    if leaks.all():
        raise EvaluationError(
            f"every scan of {test.name} shares a file, subject or image with {train.name}; test on other "
            f"scans"
        )
    if not drop:
        raise EvaluationError(
            f"{counted(number, of[0] + ' shares', of[1] + ' share')} a file, subject or image with "
            f"{train.name} (first: {first}), so results would be too good; leave them out with "
            f"--drop-leaks, or test on other scans"
        )
    kept = test.take(np.flatnonzero(~leaks))
    told = counted(number, f"{of[0]} that is", f"{of[1]} that are")
    return kept, [f"left out {told} also in {train.name} (first: {first})"]


def without_trained_on(
    run: Run | None, test: ScanSet, *, drop: bool = False
) -> tuple[ScanSet, tuple[str, ...]]:
    """Refuse test scans that a generator was trained on, or leave them out.

    Those share a file or a subject with a scan that the run did not hold back. Scans that it held back
    pass: they trained nothing, but they picked the checkpoint, so figures on them are flattering.

    Parameters
    ----------
    run : Run or None
        The run of the generator, if it is known.
    test : ScanSet
        Real scans to test on.
    drop : bool
        Leave them out instead of refusing the set.

    Returns
    -------
    test : ScanSet
        Test scans that the generator was not trained on. The name says if some were left out.
    notes : tuple of str
        How many were left out, and what nobody could check; no name of a file or folder.

    Raises
    ------
    EvaluationError
        The generator was trained on a test scan, and `drop` is not set; or on all of them.
    """
    if run is None:
        return test, (
            "nobody checked whether the generator was trained on the test scans; give --run to check",
        )
    before = run.config.started_from  # raises if this is not a run, which is the likelier mistake
    seen = run.trained_on()
    found = _among(test, {item.sha256 for item in seen}, {item.subject for item in seen})
    found = whole_groups(test, found)
    notes: tuple[str, ...] = ()
    if found.any():
        number, first = int(found.sum()), test.sources[int(np.argmax(found))]
        if found.all():
            raise EvaluationError(
                f"the generator of {run.path} was trained on all scans of {test.name}, or on their subjects; "
                f"test on other scans"
            )
        if not drop:
            raise EvaluationError(
                f"the generator of {run.path} was trained on {number} of {len(test)} scans of {test.name}, or on "
                f"their subjects (first: {first}); leave them out with --drop-leaks, or train on a part that "
                f"prep-scans --split made, and test on another"
            )
        told = f"{counted(number, 'test scan')} whose file or subject the generator was trained on"
        left = f"{test.name}, without {number} that the generator was trained on"
        test = dataclasses.replace(test.take(np.flatnonzero(~found)), name=left)
        notes = (f"left out {told}",)
    if before and not before.listed:
        notes += (
            "the run started from other networks, or those did; nobody checked whether one of them was trained "
            "on the test scans",
        )
    return test, notes
