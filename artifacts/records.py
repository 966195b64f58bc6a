"""Records: typed, checked classes for the lines and files on disk."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from scangan.core.address import Place
from scangan.core.class_names import with_normal_names
from scangan.core.errors import fault_of, first_line
from scangan.core.files import write_json, write_jsonl


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line or one file on disk.

    A field without a default is required, and unknown fields are refused. If the name on disk is a
    Python keyword, ``rename`` maps it (``class_name`` is ``class``). Subclasses repeat
    ``frozen=True``, for mypy.
    """


R = TypeVar("R", bound=Record)


def to_record(kind: type[R], told: object) -> R:
    """Convert a parsed JSON value to a kind of record, and check it.

    Raises
    ------
    ValueError
        A field is unknown, missing or of the wrong type; the text says which.
    """
    try:
        return msgspec.convert(told, kind)
    except msgspec.ValidationError as error:
        raise ValueError(first_line(error)) from error


def to_told(record: Record) -> dict[str, Any]:
    """Turn a record into a value for JSON, with the fields in the order of the class."""
    told: dict[str, Any] = msgspec.to_builtins(record)
    return told


def parse_record(kind: type[R], text: str | bytes) -> R:
    """Read a record from JSON, with normalised class names.

    Raises
    ------
    ValueError
        The text is not JSON, or not a record of this kind.
    """
    data = text.encode() if isinstance(text, str) else text
    try:
        return _parsed(kind, data)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _parsed(kind: type[R], data: bytes) -> R:
    if data.isascii() and b"\\u" not in data:  # then a name has but one form
        try:
            return msgspec.json.decode(data, type=kind)
        except msgspec.ValidationError as error:
            raise ValueError(first_line(error)) from error
        except msgspec.DecodeError:  # Python's reader is less strict: it takes NaN
            pass
    try:
        told = json.loads(data, object_pairs_hook=with_normal_names)
    except json.JSONDecodeError as error:
        raise ValueError(fault_of(error)) from error
    return to_record(kind, told)


def of_older(kind: type[R], told: dict[str, Any], unsaid: dict[str, object]) -> R:
    """Check what an older version wrote: `unsaid` fills missing fields, and unknown ones are dropped."""
    known = {field.encode_name for field in msgspec.structs.fields(kind)}
    return to_record(kind, {key: value for key, value in (unsaid | told).items() if key in known})


def parse_records(kind: type[R], data: bytes) -> Iterator[R]:
    """Read records from JSON lines.

    Raises
    ------
    ValueError
        A line is not JSON, or not a record of this kind; the text says which line.
    """
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            yield parse_record(kind, line)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from error


def line_of(record: Record) -> str:
    """Write a record as a line of JSON in ASCII: a file's name need not be UTF-8."""
    return json.dumps(to_told(record)) + "\n"


def write_record(path: Place, record: Record, *, once: bool = False) -> None:
    """Write a record as one indented JSON value, completely or not at all.

    For `once`, see `written_whole`.
    """
    write_json(path, to_told(record), once=once)


def write_records(path: Path, records: Iterable[Record]) -> int:
    """Write one record per line, completely or not at all; return their number."""
    return write_jsonl(path, map(to_told, records))
