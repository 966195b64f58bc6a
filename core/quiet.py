"""Keep what libraries print off the terminal; our own words still get there."""

import faulthandler
import os
import sys
from typing import TextIO

_errors: TextIO | None = None  # where our own errors and progress go, once libraries are hushed


def hush_libraries() -> None:
    """Send what goes to the descriptors 1 and 2 nowhere, and keep copies of both for ourselves.

    Libraries print on their own: C code to the descriptors, Python code to ``sys.stderr`` by itself,
    by `warnings` and by `logging`. From now on `sys.stdout` and `errors` reach what the descriptors
    were; ``sys.stderr`` does not. Child processes inherit the silence. For a program that owns
    its process, once and before it starts threads.

    A crash is not silent: its Python traceback goes to where errors go.
    """
    global _errors
    out, err = _copy(sys.stdout, 1), _copy(sys.stderr, 2)
    sys.stdout = out or sys.stdout
    if err is not None:
        _errors = err
        faulthandler.enable(err)


def errors() -> TextIO | None:
    """The stream for our own errors and progress; None of a daemon, which has none."""
    return _errors or sys.stderr


def _copy(stream: TextIO | None, number: int) -> TextIO | None:
    """A stream to where descriptor `number` led, which now leads nowhere.

    None where `stream` is not that descriptor's: it was closed when the program began, and the
    number may be some file's by now.
    """
    try:
        if stream is None or stream.fileno() != number:
            return None
        stream.flush()
        kept, nowhere = os.dup(number), os.open(os.devnull, os.O_WRONLY)
    except (OSError, ValueError):  # a stream of no file, a full disk, no /dev: all stays as it is
        return None
    os.dup2(nowhere, number)
    os.close(nowhere)
    at_once = getattr(stream, "line_buffering", True) or getattr(stream, "write_through", True)
    buffering = 1 if at_once else -1
    return open(kept, "w", buffering, encoding=stream.encoding, errors=stream.errors)  # noqa: PTH123
