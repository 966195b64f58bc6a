"""The sample scans at 64 pixels, in sets, and copies of them as a careless generator would make."""

import dataclasses

import cv2
import numpy as np
from conftest import BRAIN, CLASSES

from scangan.evaluation.scan_set import ScanSet


def sample_scans(size=64):
    """All sample scans, in random order."""
    files = [file for name in CLASSES for file in sorted((BRAIN / name).iterdir())]
    images = [cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in files]
    images = [cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA) for image in images]
    labels = np.array([CLASSES.index(file.parent.name) for file in files])
    names = [f"{file.parent.name}/{file.name}" for file in files]
    whole = ScanSet(np.stack(images), labels, CLASSES, "sample", sources=names)
    return whole.take(np.random.default_rng(0).permutation(len(whole)))


def three_parts(scans):
    """Training scans, a hold-out, and others: 120, 80 and 40."""
    parts = np.split(np.arange(len(scans)), [120, 200])
    names = ("train", "holdout", "others")
    return [dataclasses.replace(scans.take(p), name=n) for p, n in zip(parts, names, strict=True)]


def moved(image, scale=1.0, x=0.0, y=0.0):
    side = len(image)
    centre = (side - 1) / 2
    matrix = np.array([[scale, 0, (1 - scale) * centre + x], [0, scale, (1 - scale) * centre + y]])
    return cv2.warpAffine(image, matrix, (side, side), borderMode=cv2.BORDER_REPLICATE)


def as_jpeg(image, quality=75):
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 0)


def lit(image, contrast=1.2, brightness=15):
    return np.clip(np.rint(image * contrast + brightness), 0, 255).astype(np.uint8)


COPIES = {
    "shifted": lambda image, rng: moved(image, 1, *rng.integers(-3, 4, 2)),
    "brightened": lambda image, rng: lit(image),
    "compressed": lambda image, rng: as_jpeg(image),
    "flipped": lambda image, rng: np.ascontiguousarray(image[:, ::-1]),
    "scaled": lambda image, rng: moved(image, rng.choice([0.97, 1.03])),
    "all five": lambda image, rng: as_jpeg(
        lit(moved(image[:, ::-1].copy(), rng.choice([0.97, 1.03]), *rng.integers(-3, 4, 2)))
    ),
}


def with_copies(others, train, count, seed=0):
    """Put `count` changed copies of training scans behind other scans: the set, and their sources."""
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(train))[:count]
    changes = list(COPIES.values())
    copies = [changes[n % len(changes)](train.images[k], rng) for n, k in enumerate(chosen)]
    images = np.concatenate([others.images, np.stack(copies)])
    labels = np.concatenate([others.labels, train.labels[chosen]])
    return ScanSet(images, labels, train.classes, "synthetic"), chosen
