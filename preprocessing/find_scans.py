"""Find the scans in a source folder, with their classes and subjects."""

import contextlib
import csv
import dataclasses
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple, get_args

from scangan.artifacts.dataset_records import Settings
from scangan.artifacts.run import refuse_run
from scangan.artifacts.scan_folder import renamed_classes
from scangan.core.address import Address, Place
from scangan.core.class_folders import Refused, below_class, find_class_files, read_top
from scangan.core.class_names import check_alike, normal, why_no_name
from scangan.core.counted import counted
from scangan.core.errors import USAGE, FolderError, PreprocessingError
from scangan.core.files import is_there
from scangan.core.folders import below, is_document
from scangan.preprocessing.labels import COLUMNS, MultiLabel, assign, class_of, read_rows
from scangan.preprocessing.phantom import REQUEST, TRUTH

DEEPEST_CLASS = 9


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """How to find the class and the subject of each scan; stored in ``dataset.json``.

    Parameters
    ----------
    labels : Path, optional
        A CSV file with the class of each file. By default, the folder of a file is its class.
    columns : str
        Headings of the CSV's columns: file, class and optionally subject.
    multi_label : {"error", "first", "join"}
        What to do if a file has several labels in the CSV (joined by ``|``, or on several lines):
        reject it, use the first label, or make one class ``A+B``.
    class_level : int, optional
        How many levels below the source the class folders are; 0: everything is one class. By
        default, they are detected.
    subjects : str, optional
        A regular expression to search for in each file's path. The subject is its group named
        ``subject``, else its first group, else the whole match.
    include, exclude : tuple of str
        Shell patterns (``*``, ``?``, ``[a-c]``; ``*`` also matches ``/``) for a file's name or its
        path in the source folder. With `include`, only matching files are used, even masks and the
        like. Files that match `exclude` are never used.
    """

    labels: Path | None = None
    columns: str = ",".join(COLUMNS)
    multi_label: MultiLabel = "error"
    class_level: int | None = None
    subjects: str | None = None
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = self.column_names
        if len(names) not in (2, 3) or not all(names) or len(set(names)) < len(names):
            raise _usage(
                f"--columns {self.columns!r} is invalid; it takes FILE,CLASS or FILE,CLASS,SUBJECT"
            )
        if self.multi_label not in get_args(MultiLabel):
            known = ", ".join(get_args(MultiLabel))
            raise _usage(f"--multi-label {self.multi_label!r} is unknown; it takes {known}")
        if self.labels is None and (names != COLUMNS or self.multi_label != "error"):
            raise _usage("--columns and --multi-label say how to read --labels FILE.csv; add it")
        if self.class_level is not None and not 0 <= self.class_level <= DEEPEST_CLASS:
            raise _usage(
                f"--class-level {self.class_level} is out of range; it takes 0 to {DEEPEST_CLASS}"
            )
        if self.class_level is not None and self.labels is not None:
            raise _usage("--class-level and --labels both set the classes; drop one")
        if self.subjects is not None:
            _check_pattern(self.subjects)
            if names != COLUMNS and len(names) == 3:
                raise _usage(
                    f"--subjects and the column {names[2]!r} both set the subject; drop one"
                )

    @property
    def column_names(self) -> tuple[str, ...]:
        """Headings of the columns for file, class and, if given, subject."""
        return tuple(name.strip() for name in next(csv.reader([self.columns]), []))

    def to_dict(self) -> Settings:
        """Return the options as JSON values; only the name of the CSV, as it may move."""

        # Names may not be UTF-8, but JSON must be.
        def plain(value: Any) -> Any:
            if isinstance(value, tuple):
                return [plain(each) for each in value]
            return value and str(value).encode("utf-8", "backslashreplace").decode()

        told = {name: plain(value) for name, value in dataclasses.asdict(self).items()}
        labels = self.labels and ascii(self.labels.name)[1:-1]
        return told | {"labels": labels, "class_level": self.class_level}


def _usage(message: str) -> PreprocessingError:
    return PreprocessingError(message, exit_code=USAGE)


def _check_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except re.error as error:
        where = "" if error.pos is None else f" at character {error.pos + 1}"
        raise _usage(
            f"--subjects {pattern!r} is not a regular expression: {error.msg}{where}"
        ) from error


class SourceFile(NamedTuple):
    """A file: its path relative to the source folder with ``/``, its class, and its subject if known."""

    file: str
    class_name: str
    subject: str | None = None

    @property
    def below_class(self) -> str:
        """Its path below its class folder; the whole path if a table gives the class."""
        return below_class(self.file, self.class_name)


class Found(NamedTuple):
    """The classes in order (including empty ones), the files in order, and the rejects."""

    classes: list[str]
    scans: list[SourceFile]
    rejects: list[Refused]
    wrapper: str = ""  # the path of single folders around the class folders
    left_out: int = 0  # files left out by --include and --exclude


