"""Prepare every file of a source, continuing where a killed run stopped."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from rich.progress import Progress, TaskID

from scangan.artifacts.dataset_records import Window
from scangan.core.address import Address, Place, within
from scangan.core.counted import counted
from scangan.core.errors import PreprocessingError, Rejected, Unreadable
from scangan.core.files import size_of
from scangan.core.reading import read_file
from scangan.core.threads import InOrder, in_order
from scangan.preprocessing.find_scans import SourceFile
from scangan.preprocessing.intensity import Survey
from scangan.preprocessing.journal import FileLine, Journal, WindowLine
from scangan.preprocessing.one_file import (
    FileResult,
    Surveyed,
    prepare_file,
    survey_file,
)
from scangan.preprocessing.options import PrepOptions
from scangan.preprocessing.reading.wanted import Wanted

READS_AT_ONCE = 16  # from a store, which takes its time for each file
CHUNK = 8  # files per task of a thread; small files cost less than handing over a task
REMOTE_CHUNK = 64  # files in a store per task of a worker elsewhere, which reads many at once
CHUNK_BYTES = 1 << 18
# Mean bytes per file. Decoding so few takes 20 µs, and handing over the GIL takes as long, so two
# threads take twice the time of one.
TINY, SAMPLED = 1 << 13, 64


class Preparer:
    """Prepares the scans of a source into a journal.

    Parameters
    ----------
    source : Path or Address
        The source folder.
    options : PrepOptions
        How to prepare the scans.
    workers : int
        Number of threads.
    included : bool
        Whether --include chose the files, so that masks and the like are used too.
    """

    def __init__(
        self, source: Place, options: PrepOptions, workers: int, included: bool = False
    ) -> None:
        self.source, self.options, self.workers = source, options, workers
        self.wanted = options.wanted(included)
        self._in_order: InOrder = in_order
        self._unread: dict[str, Unreadable] = {}

    def prepare_all(
        self, scans: list[SourceFile], journal: Journal, bar: Progress, spread: InOrder = in_order
    ) -> None:
        """Prepare the files that the journal lacks; `spread` hands them out.

        The window over all scans is only measured when a scan needs it; most datasets do not.
        """
        self._in_order = spread
        keep, window = self._still_true(journal, scans)
        task = bar.add_task("preparing", total=len(scans), note="")
        with journal.writing(keep):
            if window is None:
                self._prepare(scans, None, journal, bar, task)
            if journal.files < len(scans):
                window = window or self._measure(scans[journal.files :], journal, bar)
                self._prepare(scans, window, journal, bar, task)

    def _prepare(
        self,
        scans: list[SourceFile],
        window: Window | None,
        journal: Journal,
        bar: Progress,
        task: TaskID,
    ) -> None:
        """Prepare the files that the journal lacks, up to the first that needs a missing window."""
        done = journal.files
        bar.update(task, completed=done)
        for scan, result in self._results(scans[done:], window):
            if result.needs_window:
                return
            self._drop_copy(result, journal)
            journal.append(_line(scan, result), result.images if result.frames else None)
            done += 1
            if done % CHUNK == 0 or done == len(scans):
                refused = f"{counted(journal.refused, 'scan')} refused" if journal.refused else ""
                bar.update(task, completed=done, note=refused)

    def _measure(self, scans: list[SourceFile], journal: Journal, bar: Progress) -> Window:
        """Measure the window over all scans that need one; none before these did."""
        over = self._state(scans)
        survey = self._survey(scans, bar)
        if self._unread:
            over += " without some"  # so it is measured again when they can be read
        if not survey.scans:
            raise PreprocessingError(
                f"{self.source} changed while being read; run the same command again"
            )
        line = WindowLine(
            window=survey.window(), scans=survey.scans, outliers=tuple(survey.outliers), over=over
        )
        journal.append(line)
        return line.window

    def hashes(self, scans: list[SourceFile]) -> Iterator[tuple[SourceFile, str | None]]:
        """Yield the SHA-256 of every file; None if it cannot be read."""
        return in_order(self._sha256, scans, self.workers)

    def _results(
        self, scans: list[SourceFile], window: Window | None
    ) -> Iterator[tuple[SourceFile, FileResult]]:
        several = partial(
            _prepare_files, self.source, self.options, self.wanted, window, self._unread
        )
        workers = 0 if self._are_tiny(scans) else self.workers
        for chunk, results in self._in_order(several, self._chunks(scans), workers):
            yield from zip(chunk, results, strict=False)

    def _are_tiny(self, scans: list[SourceFile]) -> bool:
        """Whether threads would wait longer than they work, judged by a sample of files."""
        if isinstance(self.source, Address):
            return False  # they wait for the store
        sizes = []
        for scan in scans[:: max(1, -(-len(scans) // SAMPLED))]:
            with contextlib.suppress(OSError):
                sizes.append(size_of(f"{self.source}/{scan.file}"))
        return sum(sizes) < TINY * len(sizes)

    def _chunks(self, scans: list[SourceFile]) -> Iterator[list[SourceFile]]:
        """Group small files; a volume is on its own, as all its slices wait to be written."""
        chunk: list[SourceFile] = []
        held = 0
        local = self._in_order is in_order or isinstance(self.source, Path)
        most = CHUNK if local else REMOTE_CHUNK
        for scan in scans:
            if isinstance(self.source, Path):
                with contextlib.suppress(OSError):  # reported when the file is read
                    held += size_of(f"{self.source}/{scan.file}")
            chunk.append(scan)
            if len(chunk) == most or held > CHUNK_BYTES:
                yield chunk
                chunk, held = [], 0
        if chunk:
            yield chunk

    def _survey(self, scans: list[SourceFile], bar: Progress) -> Survey:
        """Survey all scans that need the window over all scans."""
        survey, seen = Survey(), set[bytes]()
        task = bar.add_task("measuring intensities", total=len(scans), note="")
        several = partial(_survey_files, self.source, self.options, self.wanted)
        for chunk, results in self._in_order(several, self._chunks(scans), self.workers):
            for scan, result in zip(chunk, results, strict=True):
                if isinstance(result, Unreadable):
                    self._unread[scan.file] = result
                elif result and not (self.options.duplicates == "drop" and result.sha256 in seen):
                    seen.add(result.sha256)
                    survey.add(result.scans, scan.file)
            bar.advance(task, len(chunk))
        bar.remove_task(task)
        return survey

    def _still_true(self, journal: Journal, scans: list[SourceFile]) -> tuple[int, Window | None]:
        """Count the leading lines whose files have not changed; return the window among them, too."""
        keep, done = 0, 0
        window: Window | None = None
        for line in journal.earlier():
            if isinstance(line, FileLine):
                scan = scans[done] if done < len(scans) else None
                if scan != SourceFile(line.file, line.class_name, line.given):
                    break
                if self._sha256(scan) != line.sha256:
                    break
                done += 1
            elif line.over != self._state(scans[done:]):
                break  # the window was measured over other scans
            else:
                window = line.window
            keep += 1
        return keep, window

    def _state(self, scans: list[SourceFile]) -> str:
        """Hash the list of files and when they were modified, without reading them."""
        digest = hashlib.sha256()
        if isinstance(self.source, Address):
            from scangan.core import store

            entries = {entry.name: entry for entry in store.below(self.source)}
            for scan in scans:
                digest.update(json.dumps([*scan, *entries.get(scan.file, ())]).encode())
            return digest.hexdigest()
        for scan in scans:
            with contextlib.suppress(OSError):
                told = os.stat(f"{self.source}/{scan.file}")  # noqa: PTH116
                digest.update(json.dumps([*scan, told.st_size, told.st_mtime_ns]).encode())
        return digest.hexdigest()

    def _drop_copy(self, result: FileResult, journal: Journal) -> None:
        if self.options.duplicates == "drop" and result.frames:
            first = journal.first_with.get(bytes.fromhex(result.sha256 or ""))
            if first is not None:
                result.frames.clear()
                result.refused = [(None, f"same bytes as {first}")]

    def _sha256(self, scan: SourceFile) -> str | None:
        try:
            return hashlib.sha256(read_file(within(self.source, scan.file))).hexdigest()
        except Rejected:
            return None


def _prepare_files(
    source: Place,
    options: PrepOptions,
    wanted: Wanted,
    window: Window | None,
    unread: Mapping[str, Unreadable],
    scans: list[SourceFile],
) -> list[FileResult]:
    """Prepare files, up to the first that needs a missing window."""
    results = []
    for scan in scans:
        if scan.file in unread:  # not part of the window
            results.append(FileResult(refused=[(None, str(unread[scan.file]))]))
            continue
        path = within(source, scan.file)
        results.append(prepare_file(path, options, wanted, window, scan.below_class))
        if results[-1].needs_window:
            break
    return results


def _survey_files(
    source: Place, options: PrepOptions, wanted: Wanted, scans: list[SourceFile]
) -> list[Surveyed | Unreadable | None]:
    results: list[Surveyed | Unreadable | None] = []
    for scan in scans:
        try:
            results.append(
                survey_file(within(source, scan.file), options, wanted, scan.below_class)
            )
        except Unreadable as reason:
            results.append(reason)
    return results


def _line(scan: SourceFile, result: FileResult) -> FileLine:
    """Make the journal's line for a file."""
    return FileLine(
        file=scan.file,
        class_name=scan.class_name,
        given=scan.subject,
        sha256=result.sha256,
        frames=tuple(result.frames),
        refused=tuple(result.refused),
    )
