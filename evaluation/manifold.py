"""The scans of a class as a manifold in feature space: its spread, and what it covers."""

import numpy as np
import numpy.typing as npt
from sklearn.metrics.pairwise import euclidean_distances

NEAREST = 3  # k of Kynkäänniemi et al. 2019
FEWEST = NEAREST + 1  # scans: each needs a k-th neighbour


class Manifold:
    """The estimate of Kynkäänniemi et al. 2019: a ball around each scan, out to its k-th neighbour.

    Parameters
    ----------
    features : ndarray
        float [N, D], at least 4 rows; k is 3.

    Attributes
    ----------
    features : ndarray
        float64 [N, D].
    spread : float
        Mean Euclidean distance over all pairs of different rows.
    radii : ndarray
        float64 [N]: the distance of each row to its k-th nearest other.
    """

    def __init__(self, features: npt.NDArray[np.floating]) -> None:
        self.features = features.astype(np.float64)
        distances = euclidean_distances(self.features)
        n = len(distances)
        self.spread = float(distances.sum() / (n * (n - 1)))
        # Each row holds its own distance, 0, as well: the k-th other is at index k.
        self.radii = np.partition(distances, NEAREST, axis=1)[:, NEAREST]


def precision_recall(real: Manifold, synthetic: Manifold) -> tuple[float, float]:
    """Improved precision and recall (Kynkäänniemi et al. 2019, eq. 1 and 2).

    All scans of both sides are used: the larger one is not cut to the size of the smaller, as there
    is no bias to mend. Brain MRI against other brain MRI of the class scores 0.84 to 0.93 on either
    number, whatever the counts (8 to 300 real, 30 to 400 others; standard deviation 0.06 with 30
    real). And fewer balls are wider: cut from 100 to 30, ten scans repeated to a hundred have a
    recall of 0.47 instead of 0.01.

    Returns
    -------
    precision : float
        Share of the synthetic scans that lie in the ball of some real scan. More real scans
        draw a tighter manifold: one generator has 0.81 against 30, 0.54 against 300.
    recall : float
        Share of the real scans that lie in the ball of some synthetic scan. It changes with the
        number of synthetic scans: compare only scores of as many.
    """
    between = euclidean_distances(real.features, synthetic.features)
    precision = (between <= real.radii[:, None]).any(axis=0).mean()
    recall = (between <= synthetic.radii).any(axis=1).mean()
    return float(precision), float(recall)
