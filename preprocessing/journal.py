"""What is done so far: prepared scans and a line per file, so that a killed run goes on."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO, TextIO

from scangan.artifacts.dataset import NPY_HEADER, npy_header

FLUSHED = 16  # files


class Journal:
    """``images.npy`` and ``journal.jsonl`` in a folder of their own, written in the order of the files.

    A line is written after the images that it speaks of, so that whatever a killed process leaves,
    the whole lines are true.
    """

    def __init__(self, folder: Path, size: int, request: dict[str, Any]) -> None:
        self.folder, self.size, self.request = folder, size, request
        self.lines: list[dict[str, Any]] = []
        self.count, self.refused = 0, 0
        self.first_with: dict[str, str] = {}  # sha256 to the first file that gave a scan
        self._waiting: list[str] = []
        self._images: BinaryIO
        self._text: TextIO

    @property
    def images_file(self) -> Path:
        """The prepared scans."""
        return self.folder / "images.npy"

    @property
    def text_file(self) -> Path:
        """The request, then a line per file."""
        return self.folder / "journal.jsonl"

    def read(self) -> list[dict[str, Any]]:
        """The lines that an earlier run of the same request left; none where there is no such run."""
        try:
            whole = self.text_file.read_bytes().split(b"\n")[:-1]
            lines = [json.loads(line) for line in whole]
            held = (self.images_file.stat().st_size - NPY_HEADER) // self.size**2
        except (OSError, ValueError):
            return []
        if not lines or lines[0] != self.request:
            return []
        kept = 0
        for number, line in enumerate(lines[1:]):
            kept += len(line.get("frames", ()))
            if kept > held:
                return lines[1 : number + 1]
        return lines[1:]

    @contextlib.contextmanager
    def writing(self, keep: list[dict[str, Any]]) -> Iterator[None]:
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
            for line in (self.request, *keep):
                self._text.write(json.dumps(line) + "\n")
            yield
            self.flush()
            self._images.seek(0)
            npy_header(self._images, (self.count, self.size, self.size))
            self._images.flush()
            os.fsync(self._images.fileno())  # dataset.json must not outlive it in a power cut

    def append(self, line: dict[str, Any], images: IO[bytes] | None = None) -> None:
        """Add what came of one file and its images, if any; it is safe after the next `flush`."""
        if images is not None:
            images.seek(0)
            shutil.copyfileobj(images, self._images)
            images.close()
        self._note(line)
        self._waiting.append(json.dumps(line) + "\n")
        if len(self._waiting) == FLUSHED:
            self.flush()

    def _note(self, line: dict[str, Any]) -> None:
        self.lines.append(line)
        self.count += len(line.get("frames", ()))
        self.refused += len(line.get("refused", ()))
        if line.get("frames"):
            self.first_with.setdefault(line["sha256"], line["file"])

    def flush(self) -> None:
        """Hand everything to the system: first the images, then the lines that speak of them."""
        self._images.flush()
        self._text.write("".join(self._waiting))
        self._text.flush()
        self._waiting.clear()
