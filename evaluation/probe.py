"""The linear probe for class agreement: classifies scans by their features."""

import warnings
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

Features = npt.NDArray[np.float32]  # [N, D]


def train_probe(groups: list[Features]) -> "Pipeline":
    """Fit a balanced, regularised logistic regression to the features of each class."""
    # Two seconds of import, which a result that was kept does without.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    labels = np.repeat(np.arange(len(groups)), [len(f) for f in groups])
    probe = make_pipeline(
        StandardScaler(), LogisticRegression(C=0.01, class_weight="balanced", max_iter=300)
    )
    # One thread: the products of a step are too small to share, and two threads took four times as long.
    with threadpool_limits(1, "blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # close to the optimum is good enough
        probe.fit(np.concatenate(groups), labels)
    return probe


def named_right(probe: "Pipeline", groups: list[Features]) -> list[float]:
    """Return the share of each class's scans that the probe assigns to that class, 0 to 1."""
    return [float((probe.predict(f) == k).mean()) for k, f in enumerate(groups)]
