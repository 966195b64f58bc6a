"""Copies of training scans at five levels of change, to measure whether a search finds copies."""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]  # [H, W]
Change = Callable[[Image, np.random.Generator], Image]

JPEG_QUALITY = 75
CONTRAST, BRIGHTNESS = (0.8, 1.2), (-15, 15)  # factor, and grey levels
SHIFT, SCALE = 3 / 64, 0.03  # largest shift as a share of the side, and change of scale
NOISE = 6.0  # standard deviation in grey levels


def same(image: Image, _rng: np.random.Generator) -> Image:
    """Change nothing."""
    return image


def compressed(image: Image, _rng: np.random.Generator) -> Image:
    """Compress as JPEG."""
    ok, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    assert ok  # OpenCV always writes 8-bit grey images
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)


def brightened(image: Image, rng: np.random.Generator) -> Image:
    """Change brightness and contrast; bright or dark parts may saturate."""
    return _grey(image * rng.uniform(*CONTRAST) + rng.uniform(*BRIGHTNESS))


def moved(image: Image, rng: np.random.Generator) -> Image:
    """Shift by up to 3 pixels of 64 and scale by 3%, larger or smaller."""
    height, width = image.shape
    scale = 1 + SCALE * rng.choice([-1, 1])
    right, down = rng.uniform(-SHIFT, SHIFT, 2) * (width, height)
    x, y = (width - 1) / 2, (height - 1) / 2
    matrix = np.array([[scale, 0, x - scale * x + right], [0, scale, y - scale * y + down]])
    return np.asarray(
        cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE), np.uint8
    )


def mirrored(image: Image, rng: np.random.Generator) -> Image:
    """Mirror and add noise."""
    return _grey(image[:, ::-1] + rng.normal(0, NOISE, image.shape))


LEVELS: dict[str, Change] = {
    "exact": same,
    "JPEG": compressed,
    "brightness and contrast": brightened,
    "shift and scale": moved,
    "mirror and noise": mirrored,
}


def _grey(values: npt.NDArray[np.floating]) -> Image:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)
