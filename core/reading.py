"""Read the bytes of a file, or report why they cannot be read."""

import errno
import os
import stat
from pathlib import Path

from scangan.core.errors import Rejected, Unreadable

MOST_BYTES = 1 << 31
OURS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # not the file's fault: a later try may work


def read_file(path: str | Path, most: int = -1) -> bytes:
    """Read a file, or its first `most` bytes.

    Raises
    ------
    Rejected
        It is not a regular file, or it is over 2 GiB.
    Unreadable
        It cannot be read; the text has the system's reason.
    OSError
        Too many files are open, or memory is full.
    """
    try:
        # Non-blocking, because opening a pipe would wait for a writer for ever.
        with open(path, "rb", buffering=0, opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise Rejected("not a regular file")
            if status.st_size > MOST_BYTES:
                raise Rejected("over 2 GiB")
            return file.read(most) or b""
    except OSError as error:
        if error.errno in OURS:
            raise
        raise Unreadable(f"cannot be read: {(error.strerror or str(error)).lower()}") from error


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
