"""Write beside, then rename: nothing half-written is ever mistaken for whole."""

import contextlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from scangan.core.class_names import with_normal_names
from scangan.core.errors import ScanganError

_BINARY = getattr(os, "O_BINARY", 0)  # of Windows


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
    """Name the file in an error that does not: a full disk is reported without one, a bad sector too."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


@contextlib.contextmanager
def only_writer(lock_file: Path, wait: float = 0) -> Iterator[None]:
    """Hold a lock: two commands that write one folder would mix their files.

    It goes with the process, however that ends.

    Parameters
    ----------
    lock_file : Path
        A hidden file in or beside what is written; its folder is made, and removed again if
        nothing else came into it. It says who holds it.
    wait : float
        Seconds to wait for it.

    Raises
    ------
    ScanganError
        Another process holds it.
    """
    import platform
    import warnings

    from filelock import FileLock, Timeout

    lock_file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(lock_file)
    try:
        with warnings.catch_warnings(action="ignore"):  # of a file system without locks
            lock.acquire(timeout=wait)
    except Timeout as error:
        who = "another command"
        with contextlib.suppress(OSError):  # Windows lets nobody else read it
            words = lock_file.read_text(encoding="utf-8").split()
            if words and words[0].isdecimal():
                words = ["process", words[0], "on", *words[1:2]]  # as filelock wrote it
            who += f" ({' '.join(words) or 'unknown'})"
        raise ScanganError(
            f"{lock_file.parent} is being written by {who}; wait for it, or choose another folder"
        ) from error
    # Where there are no locks filelock has made it one of another class, and what it wrote is the lock.
    ours = type(lock) is FileLock
    try:
        if ours:
            with contextlib.suppress(OSError):  # a full disk; to say who is a courtesy
                lock_file.write_text(
                    f"process {os.getpid()} on {platform.node()}, since {time.strftime('%F %T')}",
                    encoding="utf-8",
                )
        yield
    finally:
        if ours:
            with contextlib.suppress(OSError):  # Windows removes no open file
                lock_file.unlink(missing_ok=True)
        lock.release()
        with contextlib.suppress(OSError):
            lock_file.parent.rmdir()  # which fails unless it is empty


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write `data` to `path` beside-and-rename, without waiting for the disk.

    For the many small files of a generated set: a killed process loses none of them, a power cut
    may lose or empty the last ones.
    """
    # Half the time of pathlib's and open's ways to the same calls.
    path = os.fspath(path)
    folder, name = os.path.split(path)
    beside = os.path.join(folder, f".{name}.part")  # noqa: PTH118
    try:
        file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _BINARY, 0o666)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(file, rest) :]
        finally:
            os.close(file)
        os.replace(beside, path)  # noqa: PTH105
    except BaseException as error:
        if isinstance(error, OSError) and error.filename is None:
            error.filename = path
        with contextlib.suppress(OSError):
            os.unlink(beside)  # noqa: PTH108
        raise


def write_json(path: Path, value: Any) -> None:
    """Write one JSON value, indented, beside-and-rename."""
    with written_whole(path) as beside:
        beside.write_text(
            json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n"
        )


def write_jsonl(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    """Write one JSON object a line, beside-and-rename."""
    with written_whole(path) as beside, beside.open("w", encoding="utf-8", newline="\n") as file:
        for line in lines:
            # ASCII: a file name need not be UTF-8, and comes through as an escape.
            file.write(json.dumps(line) + "\n")


def read_bytes(path: Path) -> bytes:
    """Read a whole file; an error names it."""
    with naming(path):
        return path.read_bytes()


def read_text(path: Path) -> str:
    """Read a whole text in UTF-8; an error names the file."""
    with naming(path):
        return path.read_text(encoding="utf-8")


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read one JSON object a line; class names come in their one form."""
    return parse_jsonl(read_bytes(path))


def parse_jsonl(data: bytes) -> list[dict[str, Any]]:
    """Parse one JSON object a line; class names come in their one form."""
    return [json.loads(line, object_pairs_hook=with_normal_names) for line in data.splitlines()]
