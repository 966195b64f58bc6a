"""All files below a folder, through links but never in circles, without what desktops leave behind."""

import os
import re
from collections import deque
from pathlib import Path
from typing import NamedTuple

LITTER = {
    "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "picasa.ini", "icon\r",
    "__macosx", "__pycache__", "lost+found", "found.000", "$recycle.bin", "recycler", "recycled",
    "#recycle", "@recycle", "#snapshot", "~snapshot", "@recently-snapshot", "@eadir", "@tmp",
    "system volume information", "network trash folder", "temporary items",
}  # fmt: skip
# What a program has not finished, or has put aside, whatever it holds.
UNFINISHED = (".crdownload", ".part", ".partial", ".download", ".opdownload", ".filepart", ".aria2")
TEMPORARY = (".tmp", ".temp", ".swp")
BACKUPS = ("~", ".bak", ".orig")

# Where no class folder says that they are scans, these are none.
DOCUMENT_NAMES = {"readme", "license", "licence", "copying", "notice", "citation", "changelog"}
DOCUMENTS = {
    ".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".html", ".htm", ".pdf",
    ".doc", ".docx", ".rtf", ".odt", ".xls", ".xlsx", ".ods", ".yaml", ".yml", ".toml", ".ini",
    ".cfg", ".bib", ".log", ".py", ".ipynb", ".r", ".sh", ".bat", ".md5", ".sha256",
}  # fmt: skip
# What people and tools write into the names of masks (BIDS: dseg, probseg; FreeSurfer: aseg).
MASK_WORDS = re.compile(
    r"(?<![a-z])(segs?|segm|segmentations?|masks?|labels?|labelmaps?|dseg|pseg|aseg|aparc|parc|"
    r"parcellation|annotations?|contours?|gt|groundtruth|ground[ _-]truth)(?![a-z])",
    re.IGNORECASE,
)
LINKS_BACK = "a link to a folder that is read anyway, or that it lies in"


class Inside(NamedTuple):
    """What lies directly in a folder; each a name, in order."""

    folders: list[str]
    links: list[str]  # to folders
    files: list[str]


class Below(NamedTuple):
    """The files below a folder, and the folders that were not read, with the reason."""

    files: list[str]
    refused: list[tuple[str, str]]


def is_litter(name: str) -> bool:
    """Whether a file or folder is hidden, or was left behind by a desktop or a file server."""
    return name.startswith((".", "~$")) or name.lower() in LITTER


def why_no_scan(name: str) -> str:
    """Why a file is not taken as a scan whatever it holds, told by its name; else empty."""
    ending = name.lower()
    if ending.endswith(UNFINISHED):
        return "an unfinished download; fetch it again, or rename it if it is whole"
    if ending.endswith(TEMPORARY):
        return "a temporary file; rename it if it is a scan"
    if ending.endswith(BACKUPS):
        return "a backup of another file; rename it if it is a scan"
    return ""


def is_document(file: str) -> bool:
    """Whether a file that no class folder calls a scan is plainly none."""
    name = file.rpartition("/")[2].lower()
    stem, dot, ending = name.rpartition(".")
    return (dot + ending in DOCUMENTS) if stem else (name in DOCUMENT_NAMES)


def inside(folder: Path) -> Inside:
    """List a folder; OSError where it cannot be read."""
    found = Inside([], [], [])
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            if is_litter(entry.name):
                continue
            try:
                is_folder = entry.is_dir()
            except OSError:  # a link to itself: reading it as a file will say so
                is_folder = False
            if not is_folder:
                found.files.append(entry.name)
            else:
                (found.links if entry.is_symlink() else found.folders).append(entry.name)
    return found


def below(folder: Path, name: str) -> Below:
    """List the files below a folder, recursively.

    Folders that are reached through links come last, and each only once, so that there is an end
    to links that lead back up or across.

    Parameters
    ----------
    folder : Path
    name : str
        What the paths begin with: the folder's own path relative to where it is listed from, or an
        empty string.

    Returns
    -------
    Below
        Paths with ``/``, in no particular order.
    """
    found = Below([], [])
    real: deque[tuple[Path, str]] = deque([(folder, name)])
    links: deque[tuple[Path, str]] = deque()
    # Whoever links to a folder above this one means to go in a circle.
    entered = {_identity(above) for above in (folder.parent, *folder.resolve().parents)}
    while real or links:
        is_link = not real
        path, at = (links if is_link else real).popleft()
        try:
            identity = _identity(path)
            if is_link and identity in entered:
                found.refused.append((at, LINKS_BACK))
                continue
            entered.add(identity)
            listed = inside(path)
        except OSError as error:
            reason = f"cannot be read: {(error.strerror or str(error)).lower()}"
            found.refused.append((at, reason))
            continue
        start = f"{at}/" if at else ""
        found.files.extend(start + each for each in listed.files)
        real.extend((path / each, start + each) for each in listed.folders)
        links.extend((path / each, start + each) for each in listed.links)
    return found


def _identity(folder: Path) -> tuple[int, int]:
    told = folder.stat()
    return told.st_dev, told.st_ino
