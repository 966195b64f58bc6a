"""The sample scans at 64 pixels, in sets, and copies of them as a careless generator would make."""

import dataclasses
import re

import cv2
import numpy as np
from conftest import BRAIN, CHEST, CLASSES

from scangan.evaluation.scan_set import ScanSet

TWICE = ("image_204", "image_214")  # the same scans as image_136 and image_9


def sample_scans(size=64):
    """The sample scans, in random order; neighbouring slices, by their numbers, are a group."""
    files = [file for name in CLASSES for file in sorted((BRAIN / name).iterdir())]
    files = [file for file in files if file.stem not in TWICE]
    images = [cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in files]
    images = [cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA) for image in images]
    near = [
        re.sub(r"\d$", "", f"{file.parent.name}/{file.stem}") for file in files
    ]  # ten numbers each
    whole = ScanSet(
        images=np.stack(images),
        labels=np.array([CLASSES.index(file.parent.name) for file in files]),
        classes=CLASSES,
        name="sample",
        groups=np.unique(near, return_inverse=True)[1],
        sources=[f"{file.parent.name}/{file.name}" for file in files],
    )
    return whole.take(np.random.default_rng(0).permutation(len(whole)))


def sample_chest(size=64):
    """The sample chest radiographs, each of another child, in random order."""
    files = sorted(CHEST.glob("*/*.jpg"))
    images = [cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in files]
    classes = ("NORMAL", "PNEUMONIA")
    whole = ScanSet(
        images=np.stack(
            [cv2.resize(i, (size, size), interpolation=cv2.INTER_AREA) for i in images]
        ),
        labels=np.array([classes.index(file.parent.name) for file in files]),
        classes=classes,
        name="chest",
    )
    return whole.take(np.random.default_rng(0).permutation(len(whole)))


def three_parts(scans):
    """Training scans, a hold-out, and others: about 120, 80 and 40, without a group in common."""
    order = np.random.default_rng(0).permutation(scans.groups.max() + 1)
    parts = np.split(order, [len(order) // 2, len(order) * 5 // 6])
    return [
        dataclasses.replace(scans.take(np.flatnonzero(np.isin(scans.groups, part))), name=name)
        for part, name in zip(parts, ("train", "holdout", "others"))
    ]


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
