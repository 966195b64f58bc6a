"""What an evaluation costs, beside what it may cost; CPU time on one thread."""

import itertools
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from processes import cpu_of_children, peak_memory, run
from threadpoolctl import threadpool_limits

from scangan.evaluation.cache import Cache
from scangan.evaluation.features import DEFAULT, NETWORKS, FeatureExtractor
from scangan.evaluation.judge_privacy import PrivacyOptions, privacy
from scangan.evaluation.judge_quality import QualityOptions, quality
from scangan.evaluation.judge_utility import UtilityOptions, utility
from scangan.evaluation.scan_set import ScanSet
from scangan.evaluation.utility_sets import split_for_test

COUNT, MANY = 1000, 50_000
PROCESS = Path(__file__).with_name("evaluation_process.py")
CHILD = [sys.executable, PROCESS]


@pytest.fixture(scope="module")
def sample(sample_files):
    """The real sample scans at 64 pixels."""
    names = sorted({file.parent.name for file in sample_files})
    images = [cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in sample_files]
    images = [cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA) for image in images]
    labels = np.array([names.index(file.parent.name) for file in sample_files])
    return ScanSet(np.stack(images), labels, tuple(names), "sample")


def varied(scans, count, name):
    """Make `count` scans out of others: turned, zoomed, moved, and with noise."""
    rng = np.random.default_rng(len(name))
    chosen = np.arange(count) % len(scans)
    images = []
    for image in scans.images[chosen]:
        matrix = cv2.getRotationMatrix2D((31.5, 31.5), rng.uniform(-15, 15), rng.uniform(0.85, 1.2))
        matrix[:, 2] += rng.uniform(-5, 5, 2)
        seen = cv2.warpAffine(image, matrix, (64, 64), borderMode=cv2.BORDER_REPLICATE)
        images.append(np.clip(seen + rng.normal(0, 6, seen.shape), 0, 255).astype(np.uint8))
    return ScanSet(np.stack(images), scans.labels[chosen], scans.classes, name)


@pytest.fixture(scope="module")
def sets(sample):
    """1,000 scans as real ones, and 1,000 as synthetic ones."""
    return varied(sample, COUNT, "real"), varied(sample, COUNT, "synthetic")


def limits(benchmark, group, name, asked):
    """Say what a row is called, and what is asked of it."""
    benchmark.group, benchmark.name = group, name
    benchmark.extra_info["asked"] = asked


def folders_with(source, target, keep):
    """Yield new folders with those files of a cache that hold some array."""
    for number in itertools.count():
        folder = target / str(number)
        folder.mkdir()
        for file in source.glob("*.npz"):
            with np.load(file) as kept:
                if keep in kept.files:
                    shutil.copy(file, folder)
        yield folder


@pytest.mark.parametrize("how", ["bare onnxruntime loop", "FeatureExtractor, nothing known"])
def test_features(benchmark, sets, tmp_path, how):
    asked = "-" if how.startswith("bare") else "at most 1.2x the first row"
    limits(benchmark, f"Features of {COUNT:,} scans, EfficientNet-Lite0", how, asked)
    extract, images = FeatureExtractor(threads=1), sets[0].images
    if how.startswith("bare"):
        network, session = NETWORKS[DEFAULT], extract._session
        name = session.get_inputs()[0].name
        side = network.side, network.side
        resized = np.stack([cv2.resize(i, side, interpolation=cv2.INTER_CUBIC) for i in images])

        def work():
            for at in range(0, COUNT, 32):
                session.run([network.tensor], {name: resized[at : at + 32, None]})
    else:
        number = itertools.count()

        def work():
            Cache(tmp_path / str(next(number))).features(images, extract)

    benchmark.pedantic(work, rounds=3, warmup_rounds=1)


@pytest.mark.parametrize("what", ["quality", "privacy", "privacy, and 1,000 held back"])
def test_all_but_features(benchmark, sets, sample, tmp_path, what):
    group = f"{COUNT:,} real and {COUNT:,} synthetic scans, features known"
    limits(benchmark, group, what, "under 10 s")
    real, synthetic = sets

    def evaluate(cache):
        if what == "quality":
            quality(real, synthetic, QualityOptions(cache=cache, threads=1))
        else:
            train = varied(sample, COUNT, "the training scans")
            holdout = None if what == "privacy" else real
            privacy(train, synthetic, holdout, PrivacyOptions(cache=cache, threads=1))

    with threadpool_limits(1):
        evaluate(tmp_path / "all")
        (tmp_path / "new").mkdir()
        folders = folders_with(tmp_path / "all", tmp_path / "new", "features")
        benchmark.pedantic(evaluate, setup=lambda: ((next(folders),), {}), rounds=3)


@pytest.mark.parametrize("classifier", ["probe", "cnn"])
@pytest.mark.parametrize("known", ["nothing", "features", "all"])
def test_utility(benchmark, sample, tmp_path, classifier, known):
    if classifier == "cnn" and known != "nothing":
        pytest.skip("it has no features, and what is kept is read as the probe's is")
    group = f"Utility: {len(sample)} sample scans, as many synthetic ones, five diets, three seeds"
    minutes = {"probe": 2, "cnn": 10}[classifier]
    asked = "-" if known == "all" else f"under {minutes} minutes"
    limits(benchmark, group, f"{classifier}, {known} known", asked)
    train, test = split_for_test(sample)
    synthetic = varied(sample, len(sample), "synthetic")

    def evaluate(cache):
        options = UtilityOptions((classifier,), cache=cache, threads=1, drop_leaks=True)
        utility(train, synthetic, test, options)

    whole = tmp_path / "all"
    if known != "nothing":
        evaluate(whole)
    keep = {"nothing": "no such array", "features": "features"}.get(known, "")
    (tmp_path / "new").mkdir()
    folders = folders_with(whole, tmp_path / "new", keep)
    benchmark.pedantic(
        evaluate,
        setup=lambda: ((whole if known == "all" else next(folders),), {}),
        rounds=1 if classifier == "cnn" else 3,
    )


@pytest.mark.benchmark(timer=cpu_of_children)
def test_report(benchmark, sets, sample, tmp_path):
    group = f"Report on {COUNT:,} real, {COUNT:,} synthetic and {COUNT:,} training scans"
    limits(benchmark, group, "a new process, all known", "under 5 s")
    saved, cache = tmp_path / "sets.npz", tmp_path / "cache"
    arrays = {}
    for scans in (*sets, varied(sample, COUNT, "train")):
        arrays |= {scans.name: scans.images, f"{scans.name} labels": scans.labels}
    np.savez(saved, **arrays)

    def work():
        run(*CHILD, "report", saved, cache, tmp_path / "out")

    benchmark.pedantic(work, rounds=3, warmup_rounds=1)


@pytest.mark.benchmark(timer=cpu_of_children)
@pytest.mark.parametrize("what", ["quality", "privacy"])
def test_memory(benchmark, tmp_path, what):
    group = f"Memory: 2,000 real and {MANY:,} synthetic scans of 64 pixels, nothing known"
    name = {"quality": what, "privacy": "privacy, most features drawn at random"}[what]
    limits(benchmark, group, name, "under 1500 MB")
    numbers = itertools.count()

    def work():
        cache = tmp_path / str(next(numbers))
        benchmark.extra_info["peak MB"] = peak_memory(*CHILD, what, MANY, cache)

    benchmark.pedantic(work, rounds=1)
