"""Write the outcome of a preparation: a dataset, or the subsets of a split."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec.structs import asdict

from scangan.artifacts.dataset import NPY_HEADER, fingerprint, npy_header, write_info
from scangan.artifacts.dataset_records import (
    DatasetInfo,
    Preparation,
    Reject,
    SplitInfo,
    Subset,
    SubsetInfo,
)
from scangan.artifacts.items_file import ITEMS
from scangan.artifacts.records import write_record, write_records
from scangan.artifacts.split import SUBSET_NAMES, lacking, split_indices
from scangan.preprocessing.outcome import Outcome


def write_dataset(
    folder: Path, made: Outcome, rejects: Iterable[Reject], size: int, told: Preparation
) -> None:
    """Write a prepared dataset except ``images.npy``, which exists already; ``dataset.json`` last."""
    rejected = write_records(folder / "rejects.jsonl", rejects)
    items = _write_items(folder, made)
    info = DatasetInfo(**asdict(told), rejected=rejected, size=size, **items)
    write_info(folder, info)


def write_split(
    folder: Path,
    made: Outcome,
    rejects: Iterable[Reject],
    size: int,
    fractions: tuple[float, ...],
    told: Preparation,
) -> None:
    """Write a prepared dataset for each subset, in a folder with its name; ``split.json`` last.

    Each group stays in one subset. Synthetic scans and their groups go to train unless allowed elsewhere.
    """
    kept = np.zeros(len(made), bool)
    if not told.allow_synthetic:
        kept = np.isin(made.groups, made.groups[made.synthetic])
    chosen = split_indices(made.groups, made.labels, fractions, in_train=kept)
    without = lacking(chosen, made.labels)
    subsets = {}
    for number, (name, indices) in enumerate(
        zip(SUBSET_NAMES[len(fractions)], chosen, strict=True)
    ):
        lacks = tuple(made.classes[label] for label in without if number in without[label])
        subset = made.take(indices)
        (folder / name).mkdir(exist_ok=True)
        _copy_images(folder / "images.npy", folder / name / "images.npy", indices, size)
        _write_subset(folder / name, subset, size, lacks, told)
        counts = Counter(subset.labels.tolist())
        counts_by_name = {made.classes[label]: count for label, count in counts.items()}
        subsets[name] = Subset(count=len(subset), counts=counts_by_name, lacks=lacks)
    rejected = write_records(folder / "rejects.jsonl", rejects)
    info = SplitInfo(**asdict(told), count=len(made), rejected=rejected, size=size, subsets=subsets)
    write_record(folder / "split.json", info)


def _write_subset(
    folder: Path, subset: Outcome, size: int, lacks: tuple[str, ...], told: Preparation
) -> None:
    write_records(folder / "rejects.jsonl", ())
    info = SubsetInfo(
        format_version=told.format_version,
        options=told.options,
        sources=told.sources,
        split=told.split,
        allow_synthetic=told.allow_synthetic,
        window=told.window,
        source_sha256=told.source_sha256,
        subset=folder.name,
        empty_classes=lacks,
        duplicates=subset.copies,
        rejected=0,
        size=size,
        **_write_items(folder, subset),
    )
    write_info(folder, info)


def _write_items(folder: Path, made: Outcome) -> dict[str, Any]:
    """Write the items; return the fields of ``dataset.json`` that describe them."""
    write_records(folder / ITEMS, made.items())
    with (folder / ITEMS).open("rb") as file:
        items_sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "classes": made.classes,
        "count": len(made),
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
