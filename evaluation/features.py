"""Features of scans from the bundled extractor: EfficientNet-Lite0, no torch, no network."""

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from scangan.core.session import open_session

EXTRACTOR = Path(__file__).parent / "extractors" / "efficientnet-lite0.onnx"
SIDE = 128  # pixels; the extractor's input
LENGTH = 1280
BATCH = 32


class FeatureExtractor:
    """Pooled EfficientNet-Lite0 features (Tan and Le 2019; ImageNet weights).

    Parameters
    ----------
    threads : int, optional
        Threads of onnxruntime; by default all that the process may use.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._session = open_session(EXTRACTOR, threads=threads)

    def __call__(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Extract features.

        Parameters
        ----------
        images : ndarray
            uint8 [N, H, W], any size; resized to 128 x 128 (area-averaged when shrinking, bicubic
            when enlarging).

        Returns
        -------
        ndarray
            float32 [N, 1280].
        """
        out = np.empty((len(images), LENGTH), np.float32)
        for start in range(0, len(images), BATCH):
            batch = _resized(images[start : start + BATCH])
            out[start : start + BATCH] = self._session.run(["features"], {"image": batch})[0]
        return out


def _resized(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    method = cv2.INTER_AREA if images.shape[1] > SIDE else cv2.INTER_CUBIC
    resized = [cv2.resize(image, (SIDE, SIDE), interpolation=method) for image in images]
    return np.asarray(np.stack(resized)[:, None], np.uint8)
