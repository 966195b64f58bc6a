"""Records for the files of a prepared dataset and their lines."""

from typing import Literal, TypeAlias

from scangan.artifacts.records import Record

Window: TypeAlias = tuple[float, float]  # the physical values that become black and white
Shade: TypeAlias = Literal["black", "white", ""]
Settings: TypeAlias = dict[str, str | int | float | bool | list[str] | None]  # options by name


class Item(Record, frozen=True, rename={"class_name": "class"}):
    """A line of ``items.jsonl``: one image.

    Parameters
    ----------
    file : str
        Path of the file relative to the source folder, with ``/``.
    sha256 : str
        SHA-256 of the file, in hexadecimal.
    class_name : str
        Its class.
    subject : str or None
        The subject or patient; None if unknown.
    frame : int
        Number of the frame, page or slice in the file, from 0.
    duplicate_group : int
        Index of the first item whose file has the same bytes.
    window : (float, float) or None
        The physical values that became black and white; None if 8-bit values were kept as they were.
    perceptual_hash : str
        48 hexadecimal digits.
    enlarged : bool
        Whether the scan was smaller than the prepared size.
    aspect : float
        Height over width of the original pixels, before they were made square.
    blank : {"black", "white", ""}
        Set if the image is almost entirely black or white.
    synthetic : bool
        Whether a generative model made it.
    notes : tuple of str
        What is unusual about the file.
    group : int or None
        Number of its group, which a split keeps in one subset; None in datasets of formats 1 and 2.
    """

    file: str
    sha256: str
    class_name: str
    subject: str | None
    frame: int
    duplicate_group: int
    window: Window | None
    perceptual_hash: str
    enlarged: bool
    aspect: float
    blank: Shade
    synthetic: bool
    notes: tuple[str, ...]
    group: int | None


class Reject(Record, frozen=True, rename={"class_name": "class"}, omit_defaults=True):
    """A line of ``rejects.jsonl``: a rejected file, or one rejected frame of it, and why."""

    file: str
    class_name: str | None
    reason: str
    frame: int | None = None


class NearDuplicate(Record, frozen=True):
    """A line of ``near_duplicates.jsonl``: two scans that show the same, across classes or subjects."""

    files: tuple[str, str]
    frames: tuple[int, int]
    classes: tuple[str, str]
    across: Literal["classes", "subjects", "unknown subjects"]
    differing_bits: int
    correlation: float


class MeasuredWindow(Record, frozen=True):
    """The window measured over all scans, the number of scans, and the outliers left out of it."""

    window: Window
    scans: int
    outliers: tuple[str, ...]


class ClassTally(Record, frozen=True):
    """How many files of a class were kept and refused; a file may hold several scans."""

    files: int
    kept: int
    refused: int


class Subset(Record, frozen=True):
    """What one subset of a split holds, and the classes that have no scan in it."""

    count: int
    counts: dict[str, int]
    lacks: tuple[str, ...]


class Preparation(Record, frozen=True):
    """The options of one preparation, and what it found."""

    format_version: int
    options: Settings
    sources: Settings
    split: tuple[float, ...] | None
    readers: dict[str, bool]  # which optional readers were installed
    wrapper: str  # the path of single folders around the class folders
    files: dict[str, ClassTally]
    allow_synthetic: bool
    synthetic: int
    left_out: int  # files left out by --include and --exclude
    squared: int  # scans whose pixels were made square
    noted: int  # scans with notes
    blank: dict[str, dict[Shade, int]]  # by class
    without_subject: int
    empty_classes: tuple[str, ...]
    window: MeasuredWindow | None  # None if no scan needed one
    duplicates: int
    near_duplicates: int
    candidates_not_compared: int
    source_sha256: str


class DatasetInfo(Preparation, frozen=True):
    """The content of ``dataset.json`` for a dataset that was not split."""

    classes: tuple[str, ...]
    size: int
    count: int
    rejected: int
    fingerprint: str  # SHA-256 of images, labels and class names
    items_sha256: str | None  # None in datasets from older versions


class SubsetInfo(Record, frozen=True, rename={"subset": "part"}):
    """The content of ``dataset.json`` for a subset of a split."""

    format_version: int
    classes: tuple[str, ...]
    size: int
    count: int
    rejected: int
    options: Settings
    sources: Settings
    split: tuple[float, ...] | None
    allow_synthetic: bool
    window: MeasuredWindow | None
    source_sha256: str
    subset: str
    empty_classes: tuple[str, ...]
    duplicates: int
    fingerprint: str
    items_sha256: str | None


class SplitInfo(Preparation, frozen=True, rename={"subsets": "parts"}):
    """The content of ``split.json``."""

    count: int
    rejected: int
    size: int
    subsets: dict[str, Subset]


Summary: TypeAlias = DatasetInfo | SplitInfo  # for a whole preparation

# Fields that datasets of formats 1 and 2 lack, or may have in another form.
OLDER_ITEM: dict[str, object] = {
    "enlarged": False, "aspect": 1.0, "blank": "", "synthetic": False, "notes": (), "group": None,
}  # fmt: skip
OLDER_INFO: dict[str, object] = {
    "split": None, "readers": {}, "wrapper": "", "files": {}, "allow_synthetic": False,
    "synthetic": 0, "left_out": 0, "squared": 0, "noted": 0, "blank": {}, "without_subject": 0,
    "empty_classes": (), "window": None, "duplicates": 0, "near_duplicates": 0,
    "candidates_not_compared": 0, "source_sha256": "", "items_sha256": None,
}  # fmt: skip
OLDER_UNREAD: dict[str, object] = {"window": None, "blank": {}}
