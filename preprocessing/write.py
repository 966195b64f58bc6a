"""Write the outcome of a preparation: a dataset, or the parts of a split."""

import hashlib
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec.structs import asdict, replace

from scangan.artifacts.dataset import NPY_HEADER, fingerprint, npy_header, write_info
from scangan.artifacts.dataset_records import (
    DatasetInfo,
    Item,
    Part,
    PartInfo,
    Preparation,
    SplitInfo,
)
from scangan.artifacts.items_file import ITEMS
from scangan.artifacts.records import write_record, write_records
from scangan.artifacts.split import PART_NAMES, lacking, split_indices
from scangan.preprocessing.outcome import Outcome


def write_dataset(folder: Path, made: Outcome, size: int, told: Preparation) -> None:
    """Write a prepared dataset except ``images.npy``, which exists already; ``dataset.json`` last."""
    write_info(folder, DatasetInfo(**asdict(told), **_write_items(folder, made, size)))


def write_split(
    folder: Path, made: Outcome, size: int, fractions: tuple[float, ...], told: Preparation
) -> None:
    """Write a prepared dataset for each part, in a folder with its name; ``split.json`` last.

    Each group stays in one part. Synthetic scans and their groups go to train unless allowed elsewhere.
    """
    items = made.items
    groups = np.array([item.group for item in items], np.int64)
    synthetic = np.array([item.synthetic for item in items], bool)
    kept = np.zeros(len(items), bool)
    if not told.allow_synthetic:
        kept = np.isin(groups, groups[synthetic])
    chosen = split_indices(groups, made.labels, fractions, in_train=kept)
    without = lacking(chosen, made.labels)
    parts = {}
    for number, (name, indices) in enumerate(zip(PART_NAMES[len(fractions)], chosen, strict=True)):
        lacks = tuple(made.classes[label] for label in without if number in without[label])
        part = Outcome(_renumbered([items[i] for i in indices]), [], made.classes)
        (folder / name).mkdir(exist_ok=True)
        _copy_images(folder / "images.npy", folder / name / "images.npy", indices, size)
        _write_part(folder / name, part, size, lacks, told)
        counts = dict(Counter(item.class_name for item in part.items))
        parts[name] = Part(count=len(indices), counts=counts, lacks=lacks)
    write_records(folder / "rejects.jsonl", made.rejects)
    info = SplitInfo(
        **asdict(told), count=len(items), rejected=len(made.rejects), size=size, parts=parts
    )
    write_record(folder / "split.json", info)


def _write_part(
    folder: Path, part: Outcome, size: int, lacks: tuple[str, ...], told: Preparation
) -> None:
    info = PartInfo(
        format_version=told.format_version,
        options=told.options,
        sources=told.sources,
        split=told.split,
        allow_synthetic=told.allow_synthetic,
        window=told.window,
        source_sha256=told.source_sha256,
        part=folder.name,
        empty_classes=lacks,
        duplicates=part.copies,
        **_write_items(folder, part, size),
    )
    write_info(folder, info)


def _write_items(folder: Path, made: Outcome, size: int) -> dict[str, Any]:
    """Write items and rejects; return the fields of ``dataset.json`` that describe them."""
    write_records(folder / ITEMS, made.items)
    write_records(folder / "rejects.jsonl", made.rejects)
    with (folder / ITEMS).open("rb") as file:
        items_sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "classes": made.classes,
        "size": size,
        "count": len(made.items),
        "rejected": len(made.rejects),
        "fingerprint": fingerprint(folder / "images.npy", made.labels, made.classes),
        "items_sha256": items_sha256,
    }


def _copy_images(source: Path, target: Path, chosen: npt.NDArray[np.int64], size: int) -> None:
    with source.open("rb") as file, target.open("wb") as out:
        npy_header(out, (len(chosen), size, size))
        for index in chosen.tolist():
            file.seek(NPY_HEADER + index * size**2)
            out.write(file.read(size**2))
        out.flush()
        os.fsync(out.fileno())


def _renumbered(items: list[Item]) -> list[Item]:
    """Return the items of a part, with duplicate groups as indices into this part."""
    first: dict[int, int] = {}
    return [
        replace(item, duplicate_group=first.setdefault(item.duplicate_group, n))
        for n, item in enumerate(items)
    ]
