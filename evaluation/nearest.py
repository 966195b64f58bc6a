"""Nearest scans in feature space, block by block, so that no table of all pairs is ever in memory."""

import numpy as np
import numpy.typing as npt

from scangan.evaluation.pairwise import standardised

Features = npt.NDArray[np.float32]  # [N, D]
Indices = npt.NDArray[np.intp]
Labels = npt.NDArray[np.int64]
Distances = npt.NDArray[np.float64]

BLOCK = 1024


def scale_of(features: Features) -> Distances:
    """Return two rows with the mean and the deviation of all: enough for `scaled`, in less memory."""
    mean = features.mean(axis=0, dtype=np.float64)
    squares = np.zeros_like(mean)
    for at in range(0, len(features), BLOCK):
        squares += np.square(features[at : at + BLOCK] - mean).sum(axis=0)
    deviation = np.sqrt(squares / len(features))
    return np.stack([mean - deviation, mean + deviation])


def scaled(features: Features, by: Features | Distances) -> Features:
    """Standardise features by the mean and deviation over other scans: float32 [N, D]."""
    out = np.empty(features.shape, np.float32)
    for at in range(0, len(features), BLOCK):
        out[at : at + BLOCK] = standardised(features[at : at + BLOCK], by)
    return out


def nearest(
    queries: Features,
    gallery: Features,
    count: int = 1,
    groups: tuple[Labels, Labels] | None = None,
) -> tuple[Distances, Indices]:
    """Find the nearest scans of each query.

    Parameters
    ----------
    queries, gallery : ndarray
        float32 [N, D] and [M, D], standardised: far from 0, products would lose digits.
    count : int
        How many.
    groups : (ndarray, ndarray), optional
        int64 [N] and [M]: a query never finds scans of its own group.

    Returns
    -------
    distances, indices : ndarray
        [N, count], nearest first; infinite and -1 if there are fewer.
    """
    distances = np.full((len(queries), count), np.inf)
    indices = np.full((len(queries), count), -1)
    for at in range(0, len(queries), BLOCK):
        rows = slice(at, at + BLOCK)
        best = np.full((len(queries[rows]), count), np.inf, np.float32)
        index = np.full(best.shape, -1)
        for start in range(0, len(gallery), BLOCK):
            part = gallery[start : start + BLOCK]
            # The norm of the query is the same for all, so it does not decide.
            found = np.einsum("nd,nd->n", part, part) - 2 * (queries[rows] @ part.T)
            if groups is not None:
                found[groups[0][rows, None] == groups[1][start : start + BLOCK]] = np.inf
            numbers = np.broadcast_to(np.arange(start, start + len(part)), found.shape)
            found = np.concatenate([best, found], axis=1)
            numbers = np.concatenate([index, numbers], axis=1)
            top = np.argpartition(found, count - 1, axis=1)[:, :count]
            best, index = (np.take_along_axis(a, top, axis=1) for a in (found, numbers))
        index = np.where(np.isfinite(best), index, -1)
        # Differences of products lose digits: the distances of the few found ones are exact.
        for n, each in enumerate(index, start=at):
            exact = np.linalg.norm(gallery[each].astype(np.float64) - queries[n], axis=1)
            exact[each < 0] = np.inf
            order = np.argsort(exact, kind="stable")
            distances[n], indices[n] = exact[order], each[order]
    return distances, indices
