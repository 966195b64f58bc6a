"""Find the files in the class folders of a folder of scans, in the same way for all commands."""

import io
import itertools
import os
import re
from collections import Counter, defaultdict
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from scangan.core import structure
from scangan.core.address import Address, Place, within
from scangan.core.class_names import check_alike, normal, why_no_name
from scangan.core.dicom_objects import told_instead
from scangan.core.errors import FolderError, Rejected, Unreadable
from scangan.core.files import size_of
from scangan.core.folder_words import copy_of, says_finding
from scangan.core.folders import LINKS_BACK, MASK_WORDS, Inside, below, inside, is_document
from scangan.core.formats import head_of_scan
from scangan.core.printable import to_type
from scangan.core.reading import read_file
from scangan.core.structure import Doubt

OUTSIDE = "in no class folder"
LOST = "a broken link; fix or delete it"
SHOWN = 6  # most folders named in an error
COMPARED = 8  # files compared to tell whether two folders are copies
OPENED = 100  # files opened to tell whether a folder holds scans

# A file outside the class folders is reported as refused if it has one of these suffixes.
LOOKS_LIKE_A_SCAN = {
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".dcm",
    ".dicom", ".ima", ".nii", ".gz",
}  # fmt: skip


class Refused(NamedTuple):
    """A file or folder that is not taken, the class whose folder it lies in, and why."""

    file: str
    class_name: str | None
    reason: str


class ClassFiles(NamedTuple):
    """The classes in order, including empty ones; their files; and the refused files."""

    classes: list[str]
    files: list[tuple[str, str]]  # path on disk relative to the source folder, and class
    rejects: list[Refused]
    wrapper: str = ""  # path of the only folder with scans, if the classes are inside it


def find_class_files(source: Place, level: int | None = None) -> ClassFiles:
    """Find the files of every class folder.

    The folders in `source` are the classes and are searched recursively. Without any, `source` itself
    is one class. A single folder around the classes is skipped. Links are followed. Hidden files and
    desktop litter are ignored; any other file of a class is taken, since only its content can tell.

    Parameters
    ----------
    source : Path or Address
        Folder of scans.
    level : int, optional
        Number of levels from `source` down to the class folders; 0 makes everything one class. By
        default the level is detected, and folders that do not look like classes are refused.

    Raises
    ------
    FolderError
        `source` is not a folder, cannot be read or has no files, its folders do not look like classes,
        or a folder's name cannot be a class name.
    """
    top = read_top(source)
    name = normal(source.resolve().name)
    if level == 0 or (level is None and not any(_entries(source, "", top))):
        _check_names([name], source)
        listed = below(source, "")
        files = [(file, name) for file in listed.files if not is_document(file)]
        if not files:
            raise FolderError(
                f"{source} has no class folders and no scans; put the scans into one folder per "
                f"class: CLASS/file"
            )
        refused = [Refused(file, None, reason) for file, reason in listed.refused]
        return ClassFiles([name], files, refused)
    found = _walk(source, "", level or 1)
    if level is None:
        around = _wrapper(source, found)
        if around:
            # Folders beside it hold no scan that can be read; they are not passed over in silence.
            beside = [
                Refused(file, None, OUTSIDE)
                for file, _ in found.files
                if not file.startswith(f"{around}/") and not is_document(file)
            ]
            found = _walk(source, around, 1)
            found = found._replace(rejects=[*found.rejects, *beside])
        why = _doubt(source / around, found)
        if why:
            raise _explained(source, around, found.classes, why)
    _check_names(found.classes, source / found.wrapper)
    if not found.files:
        first = found.rejects[0] if found.rejects else None
        refused_first = f" ({first.file!r}: {first.reason})" if first else ""
        advice = f"give a smaller --class-level than {level}, or " if level and level > 1 else ""
        raise FolderError(
            f"{source} has no files in its class folders{refused_first}; {advice}put scans into them"
        )
    return found


def _walk(source: Place, way: str, depth: int) -> ClassFiles:
    """List the files of the folders `depth` levels below the folder at the end of `way`."""
    rejects: list[Refused] = []
    steps = way.split("/") if way else []
    folders = [""]
    for number in range(len(steps) + depth):
        deeper: list[str] = []
        for at in folders:
            try:
                listed = inside(source / at)
            except OSError as error:
                reason = f"cannot be read: {(error.strerror or str(error)).lower()}"
                rejects.append(Refused(at, None, reason))
                continue
            start = f"{at}/" if at else ""
            for each in listed.files:
                if _is_lost_link(source / at / each):
                    rejects.append(Refused(start + each, None, LOST))
                elif _looks_like_a_scan(source / at / each):
                    rejects.append(Refused(start + each, None, OUTSIDE))
            entries, up = _entries(source, at, listed)
            rejects += [Refused(start + each, None, LINKS_BACK) for each in up]
            chosen = entries if number >= len(steps) else [steps[number]]
            deeper += [start + each for each in chosen]
        folders = deeper
    files: list[tuple[str, str]] = []
    classes = set()
    for folder in sorted(folders):
        name = normal(folder.rpartition("/")[2])
        classes.add(name)
        below_it = below(source / folder, folder)
        files += [(file, name) for file in below_it.files]
        rejects += [Refused(each, name, reason) for each, reason in below_it.refused]
    return ClassFiles(sorted(classes), files, rejects, way)


