"""Evaluations in a process of their own, for test_evaluation.py.

python benchmarks/evaluation_process.py report SETS CACHE OUT   # judge the saved sets, write a report
python benchmarks/evaluation_process.py quality COUNT CACHE     # 2,000 real scans, COUNT synthetic ones
python benchmarks/evaluation_process.py privacy COUNT CACHE
"""

import sys
from pathlib import Path

import numpy as np

from scangan.evaluation.scan_set import ScanSet

CLASSES = tuple("abcd")


def report(sets, cache, out):
    """Judge real, synthetic and training scans, and write the report."""
    from scangan.evaluation.judge_privacy import PrivacyOptions
    from scangan.evaluation.judge_quality import QualityOptions
    from scangan.evaluation.judge_utility import UtilityOptions
    from scangan.evaluation.judgement import JudgeOptions, judge_all
    from scangan.evaluation.report.write import write_report

    saved = np.load(sets)
    real, synthetic, train = (
        ScanSet(saved[name], saved[f"{name} labels"], CLASSES, name)
        for name in ("real", "synthetic", "train")
    )
    options = JudgeOptions(
        QualityOptions(cache=cache),
        UtilityOptions(cache=cache, drop_leaks=True),
        PrivacyOptions(cache=cache),
    )
    found = judge_all(real, synthetic, train, options)
    write_report(out, found, real, synthetic, train, cache=cache)


def noise(count, name):
    """Scans of 64 pixels in four classes, each of 8 x 8 blocks with noise."""
    rng = np.random.default_rng(len(name))
    images = np.empty((count, 64, 64), np.uint8)
    for image in images:
        image[:] = rng.integers(0, 230, (8, 8)).repeat(8, 0).repeat(8, 1)
        image += rng.integers(0, 26, (64, 64), dtype=np.uint8)
    return ScanSet(images, np.arange(count) % len(CLASSES), CLASSES, name)


def only_the_first_features():
    """Extract features of the first scans, so that the network is in memory; draw the others."""
    from scangan.evaluation import features

    extract, rng = features.FeatureExtractor.__call__, np.random.default_rng(0)
    known = []

    def draw(self, images):
        if not known:
            known.append(extract(self, images))
        return rng.standard_normal((len(images), known[0].shape[1]), np.float32)

    features.FeatureExtractor.__call__ = draw


def main(what, *given):
    if what == "report":
        report(*map(Path, given))
        return
    count, cache = int(given[0]), Path(given[1])
    real, synthetic = noise(2000, "real"), noise(count, "synthetic")
    if what == "quality":
        from scangan.evaluation.judge_quality import QualityOptions, quality

        quality(real, synthetic, QualityOptions(cache=cache))
    else:
        from scangan.evaluation.judge_privacy import PrivacyOptions, privacy

        only_the_first_features()
        privacy(real, synthetic, noise(1000, "hold-out"), PrivacyOptions(cache=cache))


if __name__ == "__main__":
    main(*sys.argv[1:])
