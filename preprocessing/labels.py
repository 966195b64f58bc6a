"""Read classes and subjects from a CSV: find the file of each line, and its class."""

import csv
import functools
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

from scangan.core.class_folders import Refused
from scangan.core.class_names import normal, why_no_name
from scangan.core.errors import PreprocessingError
from scangan.core.printable import printable, quoted

MultiLabel = Literal["error", "first", "join"]
DELIMITERS = ",;\t"
FEW_LABELS = 2  # to name in a reason, which stays short even if each is long
MOST_LISTED = 300  # characters of headings in an error
COLUMNS = ("file", "class", "subject")  # defaults; the last one is optional then


class Row(NamedTuple):
    """One line of the CSV."""

    line: int
    file: str
    label: str
    subject: str | None


def read_rows(path: Path, columns: tuple[str, ...]) -> list[Row]:
    """Read a CSV with a header, separated by commas, semicolons or tabs, in UTF-8.

    Parameters
    ----------
    path : Path
        The CSV file.
    columns : tuple of str
        Headings of the columns for file, class and, if there are three, subject.

    Raises
    ------
    PreprocessingError
        The file cannot be read, is not such a CSV, or lacks a column.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            heading = file.readline()
            if not heading.strip():
                raise PreprocessingError(
                    f"{path} has no heading; its first line names the columns, such as file,class"
                )
            delimiter, header = max(
                ((mark, _cells(heading, mark)) for mark in DELIMITERS),
                key=lambda read: (
                    len({*map(normal, columns)} & {*map(normal, read[1])}),
                    len(read[1]),
                ),
            )
            at = _places(header, columns, path)
            # Short lines lack the last values.
            blank = [""] * len(header)
            reader = csv.reader(file, delimiter=delimiter)
            rows = [(reader.line_num + 1, line + blank) for line in reader if any(line)]
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise PreprocessingError(f"--labels {path} cannot be read: {reason}") from error
    except UnicodeDecodeError as error:
        raise PreprocessingError(f"{path} is not UTF-8 text; save it as 'CSV UTF-8'") from error
    except csv.Error as error:
        raise PreprocessingError(f"{path} cannot be read as CSV: {error}") from error
    if not rows:
        raise PreprocessingError(f"{path} has a heading and no lines; it takes one for each file")
    subject = at[2] if len(at) == 3 else None
    return [
        Row(
            number,
            line[at[0]].strip(),
            normal(line[at[1]].strip()),
            None if subject is None else normal(line[subject].strip()) or None,
        )
        for number, line in rows
    ]


def _cells(heading: str, delimiter: str) -> list[str]:
    return [cell.strip() for cell in next(csv.reader([heading], delimiter=delimiter), [])]


def _places(header: list[str], columns: tuple[str, ...], path: Path) -> list[int]:
    """Return the positions of the wanted columns."""
    if columns == COLUMNS and "subject" not in header:
        # Spelled in another way, it must not be lost: a split would tear subjects apart.
        columns = columns[:2] + tuple(name for name in header if name.lower() == "subject")[:1]
    columns, header = tuple(map(normal, columns)), list(map(normal, header))
    missing = [name for name in columns if name not in header]
    if missing:
        raise PreprocessingError(
            f"{path} has no column {missing[0]!r}; it has: {_listed(header)} "
            f"(say which to use: --columns FILE,CLASS,SUBJECT)"
        )
    return [header.index(name) for name in columns]


def _listed(header: list[str]) -> str:
    """Return the headings in one printable line, shortened in case the file is not a table."""
    named = ", ".join(filter(None, header))
    plain = printable(named)
    return plain if len(plain) <= MOST_LISTED else f"{plain[:MOST_LISTED]}..."


def assign(
    rows: list[Row], files: list[str], table: str
) -> tuple[dict[str, list[Row]], list[Refused]]:
    """Find the file of each row.

    A row gives the path of a file relative to the source folder, or the end of that path (such as
    the name alone), with or without the suffix.

    Parameters
    ----------
    rows : list of Row
    files : list of str
        Paths relative to the source folder, with ``/``.
    table : str
        Name of the CSV, for error texts.

    Returns
    -------
    of_file : dict
        The rows of each file that has rows.
    rejects : list of Refused
        The rows that match no file or several.
    """
    find = _finder(files)
    of_file: defaultdict[str, list[Row]] = defaultdict(list)
    rejects: list[Refused] = []
    for row in rows:
        places = find(row.file)
        if len(places) == 1:
            of_file[places[0]].append(row)
            continue
        if places:
            problem = f"both {places[0]!r} and {places[1]!r}; give the path"
        else:
            problem = "no such file" if row.file else "no file name"
        name = None if "|" in row.label or why_no_name(row.label) else row.label
        reason = f"{problem} (line {row.line} of {table})"
        rejects.append(Refused(row.file, name, reason))
    return dict(of_file), rejects


def _finder(files: list[str]) -> Callable[[str], list[str]]:
    """Make a function that returns all files that a row's text may mean."""
    by_path: defaultdict[str, list[str]] = defaultdict(list)
    for file in files:
        by_path[normal(file)].append(file)
    by_name: defaultdict[str, list[str]] = defaultdict(list)
    by_stem: defaultdict[str, list[str]] = defaultdict(list)
    for path in by_path:
        name = path.rpartition("/")[2]
        by_name[name].append(path)
        stem, _, suffix = name.removesuffix(".gz").rpartition(".")
        if stem and not suffix.isdecimal():  # a UID has no suffix
            by_stem[stem].append(path)

    def find(text: str) -> list[str]:
        path = normal(text)
        if not path:
            return []
        if path not in by_path:
            path = path.replace("\\", "/").removeprefix("./")
        if path in by_path:
            return by_path[path]
        folder, _, name = path.rpartition("/")
        return tails(False, name).get(folder) or tails(True, name).get(folder) or []

    @functools.cache
    def tails(stem: bool, name: str) -> dict[str, list[str]]:
        """Map every tail of the folder path to the files with this name (or stem)."""
        ends: defaultdict[str, list[str]] = defaultdict(list)
        for place in (by_stem if stem else by_name).get(name, ()):
            above = place.split("/")[:-1]
            for start in range(len(above) + 1):
                ends["/".join(above[start:])] += by_path[place]
        return dict(ends)

    return find


