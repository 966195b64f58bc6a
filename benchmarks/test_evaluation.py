"""What an evaluation costs: 1,000 real scans against 1,000 others, in one run.

The features are compared with a bare loop over the same network; all else has a limit in seconds.
"""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from scangan.evaluation.cache import Cache
from scangan.evaluation.features import NETWORKS, FeatureExtractor
from scangan.evaluation.judge_quality import QualityOptions, quality
from scangan.evaluation.judge_utility import UtilityOptions, utility
from scangan.evaluation.scan_set import ScanSet

CLASSES = tuple("abcd")
COUNT = 1000


@pytest.fixture(scope="module")
def sets():
    """Smooth random scans of 64 pixels in four classes: what they show does not change the time."""
    rng = np.random.default_rng(0)
    made = []
    for name in ("real", "synthetic"):
        coarse = rng.integers(0, 256, (COUNT, 8, 8)).astype(np.float32)
        images = coarse.repeat(8, 1).repeat(8, 2) * 0.9 + rng.integers(0, 26, (COUNT, 64, 64))
        made.append(ScanSet(images.astype(np.uint8), np.arange(COUNT) % 4, CLASSES, name))
    return made


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.mark.benchmark(group="features of 1,000 scans, EfficientNet-Lite0, one thread")
@pytest.mark.parametrize("how", ["a bare onnxruntime loop", "FeatureExtractor, cold cache"])
def test_features(benchmark, sets, tmp_path, how):
    extract, images = FeatureExtractor(threads=1), sets[0].images
    if how.startswith("a bare"):
        network, session = NETWORKS["efficientnet-lite0"], extract._session
        name = session.get_inputs()[0].name
        import cv2

        resized = np.stack(
            [cv2.resize(i, (128, 128), interpolation=cv2.INTER_CUBIC) for i in images]
        )

        def work():
            for at in range(0, COUNT, 32):
                session.run([network.tensor], {name: resized[at : at + 32, None]})
    else:
        count = iter(range(100))

        def work():
            Cache(tmp_path / str(next(count))).features(images, extract)

    benchmark.pedantic(work, rounds=3, warmup_rounds=1)


@pytest.mark.benchmark(group="quality of 1,000 against 1,000 scans, features known")
def test_quality_without_features(benchmark, sets, cache):
    options = QualityOptions(cache=cache)
    with threadpool_limits(1):
        benchmark.pedantic(lambda: quality(*sets, options), rounds=2, warmup_rounds=1)


@pytest.mark.benchmark(group="utility with the probe: five diets, three seeds, 1,000 scans each")
@pytest.mark.parametrize("known", [False, True])
def test_utility(benchmark, sets, cache, tmp_path, known):
    real, synthetic = sets
    test = real.take(np.arange(0, COUNT, 5))
    train = real.take(np.setdiff1d(np.arange(COUNT), np.arange(0, COUNT, 5)))
    folders = iter(range(100))

    def work():
        folder = cache if known else tmp_path / str(next(folders))
        utility(train, synthetic, test, UtilityOptions(cache=folder, threads=1))

    benchmark.pedantic(work, rounds=1, warmup_rounds=int(known))
