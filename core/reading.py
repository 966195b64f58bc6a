"""Read the bytes of a file, or report why they cannot be read."""

import errno
import os
import stat

from scangan.core.address import Address, Place
from scangan.core.errors import Rejected, Unreadable

MOST_BYTES = 1 << 31
OURS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # not the file's fault: a later try may work


def read_file(path: str | Place, most: int = -1) -> bytes:
    """Read a file, or its first `most` bytes.

    Raises
    ------
    Rejected
        It is not a regular file, or it is over 2 GiB.
    Unreadable
        It cannot be read; the text has the system's reason.
    StoreError
        An object store refuses or does not answer.
    OSError
        Too many files are open, or memory is full.
    """
    if isinstance(path, Address):
        return _read_object(path, most)
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


def _read_object(address: Address, most: int) -> bytes:
    from scangan.core import store

    try:
        return store.read(address, most, largest=MOST_BYTES)
    except FileNotFoundError as error:
        raise Unreadable("cannot be read: it is no longer there") from error
    except ValueError as error:
        raise Rejected("over 2 GiB") from error


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
