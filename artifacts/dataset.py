"""The prepared dataset on disk: ``images.npy``, ``items.jsonl``, ``rejects.jsonl``, ``dataset.json``."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
import numpy.typing as npt

from scangan.artifacts.dataset_records import (
    OLDER_INFO,
    OLDER_ITEM,
    OLDER_UNREAD,
    DatasetInfo,
    Item,
    SplitInfo,
    SubsetInfo,
    Summary,
)
from scangan.artifacts.items_file import ITEMS, ItemsFile
from scangan.artifacts.records import of_older, parse_record, to_record, to_told
from scangan.core.class_names import with_normal_names
from scangan.core.errors import PreprocessingError, fault_of
from scangan.core.files import naming, read_text, write_json
from scangan.core.printable import quoted, to_type
from scangan.core.versions import why_newer

Info = TypeVar("Info", DatasetInfo, SubsetInfo, SplitInfo)

FIRST = ("format_version", "classes", "size", "count", "rejected")
FORMAT_VERSION = 3
DAMAGED = ValueError, LookupError, TypeError, EOFError, RecursionError  # what a damaged one raises
NPY_HEADER = 128  # bytes; numpy pads the header so that it fits any count


@dataclasses.dataclass(frozen=True)
class PreparedDataset:
    """A prepared dataset: square scans of one size, with their classes.

    Parameters
    ----------
    path : Path
        The folder.
    images : ndarray
        uint8 [N, H, W], memory-mapped, read-only.
    labels : ndarray
        int64 [N], indices into `classes`.
    classes : tuple of str
        Class names in order.
    items : sequence of Item
        One record per image; read from the disk as needed.
    info : DatasetInfo or SubsetInfo
        The content of ``dataset.json``.
    written_classes : tuple of str
        Class names as stored, which may use another Unicode form than `classes`.
    """

    path: Path
    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    items: Sequence[Item]
    info: DatasetInfo | SubsetInfo
    written_classes: tuple[str, ...]

    @property
    def size(self) -> int:
        """Width and height of the images in pixels."""
        return int(self.images.shape[1])

    @functools.cached_property
    def synthetic(self) -> npt.NDArray[np.bool_]:
        """Whether each scan is marked as made by a generative model: bool [N]."""
        return np.array([item.synthetic for item in self.items], bool)

    @functools.cached_property
    def groups(self) -> npt.NDArray[np.int64]:
        """The group number of each scan, int64 [N]. A split keeps each group in one subset.

        Scans of one subject, scans from one file, copies and near-duplicates share a group.

        Raises
        ------
        PreprocessingError
            An older version prepared the dataset and wrote no groups.
        """
        groups = [item.group for item in self.items]
        if None in groups:
            raise PreprocessingError(
                f"{self.path} was prepared by an older scangan, which did not record the groups of "
                f"scans that belong together; delete it and prepare it again"
            )
        return np.array(groups, np.int64)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of images, labels and class names, in hexadecimal."""
        return self.info.fingerprint

    @property
    def counts(self) -> dict[str, int]:
        """Number of images per class, in class order."""
        return self._tally(self.labels)

    @property
    def synthetic_counts(self) -> dict[str, int]:
        """Of these, the number made by a generative model; empty if there are none."""
        return self._tally(self.labels[self.synthetic]) if self.synthetic.any() else {}

    def _tally(self, labels: npt.NDArray[np.int64]) -> dict[str, int]:
        tally = np.bincount(labels, minlength=len(self.classes))
        return {name: int(count) for name, count in zip(self.classes, tally, strict=True)}

    def in_memory(self) -> "PreparedDataset":
        """Read all images into memory and check them against the fingerprint.

        Reading a memory map kills the process if the file was truncated meanwhile or the disk has a
        bad sector. Reading a plain file raises an error instead.

        Raises
        ------
        PreprocessingError
            The images are not those that were prepared, or changed while being read.
        OSError
            The images cannot be read.
        """
        file_name = self.path / "images.npy"
        images = np.empty(self.images.shape, np.uint8)
        rest = images.reshape(-1).data
        with naming(file_name), file_name.open("rb") as file:
            _read_header(file)
            while rest and (count := file.readinto(rest)):
                rest = rest[count:]
        blocks = (image.tobytes() for image in images)
        found = _fingerprint(images.shape, blocks, self.labels, self.written_classes)
        if rest or found != self.fingerprint:
            raise PreprocessingError(
                f"{self.path} is damaged: its images are not those that were prepared; delete it and "
                f"prepare it again"
            )
        return dataclasses.replace(self, images=images)


def is_split(path: Path) -> bool:
    """Whether `path` is a split dataset, with one folder per subset."""
    return (path / "split.json").is_file()


def is_prepared(path: Path) -> bool:
    """Whether `path` is a prepared dataset, not a folder of scans."""
    return (path / "dataset.json").is_file()


def is_dataset(path: Path) -> bool:
    """Return whether a folder holds a prepared dataset, or one that was split."""
    return is_prepared(path) or is_split(path)


