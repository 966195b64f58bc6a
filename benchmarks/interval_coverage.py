"""How often the intervals of quality cover the truth, on features of real scans.

    python benchmarks/interval_coverage.py DATASET EXTRACTOR [RESAMPLES] [SCANS]

Draws disjoint samples of a prepared dataset again and again, groups whole, compares them as if one were
synthetic, and prints for each figure the share of intervals that cover it: 0 for KID, 0.5 for the
two-sample test, the mean over all samples for the others. Prints a Markdown table.
"""

import sys
from collections import defaultdict

import numpy as np
from threadpoolctl import threadpool_limits

from scangan.evaluation.cache import Cache
from scangan.evaluation.features import FeatureExtractor
from scangan.evaluation.halves import halved
from scangan.evaluation.quality_space import in_space
from scangan.evaluation.scan_set import ScanSet

REPEATS = 20
TRUTH = {"kid": 0.0, "two_sample": 0.5}


def samples(scans, each, rng):
    """Two samples of at most `each` scans of each class, without a group in common."""
    first = np.isin(scans.groups, rng.permutation(np.unique(scans.groups))[::2])
    sides = []
    for half in (first, ~first):
        of_class = [
            rng.permutation(np.flatnonzero(half & (scans.labels == k)))[:each]
            for k in range(len(scans.classes))
        ]
        sides.append(np.concatenate(of_class))
    return sides


def main(dataset, extractor, resamples=60, each=40):
    scans, extract = ScanSet.of_dataset(dataset), FeatureExtractor(extractor)
    features = Cache().features(scans.images, extract)
    found, rng = defaultdict(list), np.random.default_rng(0)
    with threadpool_limits(1, "blas"):
        for _ in range(int(resamples)):
            rows = samples(scans, int(each), rng)
            real, other = (scans.take(side) for side in rows)
            splits = list(halved((real.labels, real.groups), (other.labels, other.groups), REPEATS))
            for halves in splits:  # synthetic scans are numbered after the real ones
                for half in (halves.synthetic, halves.other_synthetic):
                    half[:] = [indices + len(real) for indices in half]
            space = in_space(extract, [features[side] for side in rows], real, other, splits)
            for name, figures in space.figures.items():
                found[name].append(figures.overall)
    print(f"{extractor}: {resamples} resamples, at most {each} scans of each class on a side\n")
    print("| figure | truth | mean half-width | covered |\n| --- | ---: | ---: | ---: |")
    for name, drawn in found.items():
        truth = TRUTH.get(name, np.mean([figure.value for figure in drawn]))
        covered = np.mean([figure.low <= truth <= figure.high for figure in drawn])
        width = np.mean([(figure.high - figure.low) / 2 for figure in drawn])
        print(f"| {name} | {truth:.3f} | {width:.3f} | {covered:.2f} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
