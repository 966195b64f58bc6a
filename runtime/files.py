"""Write beside, then rename: nothing half-written is ever mistaken for whole."""

import contextlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any


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
    # The process number keeps two writers apart; a killed one leaves a file that no reader looks for.
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield beside
        # Flushed before the rename: after a power cut the name never points at missing data.
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` beside-and-rename, without waiting for the disk.

    For the many small files of a generated set: a power cut may lose the last of them, a killed
    process none.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
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
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Read one JSON object a line."""
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]
