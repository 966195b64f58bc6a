"""Find the most similar scan, whatever its shift, scale, mirroring, brightness and contrast.

The similarity of two scans is the normalised cross-correlation of their details, at the best
alignment. Details are what a band-pass filter leaves: without fine noise, and without the coarse
shape that all scans of a body part share. The correlation ignores brightness and contrast.

An exhaustive search would compare each pair at thousands of alignments, so this one takes three steps:
all pairs at 16 pixels and 50 alignments, in few numbers per scan; a short list at 32 pixels and 150
alignments; the best few of it at 64 pixels, aligned to a fraction of a pixel by least squares (as in
Lucas and Kanade 1981), which also turns them by a few degrees.
"""

import contextlib
import dataclasses
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

from scangan.core.threads import in_order, usable_cpus
from scangan.evaluation.alignment import (
    BORDER,
    DETAILS,
    MARGIN,
    OUTLINES,
    SIDE,
    SOFTER,
    Floats,
    Images,
    align,
    correlation,
    filtered,
    unit,
    warped,
    window,
)

Indices = npt.NDArray[np.intp]
Labels = npt.NDArray[np.int64]

SCALES = (0.96, 1.0, 1.04)
FLIPS = (False, True)
MIDDLE = SIDE // 2  # size in the second step
REACH = MARGIN * MIDDLE // SIDE  # largest shift there
INNER = MIDDLE - 2 * REACH
NUMBERS = 48  # per scan in the first step
SHORT_LIST = 16  # scans of the second step
CANDIDATES = 6  # of the third, mirrored or not
FINALISTS = 3  # that are aligned to the end
ROUGH_STEPS, STEPS = 3, 5  # of least squares
BLOCK = 32  # queries at once
GALLERY_BLOCK = 4096
# Similarity of two scans that show the same. 19 of 20 copies that were shifted by 3 of 64 pixels and
# scaled by 3% reach 0.987, on brain and on chest scans; chest scans of other people reach 0.93.
ALIKE = 0.98


@dataclasses.dataclass(frozen=True)
class Matches:
    """The most similar scan of each query.

    Parameters
    ----------
    index : ndarray
        intp [N]: its index in the gallery; -1 if there is none.
    similarity : ndarray
        float64 [N]: from -1 to 1, which is the same scan; -1 if there is none.
    """

    index: Indices
    similarity: npt.NDArray[np.float64]


