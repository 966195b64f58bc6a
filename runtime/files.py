"""Write beside, then rename: nothing half-written is ever mistaken for whole."""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from scangan.runtime.errors import ScanganError


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; rename it to `path` if the block succeeds, else remove it.

    Parameters
    ----------
    path : Path
        The file to be. Its folder must exist.

    Yields
    ------
    Path
        A path in the same folder, so that the rename is atomic.

    Raises
    ------
    OSError
        The folder is missing or not writable, or the disk is full; `path` is then as it was before.
    """
    beside = _beside(path)
    try:
        with naming(path):
            yield beside
        # Flushed before the rename: after a power cut the name never points at missing data.
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    # One name, whoever writes: what a killed writer left is overwritten by the next.
    return path.with_name(f".{path.name}.part")


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Name the file in an error that does not: a full disk is reported without one."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


@contextlib.contextmanager
def only_writer(lock_file: Path) -> Iterator[None]:
    """Hold a lock: two commands that write one folder would mix their files.

    It goes with the process, however that ends.

    Parameters
    ----------
    lock_file : Path
        A hidden file in or beside what is written; its folder is made, and removed again if
        nothing else came into it.

    Raises
    ------
    ScanganError
        Another process holds it.
    """
    from filelock import FileLock, Timeout

    lock_file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(lock_file)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise ScanganError(
            f"{lock_file.parent} is being written by another command; wait for it, "
            f"or choose another folder"
        ) from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows removes no open file
            lock_file.unlink(missing_ok=True)
        lock.release()
        with contextlib.suppress(OSError):
            lock_file.parent.rmdir()  # which fails unless it is empty


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` beside-and-rename, without waiting for the disk.

    For the many small files of a generated set: a killed process loses none of them, a power cut
    may lose or empty the last ones.
    """
    beside = _beside(path)
    try:
        with naming(path):
            beside.write_bytes(data)
            beside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write one JSON value, indented, beside-and-rename."""
    with written_whole(path) as beside:
        beside.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_jsonl(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    """Write one JSON object a line, beside-and-rename."""
    with written_whole(path) as beside, beside.open("w", encoding="utf-8") as file:
        for line in lines:
            # ASCII: a file name need not be UTF-8, and comes through as an escape.
            file.write(json.dumps(line) + "\n")


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read one JSON object a line."""
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]