def load_dataset(path: str | Path) -> PreparedDataset:
    """Open a prepared dataset.

    Raises
    ------
    PreprocessingError
        `path` is not a prepared dataset, is damaged, or has a newer format.
    """
    path = Path(path)
    if is_split(path):
        subsets = ", ".join(
            str(path / name) for name in ("train", "val", "test") if (path / name).is_dir()
        )
        raise PreprocessingError(f"{path} is split into subsets; give one of them: {subsets}")
    whole = path.parent if is_split(path.parent) else path  # subsets are prepared together
    again = f"delete {whole} and prepare it again"
    if not is_prepared(path):
        if whole is not path:
            raise PreprocessingError(f"{path} is missing or damaged; {again}")
        here = to_type(path)
        there = path.is_dir() and any(path.iterdir())
        advice = (
            f"if it holds scans, give a dataset made of them: prep-scans {here} OUT"
            if there
            else f"make one: prep-scans SOURCE {here}"
        )
        raise PreprocessingError(f"{path} is not a prepared dataset; {advice}")
    try:
        text = read_text(path / "dataset.json")
        told = json.loads(text, object_pairs_hook=with_normal_names)
        if newer := why_newer(path, told["format_version"], FORMAT_VERSION):
            raise PreprocessingError(newer)
        info: DatasetInfo | SubsetInfo = (
            _to_info(SubsetInfo, told) if "part" in told else _to_info(DatasetInfo, told)
        )
        older = info.format_version < FORMAT_VERSION
        items = ItemsFile(path / ITEMS, _older_item if older else partial(parse_record, Item))
        if info.items_sha256 not in (None, items.sha256):
            raise ValueError(f"{ITEMS} was changed")
        with naming(path / "images.npy"):
            # np.load would also take an archive, and advise to unpickle what is neither.
            images = np.lib.format.open_memmap(path / "images.npy", mode="r")
        if len(set(info.classes)) < len(info.classes):
            raise ValueError("two classes have the same name")
        labels = items.labels(info.classes)
    except (FileNotFoundError, *DAMAGED) as error:
        raise PreprocessingError(f"{path} is damaged ({fault_of(error)}); {again}") from error
    if images.dtype != np.uint8 or images.ndim != 3 or len(images) != len(labels):
        raise PreprocessingError(f"{path} is damaged: images and items do not match; {again}")
    written = tuple(json.loads(text)["classes"])
    return PreparedDataset(path, images, labels, info.classes, items, info, written)


def _older_item(line: bytes) -> Item:
    return of_older(Item, json.loads(line, object_pairs_hook=with_normal_names), OLDER_ITEM)


def read_summary(path: Path) -> Summary:
    """Read the summary of a preparation: ``dataset.json``, or ``split.json`` if it was split.

    Raises
    ------
    PreprocessingError
        The file is damaged or has a newer format, or `path` is only a subset of a split.
    """
    split = is_split(path)
    file = path / ("split.json" if split else "dataset.json")
    try:
        told = json.loads(read_text(file), object_pairs_hook=with_normal_names)
        if newer := why_newer(path, told["format_version"], FORMAT_VERSION):
            raise PreprocessingError(newer)
        if "part" in told:
            raise PreprocessingError(
                f"{path} is the {quoted(told['part'])} subset of a split; choose another OUT"
            )
        return _to_info(SplitInfo, told) if split else _to_info(DatasetInfo, told)
    except (FileNotFoundError, *DAMAGED) as error:
        raise PreprocessingError(
            f"{file} is damaged ({fault_of(error)}); delete {path} and prepare it again"
        ) from error


def _to_info(kind: type[Info], told: dict[str, Any]) -> Info:
    older = told["format_version"] < FORMAT_VERSION
    return of_older(kind, told | OLDER_UNREAD, OLDER_INFO) if older else to_record(kind, told)


def differing_options(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Name the options whose values differ in two preparations; the size is left out."""
    return [key for key in one if key != "size" and key in other and one[key] != other[key]]


def write_info(folder: Path, info: DatasetInfo | SubsetInfo) -> None:
    """Write ``dataset.json``, the most important fields first."""
    told = to_told(info)
    write_json(folder / "dataset.json", {name: told[name] for name in FIRST} | told)


def npy_header(file: IO[bytes], shape: tuple[int, ...]) -> None:
    """Write the header of a uint8 ``.npy`` file: `NPY_HEADER` bytes for any shape."""
    header = {"descr": "|u1", "fortran_order": False, "shape": tuple(map(int, shape))}
    np.lib.format.write_array_header_1_0(file, header)


def fingerprint(images_file: Path, labels: npt.NDArray[np.int64], classes: tuple[str, ...]) -> str:
    """Compute the SHA-256 of shape, class names, pixels and labels (little-endian int64).

    Reads ``images.npy`` as a plain file, as the pages of a memory map count as memory of this process.
    """
    with naming(images_file), images_file.open("rb") as file:
        shape = _read_header(file)
        blocks = iter(lambda: file.read(1 << 20), b"")
        return _fingerprint(shape, blocks, labels, classes)


def _read_header(file: IO[bytes]) -> tuple[int, ...]:
    np.lib.format.read_magic(file)
    shape: tuple[int, ...] = np.lib.format.read_array_header_1_0(file)[0]
    return shape


def _fingerprint(
    shape: tuple[int, ...],
    blocks: Iterable[bytes],
    labels: npt.NDArray[np.int64],
    classes: tuple[str, ...],
) -> str:
    digest = hashlib.sha256(json.dumps([list(shape), list(classes)]).encode())
    for block in blocks:
        digest.update(block)
    digest.update(labels.astype("<i8").tobytes())
    return digest.hexdigest()