class Gallery:
    """Scans to search.

    Parameters
    ----------
    images : ndarray
        uint8 [N, H, W].
    groups : ndarray, optional
        int64 [N]: a query never finds scans of its own group.
    threads : int, optional
        Number of threads; by default, all that the process may use.
    """

    def __init__(
        self, images: Images, groups: Labels | None = None, threads: int | None = None
    ) -> None:
        self.images, self.groups = images, groups
        self.threads = threads or usable_cpus()
        # float16 halves the memory; its error is far below that of the filter.
        self._middle = np.empty((len(images), INNER * INNER), np.float16)
        for at in range(0, len(images), BLOCK):
            block = _shrunk(filtered(images[at : at + BLOCK], OUTLINES))
            self._middle[at : at + BLOCK] = unit(window(block, REACH))
        some = np.linspace(0, len(images) - 1, min(len(images), 4000)).astype(int)
        rows = _small(self._middle[some])
        self._basis = np.linalg.svd(rows, full_matrices=False)[2][:NUMBERS].T
        self._coarse = np.concatenate(
            [
                _small(self._middle[at : at + GALLERY_BLOCK]) @ self._basis
                for at in range(0, len(images), GALLERY_BLOCK)
            ]
        )

    def search(
        self,
        images: Images,
        *,
        candidates: Indices | None = None,
        groups: Labels | None = None,
        advance: Callable[[int], None] = lambda _: None,
    ) -> Matches:
        """Find the most similar scan of each of some scans.

        Parameters
        ----------
        images : ndarray
            uint8 [M, H, W].
        candidates : ndarray, optional
            intp [M, K]: scans of the gallery to add to the short list of each.
        groups : ndarray, optional
            int64 [M]: their groups, if the gallery has groups.
        advance : callable
            Called with the number of scans searched since the last call.
        """
        index = np.full(len(images), -1)
        similarity = np.full(len(images), -1.0)

        def work(rows: slice) -> tuple[Indices, npt.NDArray[np.float64]]:
            own = None if groups is None else groups[rows]
            more = None if candidates is None else candidates[rows]
            return self._search(images[rows], more, own)

        blocks = (slice(at, at + BLOCK) for at in range(0, len(images), BLOCK))
        with contextlib.closing(in_order(work, blocks, self.threads)) as results:
            for rows, found in results:
                index[rows], similarity[rows] = found
                advance(len(found[0]))
        return Matches(index, similarity)

    def _search(
        self, images: Images, more: Indices | None, own: Labels | None
    ) -> tuple[Indices, npt.NDArray[np.float64]]:
        outlines = filtered(images, OUTLINES)
        views = np.stack([_views(middle) for middle in _shrunk(outlines)])
        listed = self._short_list(views, own)
        if more is not None:
            listed = np.concatenate([listed, more], axis=1)
        start: list[tuple[int, int, int]] = []  # query, scan of the gallery, view
        for n, each in enumerate(listed):
            each = np.unique(each[each >= 0])
            if own is not None and self.groups is not None:
                each = each[self.groups[each] != own[n]]
            if not len(each):
                continue
            products = views[n] @ self._middle[each].astype(np.float32).T
            # A symmetric scan may look better mirrored at first, so each way is a candidate.
            ways = products.reshape(len(FLIPS), -1, len(each))
            view = ways.argmax(axis=1) + np.arange(len(FLIPS))[:, None] * ways.shape[1]
            score = ways.max(axis=1)
            for k in np.argsort(-score, axis=None)[:CANDIDATES]:
                way, which = np.unravel_index(k, score.shape)
                start.append((n, int(each[which]), int(view[way, which])))
        index, similarity = np.full(len(images), -1), np.full(len(images), -1.0)
        if start:
            query, scan, view = (np.array(column) for column in zip(*start, strict=True))
            for n, k, value in zip(
                *self._aligned(images, outlines, query, scan, view), strict=True
            ):
                if value > similarity[n]:
                    index[n], similarity[n] = k, value
        return index, similarity

    def _aligned(
        self, images: Images, outlines: Floats, query: Indices, scan: Indices, view: Indices
    ) -> tuple[Indices, Indices, npt.NDArray[np.float64]]:
        """Align pairs, and return their queries, scans and similarities; drop the worst halfway."""
        flips, at = _alignments(view)

        def ours(stack: Floats) -> Floats:
            found = stack[query]
            found[flips] = found[flips, :, ::-1]
            return found

        found, at = align(
            ours(outlines), filtered(self.images[scan], OUTLINES), at, ROUGH_STEPS, every=2
        )
        kept = _best_of_each(query, found, FINALISTS)
        query, scan, flips, at = query[kept], scan[kept], flips[kept], at[kept]
        details = ours(filtered(images, DETAILS))
        found, at = align(details, filtered(self.images[scan]), at, STEPS)
        # A blurred copy is most similar to its scan if that is blurred as much.
        softer = unit(window(filtered(self.images[scan], SOFTER), BORDER))
        return query, scan, np.maximum(found, correlation(warped(details, at), softer))

    def _short_list(self, views: Floats, own: Labels | None) -> Indices:
        """Compare all pairs coarsely: the indices of the best scans for each query, -1 for none."""
        count = len(views)
        few = views.reshape(count, len(FLIPS), len(SCALES), -1, INNER * INNER)
        few = few[:, :, len(SCALES) // 2]
        rows = _small(few.reshape(-1, INNER * INNER)) @ self._basis
        rows = rows.reshape(count, -1, rows.shape[1])
        best = np.full((count, SHORT_LIST), -np.inf, np.float32)
        index = np.full((count, SHORT_LIST), -1)
        for at in range(0, len(self._coarse), GALLERY_BLOCK):
            part = self._coarse[at : at + GALLERY_BLOCK].T
            found = np.stack([(view @ part).max(axis=0) for view in rows])
            if own is not None and self.groups is not None:
                same = self.groups[at : at + part.shape[1]] == own[:, None]
                found[same] = -np.inf
            numbers = np.broadcast_to(np.arange(at, at + part.shape[1]), found.shape)
            found = np.concatenate([best, found], axis=1)
            numbers = np.concatenate([index, numbers], axis=1)
            top = np.argpartition(-found, SHORT_LIST - 1, axis=1)[:, :SHORT_LIST]
            best, index = (np.take_along_axis(a, top, axis=1) for a in (found, numbers))
        return np.where(np.isfinite(best), index, -1)


def _best_of_each(
    owner: Indices, scores: npt.NDArray[np.float64], count: int
) -> npt.NDArray[np.bool_]:
    """Return which scores are among the `count` best of their owner."""
    order = np.lexsort((-scores, owner))
    first = np.searchsorted(owner[order], owner[order])
    kept = np.zeros(len(owner), bool)
    kept[order] = np.arange(len(owner)) - first < count
    return kept


def _views(middle: Floats) -> Floats:
    """See a query at all alignments of the second step: float32 [150, 784], each of norm 1."""
    centre = (MIDDLE - 1) / 2
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    views = []
    for flip in FLIPS:
        for scale in SCALES:
            move = centre - scale * centre
            matrix = np.array([[scale, 0, move], [0, scale, move]], np.float64)
            seen = cv2.warpAffine(
                middle[:, ::-1] if flip else middle,
                matrix,
                (MIDDLE, MIDDLE),
                flags=flags,
                borderMode=cv2.BORDER_REPLICATE,
            )
            views.append(np.lib.stride_tricks.sliding_window_view(seen, (INNER, INNER)))
    return unit(np.stack(views).reshape(-1, INNER, INNER))


def _alignments(view: Indices) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Return whether each view is mirrored, and its alignment, as `align` takes it."""
    shifts = 2 * REACH + 1
    flip, scale, y, x = np.unravel_index(view, (len(FLIPS), len(SCALES), shifts, shifts))
    scales = np.array(SCALES)[scale]
    moves = [scales * (each - REACH) * (SIDE // MIDDLE) for each in (x, y)]
    return np.array(FLIPS)[flip], np.stack([scales, np.zeros(len(view)), *moves], axis=1)


def _shrunk(stack: Floats) -> Floats:
    """Average blocks of 2x2 pixels."""
    rows = stack[:, ::2] + stack[:, 1::2]
    return np.asarray((rows[:, :, ::2] + rows[:, :, 1::2]) / 4)


def _small(rows: npt.NDArray[np.floating]) -> Floats:
    """Shrink windows of the second step for the first: float32 [N, 196], each of norm 1."""
    return unit(_shrunk(rows.astype(np.float32).reshape(-1, INNER, INNER)))
