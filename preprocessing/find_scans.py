"""Which files are scans, of which class and of which subject."""

import csv
import dataclasses
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple, get_args

from scangan.artifacts.dataset_records import Settings
from scangan.core.class_folders import Refused, below_class, find_class_files, read_top
from scangan.core.class_names import check_case, normal, why_no_name
from scangan.core.counted import counted
from scangan.core.errors import USAGE, FolderError, PreprocessingError
from scangan.core.folders import below, is_document
from scangan.preprocessing.labels import COLUMNS, MultiLabel, assign, class_of, read_rows

DEEPEST_CLASS = 9


@dataclasses.dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """What says the class and the subject of a scan; stored in ``dataset.json``.

    Parameters
    ----------
    labels : Path, optional
        A CSV that names the files and their classes. By default the folder that a file lies in is
        its class.
    columns : str
        The headings of the CSV's columns: file, class and, if there is one, subject.
    multi_label : {"error", "first", "join"}
        What several labels of a file in the CSV (joined by ``|``, or on several lines) become: a
        refusal, the first of them, or one class ``A+B``.
    class_level : int, optional
        How many levels below the source the class folders lie; 0: all is one class. By default they
        are found.
    subjects : str, optional
        A regular expression that is searched in each file's path: its group named ``subject``, else
        its first group, else the whole match is the subject.
    include, exclude : tuple of str
        Patterns of files, as shells have them (``*``, ``?``, ``[a-c]``; ``*`` goes through folders),
        of a file's name or its path in the source folder. With `include` only files that match one
        are taken, masks and the like too; those that match one of `exclude` never are.
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
                f"--columns {self.columns!r} is wrong; it takes FILE,CLASS or FILE,CLASS,SUBJECT"
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
            raise _usage("--class-level and --labels both say the classes; drop one")
        if self.subjects is not None:
            _check_pattern(self.subjects)
            if names != COLUMNS and len(names) == 3:
                raise _usage(
                    f"--subjects and the column {names[2]!r} both say the subject; drop one"
                )

    @property
    def column_names(self) -> tuple[str, ...]:
        """The headings of file, class and perhaps subject."""
        return tuple(name.strip() for name in next(csv.reader([self.columns]), []))

    def to_dict(self) -> Settings:
        """The options as JSON values; of the CSV its name, since it may lie elsewhere tomorrow."""

        # Names need not be UTF-8, JSON must be.
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
    """A file of scans: relative to the source folder with ``/``, its class, its subject if known."""

    file: str
    class_name: str
    subject: str | None = None

    @property
    def below_class(self) -> str:
        """Its path below the folder of its class; the whole path where a table says the class."""
        return below_class(self.file, self.class_name)


class Found(NamedTuple):
    """The classes in order (also those without a scan), the files in order, and what is refused."""

    classes: list[str]
    scans: list[SourceFile]
    rejects: list[Refused]
    wrapper: str = ""  # the path of lone folders around the class folders
    left_out: int = 0  # files, by --include and --exclude


def find_scans(source: Path, options: SourceOptions) -> Found:
    """Find the files of every class, and say which others are refused.

    See `find_class_files` for which folders are classes. With ``options.labels`` a CSV says the
    classes, wherever the files lie.

    Raises
    ------
    PreprocessingError
        There is no scan, a class cannot be named so, or the CSV cannot be used.
    """
    try:
        if options.labels:
            found = _labelled(source, options.labels, options)
        else:
            listed = find_class_files(source, options.class_level)
            scans = [SourceFile(file, name) for file, name in listed.files]
            found = Found(listed.classes, scans, listed.rejects, listed.wrapper)
    except FolderError as error:
        raise PreprocessingError(str(error)) from error
    found = _chosen(found, options)
    scans = _with_subjects(found.scans, options.subjects) if options.subjects else found.scans
    rejects = sorted(found.rejects, key=lambda refused: refused.file)
    return found._replace(classes=sorted(found.classes), scans=sorted(scans), rejects=rejects)


def _labelled(source: Path, labels: Path, options: SourceOptions) -> Found:
    read_top(source)
    rows = read_rows(labels, options.column_names)
    if options.subjects and any(row.subject for row in rows):
        raise _usage(
            f"--subjects and the column 'subject' of {labels} both say the subject; leave one out "
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
    check_case(classes, labels)
    return Found(classes, scans, rejects)


def _chosen(found: Found, options: SourceOptions) -> Found:
    """What `include` and `exclude` leave."""
    if not options.include and not options.exclude:
        return found
    for option, patterns in (("--include", options.include), ("--exclude", options.exclude)):
        for pattern in patterns:
            if not any(_matches(scan.file, [pattern]) for scan in found.scans):
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
    rejects = [each for each in found.rejects if wanted(each.file)]
    left_out = len(found.scans) - len(scans)
    return found._replace(scans=scans, rejects=rejects, left_out=left_out)


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
    # Of alternatives, (person[0-9]+)|(IM-[0-9]+), one group takes part.
    return next(filter(None, match.groups()), None) if match.re.groups else match[0] or None
