"""Maps of real and synthetic scans, by principal component analysis of their features."""

from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from scangan.evaluation.cache import Array, Cache, code
from scangan.evaluation.features import FeatureExtractor
from scangan.evaluation.quality_result import QualityResult
from scangan.evaluation.report import plots
from scangan.evaluation.report.blocks import Plot
from scangan.evaluation.scan_set import ScanSet


def feature_maps(
    result: QualityResult, real: ScanSet, synthetic: ScanSet, cache: Cache
) -> dict[str, Plot]:
    """Draw a map for each feature space of a quality evaluation, by extractor without its folder.

    The directions are those in which real scans differ most, so synthetic scans that lack a kind of
    real scan leave a part of the map empty.
    """
    maps = {}
    shown = result.without_folders().spaces
    for (name, space), label in zip(result.spaces.items(), shown, strict=True):
        key = ("map", code(), space.sha256, name, real.identity, synthetic.identity, result.seed)
        found = cache.get(key, partial(_coordinates, name, result, real, synthetic, cache))
        maps[label] = plots.feature_map(
            label,
            np.asarray(found["real"], np.float64),
            np.asarray(found["synthetic"], np.float64),
            np.asarray(found["labels"], np.int64),
            tuple(result.synthetic.counts),
            float(found["explained"]),
        )
    return maps


def _coordinates(
    name: str, result: QualityResult, real: ScanSet, synthetic: ScanSet, cache: Cache
) -> dict[str, Array]:
    """Return the coordinates of the scans that were compared, and the classes of the synthetic ones."""
    # Two seconds of import, not for coordinates that were kept.
    from sklearn.decomposition import PCA

    from scangan.evaluation.pairwise import standardised
    from scangan.evaluation.quality_sets import comparable

    real, synthetic, _ = comparable(real, synthetic, strict=False, seed=result.seed)
    extract = FeatureExtractor(name)
    rows = [cache.features(each.images, extract) for each in (real, synthetic)]
    ours, made = (standardised(each, by=rows[0]) for each in rows)
    if ours.shape[1] < 2:  # a network with one output: all scans on a line
        ours, made = (np.pad(each, ((0, 0), (0, 1))) for each in (ours, made))
    with threadpool_limits(1, "blas"):
        pca = PCA(2, svd_solver="randomized", random_state=0).fit(ours)
    return {
        "real": pca.transform(ours),
        "synthetic": pca.transform(made),
        "labels": synthetic.labels,
        "explained": np.array(pca.explained_variance_ratio_.sum()),
    }
