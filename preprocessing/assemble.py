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

from scangan.artifacts.dataset import NPY_HEADER, fingerprint, npy_header
from scangan.artifacts.split import PARTS, lacking, split_indices, together
from scangan.core.files import read_bytes, write_json, write_jsonl
from scangan.core.versions import DATASET
from scangan.preprocessing.duplicates import leaks, near_duplicates

Images = npt.NDArray[np.uint8]

OF_ALL = (
    "options",
    "sources",
    "split",
    "allow_synthetic",
    "window",
    "source_sha256",
)  # what parts take over


@dataclasses.dataclass
class Assembled:
    """What a run made and refused, in the order of its files."""

    items: list[dict[str, Any]]
    rejects: list[dict[str, Any]]
    classes: tuple[str, ...] = ()  # that have a scan, in order
    window: dict[str, Any] | None = None  # over all scans, where one was needed

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """int64 [N], indices into `classes`."""
        number = {name: n for n, name in enumerate(self.classes)}
        return np.array([number[item["class"]] for item in self.items], np.int64)

    def group(self, pairs: Iterable[tuple[int, int]]) -> None:
        """Write into each item its group: what a split never tears apart.

        Scans of one subject or one file, copies, and the `pairs` of items that show the same.
        """
        items = self.items
        groups = together(
            [item["subject"] for item in items],
            [item["file"] for item in items],
            [item["duplicate_group"] for item in items],
            pairs=pairs,
        )
        for item, number in zip(items, groups.tolist(), strict=True):
            item["group"] = number

    @property
    def copies(self) -> int:
        """How many items have the same bytes as an earlier one."""
        return sum(item["duplicate_group"] != n for n, item in enumerate(self.items))


def assemble(
    lines: list[dict[str, Any]],
    rejects: list[dict[str, Any]],
    synthetic: frozenset[str] = frozenset(),
) -> Assembled:
    """Turn the lines of a journal into items and rejects.

    `rejects` were never tried. The files in `synthetic` are synthetic, whatever they say themselves.
    """
    made = Assembled([], list(rejects))
    first_with: dict[tuple[str, int], int] = {}
    told = [
        f["identifiers"] for line in lines if not line.get("given") for f in line.get("frames", ())
    ]
    subjects = iter(name_subjects(told))
    for line in lines:
        if "file" not in line:
            made.window = {key: line[key] for key in ("window", "scans", "outliers")}
            continue
        for frame, reason in line["refused"]:
            named = {"file": line["file"], "class": line["class"], "reason": reason}
            made.rejects.append(named | ({"frame": frame} if frame is not None else {}))
        for frame in line["frames"]:
            group = first_with.setdefault((line["sha256"], frame["frame"]), len(made.items))
            made.items.append(
                {
                    "file": line["file"],
                    "sha256": line["sha256"],
                    "class": line["class"],
                    "subject": line["given"] or next(subjects),
                    "frame": frame["frame"],
                    "duplicate_group": group,
                    "window": frame["window"],
                    "perceptual_hash": frame["perceptual_hash"],
                    "enlarged": frame["enlarged"],
                    "aspect": frame["aspect"],
                    "blank": frame["blank"],
                    "synthetic": frame["synthetic"] or line["file"] in synthetic,
                    "notes": frame["notes"],
                }
            )
    made.classes = tuple(sorted({str(item["class"]) for item in made.items}))
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


def tally(files: Counter[str], made: Assembled) -> dict[str, dict[str, int]]:
    """Count for each class the files that were found, the scans kept, and what was refused."""
    kept = Counter(str(item["class"]) for item in made.items)
    refused = Counter(str(r["class"]) for r in made.rejects if r["class"] is not None)
    return {
        name: {"files": files[name], "kept": kept[name], "refused": refused[name]}
        for name in sorted({*files, *kept, *refused})
    }