def _entries(source: Place, at: str, listed: Inside) -> tuple[list[str], list[str]]:
    """Return the folders in a folder, and the links in it that lead back up."""
    here = source / at
    up = [name for name in listed.links if _leads_up(here, name)]
    return sorted({*listed.folders, *listed.links} - set(up)), up


def _leads_up(folder: Place, link: str) -> bool:
    return folder.resolve().is_relative_to((folder / link).resolve())


def _wrapper(source: Place, found: ClassFiles) -> str:
    """Return the path of single folders around the classes, ignoring folders without scans."""
    files: defaultdict[str, list[str]] = defaultdict(list)
    for file, name in found.files:
        if not is_document(file):
            files[name].append(file)
    if len(files) > 1:
        for name in [name for name, inner in files.items() if not _any_scan(source, inner)]:
            del files[name]
    empty = {*found.classes} - {name for _, name in found.files}
    without = {*found.classes} - {*files}
    tree = structure.tree(itertools.chain(*files.values()))
    if any(map(says_finding, without)) or (empty and not structure.finds(tree)):
        return ""  # an empty class
    return structure.wrapper(tree)


def _any_scan(source: Place, files: list[str]) -> bool:
    """Whether one of the files is a scan by its suffix; of the others, at most `OPENED` are opened."""
    suffixes = {os.path.splitext(file)[1].lower() for file in files}  # noqa: PTH122  (fast)
    return bool(suffixes & LOOKS_LIKE_A_SCAN) or any(
        _looks_like_a_scan(source / file) for file in files[:: -(-len(files) // OPENED)]
    )


def _doubt(where: Place, found: ClassFiles) -> Doubt | None:
    skip = len(found.wrapper) + 1 if found.wrapper else 0
    files = [file[skip:] for file, _ in found.files if not is_document(file)]
    tree = structure.tree(files)
    loose = [file[skip:] for file, _, why in found.rejects if why == OUTSIDE]
    tree.files = sum("/" not in file for file in loose)
    return structure.doubt(tree) or _same_files(where, files)


def _same_files(where: Place, files: list[str]) -> Doubt | None:
    """Detect two classes of which one is a copy of the other, by its name or the bytes of some files."""
    names: defaultdict[str, list[str]] = defaultdict(list)
    for file in files:
        top, _, rest = file.partition("/")
        names[top].append(rest)
    alike: defaultdict[frozenset[str], list[str]] = defaultdict(list)
    for top, inner in names.items():
        original = copy_of(top, names)
        if original and len({*inner} & {*names[original]}) * 2 > len(inner):
            return Doubt(f"and {top!r} is a copy of {original!r}", move=[top])
        alike[frozenset(inner)].append(top)
    for inner_names, tops in alike.items():
        compared = sorted(inner_names)[:: max(1, len(inner_names) // COMPARED)]
        for first, second in itertools.combinations(tops, 2) if len(inner_names) > 2 else ():
            if all(_same(where / first / name, where / second / name) for name in compared):
                return Doubt(f"and {second!r} holds the same files as {first!r}", move=[second])
    return None


def _same(first: Place, second: Place) -> bool:
    try:
        size = size_of(first)
        return 0 < size == size_of(second) and read_file(first) == read_file(second)
    except (OSError, Rejected):
        return False


def _explained(source: Place, around: str, classes: list[str], why: Doubt) -> FolderError:
    """Make the error: what was found, which path the user probably meant, and how to override."""
    where = source / around
    depth = len(around.split("/")) if around else 0
    command = to_type("prep-scans", source, "OUT", "--class-level")
    meant = next(filter(None, (_meant(where / name) for name in why.candidates)), None)
    ways = [f"give one of them: {meant}"] if meant else []
    if why.move:
        more = f" and {len(why.move) - SHOWN} more" if len(why.move) > SHOWN else ""
        ways.append(f"move {to_type(*(where / name for name in why.move[:SHOWN]))}{more} away")
    if why.one_class:
        ways.append(f"to make everything one class: {command} 0")
    if why.deeper:
        ways.append(
            f"to use the folders inside them as classes: {command} {depth + 1 + why.deeper}"
        )
    ways.append(f"to use them as classes anyway: {command} {depth + 1}")
    shown = ", ".join(classes[:SHOWN]) + (", ..." if len(classes) > SHOWN else "")
    return FolderError(f"{where} has the folders {shown}, {why.what}; {'; or '.join(ways)}")


def _meant(folder: Place) -> str | None:
    """Find a usable folder at or below `folder`; return it with any option that it needs."""
    try:
        found = _walk(folder, "", 1)
        if found.classes:
            around = _wrapper(folder, found)
            found = _walk(folder, around, 1) if around else found
            why = _doubt(folder / around, found)
            if why and why.one_class:
                level = len(Path(around).parts) + 1 + why.deeper if why.deeper else 0
                return f"{folder} with --class-level {level}"
            if why:
                deeper = (_meant(folder / around / name) for name in why.candidates)
                return next(filter(None, deeper), None)
        find_class_files(folder)
    except (FolderError, OSError):
        return None
    return str(folder)


class Count(NamedTuple):
    """Number of scans in each class, and of files that may hold several scans or none."""

    scans: dict[str, int]
    volumes: int
    named_masks: int  # files named like masks; only their pixels would tell
    wrapper: str  # see `ClassFiles`


def count_scans(source: Place) -> Count:
    """Count the scans of every class by file name and content, without decoding them.

    A file with several frames or slices counts once. Masks and damaged files count too, because only
    decoding would tell.

    Raises
    ------
    FolderError
        `find_class_files` fails, or a class folder or a file in one cannot be read.
    """
    found = find_class_files(source)
    for line in found.rejects:
        if line.class_name is not None and line.reason != LINKS_BACK:
            raise FolderError(
                f"{source / line.file} {line.reason}; change its permissions, or move it away"
            )
    kinds = [(name, _kind(within(source, file), must_read=True)) for file, name in found.files]
    counts = Counter(name for name, kind in kinds if kind)
    scans = {name: counts[name] for name in found.classes}
    masks = sum(
        bool(kind and MASK_WORDS.search(below_class(file, name)))
        for (file, name), (_, kind) in zip(found.files, kinds, strict=True)
    )
    return Count(scans, sum(kind == "volume" for _, kind in kinds), masks, found.wrapper)


def below_class(file: str, name: str) -> str:
    """Return a file's path below its class folder; the whole path if no folder has the class's name."""
    parts = normal(file).split("/")
    return "/".join(parts[parts.index(name) + 1 if name in parts[:-1] else 0 :])


def _kind(path: str | Place, *, must_read: bool = False) -> str:
    """Return ``scan``, ``volume``, or an empty string for a file that is neither, or a link to nothing.

    Raises
    ------
    FolderError
        With `must_read`: a file cannot be read.
    """
    try:
        head, form = head_of_scan(path)
    except Unreadable as error:
        if must_read and (isinstance(path, Address) or os.path.exists(path)):  # noqa: PTH110
            raise FolderError(f"{path} {error}; change its permissions, or move it away") from error
        return ""
    except Rejected:
        return ""
    if form == "dicom" and told_instead(head):
        return ""
    if form == "tiff":
        return "volume" if _has_pages(path, head) else "scan"
    frames = re.search(rb"\x28\x00\x08\x00(?:IS..|..\x00\x00)([0-9 ]+)", head, re.DOTALL)
    several = form == "dicom" and frames is not None and frames[1].strip() not in (b"", b"1")
    return "volume" if form == "nifti" or several else "scan"


def _has_pages(path: str | Place, head: bytes) -> bool:
    """Whether the first directory of a TIFF is followed by another, which may be a thumbnail's."""
    order: Literal["little", "big"] = "little" if head.startswith(b"II") else "big"
    offset, count, entry = (8, 8, 20) if 43 in head[2:4] else (4, 2, 12)  # 43 is BigTIFF's number
    try:
        with _opened(path) as file:
            file.seek(int.from_bytes(head[offset : 2 * offset], order))
            entries = int.from_bytes(file.read(count), order)
            file.seek(entries * entry, os.SEEK_CUR)
            return any(file.read(offset))
    except (OSError, ValueError, OverflowError, Rejected):
        return False  # damaged: an offset beyond what a file can have


def _opened(path: str | Place) -> BinaryIO:
    return io.BytesIO(read_file(path)) if isinstance(path, Address) else Path(path).open("rb")


def _is_lost_link(path: Place) -> bool:
    """Whether a path is a link to something that does not exist, such as a disk that is not mounted."""
    return isinstance(path, Path) and path.is_symlink() and not path.exists()


def read_top(source: Place) -> Inside:
    """List the folder of scans; raise `FolderError` if it cannot be listed."""
    if isinstance(source, Address):
        listed = inside(source)
        if not any(listed):
            raise FolderError(f"{source} holds nothing; check the address")
        return listed
    if not source.is_dir():
        is_file = " but a file" if source.exists() else ""
        raise FolderError(
            f"{source} is not a folder{is_file}; give a folder with one folder per class: CLASS/file"
        )
    try:
        return inside(source)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise FolderError(f"{source} cannot be read: {reason}") from error


def _looks_like_a_scan(file: Place) -> bool:
    """Whether a file is a scan by its suffix or else, as of DICOM files without one, its first bytes."""
    if file.suffix.lower() in LOOKS_LIKE_A_SCAN:
        return True
    return not is_document(file.name) and _kind(file) != ""


def _check_names(classes: list[str], source: Place) -> None:
    for name in classes:
        problem = why_no_name(name)
        if problem:
            raise FolderError(f"{source}: folder {name!a} is not a class: {problem}; rename it")
    check_alike(classes, source)
