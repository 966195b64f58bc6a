"""Which files lie in the class folders of a folder of scans: one answer for all commands."""

import re
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from scangan.core.class_names import check_case, why_no_name
from scangan.core.errors import FolderError, Rejected
from scangan.core.folders import LINKS_BACK, Inside, below, inside, is_document
from scangan.core.formats import head_of_scan

# Beside the class folders these are named as refused.
LOOKS_LIKE_A_SCAN = {
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".dcm",
    ".dicom", ".ima", ".nii", ".gz",
}  # fmt: skip
PARTS = {"train", "training", "test", "testing", "val", "valid", "validation"}


class ClassFiles(NamedTuple):
    """The classes in order, also those without a file; their files; and what is refused."""

    classes: list[str]
    files: list[tuple[str, str]]  # relative to the source folder with ``/``, and the class
    rejects: list[dict[str, Any]]  # file, class, reason


def find_class_files(source: Path) -> ClassFiles:
    """Find the files of every class folder.

    The folders in `source` are the classes, and are searched recursively; if there are none,
    `source` itself is one class. Links are followed. Hidden files and desktop litter are skipped;
    any other file of a class counts until its content says otherwise.

    Raises
    ------
    FolderError
        `source` is no folder, cannot be read or has no files, or a class cannot be named so.
    """
    top = read_top(source)
    here = source.resolve()
    up = [name for name in top.links if here.is_relative_to((source / name).resolve())]
    rejects = [reject(name, None, LINKS_BACK) for name in up]
    classes = sorted({*top.folders, *top.links} - set(up))
    _check_names(classes or [here.name], source)
    if not classes:
        files = [name for name in top.files if not is_document(name)]
        if not files:
            raise FolderError(
                f"{source} has no class folders and no scans; put the scans into one folder per "
                f"class: CLASS/file"
            )
        return ClassFiles([here.name], [(file, here.name) for file in files], rejects)
    if all(name.lower() in PARTS for name in classes):
        raise FolderError(
            f"{source} has the folders {', '.join(classes)}, parts of a split and no classes; "
            f"prepare each for itself: {source / classes[0]}"
        )
    outside = [name for name in top.files if Path(name).suffix.lower() in LOOKS_LIKE_A_SCAN]
    rejects += [reject(name, None, "in no class folder") for name in outside]
    found: list[tuple[str, str]] = []
    for name in classes:
        listed = below(source / name, name)
        found += [(file, name) for file in listed.files]
        rejects += [reject(folder, name, reason) for folder, reason in listed.refused]
    if not found:
        refused = f" ({rejects[0]['file']!r}: {rejects[0]['reason']})" if rejects else ""
        raise FolderError(
            f"{source} has no files in its class folders{refused}; put scans into them"
        )
    return ClassFiles(classes, found, rejects)


class Count(NamedTuple):
    """Scans of each class, and how many of the files hold more than the one they count for."""

    scans: dict[str, int]
    volumes: int


def count_scans(source: Path) -> Count:
    """Count the files of every class that are scans by name and content, without decoding them.

    A file with several frames or slices counts once.

    Raises
    ------
    FolderError
        As of `find_class_files`, or a folder of a class cannot be read.
    """
    found = find_class_files(source)
    for line in found.rejects:
        if line["class"] is not None and line["reason"] != LINKS_BACK:
            raise FolderError(
                f"{source / line['file']} {line['reason']}; change its permissions, or move it away"
            )
    kinds = [(name, _kind(f"{source}/{file}")) for file, name in found.files]
    counts = Counter(name for name, kind in kinds if kind)
    return Count(
        {name: counts[name] for name in found.classes}, sum(kind == "volume" for _, kind in kinds)
    )


def _kind(path: str) -> str:
    """``scan``, ``volume``, or nothing for a file that is neither."""
    try:
        head, form = head_of_scan(path)
    except Rejected:
        return ""
    frames = re.search(rb"\x28\x00\x08\x00IS..([0-9 ]+)", head, re.DOTALL)
    several = form == "dicom" and frames is not None and frames[1].strip() not in (b"", b"1")
    return "volume" if form == "nifti" or several else "scan"


def read_top(source: Path) -> Inside:
    """List the folder of scans, or say what is wrong with it."""
    if not source.is_dir():
        is_file = " but a file" if source.exists() else ""
        raise FolderError(
            f"{source} is no folder{is_file}; give a folder with one folder per class: CLASS/file"
        )
    try:
        return inside(source)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise FolderError(f"{source} cannot be read: {reason}") from error


def reject(file: str, class_name: str | None, reason: str) -> dict[str, Any]:
    """Make a line of ``rejects.jsonl``."""
    return {"file": file, "class": class_name, "reason": reason}


def _check_names(classes: list[str], source: Path) -> None:
    for name in classes:
        problem = why_no_name(name)
        if problem:
            raise FolderError(f"{source}: the folder {name!a} is no class, {problem}; rename it")
    check_case(classes, source)
