"""Figures of the pixels themselves: histograms, and structural similarity."""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

Images = npt.NDArray[np.uint8]  # [N, H, W]
Stack = npt.NDArray[np.float32]

LEVELS = 256
WINDOW, SIGMA = 11, 1.5  # of Wang et al. 2004
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of the scales, Wang et al. 2003, finest first
AT_ONCE = 128  # images per call: OpenCV filters them as the channels of one


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
        product: npt.NDArray[np.float64] = np.ones(x.shape[2])
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
        function(_channels_last(a[at : at + AT_ONCE]), _channels_last(b[at : at + AT_ONCE]))
        for at in range(0, len(a), AT_ONCE)
    ]
    return np.concatenate(parts) if parts else np.empty(0)


def _channels_last(images: Images) -> Stack:
    return np.ascontiguousarray(images.transpose(1, 2, 0), np.float32)


def _half(stack: Stack) -> Stack:
    """Average blocks of 2x2 pixels; an odd last row or column is dropped."""
    h, w = stack.shape[0] // 2 * 2, stack.shape[1] // 2 * 2
    blocks = stack[:h, :w].reshape(h // 2, 2, w // 2, 2, -1)
    return np.ascontiguousarray(blocks.mean(axis=(1, 3)))


def _similarity(x: Stack, y: Stack) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return mean SSIM and mean contrast-structure term of each channel, over full windows only."""
    reach = WINDOW // 2

    def blurred(stack: Stack) -> npt.NDArray[np.float64]:
        full = cv2.GaussianBlur(stack, (WINDOW, WINDOW), SIGMA)
        full = full.reshape(stack.shape)  # OpenCV drops a single channel
        inner = full[reach : stack.shape[0] - reach, reach : stack.shape[1] - reach]
        return np.asarray(inner, np.float64)

    mean_x, mean_y = blurred(x), blurred(y)
    var_x = blurred(x * x) - mean_x**2
    var_y = blurred(y * y) - mean_y**2
    covariance = blurred(x * y) - mean_x * mean_y
    contrast = (2 * covariance + C2) / (var_x + var_y + C2)
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    return (luminance * contrast).mean(axis=(0, 1)), contrast.mean(axis=(0, 1))
