"""Find scans that stand on both sides of a comparison, and so would make it look better than it is."""

import cv2
import numpy as np
import numpy.typing as npt

from scangan.core.counted import counted
from scangan.core.errors import EvaluationError
from scangan.evaluation.scan_set import ScanSet

SIDE = 32  # pixels of the copies that are compared
ALIKE = 0.995  # correlation; other slices of one volume reach 0.99
BLOCK = 1024  # test scans at a time


def leaking(train: ScanSet, test: ScanSet) -> npt.NDArray[np.intp]:
    """Return the indices of test scans whose file, subject or picture is also in the training set."""
    known_files = {each for each in train.hashes if each}
    known_subjects = {each for each in train.subjects if each}
    told = np.array(
        [
            h in known_files or s in known_subjects
            for h, s in zip(test.hashes, test.subjects, strict=True)
        ]
    )
    return np.flatnonzero(told | (_correlation(train.images, test.images) >= ALIKE))


def _correlation(a: npt.NDArray[np.uint8], b: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Return, for each scan of `b`, its largest correlation with a scan of `a`."""
    known = _standard(a)
    parts = [
        (_standard(b[at : at + BLOCK]) @ known.T).max(axis=1) for at in range(0, len(b), BLOCK)
    ]
    return np.concatenate(parts)


def _standard(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    small = [cv2.resize(i, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for i in images]
    rows = np.stack(small).reshape(len(small), -1).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(length, 1e-6), np.float32)


def refuse_leaks(train: ScanSet, test: ScanSet) -> None:
    """Refuse a test set that shares scans or subjects with the training set.

    Raises
    ------
    EvaluationError
        It does; the text names one of them.
    """
    found = leaking(train, test)
    if len(found):
        raise EvaluationError(
            f"{counted(len(found), 'scan')} of {test.name} (first {test.sources[found[0]]}) shows the "
            f"same as {train.name}, or the same subject; results would be too good: prepare both "
            f"together with prep-scans --split"
        )
