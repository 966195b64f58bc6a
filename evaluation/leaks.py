"""Find test scans that were also trained on, and so would make a result better than it is."""

import numpy as np
import numpy.typing as npt

from scangan.artifacts.run import Run
from scangan.core.counted import counted
from scangan.core.errors import EvaluationError
from scangan.evaluation.scan_set import ScanSet
from scangan.evaluation.similar import Gallery

# Similarity of two scans that show the same. 19 of 20 copies that were shifted by 3 of 64 pixels and
# scaled by 3% reach 0.987, on brain and on chest scans; chest scans of other people reach 0.93.
ALIKE = 0.98


def leaking(train: ScanSet, test: ScanSet, threads: int | None = None) -> npt.NDArray[np.bool_]:
    """Tell which test scans share their file, subject or picture with a training scan: bool [N].

    Pictures are compared whatever their shift, scale, mirroring and brightness (`similar`).
    """
    found = Gallery(train.images, threads=threads).search(test.images)
    return shared(train, test) | (found.similarity >= ALIKE)


def shared(train: ScanSet, test: ScanSet) -> npt.NDArray[np.bool_]:
    """Tell which test scans share their file or subject with a training scan: bool [N]."""
    files, subjects = set(train.hashes) - {""}, set(train.subjects) - {""}
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


def refuse_trained_on(run: Run | None, test: ScanSet) -> tuple[str, ...]:
    """Refuse test scans that a generator was trained on; without its run, return a note.

    Raises
    ------
    EvaluationError
        A test scan's file is among those of the run that were not held back.
    """
    if run is None:
        return (
            "nobody checked whether the generator was trained on the test scans; give --run to check",
        )
    before = run.config.started_from  # raises if this is not a run, which is the likelier mistake
    seen = run.trained_on()
    files = {item.sha256 for item in seen}
    subjects = {item.subject for item in seen} - {None, ""}
    found = [
        name
        for name, file, subject in zip(test.sources, test.hashes, test.subjects, strict=True)
        if file in files or subject in subjects
    ]
    if found:
        raise EvaluationError(
            f"the generator of {run.path} was trained on {counted(len(found), 'test scan')} or on other scans "
            f"of the same subjects, {found[0]} among them; train on a part that prep-scans --split made, and "
            f"test on another"
        )
    if before and not run.start_items.exists():
        return (
            "the run started from other networks; nobody checked whether those were trained on the test scans",
        )
    return ()
