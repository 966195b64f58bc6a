"""List all files below a folder: follow links but never loop, and skip what desktops leave behind."""

import os
import re
from collections import deque
from pathlib import Path
from typing import NamedTuple

from scangan.core.address import Address, Place

LITTER = {
    "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "picasa.ini", "icon\r",
    "__macosx", "__pycache__", "lost+found", "found.000", "$recycle.bin", "recycler", "recycled",
    "#recycle", "@recycle", "#snapshot", "~snapshot", "@recently-snapshot", "@eadir", "@tmp",
    "system volume information", "network trash folder", "temporary items",
}  # fmt: skip
# Unfinished downloads, temporary files and backups, whatever their content.
UNFINISHED = (".crdownload", ".part", ".partial", ".download", ".opdownload", ".filepart", ".aria2")
TEMPORARY = (".tmp", ".temp", ".swp")
BACKUPS = ("~", ".bak", ".orig")

# Outside class folders, these are documents and not scans.
DOCUMENT_NAMES = {"readme", "license", "licence", "copying", "notice", "citation", "changelog"}
DOCUMENTS = {
    ".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".html", ".htm", ".pdf",
    ".doc", ".docx", ".rtf", ".odt", ".xls", ".xlsx", ".ods", ".yaml", ".yml", ".toml", ".ini",
    ".cfg", ".bib", ".log", ".py", ".ipynb", ".r", ".sh", ".bat", ".md5", ".sha256",
}  # fmt: skip
# Words that people and tools put into the names of masks (BIDS: dseg, probseg; FreeSurfer: aseg).
MASK_WORDS = re.compile(
    r"(?<![a-z])(segs?|segm|segmentations?|masks?|labels?|labelmaps?|dseg|probseg|aseg|aparc|parc|"
    r"parcellation|annotations?|contours?|gt|groundtruth|ground[ _-]truth)(?![a-z])",
    re.IGNORECASE,
)
LINKS_BACK = "a link to a folder that is read anyway, or to one around it"


class Inside(NamedTuple):
    """The names directly in a folder, in order."""

    folders: list[str]
    links: list[str]  # to folders
    files: list[str]


class Below(NamedTuple):
    """The files below a folder, and the folders that were not read with the reasons."""

    files: list[str]
    refused: list[tuple[str, str]]


def is_litter(name: str) -> bool:
    """Return whether a file or folder is hidden, or was left behind by a desktop or file server."""
    return name.startswith((".", "~$")) or name.lower() in LITTER


def why_no_scan(name: str) -> str:
    """Return why a file's name rules it out as a scan, whatever its content; else an empty string."""
    ending = name.lower()
    if ending.endswith(UNFINISHED):
        return "an unfinished download; download it again, or rename it if it is complete"
    if ending.endswith(TEMPORARY):
        return "a temporary file; rename it if it is a scan"
    if ending.endswith(BACKUPS):
        return "a backup of another file; rename it if it is a scan"
    return ""


def is_document(file: str) -> bool:
    """Return whether a file outside the class folders is clearly a document, not a scan."""
    name = file.rpartition("/")[2].lower()
    stem, dot, ending = name.rpartition(".")
    return (dot + ending in DOCUMENTS) if stem else (name in DOCUMENT_NAMES)


def inside(folder: Place) -> Inside:
    """List a folder; raise `OSError` if it cannot be read."""
    if isinstance(folder, Address):
        from scangan.core import store

        listed = store.inside(folder)
        folders, files = listed.folders, listed.files
        return Inside(*([n for n in names if not is_litter(n)] for names in (folders, (), files)))
    found = Inside([], [], [])
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            if is_litter(entry.name):
                continue
            try:
                is_folder = entry.is_dir()
            except OSError:  # a link to itself: reading it as a file will report it
                is_folder = False
            if not is_folder:
                found.files.append(entry.name)
            else:
                (found.links if entry.is_symlink() else found.folders).append(entry.name)
    return found


def below(folder: Place, name: str) -> Below:
    """List the files below a folder, recursively.

    Linked folders come last, and each folder is read only once, so that links up or across cannot
    make an endless loop.

    Parameters
    ----------
    folder : Path or Address
        Folder to list.
    name : str
        Start of the returned paths: the folder's path relative to the source folder, or an empty
        string.

    Returns
    -------
    Below
        Paths with ``/``, in no particular order.
    """
    found = Below([], [])
    if isinstance(folder, Address):
        from scangan.core import store

        start = f"{name}/" if name else ""
        for each, _, _ in store.below(folder):
            if each and not any(map(is_litter, each.split("/"))):
                found.files.append(start + each)
        return found
    real: deque[tuple[Path, str]] = deque([(folder, name)])
    links: deque[tuple[Path, str]] = deque()
    # A link to a folder above this one would loop.
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
