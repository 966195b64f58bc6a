"""How good synthetic scans are: KID, class agreement, variety. One code for training and reports."""

import dataclasses
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from scangan.evaluation.errors import EvaluationError
from scangan.evaluation.features import FeatureExtractor

Features = npt.NDArray[np.float32]  # [N, D]
Labels = npt.NDArray[np.int64]  # [N]

FEWEST = 8  # real scans of a class; fewer say nothing about a distribution
MOST = 700  # real scans of a class that are used: more cost time and change no score
HELD_BACK = 0.2  # share of the real scans on which the probe itself is measured


@dataclasses.dataclass(frozen=True)
class Scores:
    """Scores of synthetic scans against real ones.

    Parameters
    ----------
    n : int
        Number of synthetic scans scored.
    kid : float
        Kernel inception distance, every class weighing the same; lower is better, 0 at best.
    class_kid : dict
        KID inside each class.
    agreement : dict
        Share of each class's synthetic scans that the probe gives to that class, 0 to 1; empty for
        one class.
    variety : dict
        Mean pairwise feature distance inside each class, as a share of the real class's.
    """

    n: int
    kid: float
    class_kid: dict[str, float]
    agreement: dict[str, float]
    variety: dict[str, float]

    @property
    def mean_class_kid(self) -> float:
        """Mean KID inside the classes: sees pretty pictures of the wrong class, as plain KID does not.

        The kernel twin of the intra-FID of Miyato and Koyama 2018. It picks the checkpoint.
        """
        return float(np.mean(list(self.class_kid.values())))

    @property
    def mean_agreement(self) -> float | None:
        """Mean of `agreement` over the classes; None for one class."""
        return float(np.mean(list(self.agreement.values()))) if self.agreement else None

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, the means among them."""
        return dataclasses.asdict(self) | {
            "mean_class_kid": self.mean_class_kid,
            "mean_agreement": self.mean_agreement,
        }


def polynomial_kernel(a: Features, b: Features) -> npt.NDArray[np.float64]:
    """The kernel of KID, (a·b / D + 1)^3, for all pairs: float64 [len(a), len(b)]."""
    products = a.astype(np.float64) @ b.astype(np.float64).T
    return np.asarray((products / a.shape[1] + 1.0) ** 3)


def kernel_distances(
    real: list[Features],
    synthetic: list[Features],
    real_kernels: npt.NDArray[np.float64] | None = None,
) -> tuple[float, npt.NDArray[np.float64]]:
    """KID (Binkowski et al. 2018) over all classes, and inside each.

    Parameters
    ----------
    real, synthetic : list of ndarray
        Features of each class, float32 [N_k, D], at least two a class.
    real_kernels : ndarray, optional
        ``mean_kernels(real)``, where it is known already.

    Returns
    -------
    kid : float
        Unbiased squared MMD between the mixtures in which every class weighs the same, whatever
        its count.
    class_kid : ndarray
        float64 [K]: unbiased squared MMD inside each class. Either may come out below zero.
    """
    rr = mean_kernels(real) if real_kernels is None else real_kernels
    ss = mean_kernels(synthetic)
    rs = np.array([[polynomial_kernel(a, b).mean() for b in synthetic] for a in real])
    difference = rr + ss - rs - rs.T
    return float(difference.mean()), np.diagonal(difference).copy()


def mean_kernels(groups: list[Features]) -> npt.NDArray[np.float64]:
    """Mean kernel between every two groups; a sample is never paired with itself."""
    means = np.empty((len(groups), len(groups)))
    for i, a in enumerate(groups):
        for j, b in enumerate(groups[: i + 1]):
            kernel = polynomial_kernel(a, b)
            if i == j:
                n = len(a)
                means[i, i] = (kernel.sum() - np.trace(kernel)) / (n * (n - 1))
            else:
                means[i, j] = means[j, i] = kernel.mean()
    return means


def mean_pairwise_distance(features: Features) -> float:
    """Mean Euclidean distance over all pairs of different rows."""
    x = features.astype(np.float64)
    squares = (x * x).sum(1)
    distances = np.sqrt(np.maximum(squares[:, None] + squares[None] - 2 * x @ x.T, 0))
    np.fill_diagonal(distances, 0)
    return float(distances.sum() / (len(x) * (len(x) - 1)))


def train_probe(features: Features, labels: Labels) -> Pipeline:
    """Fit the linear probe of class agreement: balanced, regularised logistic regression."""
    probe = make_pipeline(
        StandardScaler(), LogisticRegression(C=0.01, class_weight="balanced", max_iter=300)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # near the optimum is near enough
        probe.fit(features, labels)
    return probe


class RealReference:
    """Real scans, ready to score synthetic ones against.

    Parameters
    ----------
    images : ndarray
        uint8 [N, H, W].
    labels : ndarray
        int64 [N], indices into `classes`.
    classes : sequence of str
        Class names.
    extractor : FeatureExtractor, optional
        By default one on all threads.

    Attributes
    ----------
    real_kid : float
        KID of one half of the real scans against the other, classes alike: what a perfect
        generator would score, about.
    probe_accuracy : float or None
        Mean over classes of the share of real scans, held back from a probe, that it names right.
        None for one class.

    Raises
    ------
    EvaluationError
        A class has fewer than 8 scans.
    """

    def __init__(
        self,
        images: npt.NDArray[np.uint8],
        labels: Labels,
        classes: tuple[str, ...],
        extractor: FeatureExtractor | None = None,
    ) -> None:
        self.classes = tuple(classes)
        self._extract = extractor or FeatureExtractor()
        rng = np.random.default_rng(0)
        self._real: list[Features] = []
        for k, name in enumerate(self.classes):
            of_class = np.flatnonzero(labels == k)
            if len(of_class) < FEWEST:
                raise EvaluationError(
                    f"class {name!r} has {len(of_class)} scans; scoring needs at least {FEWEST}: "
                    f"add scans, merge classes or leave it out"
                )
            chosen = rng.permutation(of_class)[:MOST]
            self._real.append(self._extract(images[chosen]))
        self._spread = [mean_pairwise_distance(f) for f in self._real]
        self._real_kernels = mean_kernels(self._real)
        halves = [(f[: len(f) // 2], f[len(f) // 2 :]) for f in self._real]
        self.real_kid, _ = kernel_distances([a for a, _ in halves], [b for _, b in halves])
        self._probe: Pipeline | None = None
        self.probe_accuracy: float | None = None
        if len(self.classes) > 1:
            self._probe = train_probe(np.concatenate(self._real), _labels(self._real))
            self.probe_accuracy = self._held_back_accuracy()

    def _held_back_accuracy(self) -> float:
        # Rows were shuffled above, so the first ones of a class are a random part of it.
        cut = [max(1, round(len(f) * HELD_BACK)) for f in self._real]
        held = [f[:c] for f, c in zip(self._real, cut, strict=True)]
        kept = [f[c:] for f, c in zip(self._real, cut, strict=True)]
        probe = train_probe(np.concatenate(kept), _labels(kept))
        return float(np.mean([(probe.predict(f) == k).mean() for k, f in enumerate(held)]))

    def score(self, images: npt.NDArray[np.uint8], labels: Labels) -> Scores:
        """Score synthetic scans.

        Parameters
        ----------
        images : ndarray
            uint8 [N, H, W].
        labels : ndarray
            int64 [N], the classes that were asked for; at least two scans of every class.
        """
        features = self._extract(images)
        groups = [features[labels == k] for k in range(len(self.classes))]
        if min(map(len, groups)) < 2:
            raise EvaluationError("scoring needs at least two synthetic scans of every class")
        kid, class_kid = kernel_distances(self._real, groups, self._real_kernels)
        agreement = {}
        if self._probe is not None:
            named = self._probe.predict(features)
            agreement = {
                name: float((named[labels == k] == k).mean()) for k, name in enumerate(self.classes)
            }
        spread = [mean_pairwise_distance(f) for f in groups]
        return Scores(
            n=len(images),
            kid=kid,
            class_kid=dict(zip(self.classes, class_kid.tolist(), strict=True)),
            agreement=agreement,
            variety={
                name: spread[k] / max(self._spread[k], 1e-12) for k, name in enumerate(self.classes)
            },
        )


def _labels(groups: list[Features]) -> Labels:
    return np.repeat(np.arange(len(groups)), [len(f) for f in groups])
