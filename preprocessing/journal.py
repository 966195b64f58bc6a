"""What is done so far: prepared scans and a line per file, so that a killed run goes on."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO, TextIO

from scangan.artifacts.dataset import NPY_HEADER, npy_header
from scangan.artifacts.dataset_records import MeasuredWindow, Settings, Shade, Window
from scangan.artifacts.records import Record, line_of, parse_record

FLUSHED = 16  # files


class Asked(Record, frozen=True):
    """The first line: what is prepared, and with what. A journal that says otherwise is begun anew."""

    options: Settings
    sources: Settings
    readers: dict[str, bool]
    journal: int = 3  # version of the lines


class FrameLine(Record, frozen=True):
    """One prepared scan of a file; what `Scan` and `Item` say too, as there."""

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
    """What came of one file: its scans, and what is refused of it (frame or None, reason)."""

    file: str
    class_name: str
    given: str | None  # the subject, where a table or a pattern says it
    sha256: str | None
    frames: tuple[FrameLine, ...]
    refused: tuple[tuple[int | None, str], ...]


class WindowLine(MeasuredWindow, frozen=True):
    """The window over all scans, which stands before the first file that needs it."""

    over: str  # which files there were, and when they changed


Line = FileLine | WindowLine


class Journal:
    """``images.npy`` and ``journal.jsonl`` in a folder of their own, written in the order of the files.

    A line is written after the images that it speaks of, so that whatever a killed process leaves,
    the whole lines are true.
    """

    def __init__(self, folder: Path, size: int, asked: Asked) -> None:
        self.folder, self.size, self.asked = folder, size, asked
        self.files: list[FileLine] = []
        self.window: WindowLine | None = None
        self.count, self.refused = 0, 0
        self.first_with: dict[str | None, str] = {}  # sha256 to the first file that gave a scan
        self._waiting: list[str] = []
        self._images: BinaryIO
        self._text: TextIO

    @property
    def images_file(self) -> Path:
        """The prepared scans."""
        return self.folder / "images.npy"

    @property
    def text_file(self) -> Path:
        """What was asked, then a line per file."""
        return self.folder / "journal.jsonl"

    def read(self) -> list[Line]:
        """The lines that an earlier run left of which the same was asked; none where there is no such run."""
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
        """Open for appending, with the first lines of an earlier run kept."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for line in keep:
            self._note(line)
        with (
            self.images_file.open("r+b" if keep else "wb") as self._images,
            self.text_file.open("w", encoding="utf-8") as self._text,
        ):
            # A plain file, not a memory map: on a full disk that would be a crash.
            self._images.truncate(NPY_HEADER + self.count * self.size**2)
            self._images.seek(0, os.SEEK_END)
            self._text.writelines(map(line_of, (self.asked, *keep)))
            yield
            self.flush()
            self._images.seek(0)
            npy_header(self._images, (self.count, self.size, self.size))
            self._images.flush()
            os.fsync(self._images.fileno())  # dataset.json must not outlive it in a power cut

    def append(self, line: Line, images: IO[bytes] | None = None) -> None:
        """Add what came of one file and its images, if any; it is safe after the next `flush`."""
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
        """Hand everything to the system: first the images, then the lines that speak of them."""
        self._images.flush()
        self._text.write("".join(self._waiting))
        self._text.flush()
        self._waiting.clear()


def _parse(line: bytes) -> Line:
    if line.startswith(b'{"file"'):
        return parse_record(FileLine, line)
    return parse_record(WindowLine, line)
