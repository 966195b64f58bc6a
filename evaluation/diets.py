"""What a classifier learns from: real scans, synthetic ones, both, or real ones with augmentation."""

import dataclasses

import cv2
import numpy as np
import numpy.typing as npt

from scangan.evaluation.scan_set import ScanSet

Images = npt.NDArray[np.uint8]  # [N, H, W]
Labels = npt.NDArray[np.int64]  # [N]
Indices = npt.NDArray[np.intp]

DIETS = BASELINE, SYNTHETIC, BOTH, TOPPED_UP, CLASSICAL = (
    "real", "synthetic", "real + synthetic", "real topped up", "real + classical",
)  # fmt: skip
ADDED = BOTH, TOPPED_UP  # real scans and synthetic ones
COPIES = 3  # changed copies of each real scan
TURN, ZOOM, MOVE, LIGHT = 10.0, 0.1, 0.06, 0.15  # degrees; shares of the size, side and grey level


@dataclasses.dataclass(frozen=True)
class Diet:
    """Which scans to learn from: indices of the real, synthetic and changed real scans."""

    real: Indices
    synthetic: Indices
    classical: Indices


def make_diet(
    name: str, real: ScanSet, chosen: Indices, synthetic: ScanSet, rng: np.random.Generator
) -> Diet:
    """Choose the scans of a diet.

    Parameters
    ----------
    name : str
        One of `DIETS`.
    real : ScanSet
        The real scans for training.
    chosen : ndarray
        Indices of those to use, for a learning curve.
    synthetic : ScanSet
        The synthetic scans, with the same classes.
    rng : Generator
        Decides which synthetic scans top up a class.
    """
    none, every = np.empty(0, np.intp), np.arange(len(synthetic))
    if name == BASELINE:
        return Diet(chosen, none, none)
    if name == SYNTHETIC:
        return Diet(none, every, none)
    if name == BOTH:
        return Diet(chosen, every, none)
    if name == CLASSICAL:
        copies = [chosen + copy * len(real) for copy in range(COPIES)]
        return Diet(chosen, none, np.concatenate(copies))
    counts = np.bincount(real.labels[chosen], minlength=len(real.classes))
    added = [
        rng.permutation(synthetic.of_class(k))[: counts.max() - count]
        for k, count in enumerate(counts)
    ]
    return Diet(chosen, np.sort(np.concatenate(added)), none)


def classical_copies(images: Images, seed: int = 0) -> Images:
    """Change scans as classifiers are usually trained: turned, moved, zoomed, brighter or darker.

    They are not mirrored, as that makes another anatomy of a chest.

    Parameters
    ----------
    images : ndarray
        uint8 [N, H, W].
    seed : int
        Random seed.

    Returns
    -------
    ndarray
        uint8 [3 N, H, W]: all scans three times, each time changed anew.
    """
    rng = np.random.default_rng(seed)
    return np.stack([_changed(image, rng) for _ in range(COPIES) for image in images])


def _changed(image: Images, rng: np.random.Generator) -> Images:
    height, width = image.shape
    centre = ((width - 1) / 2, (height - 1) / 2)
    matrix = cv2.getRotationMatrix2D(centre, rng.uniform(-TURN, TURN), 1 + rng.uniform(-ZOOM, ZOOM))
    matrix[:, 2] += rng.uniform(-MOVE, MOVE, 2) * (width, height)
    moved = cv2.warpAffine(
        image, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    contrast, shift = 1 + rng.uniform(-LIGHT, LIGHT), 255 * rng.uniform(-LIGHT, LIGHT) / 2
    return np.asarray(np.clip(moved * contrast + shift, 0, 255), np.uint8)
