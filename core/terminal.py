"""Print to the terminal: lines, one-line errors, progress."""

import collections
import contextlib
import datetime
import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import click

from scangan.core.errors import ScanganError, first_line
from scangan.core.printable import printable
from scangan.core.quiet import errors

if TYPE_CHECKING:
    from rich.progress import Progress

# The extra to install for a missing module: all commands are installed, but not all dependencies.
EXTRAS = {
    "cv2": "prep",
    "nibabel": "prep",
    "numba": "prep",
    "pydicom": "dicom",
    "PIL": "prep",
    "simplejpeg": "prep",
    "sklearn": "eval",
    "scipy": "eval",
    "platformdirs": "eval",
    "keras": "classifiers",
    "matplotlib": "eval",
    "jinja2": "eval",
    "obstore": "cloud",
    "ray": "ray",
    "torch": "train",
    "onnx": "train",
    "onnxscript": "train",
    "safetensors": "train",
    "tensorboard": "train",
}
ADVICE = {
    errno.ENOSPC: "free some space and run the same command again",
    errno.EDQUOT: "delete some of your files, or ask for a larger quota, and run the same command again",
    errno.EFBIG: "make smaller files, or choose a disk or a limit (ulimit -f) that allows larger ones",
    errno.EACCES: "change its permissions, or choose another",
    errno.EPERM: "change its permissions, or choose another",
    errno.EROFS: "choose a folder that you can write to",
    errno.ENOENT: "check the path: it or a folder in it is missing",
    errno.EEXIST: "choose another name",
    errno.ENOTDIR: "choose another path: part of it is a file",
    errno.EISDIR: "choose a file: this is a folder",
    errno.ELOOP: "choose another path: it is a circle of links",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "allow more open files (ulimit -n), and run the same command again",
    errno.ENOMEM: "close other programs, and run the same command again",
}


def explain(error: Exception) -> str:
    """Describe an exception in one line: what happened, where, and what to do."""
    if isinstance(error, ScanganError):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and is_missing_package(error):
        module = (error.name or "").split(".")[0]
        return f"{module} is not installed; type: {install(EXTRAS[module])}"
    if isinstance(error, OSError) and error.errno is not None:
        where = error.filename if error.filename is not None else "the output"
        advice = ADVICE.get(error.errno, "try the same command again, or choose another place")
        return f"{where}: {os.strerror(error.errno).lower()}; {advice}"
    if isinstance(error, MemoryError):
        return f"out of memory ({first_line(error)}); {ADVICE[errno.ENOMEM]}"
    kind = type(error).__name__
    return f"unexpected {kind}: {first_line(error)} (--debug shows where; please report it)"


def is_missing_package(error: Exception) -> bool:
    """Return whether the error is a missing package of one of our extras, rather than a bad file."""
    return isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] in EXTRAS


def install(extra: str) -> str:
    """Return the command that installs an extra, with onnxruntime if it is missing.

    An installed onnxruntime-gpu counts as well, because the CPU package must not be installed
    beside it.
    """
    extras = extra if find_spec("onnxruntime") or extra == "cpu" else f"cpu,{extra}"
    # Only in a checkout: pip refuses a missing file.
    constraints = "-c constraints.txt " if Path("constraints.txt").is_file() else ""
    # Double quotes: cmd.exe gives single ones to pip.
    return f'pip install {constraints}"scangan[{extras}]"'


def say(line: str, *, err: bool = False) -> None:
    """Print one line, escaping what a terminal would interpret or cannot show.

    File and class names may contain newlines, control characters, undecodable bytes, or characters
    that the terminal's encoding lacks.
    """
    stream = errors() if err else sys.stdout
    encoding = getattr(stream, "encoding", None) or "utf-8"
    click.echo(
        printable(line).encode(encoding, "backslashreplace").decode(encoding), file=stream, err=err
    )


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()  # a daemon has no stream


LINES_APART = 10.0  # seconds between lines of progress without a terminal
LINES_OF_A_RATE = 6  # of which the rate is measured: work found in a cache was faster


@contextlib.contextmanager
def progress(
    description: str, total: int, unit: str, *, quiet: bool = False
) -> Iterator[Callable[[int], None]]:
    """Show progress on stderr: a bar on a terminal, else a line every ten seconds.

    Parameters
    ----------
    description : str
        The work, such as ``"generating"``.
    total : int
        Number of items.
    unit : str
        Name of the items, such as ``"scans"``.
    quiet : bool
        Show nothing.

    Yields
    ------
    callable
        Call it with the number of items finished since the last call.
    """
    if _is_terminal(errors()) and not quiet:
        with progress_bar(unit) as bar:
            task = bar.add_task(description, total=total, note="")
            yield lambda count: bar.advance(task, count)
        return
    said, done = time.monotonic(), 0
    before = collections.deque([(said, 0)], maxlen=LINES_OF_A_RATE)

    def advance(count: int) -> None:
        nonlocal done, said
        done += count
        now = time.monotonic()
        if not quiet and now - said >= LINES_APART:
            began, did = before[0]
            said, rate = now, (done - did) / (now - began)
            before.append((now, done))
            seconds = min((total - done) / max(rate, 1e-9), 1e10)
            left = datetime.timedelta(seconds=round(seconds))
            pace = f"{rate:.0f}" if rate >= 10 else f"{rate:.2g}"
            say(f"{description}: {done} of {total} {unit}, {pace} {unit}/s, {left} left", err=True)

    yield advance


def progress_bar(unit: str, *, quiet: bool = False) -> "Progress":
    """Make a progress bar on stderr with task, bar, count, rate and time left; hidden when piped.

    Parameters
    ----------
    unit : str
        Name of the items in the rate: ``"scans"`` gives ``scans/s``.
    quiet : bool
        Show nothing.

    Returns
    -------
    rich.progress.Progress
        A context manager. Its tasks need a ``note`` field, which is shown last.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.0f} {unit}/s" if task.speed else "", style="cyan")

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}"),
        console=Console(file=errors()),
        disable=quiet or not _is_terminal(errors()),
        # Lines printed meanwhile go above the bar, unless standard output is a file.
        redirect_stdout=_is_terminal(sys.stdout),
        redirect_stderr=errors() is sys.stderr,
        speed_estimate_period=60,
    )
