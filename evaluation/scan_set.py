"""A set of scans to evaluate: images, classes, and which scans belong together."""

import dataclasses
import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from scangan.artifacts.dataset import differing_options, load_dataset
from scangan.artifacts.records import Record
from scangan.artifacts.scan_folder import ScanRecord
from scangan.core.counted import counted
from scangan.core.errors import EvaluationError

Images = npt.NDArray[np.uint8]  # [N, H, W]
Labels = npt.NDArray[np.int64]  # [N]

SMALL = 50  # scans of a set; fewer say little


class SetInfo(Record, frozen=True):
    """A set of scans that was evaluated.

    Parameters
    ----------
    name : str
        Where the scans come from.
    sha256 : str
        See `ScanSet.sha256`.
    size : int
        Width and height in pixels.
    scans : int
        Number of scans.
    counts : dict
        Number of scans in each class; empty for scans without classes.
    """

    name: str
    sha256: str
    size: int
    scans: int
    counts: dict[str, int]


@dataclasses.dataclass(frozen=True)
class ScanSet:
    """A set of scans to evaluate.

    Parameters
    ----------
    images : ndarray
        uint8 [N, H, W], all of one size.
    labels : ndarray
        int64 [N], indices into `classes`; all 0 if there are no classes.
    classes : tuple of str
        Class names; empty for scans without classes.
    name : str
        Where they come from, for reports.
    groups : ndarray, optional
        int64 [N]: scans with the same number belong together, as scans of one subject do. By
        default each scan stands alone.
    settings : mapping, optional
        Options of the preparation that decide how the scans look.
    sources : sequence of str, optional
        Name of each scan, for lists of scans; by default its index.
    hashes, subjects : sequence of str, optional
        SHA-256 of each scan's file, and its subject; empty where unknown.
    synthetic : ndarray, optional
        bool [N]: the scans that say that a generative model made them; by default, none.
    origins : sequence of ScanRecord or None, optional
        The model, seed, class and index of each synthetic scan; None where unknown.
    refused : int
        Files that a folder also has, but that could not be used.

    Examples
    --------
    >>> real = ScanSet.of_dataset("prepared")
    >>> synthetic = ScanSet.of_classes({"glioma": images, "no_tumor": others})
    """

    images: Images
    labels: Labels
    classes: tuple[str, ...] = ()
    name: str = "scans"
    groups: Labels = dataclasses.field(default_factory=lambda: np.empty(0, np.int64))
    settings: dict[str, object] = dataclasses.field(default_factory=dict)
    sources: Sequence[str] = ()
    hashes: Sequence[str] = ()
    subjects: Sequence[str] = ()
    synthetic: npt.NDArray[np.bool_] = dataclasses.field(default_factory=lambda: np.empty(0, bool))
    origins: Sequence[ScanRecord | None] = ()
    refused: int = 0

    def __post_init__(self) -> None:
        """Fill in defaults and check the arrays."""
        count = len(self.images)
        if self.images.ndim != 3 or self.images.dtype != np.uint8:
            raise EvaluationError(
                f"{self.name}: images must be uint8 [N, H, W], not {self.images.dtype} "
                f"{list(self.images.shape)}"
            )
        if not count:
            raise EvaluationError(f"{self.name} has no scans")
        if not len(self.groups):
            object.__setattr__(self, "groups", np.arange(count))
        if not len(self.sources):
            object.__setattr__(self, "sources", [str(n) for n in range(count)])
        for field in ("hashes", "subjects"):
            if not len(getattr(self, field)):
                object.__setattr__(self, field, [""] * count)
        if not len(self.synthetic):
            object.__setattr__(self, "synthetic", np.zeros(count, bool))
        if not len(self.origins):
            object.__setattr__(self, "origins", [None] * count)
        beside = (
            self.labels,
            self.groups,
            self.sources,
            self.hashes,
            self.subjects,
            self.synthetic,
            self.origins,
        )
        if any(len(each) != count for each in beside):
            raise EvaluationError(f"{self.name}: the fields differ in length")
        if self.labels.min() < 0 or self.labels.max() >= max(1, len(self.classes)):
            raise EvaluationError(
                f"{self.name}: labels must be 0 to {max(len(self.classes) - 1, 0)}"
            )

    @classmethod
    def of_dataset(cls, path: str | Path) -> "ScanSet":
        """Read a prepared dataset into memory.

        Raises
        ------
        PreprocessingError
            `path` is not a prepared dataset, or is damaged.
        """
        dataset = load_dataset(path).in_memory()
        items = list(dataset.items)
        files = [f"{i.file}#{i.frame}" if i.frame else i.file for i in items]
        # Copies among synthetic scans are what the generator makes, not files that were copied.
        own = np.arange(len(files)) + dataset.groups.max(initial=0) + 1
        return cls(
            dataset.images,
            dataset.labels,
            dataset.classes,
            str(path),
            np.where(dataset.synthetic, own, dataset.groups),
            settings=dict(dataset.info.options),
            sources=files,
            hashes=[item.sha256 for item in items],
            subjects=[item.subject or "" for item in items],
            synthetic=dataset.synthetic,
        )

    @classmethod
    def of_classes(cls, scans: dict[str, Images], name: str = "scans") -> "ScanSet":
        """Make a set from the scans of each class, uint8 [N, H, W], all of one size."""
        sizes = {tuple(images.shape[1:]) for images in scans.values()}
        if len(sizes) > 1:
            raise EvaluationError(
                f"{name}: the classes have scans of several sizes: {sorted(sizes)}"
            )
        labels = np.repeat(np.arange(len(scans)), [len(images) for images in scans.values()])
        return cls(np.concatenate(list(scans.values())), labels, tuple(scans), name)

    def __len__(self) -> int:
        """Return the number of scans."""
        return len(self.images)

    @property
    def size(self) -> int:
        """Height of the scans in pixels; prepared and generated scans are square."""
        return int(self.images.shape[1])

    @property
    def counts(self) -> dict[str, int]:
        """Number of scans in each class."""
        tally = np.bincount(self.labels, minlength=len(self.classes))
        return {name: int(count) for name, count in zip(self.classes, tally, strict=False)}

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of images, labels, classes and groups, in hexadecimal."""
        digest = hashlib.sha256(repr((self.images.shape, self.classes)).encode())
        for array in (self.images, self.labels, self.groups):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()

    @cached_property
    def identity(self) -> str:
        """SHA-256 of everything that an evaluation of this set depends on, in hexadecimal."""
        lists = self.sources, self.hashes, self.subjects, self.origins
        beside = (self.name, self.settings, self.refused, *map(list, lists))
        return hashlib.sha256(
            repr((self.sha256, beside, self.synthetic.tolist())).encode()
        ).hexdigest()

    @property
    def info(self) -> SetInfo:
        """What a result says of the set."""
        return SetInfo(
            name=self.name,
            sha256=self.sha256,
            size=self.size,
            scans=len(self),
            counts=self.counts,
        )

    def check_real(self) -> None:
        """Refuse a set with scans that say that they are synthetic."""
        if self.synthetic.any():
            raise EvaluationError(
                f"{self.name} holds {counted(int(self.synthetic.sum()), 'synthetic scan')}; "
                f"give a set of real scans only"
            )

    def of_class(self, number: int) -> npt.NDArray[np.intp]:
        """Return the indices of the scans of a class."""
        return np.flatnonzero(self.labels == number)

    def take(self, indices: npt.NDArray[np.intp]) -> "ScanSet":
        """Return a set of some of the scans."""
        return dataclasses.replace(
            self,
            images=self.images[indices],
            labels=self.labels[indices],
            groups=self.groups[indices],
            sources=[self.sources[n] for n in indices],
            hashes=[self.hashes[n] for n in indices],
            subjects=[self.subjects[n] for n in indices],
            synthetic=self.synthetic[indices],
            origins=[self.origins[n] for n in indices],
        )

    def with_classes(self, names: tuple[str, ...]) -> "ScanSet":
        """Return the scans of some classes, numbered in the order of `names`."""
        number = np.array([names.index(k) if k in names else -1 for k in self.classes])
        labels = number[self.labels]
        kept = self.take(np.flatnonzero(labels >= 0))
        return dataclasses.replace(kept, labels=labels[labels >= 0], classes=names)

    def resized(self, size: int) -> "ScanSet":
        """Return the scans in another size, by area averaging; the same set if it has that size."""
        if size == self.size:
            return self
        images = [cv2.resize(i, (size, size), interpolation=cv2.INTER_AREA) for i in self.images]
        return dataclasses.replace(self, images=np.stack(images))

    def without_classes(self) -> "ScanSet":
        """Return all scans as one class without a name."""
        return dataclasses.replace(self, classes=(), labels=np.zeros(len(self), np.int64))


def with_shared_classes(a: ScanSet, b: ScanSet) -> tuple[ScanSet, ScanSet, list[str]]:
    """Reduce two sets to the classes that both have.

    If one set has no classes, neither result has any.

    Returns
    -------
    a, b : ScanSet
        With the same classes in the same order.
    notes : list of str
        What was left out.

    Raises
    ------
    EvaluationError
        They have no class in common.
    """
    if not a.classes or not b.classes:
        bare = b if a.classes else a
        notes = [f"{bare.name} has no classes, so all scans were compared at once"]
        both = not a.classes and not b.classes
        return a.without_classes(), b.without_classes(), [] if both else notes
    have = {k for k, n in a.counts.items() if n}, {k for k, n in b.counts.items() if n}
    shared = tuple(name for name in a.classes if name in have[0] & have[1])
    if not shared:
        raise EvaluationError(
            f"{a.name} and {b.name} have no class in common; they have "
            f"{', '.join(sorted(have[0]))} and {', '.join(sorted(have[1]))}; rename the classes of one"
        )
    notes = [
        f"left out {counted(len(names), 'class', 'classes')} that only {one.name} has: "
        f"{', '.join(sorted(names))}"
        for one, names in ((a, have[0] - have[1]), (b, have[1] - have[0]))
        if names
    ]
    return a.with_classes(shared), b.with_classes(shared), notes


def sha256_of(image: Images) -> bytes:
    """SHA-256 of the pixels of a scan, uint8 [H, W]."""
    return hashlib.sha256(np.ascontiguousarray(image).data).digest()


def refused_files(*sets: ScanSet) -> list[str]:
    """Say how many files of folders could not be used."""
    return [
        f"{counted(each.refused, 'file')} of {each.name} could not be used; prep-scans says why"
        for each in sets
        if each.refused
    ]


def differing_settings(a: ScanSet, b: ScanSet) -> list[str]:
    """Describe options of the preparation that differ; an option that one side lacks does not."""
    return [
        f"{a.name} was prepared with {key} {a.settings[key]} and {b.name} with {b.settings[key]}"
        for key in differing_options(a.settings, b.settings)
    ]