def blank_by_class(items: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Count of each class the scans that came out nearly black, or white, in their window."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for item in items:
        if item["blank"]:
            counts[item["class"]][item["blank"]] += 1
    return {name: dict(counts[name]) for name in sorted(counts)}


def find_near_duplicates(
    images: Images, made: Assembled
) -> tuple[list[tuple[int, int]], list[dict[str, Any]], int]:
    """Find scans that show the same: all pairs, a record of each leak, and how many went unseen."""
    items = made.items
    # Scans of one class and subject, and slices of one file, are alike by nature.
    kind = [(item["class"], item["subject"] or item["file"]) for item in items]
    number = {key: n for n, key in enumerate(dict.fromkeys(kind))}
    natural = np.array([number[key] for key in kind], np.int64)
    digits = bytes.fromhex("".join(item["perceptual_hash"] for item in items))
    hashes = np.frombuffer(digits, ">u8").reshape(-1, 3).astype(np.uint64)
    pairs, left_off = near_duplicates(images, hashes, natural)
    subjects = [item["subject"] for item in items]
    records = [
        {
            "files": [items[i]["file"] for i in leak.pair[:2]],
            "frames": [items[i]["frame"] for i in leak.pair[:2]],
            "classes": [items[i]["class"] for i in leak.pair[:2]],
            "across": leak.across,
            "differing_bits": leak.pair.distance,
            "correlation": round(leak.pair.correlation, 4),
        }
        for leak in leaks(pairs, [item["class"] for item in items], subjects)
    ]
    return [(pair.first, pair.second) for pair in pairs], records, left_off


def write_dataset(folder: Path, made: Assembled, info: dict[str, Any]) -> None:
    """Write all of a prepared dataset but ``images.npy``, which is there; ``dataset.json`` last."""
    write_jsonl(folder / "items.jsonl", made.items)
    write_jsonl(folder / "rejects.jsonl", made.rejects)
    write_json(
        folder / "dataset.json",
        {
            "format_version": DATASET,
            "classes": list(made.classes),
            "size": info["options"]["size"],
            "count": len(made.items),
            "rejected": len(made.rejects),
        }
        | info
        | {
            "fingerprint": fingerprint(folder / "images.npy", made.labels, made.classes),
            "items_sha256": hashlib.sha256(read_bytes(folder / "items.jsonl")).hexdigest(),
        },
    )


def write_split(
    folder: Path,
    made: Assembled,
    fractions: tuple[float, ...],
    info: dict[str, Any],
) -> dict[str, Any]:
    """Write a prepared dataset for each part, in a folder of its name; return what they are.

    A group stays in one part.
    Synthetic scans go to train, and so does what belongs with them, unless ``info["allow_synthetic"]``.
    """
    items = made.items
    groups = np.array([item["group"] for item in items], np.int64)
    synthetic = np.array([item["synthetic"] for item in items], bool)
    kept = np.zeros(len(items), bool)
    if not info["allow_synthetic"]:
        kept = np.isin(groups, groups[synthetic])
    parts = split_indices(groups, made.labels, fractions, in_train=kept)
    without = lacking(parts, made.labels)
    written = {}
    for number, (name, chosen) in enumerate(zip(PARTS[len(fractions)], parts, strict=True)):
        (folder / name).mkdir(exist_ok=True)
        _copy_images(folder / "images.npy", folder / name / "images.npy", chosen, info)
        chosen_items = _renumbered([items[i] for i in chosen])
        part = Assembled(chosen_items, [], made.classes, made.window)
        of_all = {key: info[key] for key in OF_ALL}
        lacks = [made.classes[label] for label in without if number in without[label]]
        own = {"part": name, "empty_classes": lacks, "duplicates": part.copies}
        write_dataset(folder / name, part, of_all | own)
        written[name] = {
            "count": len(chosen),
            "counts": dict(Counter(item["class"] for item in chosen_items)),
            "lacks": lacks,
        }
    return written


def _copy_images(
    source: Path, target: Path, chosen: npt.NDArray[np.int64], info: dict[str, Any]
) -> None:
    size = info["options"]["size"]
    with source.open("rb") as file, target.open("wb") as out:
        npy_header(out, (len(chosen), size, size))
        for index in chosen.tolist():
            file.seek(NPY_HEADER + index * size**2)
            out.write(file.read(size**2))
        out.flush()
        os.fsync(out.fileno())


def _renumbered(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Items of a part, with duplicate groups that are indices into this part."""
    first: dict[int, int] = {}
    return [
        item | {"duplicate_group": first.setdefault(item["duplicate_group"], n)}
        for n, item in enumerate(items)
    ]
