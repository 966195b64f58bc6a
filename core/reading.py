"""Read the bytes of a file, or say why they cannot be read."""

import errno
import os
import stat
from pathlib import Path

from scangan.core.errors import Rejected, Unreadable

MOST_BYTES = 1 << 31
OURS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # no fault of the file: it may be read next time


def read_file(path: str | Path, most: int = -1) -> bytes:
    """Read a file, or its first `most` bytes; `Unreadable`, with the system's reason, if it can't be.

    Raises
    ------
    OSError
        Too many files are open, or the memory is full.
    """
    try:
        # Not to wait for ever for somebody to write into a pipe.
        with open(path, "rb", buffering=0, opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise Rejected("no regular file")
            if status.st_size > MOST_BYTES:
                raise Rejected("over 2 GiB")
            return file.read(most) or b""
    except OSError as error:
        if error.errno in OURS:
            raise
        raise Unreadable(f"cannot be read: {(error.strerror or str(error)).lower()}") from error


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
