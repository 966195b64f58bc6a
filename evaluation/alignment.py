"""Align two scans, and measure how similar their details are.

The similarity is the normalised cross-correlation of what a band-pass filter leaves: without fine noise,
and without the coarse shape that all scans of a body part share. It ignores brightness and contrast.
"""

import cv2
import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]  # [N, H, W]
Floats = npt.NDArray[np.float32]

SIDE = 64  # pixels; all scans are compared at this size
DETAILS = (1.0, 3.0)  # Gaussian filters of the band pass, in pixels
SOFTER = (1.8, 3.35)  # the same of a scan that was blurred by 1.5 pixels
OUTLINES = (2.0, 6.0)  # of the first steps: smoother, so that a pixel off does little
MARGIN = 4  # the largest shift of the search in pixels
BORDER = 6  # pixels left out at each border: a shifted copy lacks some, and the filter spreads it
# Alignments are (a, b, x, y), as in `align`.
IN_PLACE = np.array((1.0, 0.0, 0.0, 0.0))
FARTHEST = np.array((0.06, 0.1, MARGIN + 1, MARGIN + 1))  # from IN_PLACE
FLAT = 1e-3  # norm below which an image has no contrast
STRIDE = (0.02, 0.04, 1, 1)  # the most in one step


def filtered(images: Images, band: tuple[float, float] = DETAILS) -> Floats:
    """Filter scans so that their details are left: float32 [N, 64, 64]."""
    out = np.empty((len(images), SIDE, SIDE), np.float32)
    narrow, wide = band
    for n, image in enumerate(images):
        method = cv2.INTER_AREA if max(image.shape) > SIDE else cv2.INTER_LINEAR
        pixels = cv2.resize(image, (SIDE, SIDE), interpolation=method).astype(np.float32)
        out[n] = cv2.GaussianBlur(pixels, (0, 0), narrow) - cv2.GaussianBlur(pixels, (0, 0), wide)
    return out


def align(
    queries: Floats,
    scans: Floats,
    starts: npt.NDArray[np.float64],
    steps: int,
    every: int = 1,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Align pairs by least squares.

    Parameters
    ----------
    queries, scans : ndarray
        float32 [N, 64, 64], as `filtered` returns them.
    starts : ndarray
        float64 [N, 4]: the alignments to start from. With ``(a, b, x, y)``, a pixel at ``(u, v)`` from
        the centre of the scan is compared with that at ``(a u - b v + x, b u + a v + y)`` of the
        query: scaled, turned and shifted.
    steps : int
        Number of steps.
    every : int
        Compare only every n-th row and column.

    Returns
    -------
    correlation, alignment : ndarray
        float64 [N] and [N, 4]: the highest correlation met, and where.
    """
    target, moves = _motions(scans, every)
    # The normal equations, which all steps share.
    squares = np.matmul(moves, moves.transpose(0, 2, 1)).astype(np.float64)
    squares += np.eye(5) * (1e-6 * np.trace(squares, axis1=1, axis2=2)[:, None, None] + 1e-12)
    solver = np.linalg.inv(squares)
    best, where, at = np.full(len(queries), -1.0), starts, starts
    for step in range(steps + 1):
        seen = warped(queries, at, every).reshape(len(queries), -1)
        found = correlation(seen, target)
        where = np.where((found > best)[:, None], at, where)
        best = np.maximum(best, found)
        if step < steps:
            products = np.matmul(moves, seen[:, :, None]).astype(np.float64)
            gain, *change = np.matmul(solver, products)[..., 0].T
            step_by = np.stack(change, axis=1) / np.maximum(gain, 1e-12)[:, None]
            at = _moved_back(at, np.clip(step_by, np.negative(STRIDE), STRIDE))
            at = np.clip(at - IN_PLACE, np.negative(FARTHEST), FARTHEST) + IN_PLACE
    return best, where


def _motions(scans: Floats, every: int) -> tuple[Floats, Floats]:
    """Return the windows of scans, and how they change as they grow brighter, larger, turn and move.

    The changes are those of the scan and not of the query, so they are computed once and serve every
    step: the inverse compositional algorithm of Baker and Matthews 2004, "Lucas-Kanade 20 years on".

    Returns
    -------
    target, moves : ndarray
        float32 [N, P], each of norm 1, and [N, 5, P], centred, for the P pixels of the window.
    """
    count = len(scans)
    seen = window(scans, BORDER)[:, ::every, ::every]
    # One pixel more on each side, so that the differences at the border are central, too.
    slopes: list[Floats] = list(np.gradient(window(scans, BORDER - 1), axis=(1, 2)))
    down, across = (window(part, 1)[:, ::every, ::every] for part in slopes)
    place = np.arange(BORDER, SIDE - BORDER, every, dtype=np.float32) - (SIDE - 1) / 2
    u, v = place, place[:, None]
    parts = seen, across * u + down * v, down * u - across * v, across, down
    moves = np.stack([part.reshape(count, -1) for part in parts], axis=1)
    moves -= moves.mean(axis=2, keepdims=True)
    return unit(seen), moves


def _moved_back(
    at: npt.NDArray[np.float64], change: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Apply the inverse of a change first, then an alignment; as complex numbers, z -> turn z + move."""
    turn, move = at[:, 0] + 1j * at[:, 1], at[:, 2] + 1j * at[:, 3]
    by, along = 1 + change[:, 0] + 1j * change[:, 1], change[:, 2] + 1j * change[:, 3]
    turn = turn / by
    move = move - turn * along
    return np.stack([turn.real, turn.imag, move.real, move.imag], axis=1)


def correlation(seen: Floats, target: Floats) -> npt.NDArray[np.float64]:
    """Correlate images with others that are centred and of norm 1; without contrast, it is 0."""
    rows = seen.reshape(len(seen), -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    norms = np.sqrt(np.einsum("np,np->n", rows, rows, dtype=np.float64))
    products = np.einsum("np,np->n", rows, target, dtype=np.float64)
    return np.where(norms > FLAT, products / np.maximum(norms, FLAT), 0)


def warped(queries: Floats, at: npt.NDArray[np.float64], every: int = 1) -> Floats:
    """Sample queries where the window of the scan lies, as `align` does: float32 [N, 52, 52]."""
    centre = (SIDE - 1) / 2
    first, count = BORDER - centre, len(range(BORDER, SIDE - BORDER, every))
    out = np.empty((len(queries), count, count), np.float32)
    a, b, x, y = at.T
    matrices = np.stack(
        [a * every, -b * every, (a - b) * first + x + centre,
         b * every, a * every, (a + b) * first + y + centre], axis=1
    ).reshape(-1, 2, 3)  # fmt: skip
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    for query, matrix, seen in zip(queries, matrices, out, strict=True):
        cv2.warpAffine(
            query, matrix, (count, count), seen, flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
    return out


def window(stack: Floats, margin: int) -> Floats:
    """Leave out a margin at each border."""
    return stack[:, margin:-margin, margin:-margin]


def unit(stack: npt.NDArray[np.floating]) -> Floats:
    """Centre images and scale them to norm 1; those without any contrast become 0."""
    rows = stack.reshape(len(stack), -1).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.where(norms > FLAT, rows / np.maximum(norms, FLAT), 0), np.float32)
