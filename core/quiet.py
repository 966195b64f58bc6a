"""Keep the output of libraries off the terminal, but show our own."""

import contextlib
import faulthandler
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

_errors: TextIO | None = None  # stream for our errors and progress, once libraries are silenced


def hush_libraries() -> None:
    """Discard output to descriptors 1 and 2, and keep copies of both for ourselves.

    Libraries print without being asked: C code to the descriptors, Python code to ``sys.stderr``
    directly, through `warnings` or through `logging`. After this call only `sys.stdout` and `errors`
    reach the original descriptors; ``sys.stderr`` does not. Child processes inherit the silence. Call
    it once, in a program that owns its process, before starting threads.

    A crash still shows its Python traceback where errors go.
    """
    global _errors
    out, err = _copy(sys.stdout, 1), _copy(sys.stderr, 2)
    sys.stdout = out or sys.stdout
    if err is not None:
        _errors = err
        faulthandler.enable(err)


@contextlib.contextmanager
def hushed_printing() -> Iterator[None]:
    """Discard what a library prints to ``sys.stdout``, if libraries are silenced; ours as well."""
    if _errors is None:
        yield
        return
    with (
        Path(os.devnull).open("w", encoding="utf-8", errors="replace") as nowhere,
        contextlib.redirect_stdout(nowhere),
    ):
        yield


def errors() -> TextIO | None:
    """Return the stream for our own errors and progress; None in a daemon, which has no stream."""
    return _errors or sys.stderr


def _copy(stream: TextIO | None, number: int) -> TextIO | None:
    """Redirect descriptor `number` to nowhere; return a stream to where it led before.

    Returns None if `stream` does not use that descriptor. It may have been closed at the start, and the
    number may now belong to another file.
    """
    try:
        if stream is None or stream.fileno() != number:
            return None
        stream.flush()
        kept, nowhere = os.dup(number), os.open(os.devnull, os.O_WRONLY)
    except (OSError, ValueError):  # a stream without a file, a full disk, no /dev: change nothing
        return None
    os.dup2(nowhere, number)
    os.close(nowhere)
    at_once = getattr(stream, "line_buffering", True) or getattr(stream, "write_through", True)
    buffering = 1 if at_once else -1
    return open(kept, "w", buffering, encoding=stream.encoding, errors=stream.errors)  # noqa: PTH123
