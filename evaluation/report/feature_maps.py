"""Maps of real and synthetic scans, by principal component analysis of their features."""

import numpy as np
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from scangan.evaluation.cache import Cache
from scangan.evaluation.features import FeatureExtractor
from scangan.evaluation.pairwise import standardised
from scangan.evaluation.quality_result import QualityResult
from scangan.evaluation.quality_sets import comparable
from scangan.evaluation.report import plots
from scangan.evaluation.report.parts import Plot
from scangan.evaluation.scan_set import ScanSet


def feature_maps(
    result: QualityResult, real: ScanSet, synthetic: ScanSet, cache: Cache
) -> dict[str, Plot]:
    """Draw a map for each feature space of a quality evaluation, by extractor without its folder.

    The directions are those in which real scans differ most, so synthetic scans that lack a kind of
    real scan leave a part of the map empty.
    """
    real, synthetic, _ = comparable(real, synthetic, strict=False, seed=result.seed)
    maps = {}
    for name, shown in zip(result.spaces, result.without_folders().spaces, strict=True):
        extract = FeatureExtractor(name)
        rows = [cache.features(each.images, extract) for each in (real, synthetic)]
        ours, made = (standardised(each, by=rows[0]) for each in rows)
        with threadpool_limits(1, "blas"):
            pca = PCA(2, svd_solver="randomized", random_state=0).fit(ours)
        maps[shown] = plots.feature_map(
            shown,
            np.asarray(pca.transform(ours), np.float64),
            np.asarray(pca.transform(made), np.float64),
            synthetic.labels,
            synthetic.classes,
            float(pca.explained_variance_ratio_.sum()),
        )
    return maps
