"""The journal of a preparation: scans and a line per file, so that a killed run can be resumed."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import IO, BinaryIO, TextIO

from scangan.artifacts.dataset import NPY_HEADER, npy_header
from scangan.artifacts.dataset_records import MeasuredWindow, Settings, Shade, Window
from scangan.artifacts.records import Record, line_of, parse_record

FLUSHED = 16  # files


class Asked(Record, frozen=True):
    """The first line: source and options. If they differ, the journal starts over."""

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
    leaves.
    """

    def __init__(self, folder: Path, size: int, asked: Asked) -> None:
        self.folder, self.size, self.asked = folder, size, asked
        self.images_file, self.text_file = folder / "images.npy", folder / "journal.jsonl"
        self.files: list[FileLine] = []
        self.window: WindowLine | None = None
        self.count, self.refused = 0, 0
        self.first_with: dict[str | None, str] = {}  # SHA-256 to the first file with a scan
        self._waiting: list[str] = []
        self._images: BinaryIO
        self._text: TextIO

    def read(self) -> list[Line]:
        """Return the lines of an earlier run with the same source and options; none if there is none."""
        try:
            first, *others = self.text_file.read_bytes().split(b"\n")[:-1]
            if parse_record(Asked, first) != self.asked:
                return []
            lines = [_parse(line) for line in others]
            held = (self.images_file.stat().st_size - NPY_HEADER) // self.size**2
        except (OSError, ValueError):
            return []
        kept = 0
        for number, line in enumerate(lines):
            kept += len(line.frames) if isinstance(line, FileLine) else 0
            if kept > held:
                return lines[:number]
        return lines

    @contextlib.contextmanager
    def writing(self, keep: list[Line]) -> Iterator[None]:
        """Open for appending; keep the first lines of an earlier run."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for line in keep:
            self._note(line)
        with (
            self.images_file.open("r+b" if keep else "wb") as self._images,
            self.text_file.open("w", encoding="utf-8") as self._text,
        ):
            # A plain file, as a memory map would crash on a full disk.
            self._images.truncate(NPY_HEADER + self.count * self.size**2)
            self._images.seek(0, os.SEEK_END)
            self._text.writelines(map(line_of, (self.asked, *keep)))
            yield
            self.flush()
            self._images.seek(0)
            npy_header(self._images, (self.count, self.size, self.size))
            self._images.flush()
            # A power cut must not leave dataset.json without images.
            os.fsync(self._images.fileno())

    def append(self, line: Line, images: IO[bytes] | None = None) -> None:
        """Append the result for one file and its images, if any; it is safe after the next `flush`."""
        if images is not None:
            images.seek(0)
            shutil.copyfileobj(images, self._images)
            images.close()
        self._note(line)
        self._waiting.append(line_of(line))
        if len(self._waiting) == FLUSHED:
            self.flush()

    def _note(self, line: Line) -> None:
        if isinstance(line, WindowLine):
            self.window = line
            return
        self.files.append(line)
        self.count += len(line.frames)
        self.refused += len(line.refused)
        if line.frames:
            self.first_with.setdefault(line.sha256, line.file)

    def flush(self) -> None:
        """Flush everything to the system: first the images, then their lines."""
        self._images.flush()
        self._text.write("".join(self._waiting))
        self._text.flush()
        self._waiting.clear()


def _parse(line: bytes) -> Line:
    if line.startswith(b'{"file"'):
        return parse_record(FileLine, line)
    return parse_record(WindowLine, line)
