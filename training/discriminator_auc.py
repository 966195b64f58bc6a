"""What a discriminator tells apart: its training scans from held-back ones, and these from synthetic ones."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from sklearn.metrics import roc_auc_score

from scangan.evaluation.metrics import FEWEST, PER_TICK
from scangan.training.data import TrainingScans
from scangan.training.discriminator import Discriminator
from scangan.training.discriminator_scores import realness

Images = npt.NDArray[np.uint8]  # [N, H, W]
Labels = npt.NDArray[np.int64]


class DiscriminatorAuc:
    """Scores the same real scans at every tick: up to 100 trained on and 100 held back of each class.

    Parameters
    ----------
    scans : TrainingScans
        The real scans of the run.
    seed : int
        Chooses the scans.
    """

    def __init__(self, scans: TrainingScans, seed: int) -> None:
        rng, self.classes = np.random.default_rng(seed), scans.classes
        sides = []
        for side in (~scans.held_back, scans.held_back):
            of_classes = [
                np.flatnonzero(side & (scans.labels == k)) for k in range(len(scans.classes))
            ]
            chosen = [np.sort(rng.permutation(each)[:PER_TICK]) for each in of_classes]
            rows = np.concatenate(chosen)
            sides.append((np.asarray(scans.images[rows]), scans.labels[rows]))
        self.trained, self.held_back = sides

    def measure(
        self, network: Discriminator, synthetic: tuple[Images, Labels]
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Measure how well `network`, in evaluation mode, tells scans apart.

        Parameters
        ----------
        network : Discriminator
            The discriminator.
        synthetic : (ndarray, ndarray)
            Synthetic scans, uint8 [N, H, W], and their classes, int64 [N].

        Returns
        -------
        training, synthetic : dict
            For each class with at least 8 scans on both sides, the area under the ROC curve: how often a
            training scan scores higher than one held back, and one held back higher than a synthetic one.
        """
        trained, held_back, made = (
            self._by_class(realness(network, *scans), scans[1])
            for scans in (self.trained, self.held_back, synthetic)
        )
        return _areas(trained, held_back), _areas(held_back, made)

    def _by_class(
        self, scores: npt.NDArray[np.float64], labels: Labels
    ) -> dict[str, npt.NDArray[np.float64]]:
        return {name: scores[labels == k] for k, name in enumerate(self.classes)}


def _areas(
    higher: Mapping[str, npt.NDArray[np.float64]], lower: Mapping[str, npt.NDArray[np.float64]]
) -> dict[str, float]:
    areas = {}
    for name, above in higher.items():
        below = lower[name]
        scores = np.concatenate([above, below])
        if min(len(above), len(below)) >= FEWEST and np.isfinite(scores).all():
            areas[name] = float(roc_auc_score(np.arange(len(scores)) < len(above), scores))
    return areas
