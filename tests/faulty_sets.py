"""Sets of scans with one known fault each, and what quality and utility say of them.

``python tests/faulty_sets.py PREPARED`` prints the table of docs/guides/judge.md.
"""

import dataclasses
import sys

import cv2
import numpy as np

from scangan.evaluation.judge_quality import QualityOptions, quality
from scangan.evaluation.judge_utility import UtilityOptions, utility
from scangan.evaluation.quality_result import Figure
from scangan.evaluation.scan_set import ScanSet
from scangan.evaluation.utility_sets import split_for_test


def noise(scans):
    rng = np.random.default_rng(0)
    return dataclasses.replace(scans, images=rng.integers(0, 256, scans.images.shape, np.uint8))


def one_image(scans):
    images = np.array(scans.images)
    for k in range(len(scans.classes)):
        images[scans.of_class(k)] = images[scans.of_class(k)[0]]
    return dataclasses.replace(scans, images=images)


def blurred(scans):
    images = [cv2.GaussianBlur(image, (0, 0), len(image) / 40) for image in scans.images]
    return dataclasses.replace(scans, images=np.stack(images))


def swapped_labels(scans):
    return dataclasses.replace(scans, labels=(scans.labels + 1) % len(scans.classes))


def one_class_collapsed(scans):
    """The first class repeats two scans, slightly changed."""
    rng, images, of_class = np.random.default_rng(0), np.array(scans.images), scans.of_class(0)
    for n, i in enumerate(of_class):
        shift = rng.normal(0, 2, images[i].shape)
        images[i] = np.clip(scans.images[of_class[n % 2]] + shift, 0, 255)
    return dataclasses.replace(scans, images=images)


def watermark(scans):
    images = np.array(scans.images)
    side = images.shape[1]
    images[:, side // 16 : side // 6, side // 16 : side // 3] = 255
    return dataclasses.replace(scans, images=images)


FAULTS = {
    "none: other real scans": lambda scans: scans,
    "noise": noise,
    "one image for each class": one_image,
    "blurred": blurred,
    "swapped labels": swapped_labels,
    "one class collapsed": one_class_collapsed,
    "a watermark": watermark,
}
COLUMNS = ("kid", "precision", "recall", "coverage", "variety", "agreement", "two_sample")


def figures(real, scans, **options):
    """Return the space of the first extractor, and the pixels' figures."""
    result = quality(real, scans, QualityOptions(**options))
    return next(iter(result.spaces.values())).figures, result.pixels


def use(train, test, scans, **options):
    """Return balanced accuracy on real scans of a probe that learnt from `scans`, and of one from real ones."""
    options = UtilityOptions(seeds=1, drop_leaks=True, **options)
    diets = {each.diet: each.metrics for each in utility(train, scans, test, options).diets}
    return [diets[name]["balanced_accuracy"].value for name in ("synthetic", "real")]


def halves(real):
    """Return three quarters of the real scans, and the quarter that gets a fault."""
    return split_for_test(real)


def cell(figure: Figure, scale=1.0):
    digits = 0 if scale > 1 else 2
    return f"{figure.value * scale:.{digits}f} ({figure.real * scale:.{digits}f})"


def main(path):
    real, other = halves(ScanSet.of_dataset(path))
    other = dataclasses.replace(other, hashes=[""] * len(other))
    more = "MS-SSIM", f"KID of {real.classes[0]}", "TSTR"
    print(f"| fault | {' | '.join((*COLUMNS, *more))} |")
    print("| --- |" + " ---: |" * (len(COLUMNS) + len(more)))
    for name, fault in FAULTS.items():
        found, pixels = figures(real, fault(other))
        cells = [cell(found[c].overall, 1000 if c == "kid" else 1) for c in COLUMNS]
        first = found["kid"].classes[real.classes[0]]
        cells += [cell(pixels["ms_ssim"].overall), cell(first, 1000)]
        cells.append("{:.2f} ({:.2f})".format(*use(*split_for_test(real), fault(other))))
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