def class_of(
    rows: list[Row], multi_label: MultiLabel, table: str
) -> tuple[str | None, str | None, str]:
    """Determine the class and subject of a file.

    Parameters
    ----------
    rows : list of Row
        All rows for the file.
    multi_label : {"error", "first", "join"}
        What to do with several labels (joined by ``|``, or on several lines): reject the file, use
        the first label, or make one class ``A+B``.
    table : str
        Name of the CSV, for error texts.

    Returns
    -------
    class_name : str or None
        The class; None if the file is rejected.
    subject : str or None
        The subject, if known.
    reason : str
        Why the file is rejected; empty if it is not.
    """
    lines = {row.subject: row.line for row in reversed(rows) if row.subject is not None}
    if len(lines) > 1:
        two = sorted(lines.values())
        return None, None, f"two subjects (lines {two[0]} and {two[1]} of {table})"
    subject = next(iter(lines), None)
    labels: dict[str, int] = {}
    for row in rows:
        for label in filter(None, map(str.strip, row.label.split("|"))):
            labels.setdefault(label, row.line)
    if not labels:
        return None, None, f"no class (line {rows[0].line} of {table})"
    if len(labels) == 1 or multi_label == "first":
        return next(iter(labels)), subject, ""
    if multi_label == "join":
        return "+".join(sorted(labels)), subject, ""
    if len(set(labels.values())) == 1:
        told = f"{quoted('|'.join(labels))}, line {rows[0].line} of {table}"
    else:
        few = list(labels.items())[:FEW_LABELS]
        told = ", ".join(f"{quoted(label)} on line {line}" for label, line in few)
        told += f"{', ...' if len(labels) > len(few) else ''} of {table}"
    return None, None, f"several labels ({told}); choose --multi-label first or join"
