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
    target = unit(window(scans, BORDER)[:, ::every, ::every])
    best, where = np.full(len(queries), -1.0), starts
    at = starts
    for step in range(steps + 1):
        seen = warped(queries, at, every)
        found = np.einsum("np,np->n", unit(seen), target, dtype=np.float64)
        where = np.where((found > best)[:, None], at, where)
        best = np.maximum(best, found)
        if step < steps:
            moved = at + _move(seen, target, at[:, :1], every) - IN_PLACE
            at = np.clip(moved, np.negative(FARTHEST), FARTHEST) + IN_PLACE
    return best, where


def _move(
    seen: Floats, target: Floats, scale: npt.NDArray[np.float64], every: int
) -> npt.NDArray[np.float64]:
    """Solve for the change of alignment that brings warped queries nearer to their target."""
    place = np.arange(BORDER, SIDE - BORDER, every, dtype=np.float32) - (SIDE - 1) / 2
    down, across = np.gradient(seen, every, axis=(1, 2))
    u, v = place, place[:, None]
    parts = (seen, across * u + down * v, down * u - across * v, across, down)
    columns = np.stack([part.reshape(len(seen), -1) for part in parts], axis=1)
    columns -= columns.mean(axis=2, keepdims=True)
    squares = np.matmul(columns, columns.transpose(0, 2, 1)).astype(np.float64)
    squares += np.eye(5) * (1e-6 * np.trace(squares, axis1=1, axis2=2)[:, None, None] + 1e-12)
    right = np.matmul(columns, target[:, :, None]).astype(np.float64)
    gain, *moves = np.linalg.solve(squares, right)[..., 0].T
    # The gradients are of the warped query, which is `scale` times as steep.
    change = np.stack(moves, axis=1) / np.maximum(gain, 1e-12)[:, None] * scale
    return np.asarray(np.clip(change, np.negative(STRIDE), STRIDE))


def warped(queries: Floats, at: npt.NDArray[np.float64], every: int = 1) -> Floats:
    """Sample queries where the window of the scan lies, as `align` does: float32 [N, 52, 52]."""
    centre = (SIDE - 1) / 2
    first, count = BORDER - centre, len(range(BORDER, SIDE - BORDER, every))
    out = np.empty((len(queries), count, count), np.float32)
    for n, (query, (a, b, x, y)) in enumerate(zip(queries, at, strict=True)):
        turn = np.array([[a, -b], [b, a]])
        move = turn.sum(axis=1) * first + (x, y) + centre
        matrix = np.column_stack([turn * every, move])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        cv2.warpAffine(
            query, matrix, (count, count), out[n], flags=flags, borderMode=cv2.BORDER_REPLICATE
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
    return np.asarray(np.where(norms > 1e-3, rows / np.maximum(norms, 1e-3), 0), np.float32)
