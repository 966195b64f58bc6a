"""Read and write whole files, on disk or in an object store.

On disk, a temporary file is written and then renamed, so that a half-written file never looks
complete. In a store, an object appears when all of it is there.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from scangan.core.address import Address, Place
from scangan.core.errors import ScanganError

_BINARY = getattr(os, "O_BINARY", 0)  # only on Windows


@contextlib.contextmanager
def written_whole(path: Place, *, once: bool = False) -> Iterator[Path]:
    """Yield a temporary path; rename it to `path` if the block succeeds, else delete it.

    Parameters
    ----------
    path : Path or Address
        The file to write. Its folder must exist. For an object, the temporary file is on this
        machine's disk, where it needs as much space.
    once : bool
        In a store, refuse to replace an object that has other bytes.

    Yields
    ------
    Path
        A path in the same folder, so that the rename is atomic.

    Raises
    ------
    OSError
        The folder is missing or not writable, or the disk is full; `path` is unchanged.
    """
    if isinstance(path, Address):
        import tempfile

        from scangan.core import store

        with tempfile.TemporaryDirectory(prefix="scangan-") as folder:
            yield (whole := Path(folder) / "object")
            store.put(path, whole, once=once)
        return
    beside = _beside(path)
    try:
        with naming(path):
            yield beside
        # Flush before the rename, so that after a power cut the name never points to missing data.
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    # Always the same name, so that the next writer overwrites what a killed one left.
    return path.with_name(f".{path.name}.part")


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Add the file name to an `OSError` without one, as a full disk or a bad sector raises."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


@contextlib.contextmanager
def only_writer(lock_file: Path, wait: float = 0, *, own_folder: bool = True) -> Iterator[None]:
    """Hold a lock, so that two commands never mix their files in one folder.

    The lock ends with the process, even if it is killed.

    Parameters
    ----------
    lock_file : Path
        A hidden file in the output folder or beside it, which says who holds the lock. Its folder is
        created.
    wait : float
        Seconds to wait for the lock.
    own_folder : bool
        The folder is the command's own: remove it if it stays empty.

    Raises
    ------
    ScanganError
        Another process holds the lock.
    """
    import platform
    import warnings

    from filelock import FileLock, Timeout

    folder = lock_file.parent
    lock = FileLock(lock_file)
    try:
        with warnings.catch_warnings(action="ignore"):  # a file system without locks warns
            folder.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=wait)
            except FileNotFoundError:  # another command failed, and removed the folder it had made
                folder.mkdir(parents=True, exist_ok=True)
                lock.acquire(timeout=wait)
    except Timeout as error:
        who = "another command"
        with contextlib.suppress(OSError):  # Windows lets no other process read it
            words = lock_file.read_text(encoding="utf-8").split()
            if words and words[0].isdecimal():
                words = ["process", words[0], "on", *words[1:2]]  # filelock's own text
            who += f" ({' '.join(words) or 'unknown'})"
        written, kind = lock_file.parent, "folder"
        if not own_folder:  # of a file
            written, kind = written / lock_file.stem.removeprefix("."), "name"
        raise ScanganError(
            f"{written} is being written by {who}; wait for it, or choose another {kind}"
        ) from error
    # Without locks in the file system, filelock changes the class: its own file is then the lock.
    ours = type(lock) is FileLock
    try:
        if ours:
            with contextlib.suppress(OSError):  # a full disk: the name of the holder is optional
                lock_file.write_text(
                    f"process {os.getpid()} on {platform.node()}, since {time.strftime('%F %T')}",
                    encoding="utf-8",
                )
        yield
    finally:
        if ours:
            with contextlib.suppress(OSError):  # Windows cannot remove an open file
                lock_file.unlink(missing_ok=True)
        lock.release()
        if own_folder:
            with contextlib.suppress(OSError):
                folder.rmdir()  # fails unless the folder is empty


def check_writable(folder: Path) -> None:
    """Raise `OSError` if no file can be made in a folder. Call it before long work."""
    import tempfile

    try:
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        error.filename = str(folder)
        raise


def write_bytes(path: str | Place, data: bytes, *, once: bool = False) -> None:
    """Write `data` to a temporary file and rename it to `path`, without waiting for the disk.

    Meant for the many small files of generated scans. If the process is killed, no file is lost. A
    power cut may lose or empty the last ones. For `once`, see `written_whole`.
    """
    if isinstance(path, Address):
        from scangan.core import store

        store.put(path, data, once=once)
        return
    # Direct calls take half as long as pathlib and open.
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


def write_json(path: Place, value: Any, *, once: bool = False) -> None:
    """Write one JSON value, indented, completely or not at all. For `once`, see `written_whole`."""
    with written_whole(path, once=once) as beside:
        beside.write_text(
            json.dumps(value, indent=2, ensure_ascii=False) + "\n",
            encoding="utf-8",
            errors="backslashreplace",  # a file name may not be valid UTF-8; JSON has this escape, too
            newline="\n",
        )


def write_jsonl(path: Path, lines: Iterable[dict[str, Any]]) -> int:
    """Write one JSON object per line, completely or not at all; return their number."""
    number = 0
    with written_whole(path) as beside, beside.open("w", encoding="utf-8", newline="\n") as file:
        for line in lines:
            # ASCII: a file name may not be valid UTF-8, and an escape preserves it.
            file.write(json.dumps(line) + "\n")
            number += 1
    return number


def read_bytes(path: Place, most: int = -1) -> bytes:
    """Read a file, or its first `most` bytes; errors name the file."""
    if isinstance(path, Address):
        from scangan.core import store

        return store.read(path, most)
    with naming(path):
        if most < 0:
            return path.read_bytes()
        with path.open("rb") as file:
            return file.read(most)


@contextlib.contextmanager
def opened_lines(path: Place) -> Iterator[Iterator[bytes]]:
    """Open a file of lines, each of which ends with a line break; errors name the file."""
    if isinstance(path, Address):
        from scangan.core import store

        yield store.lines(path)
        return
    with naming(path), path.open("rb") as file:
        yield iter(file)


def size_of(path: str | Place) -> int:
    """Return the size of a file in bytes; raise `FileNotFoundError` if there is none."""
    if isinstance(path, Address):
        from scangan.core import store

        return store.size(path)
    return os.stat(path).st_size  # noqa: PTH116  (takes a third of the time of Path.stat)


def is_there(path: str | Place) -> bool:
    """Return whether a file exists and is not empty; a power cut can leave an empty file."""
    try:
        return size_of(path) > 0
    except FileNotFoundError:
        return False


def matching(folder: Place, pattern: str) -> list[str]:
    """List the files directly in a folder whose name matches a shell pattern, in order."""
    if isinstance(folder, Path):
        return sorted(path.name for path in folder.glob(pattern))
    from scangan.core import store

    return [name for name in store.inside(folder).files if fnmatchcase(name, pattern)]


def remove(path: Place) -> None:
    """Remove a file, if it is there."""
    if isinstance(path, Address):
        from scangan.core import store

        store.remove([path])
    else:
        path.unlink(missing_ok=True)


def read_text(path: Place) -> str:
    """Read a whole UTF-8 text file; errors name the file."""
    if isinstance(path, Address):
        return read_bytes(path).decode("utf-8")
    with naming(path):
        return path.read_text(encoding="utf-8")
