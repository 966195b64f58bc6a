"""Figures of the pixels themselves: histograms, and structural similarity."""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

Images = npt.NDArray[np.uint8]  # [N, H, W]
Stack = npt.NDArray[np.float32]  # [H, N, W], or [N, H * W]

LEVELS = 256
WINDOW, SIGMA = 11, 1.5  # of Wang et al. 2004
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
MIDDLE = 128.0  # grey level
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, Wang et al. 2003, finest first
AT_ONCE = 128  # images per call: OpenCV filters them as one, side by side


def histograms(images: Images) -> npt.NDArray[np.float64]:
    """Count the grey levels of each scan: [N, 256], as shares that sum to 1."""
    pixels = images.reshape(len(images), -1)
    counts = np.stack([np.bincount(scan, minlength=LEVELS) for scan in pixels])
    return np.asarray(counts / pixels.shape[1])


def histogram_distances(a: npt.NDArray[np.float64], b: npt.NDArray[np.float64]) -> dict[str, float]:
    """Compare the mean histograms of two samples, [N, 256] each.

    Returns
    -------
    dict
        ``wasserstein`` in grey levels, ``jensen_shannon`` from 0 to 1 (the distance, with base 2),
        ``euclidean`` and ``manhattan`` distances of the two histograms as vectors of shares.
    """
    p, q, levels = a.mean(axis=0), b.mean(axis=0), np.arange(LEVELS)
    return {
        "wasserstein": float(wasserstein_distance(levels, levels, p, q)),
        "jensen_shannon": float(jensenshannon(p, q, base=2)),
        "euclidean": float(np.linalg.norm(p - q)),
        "manhattan": float(np.abs(p - q).sum()),
    }


def nearest(gallery: Images, queries: Images) -> npt.NDArray[np.intp]:
    """Find the scan of a gallery that is nearest to each query in pixels: intp [len(queries)]."""
    asked, distances = _flat(queries), []
    for at in range(0, len(gallery), AT_ONCE):
        part = _flat(gallery[at : at + AT_ONCE])
        # The norm of the query is the same for all, so it does not decide.
        distances.append(np.einsum("np,np->n", part, part)[:, None] - 2 * (part @ asked.T))
    return np.asarray(np.concatenate(distances).argmin(axis=0))


def ssim(a: Images, b: Images) -> npt.NDArray[np.float64]:
    """Compute the structural similarity of pairs (Wang et al. 2004): float64 [N], 1 if equal."""
    return _in_blocks(a, b, lambda x, y: _similarity(x, y)[0])


def ms_ssim(a: Images, b: Images) -> npt.NDArray[np.float64]:
    """Compute the multi-scale structural similarity of pairs (Wang et al. 2003): float64 [N].

    It uses as many of the five scales as the window of 11 pixels fits into: three for scans of 64
    pixels. Their weights are scaled to sum to 1. Negative terms count as 0.
    """
    fitting = sum(min(a.shape[1:]) >> scale >= WINDOW for scale in range(len(WEIGHTS)))
    weights = np.array(WEIGHTS[: max(fitting, 1)]) / sum(WEIGHTS[: max(fitting, 1)])

    def of_block(x: Stack, y: Stack) -> npt.NDArray[np.float64]:
        product: npt.NDArray[np.float64] = np.ones(x.shape[1])
        for scale, weight in enumerate(weights):
            whole, contrast = _similarity(x, y)
            term = whole if scale == len(weights) - 1 else contrast
            product = product * np.maximum(term, 0) ** weight
            x, y = _half(x), _half(y)
        return product

    return _in_blocks(a, b, of_block)


def _in_blocks(
    a: Images, b: Images, function: Callable[[Stack, Stack], npt.NDArray[np.float64]]
) -> npt.NDArray[np.float64]:
    parts = [
        function(_side_by_side(a[at : at + AT_ONCE]), _side_by_side(b[at : at + AT_ONCE]))
        for at in range(0, len(a), AT_ONCE)
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def _flat(images: Images) -> Stack:
    """Flatten scans: float32 [N, H * W], around 0 so that products keep their digits."""
    return images.reshape(len(images), -1).astype(np.float32) - MIDDLE


def _side_by_side(images: Images) -> Stack:
    """Put images beside each other: float32 [H, N, W], around 0 so that squares keep their digits."""
    return np.asarray(images.transpose(1, 0, 2), np.float32, order="C") - MIDDLE


def _half(stack: Stack) -> Stack:
    """Average blocks of 2x2 pixels; an odd last row or column is dropped."""
    h, w = stack.shape[0] // 2 * 2, stack.shape[2] // 2 * 2
    blocks = stack[:h, :, :w]
    sums = blocks[::2] + blocks[1::2]
    return np.asarray((sums[:, :, ::2] + sums[:, :, 1::2]) / 4)


def _similarity(x: Stack, y: Stack) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return mean SSIM and mean contrast-structure term of each image, over full windows only."""
    reach = WINDOW // 2
    rows, _, columns = x.shape

    def blurred(stack: Stack) -> Stack:
        full = cv2.GaussianBlur(stack.reshape(rows, -1), (WINDOW, WINDOW), SIGMA)
        # A window that reaches into the image beside it is not a full one.
        full = full.reshape(stack.shape)[reach : rows - reach, :, reach : columns - reach]
        return np.asarray(full)

    mean_x, mean_y = blurred(x), blurred(y)
    product, squares = mean_x * mean_y, mean_x**2 + mean_y**2
    variances = blurred(x * x + y * y) - squares
    covariance = blurred(x * y) - product
    contrast = (2 * covariance + C2) / (variances + C2)
    # The true means are `MIDDLE` larger.
    shift = MIDDLE * (mean_x + mean_y + MIDDLE)
    luminance = (2 * (product + shift) + C1) / (squares + 2 * shift + C1)
    means = ((luminance * contrast), contrast)
    whole, structure = (each.mean(axis=(0, 2), dtype=np.float64) for each in means)
    return whole, structure
