"""The lines and files of a prepared dataset, as records."""

from typing import Literal, TypeAlias

from scangan.artifacts.records import Record

Window: TypeAlias = tuple[float, float]  # physical values shown black and white
Shade: TypeAlias = Literal["black", "white", ""]
Settings: TypeAlias = dict[str, str | int | float | bool | list[str] | None]  # options by name


class Item(Record, frozen=True, rename={"class_name": "class"}):
    """A line of ``items.jsonl``: one image.

    Parameters
    ----------
    file : str
        Relative to the source folder, with ``/``.
    sha256 : str
        Of the file's bytes.
    class_name : str
    subject : str or None
        Who it is of; None where nothing says so.
    frame : int
        Number of the frame, page or slice in the file, from 0.
    duplicate_group : int
        The index of the first item with these bytes.
    window : (float, float) or None
        Physical values that are black and white; None for 8 bits as they came.
    perceptual_hash : str
        48 hexadecimal digits.
    enlarged : bool
        Whether the scan is smaller than it was prepared.
    aspect : float
        Height over width of the pixels that were made square.
    blank : {"black", "white", ""}
        What next to nothing is to be seen in.
    synthetic : bool
        Whether a generative model made it.
    notes : tuple of str
        What was odd in the file.
    group : int or None
        Number of what a split never tears apart; None in datasets of formats 1 and 2.
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
    """A line of ``rejects.jsonl``: a file that is refused, or one frame of it, and why."""

    file: str
    class_name: str | None
    reason: str
    frame: int | None = None


class NearDuplicate(Record, frozen=True):
    """A line of ``near_duplicates.jsonl``: two scans that show the same and may leak, and where to."""

    files: tuple[str, str]
    frames: tuple[int, int]
    classes: tuple[str, str]
    across: Literal["classes", "subjects", "unknown subjects"]
    differing_bits: int
    correlation: float


class MeasuredWindow(Record, frozen=True):
    """The window over all scans: of how many it is, and the files that were too far off to count."""

    window: Window
    scans: int
    outliers: tuple[str, ...]


class ClassTally(Record, frozen=True):
    """What became of the files of a class; a file may hold several scans that are kept."""

    files: int
    kept: int
    refused: int


class Part(Record, frozen=True):
    """What one part of a split holds, and the classes that it has no scan of."""

    count: int
    counts: dict[str, int]
    lacks: tuple[str, ...]


class Preparation(Record, frozen=True):
    """What was asked of one preparation, and what it found."""

    format_version: int
    options: Settings
    sources: Settings
    split: tuple[float, ...] | None
    readers: dict[str, bool]  # which optional ones were installed
    wrapper: str  # the path of lone folders around the class folders
    files: dict[str, ClassTally]
    allow_synthetic: bool
    synthetic: int
    left_out: int  # files, by --include and --exclude
    squared: int  # scans whose pixels were made square
    noted: int  # scans with notes
    blank: dict[str, dict[Shade, int]]  # by class
    without_subject: int
    empty_classes: tuple[str, ...]
    window: MeasuredWindow | None  # None where no scan needed it
    duplicates: int
    near_duplicates: int
    candidates_not_compared: int
    source_sha256: str


class DatasetInfo(Preparation, frozen=True):
    """The content of ``dataset.json``, of a dataset that was not split."""

    classes: tuple[str, ...]
    size: int
    count: int
    rejected: int
    fingerprint: str  # sha256 over images, labels and class names
    items_sha256: str | None  # None in datasets of older versions


class PartInfo(Record, frozen=True):
    """The content of ``dataset.json``, of a part of a split."""

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
    part: str
    empty_classes: tuple[str, ...]
    duplicates: int
    fingerprint: str
    items_sha256: str | None


class SplitInfo(Preparation, frozen=True):
    """The content of ``split.json``."""

    count: int
    rejected: int
    size: int
    parts: dict[str, Part]


Summary: TypeAlias = DatasetInfo | SplitInfo  # of a whole preparation

# What datasets of formats 1 and 2 do not say, and what they may say in another form.
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
