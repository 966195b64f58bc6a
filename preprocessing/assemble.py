"""From the journal of a run to prepared datasets: items, rejects, duplicates, splits."""

import dataclasses
import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec.structs import asdict, replace

from scangan.artifacts.dataset import NPY_HEADER, fingerprint, npy_header, write_info
from scangan.artifacts.dataset_records import (
    ClassTally,
    DatasetInfo,
    Item,
    NearDuplicate,
    Part,
    PartInfo,
    Preparation,
    Reject,
    Shade,
    SplitInfo,
)
from scangan.artifacts.records import write_record, write_records
from scangan.artifacts.split import PARTS, lacking, split_indices, together
from scangan.core.class_folders import Refused
from scangan.core.files import read_bytes
from scangan.preprocessing.duplicates import leaks, near_duplicates
from scangan.preprocessing.journal import FileLine

Images = npt.NDArray[np.uint8]


@dataclasses.dataclass
class Assembled:
    """What a run made and refused, in the order of its files."""

    items: list[Item]
    rejects: list[Reject]
    classes: tuple[str, ...] = ()  # that have a scan, in order

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """int64 [N], indices into `classes`."""
        number = {name: n for n, name in enumerate(self.classes)}
        return np.array([number[item.class_name] for item in self.items], np.int64)

    def group(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Write into each item its group: what a split never tears apart.

        Scans of one subject or one file, copies, and the `pairs` of items that show the same.
        """
        groups = together(
            [item.subject for item in self.items],
            [item.file for item in self.items],
            [item.duplicate_group for item in self.items],
            pairs=pairs,
        ).tolist()
        self.items = [
            replace(item, group=group) for item, group in zip(self.items, groups, strict=True)
        ]

    @property
    def copies(self) -> int:
        """How many items have the same bytes as an earlier one."""
        return sum(item.duplicate_group != n for n, item in enumerate(self.items))


def assemble(
    lines: Iterable[FileLine],
    refused: Iterable[Refused],
    synthetic: frozenset[str] = frozenset(),
) -> Assembled:
    """Turn the lines of a journal into items and rejects.

    What is in `refused` was never tried. The files in `synthetic` are synthetic, whatever they say
    themselves.
    """
    made = Assembled(
        [], [Reject(file=file, class_name=name, reason=why) for file, name, why in refused]
    )
    lines = list(lines)
    told = [frame.identifiers for line in lines if not line.given for frame in line.frames]
    subjects = iter(name_subjects(told))
    first_with: dict[tuple[str, int], int] = {}
    for line in lines:
        for number, reason in line.refused:
            made.rejects.append(
                Reject(file=line.file, class_name=line.class_name, reason=reason, frame=number)
            )
        for frame in line.frames:
            sha256 = str(line.sha256)  # None only where nothing could be read
            made.items.append(
                Item(
                    file=line.file,
                    sha256=sha256,
                    class_name=line.class_name,
                    subject=line.given or next(subjects),
                    frame=frame.frame,
                    duplicate_group=first_with.setdefault((sha256, frame.frame), len(made.items)),
                    window=frame.window,
                    perceptual_hash=frame.perceptual_hash,
                    enlarged=frame.enlarged,
                    aspect=frame.aspect,
                    blank=frame.blank,
                    synthetic=frame.synthetic or line.file in synthetic,
                    notes=frame.notes,
                    group=None,
                )
            )
    made.classes = tuple(sorted({item.class_name for item in made.items}))
    return made


def name_subjects(told: Sequence[Sequence[str | None]]) -> list[str | None]:
    """Say which subject each scan is of: the first of its identifiers, which are of falling weight.

    A scan that lacks the first takes the subject of those that share its second, or a later one,
    unless these are several: all that are called "anonymous" are not one patient.

    Parameters
    ----------
    told : sequence
        Of each scan its `Scan.identifiers`.
    """
    marks = [[(place, mark) for place, mark in enumerate(each) if mark] for each in told]
    subjects = [each[0][1] if each else None for each in marks]
    for least in (1, 2):  # the place of the first identifier of the scans to be named
        owners = defaultdict[tuple[int, str], set[str | None]](set)
        named = [n for n, each in enumerate(marks) if each and each[0][0] < least]
        others = [n for n, each in enumerate(marks) if each and each[0][0] == least]
        while named:  # those found name others in turn
            for n in named:
                for mark in marks[n]:
                    owners[mark].add(subjects[n])
            named = []
            for n in others:
                sole = next((owners[mark] for mark in marks[n] if len(owners[mark]) == 1), None)
                if sole:
                    subjects[n] = next(iter(sole))
                    named.append(n)
            others = sorted({*others} - {*named})
    return subjects


def tally(files: Counter[str], made: Assembled) -> dict[str, ClassTally]:
    """Count for each class the files that were found, the scans kept, and what was refused."""
    kept = Counter(item.class_name for item in made.items)
    refused = Counter(each.class_name for each in made.rejects if each.class_name is not None)
    return {
        name: ClassTally(files=files[name], kept=kept[name], refused=refused[name])
        for name in sorted({*files, *kept, *refused})
    }


def blank_by_class(items: list[Item]) -> dict[str, dict[Shade, int]]:
    """Count of each class the scans that came out nearly black, or white, in their window."""
    counts: defaultdict[str, Counter[Shade]] = defaultdict(Counter)
    for item in items:
        if item.blank:
            counts[item.class_name][item.blank] += 1
    return {name: dict(counts[name]) for name in sorted(counts)}


def find_near_duplicates(
    images: Images, items: list[Item]
) -> tuple[list[tuple[int, int]], list[NearDuplicate], int]:
    """Find scans that show the same: all pairs, those that may leak, and how many went unseen."""
    # Scans of one class and subject, and slices of one file, are alike by nature.
    kind = [(item.class_name, item.subject or item.file) for item in items]
    number = {key: n for n, key in enumerate(dict.fromkeys(kind))}
    natural = np.array([number[key] for key in kind], np.int64)
    digits = bytes.fromhex("".join(item.perceptual_hash for item in items))
    hashes = np.frombuffer(digits, ">u8").reshape(-1, 3).astype(np.uint64)
    pairs, left_off = near_duplicates(images, hashes, natural)
    classes, subjects = [item.class_name for item in items], [item.subject for item in items]
    found = []
    for pair, across in leaks(pairs, classes, subjects):
        one, two = items[pair.first], items[pair.second]
        found.append(
            NearDuplicate(
                files=(one.file, two.file),
                frames=(one.frame, two.frame),
                classes=(one.class_name, two.class_name),
                across=across,
                differing_bits=pair.distance,
                correlation=round(pair.correlation, 4),
            )
        )
    return [(pair.first, pair.second) for pair in pairs], found, left_off


def write_dataset(folder: Path, made: Assembled, size: int, told: Preparation) -> None:
    """Write all of a prepared dataset but ``images.npy``, which is there; ``dataset.json`` last."""
    write_info(folder, DatasetInfo(**asdict(told), **_write_items(folder, made, size)))


def write_split(
    folder: Path, made: Assembled, size: int, fractions: tuple[float, ...], told: Preparation
) -> None:
    """Write a prepared dataset for each part, in a folder of its name; ``split.json`` last.

    A group stays in one part.
    Synthetic scans go to train, and so does what belongs with them, unless they are allowed.
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
    for number, (name, indices) in enumerate(zip(PARTS[len(fractions)], chosen, strict=True)):
        lacks = tuple(made.classes[label] for label in without if number in without[label])
        part = Assembled(_renumbered([items[i] for i in indices]), [], made.classes)
        (folder / name).mkdir(exist_ok=True)
        _copy_images(folder / "images.npy", folder / name / "images.npy", indices, size)
        _write_part(folder / name, part, size, lacks, told)
        counts = dict(Counter(item.class_name for item in part.items))
        parts[name] = Part(count=len(indices), counts=counts, lacks=lacks)
    write_records(folder / "rejects.jsonl", made.rejects)
    info = SplitInfo(
        **asdict(told),
        count=len(items),
        rejected=len(made.rejects),
        size=size,
        parts=parts,
    )
    write_record(folder / "split.json", info)


def _write_part(
    folder: Path, part: Assembled, size: int, lacks: tuple[str, ...], told: Preparation
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


def _write_items(folder: Path, made: Assembled, size: int) -> dict[str, Any]:
    """Write the items and what was refused; give the fields of ``dataset.json`` that say what they are."""
    write_records(folder / "items.jsonl", made.items)
    write_records(folder / "rejects.jsonl", made.rejects)
    return {
        "classes": made.classes,
        "size": size,
        "count": len(made.items),
        "rejected": len(made.rejects),
        "fingerprint": fingerprint(folder / "images.npy", made.labels, made.classes),
        "items_sha256": hashlib.sha256(read_bytes(folder / "items.jsonl")).hexdigest(),
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
    """Items of a part, with duplicate groups that are indices into this part."""
    first: dict[int, int] = {}
    return [
        replace(item, duplicate_group=first.setdefault(item.duplicate_group, n))
        for n, item in enumerate(items)
    ]
