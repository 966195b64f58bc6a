"""The journal of a preparation: scans and a line per file, so that a killed run can be resumed."""

import contextlib
import itertools
import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import IO, BinaryIO

from scangan.artifacts.dataset import NPY_HEADER, npy_header
from scangan.artifacts.dataset_records import MeasuredWindow, Settings, Shade, Window
from scangan.artifacts.records import Record, line_of, parse_record

FLUSHED = 16  # files


class Asked(Record, frozen=True):
    """The first line: the options, and which readers are installed. If they differ, the journal starts over."""

    options: Settings
    sources: Settings
    readers: dict[str, bool]
    journal: int = 3  # version of the lines


class FrameLine(Record, frozen=True):
    """One prepared scan of a file; fields as in `Scan` and `Item`."""

    frame: int
    identifiers: tuple[str | None, ...]
    window: Window | None
    perceptual_hash: str
    enlarged: bool
    aspect: float
    blank: Shade
    synthetic: bool
    notes: tuple[str, ...]


class FileLine(Record, frozen=True, rename={"class_name": "class"}):
    """The result for one file: its scans, and its rejects as (frame or None, reason)."""

    file: str
    class_name: str
    given: str | None  # the subject, if a table or a pattern gives it
    sha256: str | None
    frames: tuple[FrameLine, ...]
    refused: tuple[tuple[int | None, str], ...]


class WindowLine(MeasuredWindow, frozen=True):
    """The window over all scans; the line comes before the first file that needs it."""

    over: str  # hash of the list of files and their modification times


Line = FileLine | WindowLine


def installed_readers() -> dict[str, bool]:
    """Tell which optional readers this machine has; another set may refuse other files."""
    return {name: find_spec(name) is not None for name in ("pydicom", "gdcm")}


class Journal:
    """``images.npy`` and ``journal.jsonl`` in their own folder, written in the order of the files.

    Each line is written after its images, so complete lines are true whatever a killed process
    leaves. Lines are read again as needed, as there may be millions.
    """

    def __init__(self, folder: Path, size: int, asked: Asked) -> None:
        self.folder, self.size, self.asked = folder, size, asked
        self.images_file, self.text_file = folder / "images.npy", folder / "journal.jsonl"
        self.window: WindowLine | None = None
        self.files, self.count, self.refused = 0, 0, 0  # files, scans and rejects so far
        self.first_with: dict[bytes, str] = {}  # SHA-256 to the first file, if copies are dropped
        self._waiting: list[bytes] = []
        self._images: BinaryIO
        self._text: BinaryIO

    def lines(self) -> Iterator[tuple[int, Line]]:
        """Read the complete lines of a run with the same options and readers, each with its offset.

        Raises
        ------
        OSError, ValueError
            A file is missing, or a line is damaged.
        """
        with self.text_file.open("rb") as text:
            held = (self.images_file.stat().st_size - NPY_HEADER) // self.size**2
            at, line = 0, text.readline()
            if parse_record(Asked, line) != self.asked:
                return
            while True:
                at, line = at + len(line), text.readline()
                if not line.endswith(b"\n"):
                    return
                told = _parse(line)
                held -= len(told.frames) if isinstance(told, FileLine) else 0
                if held < 0:
                    return
                yield at, told

    def earlier(self) -> Iterator[Line]:
        """Read the lines of an earlier run; none if there is none, and none from a damaged one on."""
        with contextlib.suppress(OSError, ValueError):
            for _, line in self.lines():
                yield line

    def file_lines(self) -> Iterator[tuple[int, FileLine]]:
        """Read the lines of the files, each with its offset."""
        return ((at, line) for at, line in self.lines() if isinstance(line, FileLine))

    @contextlib.contextmanager
    def writing(self, keep: int) -> Iterator[None]:
        """Open for appending after so many lines of an earlier run."""
        self.folder.mkdir(parents=True, exist_ok=True)
        last = 0
        for at, line in itertools.islice(self.lines(), keep):
            self._note(line)
            last = at
        with (
            self.images_file.open("r+b" if keep else "wb") as self._images,
            self.text_file.open("r+b" if keep else "wb") as self._text,
        ):
            # A plain file, as a memory map would crash on a full disk.
            self._images.truncate(NPY_HEADER + self.count * self.size**2)
            self._images.seek(0, os.SEEK_END)
            if keep:
                self._text.seek(last)
                self._text.readline()
                self._text.truncate()
            else:
                self._text.write(line_of(self.asked).encode())
            try:
                yield
            except BaseException:  # what is done is not done again
                with contextlib.suppress(OSError):
                    self.flush()
                raise
            self.flush()
            self._images.seek(0)
            npy_header(self._images, (self.count, self.size, self.size))
            self._images.flush()
            # A power cut must not leave dataset.json without images.
            os.fsync(self._images.fileno())

    def append(self, line: Line, images: IO[bytes] | None = None) -> None:
        """Append the result for one file and its images, or a window; it is safe after the next `flush`."""
        if images is not None:
            images.seek(0)
            shutil.copyfileobj(images, self._images)
            images.close()
        self._note(line)
        self._waiting.append(line_of(line).encode())
        if len(self._waiting) == FLUSHED or isinstance(line, WindowLine):
            self.flush()

    def _note(self, line: Line) -> None:
        if isinstance(line, WindowLine):
            self.window = line
            return
        self.files += 1
        self.count += len(line.frames)
        self.refused += len(line.refused)
        if line.frames and line.sha256 and self.asked.options["duplicates"] == "drop":
            self.first_with.setdefault(bytes.fromhex(line.sha256), line.file)

    def flush(self) -> None:
        """Flush everything to the system: first the images, then their lines."""
        self._images.flush()
        self._text.write(b"".join(self._waiting))
        self._text.flush()
        self._waiting.clear()


def read_file_line(text: BinaryIO, at: int) -> FileLine:
    """Read the line at an offset."""
    text.seek(at)
    return parse_record(FileLine, text.readline())


def _parse(line: bytes) -> Line:
    if line.startswith(b'{"file"'):
        return parse_record(FileLine, line)
    return parse_record(WindowLine, line)