def find_scans(source: Place, options: SourceOptions) -> Found:
    """Find the files of every class, and the rejected ones.

    `find_class_files` decides which folders are classes. With ``options.labels``, a CSV gives the
    classes, wherever the files are.

    Raises
    ------
    PreprocessingError
        There are no scans, a class name is not allowed, or the CSV cannot be used.
    """
    try:
        refuse_run(source)
        if options.labels:
            found = _labelled(source, options.labels, options)
        else:
            listed = find_class_files(source, options.class_level)
            refuse_run(source / listed.wrapper, listed.classes)
            scans = [SourceFile(file, name) for file, name in listed.files]
            found = Found(listed.classes, scans, listed.rejects, listed.wrapper)
            if renamed := renamed_classes(source / listed.wrapper):
                # Names that look alike stay apart, as folders.
                with contextlib.suppress(FolderError):
                    named = _with_classes(found, renamed)
                    check_alike(named.classes, source)
                    found = named
        if is_there(source / REQUEST) and not is_there(source / TRUTH):
            raise FolderError(f"{source} is not finished; run make-phantoms again to continue")
    except FolderError as error:
        raise PreprocessingError(str(error)) from error
    found = _chosen(found, options, source)
    scans = _with_subjects(found.scans, options.subjects) if options.subjects else found.scans
    rejects = sorted(found.rejects, key=lambda refused: refused.file)
    return found._replace(classes=sorted(found.classes), scans=sorted(scans), rejects=rejects)


def _with_classes(found: Found, named: Mapping[str, str]) -> Found:
    """Give the classes of some folders their names."""
    return found._replace(
        classes=sorted({named.get(name, name) for name in found.classes}),
        scans=[
            scan._replace(class_name=named.get(scan.class_name, scan.class_name))
            for scan in found.scans
        ],
        rejects=[
            each._replace(
                class_name=each.class_name and named.get(each.class_name, each.class_name)
            )
            for each in found.rejects
        ],
    )


def _labelled(source: Place, labels: Path, options: SourceOptions) -> Found:
    read_top(source)
    rows = read_rows(labels, options.column_names)
    if options.subjects and any(row.subject for row in rows):
        raise _usage(
            f"--subjects and the column 'subject' of {labels} both set the subject; leave one out "
            f"(--columns file,class)"
        )
    listed = below(source, "")
    files = [file for file in listed.files if not is_document(file)]
    of_file, refused = assign(rows, files, labels.name)
    rejects = refused + [Refused(folder, None, reason) for folder, reason in listed.refused]
    scans = []
    for file, its_rows in of_file.items():
        name, subject, reason = class_of(its_rows, options.multi_label, labels.name)
        reason = reason or why_no_name(name or "")
        if name is None or reason:
            rejects.append(Refused(file, None, reason))
        else:
            scans.append(SourceFile(file, name, subject))
    if not scans:
        first = f"; {rejects[0].file!r}: {rejects[0].reason}" if rejects else ""
        raise PreprocessingError(
            f"{labels} has {counted(len(rows), 'line')}, and none gives a file in {source} its class{first}"
        )
    rejects += [
        Refused(file, None, f"not in {labels.name}") for file in files if file not in of_file
    ]
    told = {scan.class_name for scan in scans} | {each.class_name for each in refused}
    classes = sorted(filter(None, told))
    check_alike(classes, labels)
    return Found(classes, scans, rejects)


def _chosen(found: Found, options: SourceOptions, source: Place) -> Found:
    """Apply `include` and `exclude`."""
    refused = [each.file for each in found.rejects]
    if not options.include and not options.exclude:
        return found
    for option, patterns in (("--include", options.include), ("--exclude", options.exclude)):
        for pattern in patterns:
            files = [scan.file for scan in found.scans]
            if not any(_matches(f, [pattern]) for f in files + refused * (option == "--exclude")):
                raise PreprocessingError(
                    f"{option} {pattern!r} matches none of {counted(len(found.scans), 'file')}; the first "
                    f"is {found.scans[0].file!r}",
                    exit_code=USAGE,
                )

    def wanted(file: str) -> bool:
        if options.include and not _matches(file, options.include):
            return False
        return not _matches(file, options.exclude)

    scans = [scan for scan in found.scans if wanted(scan.file)]
    if not scans:
        raise PreprocessingError(
            f"--include and --exclude leave none of {counted(len(found.scans), 'file')}; the first is "
            f"{found.scans[0].file!r}",
            exit_code=USAGE,
        )
    # A folder, or a line of a table without its file, is not left out by what was to be included.
    rejects = [
        each
        for each in found.rejects
        if (
            wanted(each.file)
            if _is_file(source / each.file)
            else not _matches(each.file, options.exclude)
        )
    ]
    left_out = len(found.scans) - len(scans)
    # A class whose files are all left out is not wanted; one that had none is still empty.
    gone = {scan.class_name for scan in found.scans} - {scan.class_name for scan in scans}
    classes = [name for name in found.classes if name not in gone]
    return found._replace(classes=classes, scans=scans, rejects=rejects, left_out=left_out)


def _is_file(path: Place) -> bool:
    return is_there(path) if isinstance(path, Address) else path.is_file()


def _matches(file: str, patterns: Sequence[str]) -> bool:
    names = normal(file), normal(file).rpartition("/")[2]
    return any(fnmatchcase(name, normal(pattern)) for pattern in patterns for name in names)


def _with_subjects(scans: list[SourceFile], pattern: str) -> list[SourceFile]:
    search = re.compile(normal(pattern))
    found = [scan._replace(subject=_subject(search.search(normal(scan.file)))) for scan in scans]
    if all(scan.subject is None for scan in found):
        raise PreprocessingError(
            f"--subjects {pattern!r} matches none of {counted(len(scans), 'file')}; the first is "
            f"{scans[0].file!r}"
        )
    return found


def _subject(match: re.Match[str] | None) -> str | None:
    if match is None:
        return None
    if "subject" in match.re.groupindex:
        return match["subject"] or None
    # In alternatives such as (person[0-9]+)|(IM-[0-9]+), only one group matches.
    return next(filter(None, match.groups()), None) if match.re.groups else match[0] or None
