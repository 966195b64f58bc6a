"""How often the intervals of quality cover the truth, on features of real scans.

    python benchmarks/interval_coverage.py DATASET EXTRACTOR [RESAMPLES] [SCANS] [MODEL]

Draws samples of a prepared dataset again and again, groups whole, and compares each with a sample of a
model's scans. Without a model, it compares two disjoint samples of the dataset as if one were synthetic.
Prints for each figure the share of intervals that cover the truth, which is the mean over all samples;
of real scans 0 for KID and 0.5 for the two-sample test. SCANS of a class must be few of those that the
dataset has, or the samples are too alike. Prints a Markdown table.
"""

import sys
from collections import defaultdict

import numpy as np
from threadpoolctl import threadpool_limits

from scangan.cli.scan_sets import generated
from scangan.evaluation.cache import Cache
from scangan.evaluation.features import FeatureExtractor
from scangan.evaluation.halves import halved
from scangan.evaluation.quality_space import in_space
from scangan.evaluation.scan_set import ScanSet

REPEATS = 20
POOL = 8  # times as many synthetic scans are made as a sample has
TRUTH = {"kid": 0.0, "two_sample": 0.5}


def sample(scans, each, among, rng):
    """Indices of `each` scans of each class at random, of those that `among` marks."""
    of_class = [np.flatnonzero(among & (scans.labels == k)) for k in range(len(scans.classes))]
    return np.concatenate([rng.permutation(indices)[:each] for indices in of_class])


def part(scans, rng):
    """Mark half of the groups, at random."""
    return np.isin(scans.groups, rng.permutation(np.unique(scans.groups))[::2])


def main(dataset, extractor, resamples=60, each=40, model=None):
    each, found, rng = int(each), defaultdict(list), np.random.default_rng(0)
    scans, extract = ScanSet.of_dataset(dataset), FeatureExtractor(extractor)
    others = generated(model, POOL * each) if model else scans
    of_scans, of_others = (Cache().features(some.images, extract) for some in (scans, others))
    with threadpool_limits(1, "blas"):
        for _ in range(int(resamples)):
            first = part(scans, rng)
            second = part(others, rng) if model else ~first
            rows = sample(scans, each, first, rng), sample(others, each, second, rng)
            real, other = scans.take(rows[0]), others.take(rows[1])
            splits = list(halved((real.labels, real.groups), (other.labels, other.groups), REPEATS))
            for halves in splits:  # synthetic scans are numbered after the real ones
                for half in (halves.synthetic, halves.other_synthetic):
                    half[:] = [indices + len(real) for indices in half]
            features = [of_scans[rows[0]], of_others[rows[1]]]
            space = in_space(extract, features, real, other, splits)
            for name, figures in space.figures.items():
                found[name].append(figures.overall)
    print(f"{extractor}, {resamples} resamples of {each} real scans a class, ", end="")
    print(f"against {'synthetic' if model else 'real'} ones\n")
    print("| figure | truth | mean half-width | covered |\n| --- | ---: | ---: | ---: |")
    for name, drawn in found.items():
        mean = np.mean([figure.value for figure in drawn])
        truth = mean if model else TRUTH.get(name, mean)
        covered = np.mean([figure.low <= truth <= figure.high for figure in drawn])
        width = np.mean([(figure.high - figure.low) / 2 for figure in drawn])
        print(f"| {name} | {truth:.3f} | {width:.3f} | {covered:.2f} |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
