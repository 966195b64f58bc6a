"""Prepare a folder of scans as a dataset."""

import contextlib
import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from rich.progress import Progress

from scangan.artifacts.dataset import (
    PreparedDataset,
    is_prepared,
    is_split,
    load_dataset,
    read_summary,
)
from scangan.artifacts.dataset_records import MeasuredWindow, Preparation, Reject
from scangan.artifacts.records import parse_records, write_records
from scangan.artifacts.split import PART_NAMES, check_fractions
from scangan.core.class_names import normal
from scangan.core.counted import counted
from scangan.core.errors import OtherDataset, PreprocessingError, ScanganError
from scangan.core.files import (
    naming,
    only_writer,
    read_bytes,
)
from scangan.core.folders import is_litter
from scangan.core.terminal import progress_bar
from scangan.core.threads import usable_cpus
from scangan.core.versions import DATASET
from scangan.preprocessing.all_files import Preparer
from scangan.preprocessing.find_scans import Found, SourceFile, SourceOptions, find_scans
from scangan.preprocessing.journal import Asked, Journal
from scangan.preprocessing.marks import named_synthetic
from scangan.preprocessing.options import PrepOptions
from scangan.preprocessing.outcome import (
    Outcome,
    blank_by_class,
    find_near_duplicates,
    outcome_of,
    tally,
)
from scangan.preprocessing.preview import write_preview
from scangan.preprocessing.write import write_dataset, write_split

DONE = ("dataset.json", "split.json")  # one of them is written last
MADE = {
    *DONE, "journal.jsonl", "images.npy", "items.jsonl", "rejects.jsonl", "near_duplicates.jsonl",
    "preview.png", "train", "val", "test",
}  # fmt: skip


def prepare(
    source: str | Path,
    out: str | Path,
    options: PrepOptions | None = None,
    *,
    sources: SourceOptions | None = None,
    workers: int | None = None,
    quiet: bool = True,
) -> PreparedDataset:
    """Prepare a folder of scans. Unusable files are listed as rejects and do not stop it.

    Parameters
    ----------
    source : path
        Folder of scans: one folder per class, or flat with a table of labels.
    out : path
        The folder for the dataset. It may be absent or empty, or hold what a killed run left, which
        is resumed, or a finished dataset from the same scans and options, which is left unchanged.
    options : PrepOptions, optional
        How to prepare each scan.
    sources : SourceOptions, optional
        How to find its class and subject.
    workers : int, optional
        Number of files to prepare at once; by default, one per usable processor. The result does
        not depend on it.
    quiet : bool
        Whether to hide the progress bar.

    Returns
    -------
    PreparedDataset
        The dataset, opened from `out`.

    Raises
    ------
    PreprocessingError
        There is no source or no usable scan, or `out` holds something else.
    """
    run = _Run(source, out, options, sources, None, workers, quiet)
    run.run()
    return load_dataset(run.out)


def prepare_split(
    source: str | Path,
    out: str | Path,
    fractions: tuple[float, ...],
    options: PrepOptions | None = None,
    *,
    sources: SourceOptions | None = None,
    allow_synthetic: bool = False,
    workers: int | None = None,
    quiet: bool = True,
) -> dict[str, PreparedDataset]:
    """Prepare a folder of scans as ``train``, (``val``) and ``test`` datasets in `out`.

    Parameters
    ----------
    fractions : tuple of float
        Shares of train and test, or of train, val and test; they add up to 1. The split is
        stratified by class. Scans of one subject or file, copies and near-duplicates stay in one
        part.
    allow_synthetic : bool
        Split synthetic scans like real ones; by default, all of them go to train.
    source, out, options, sources, workers, quiet
        As for `prepare`.

    Returns
    -------
    dict
        The parts by name.
    """
    run = _Run(source, out, options, sources, fractions, workers, quiet, allow_synthetic)
    run.run()
    return {name: load_dataset(run.out / name) for name in PART_NAMES[len(fractions)]}


class _Run:
    """One preparation. Its output stays in ``OUT/.part`` until it is complete."""

    def __init__(
        self,
        source: str | Path,
        out: str | Path,
        options: PrepOptions | None,
        sources: SourceOptions | None,
        fractions: tuple[float, ...] | None,
        workers: int | None,
        quiet: bool,
        allow_synthetic: bool = False,
    ) -> None:
        self.source, self.out = Path(source), _resolved(Path(out))
        self.options, self.sources = options or PrepOptions(), sources or SourceOptions()
        self.fractions, self.quiet = fractions and tuple(fractions), quiet
        self.allow_synthetic = allow_synthetic
        included = bool(self.sources.include)
        self.preparer = Preparer(self.source, self.options, workers or usable_cpus(), included)
        self.partial = self.out / ".part"
        if fractions is not None:
            check_fractions(fractions, ",".join(map(str, fractions)))
        self.asked = Asked(
            options=self.options.to_dict(),
            sources=self.sources.to_dict(),
            readers={name: find_spec(name) is not None for name in ("pydicom", "gdcm")},
        )

    def run(self) -> None:
        """Prepare the source, or check that it is already prepared."""
        if _is_done(self.source):
            raise PreprocessingError(f"{self.source} is already prepared; give a folder of scans")
        found = find_scans(self.source, self.sources)
        self._check_place()
        if not self.partial.exists() and _is_done(self.out):
            self._drop_lock()
            return self._check_same(found)  # needs no permission to write
        with only_writer(self._lock), naming(self.out), _one_cv2_thread():
            if _is_done(self.partial):
                self._publish()  # the earlier run was killed while publishing
            if _is_done(self.out):
                return self._check_same(found)
            with progress_bar("scans", quiet=self.quiet) as bar:
                journal = Journal(self.partial, self.options.size, self.asked)
                self.preparer.prepare_all(found.scans, journal, bar)
                self._finish(found, journal, bar)
            self._publish()
            return None

    @property
    def _lock(self) -> Path:
        return self.out / ".lock"

    def _drop_lock(self) -> None:
        """Remove the lock of a run that was killed after finishing everything else."""
        if self._lock.exists():
            with contextlib.suppress(OSError, ScanganError), only_writer(self._lock):
                pass

    def _check_place(self) -> None:
        if self.out.is_relative_to(self.source.resolve()):
            raise PreprocessingError(
                f"{self.out} is {self.source} or inside it; choose an OUT outside of SOURCE"
            )
        if self.out.exists() and not self.out.is_dir():
            raise PreprocessingError(f"{self.out} is a file; choose another OUT")
        if self.source.resolve().is_relative_to(self.out):
            raise PreprocessingError(
                f"{self.source} is inside {self.out}; choose an OUT that does not hold SOURCE"
            )
        if not self.out.is_dir() or _is_done(self.out):
            return
        others = [p.name for p in self.out.iterdir() if not is_litter(p.name)]
        ours = MADE | {f".{name}.part" for name in MADE}  # a killed run may leave partial files
        if self.partial.is_dir() and {p.name for p in self.partial.iterdir()} - ours:
            others.append(".part")  # somebody else's
        if others and not _is_done(self.partial):
            raise PreprocessingError(
                f"{self.out} exists and is not a prepared dataset; choose another OUT"
            )

    def _check_same(self, found: Found) -> None:
        """Check that the existing dataset has the same scans and options; raise if not."""
        before = read_summary(self.out)
        differing = [
            f"{key} {then.get(key)} -> {value}"
            for then, now in (
                (before.options, self.asked.options),
                (before.sources, self.asked.sources),
            )
            for key, value in now.items()
            if then.get(key) != value
        ]
        split = before.split and list(before.split)
        if before.split != self.fractions:
            differing.append(f"split {split} -> {self.fractions and list(self.fractions)}")
        elif before.allow_synthetic != self.allow_synthetic:
            differing.append(f"allow_synthetic -> {self.allow_synthetic}")
        if differing:
            raise OtherDataset(self.out, f"with other options ({', '.join(differing)})")
        if before.rejected and before.readers != self.asked.readers:
            refused = counted(before.rejected, "file was", "files were")
            raise OtherDataset(self.out, f"with other readers installed, and {refused} refused")
        hashes = list(self.preparer.hashes(found.scans))
        if before.source_sha256 not in (_digest(hashes), _digest(map(_as_found, hashes))):
            self._check_readable(hashes, before.source_sha256)
            raise OtherDataset(self.out, f"from other scans ({before.count})")

    def _check_readable(self, hashes: list[tuple[SourceFile, str | None]], before: str) -> None:
        """Raise if the scans are the same except for those that could not be read before."""
        file = self.out / "rejects.jsonl"
        rejects = parse_records(Reject, read_bytes(file)) if file.exists() else ()
        unread = {each.file for each in rejects if each.reason.startswith("cannot be read")}
        then = [(scan, None if scan.file in unread else sha256) for scan, sha256 in hashes]
        if unread and before == _digest(then):
            raise PreprocessingError(
                f"{self.out} lacks files that could not be read then ({len(unread)}, "
                f"{min(unread)!r} first); delete it to prepare them too, or choose another OUT"
            )

    def _finish(self, found: Found, journal: Journal, bar: Progress) -> None:
        for path in self.partial.iterdir():  # left by a killed run with another --split
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in ("images.npy", "journal.jsonl"):
                path.unlink()
        synthetic = named_synthetic(self.source, (scan.file for scan in found.scans))
        made = outcome_of(journal.files, found.rejects, synthetic)
        if not made.items:
            shutil.rmtree(self.partial)
            raise PreprocessingError(_nothing_usable(self.source, made))
        bar.add_task("comparing", total=None, note="")
        images = np.load(self.partial / "images.npy", mmap_mode="r")
        pairs, leaks, unseen = find_near_duplicates(images, made.items)
        made.group(pairs)
        write_records(self.partial / "near_duplicates.jsonl", leaks)
        write_preview(
            self.source,
            images,
            made,
            self.options.wanted(included=True),
            self.partial / "preview.png",
        )
        told = self._told(found, journal, made, len(leaks), unseen)
        if self.fractions is None:
            write_dataset(self.partial, made, self.options.size, told)
        else:
            write_split(self.partial, made, self.options.size, self.fractions, told)

    def _told(
        self, found: Found, journal: Journal, made: Outcome, leaks: int, unseen: int
    ) -> Preparation:
        """Return the record of the options and findings."""
        items, over = made.items, journal.window
        files = Counter(scan.class_name for scan in found.scans)
        return Preparation(
            format_version=DATASET,
            options=self.asked.options,
            sources=self.asked.sources,
            split=self.fractions,
            readers=self.asked.readers,
            wrapper=found.wrapper,
            files=tally(files, made),
            allow_synthetic=self.allow_synthetic,
            synthetic=sum(item.synthetic for item in items),
            left_out=found.left_out,
            squared=sum(item.aspect != 1 for item in items),
            noted=sum(bool(item.notes) for item in items),
            blank=blank_by_class(items),
            without_subject=sum(item.subject is None for item in items),
            empty_classes=tuple(name for name in found.classes if name not in made.classes),
            window=over
            and MeasuredWindow(window=over.window, scans=over.scans, outliers=over.outliers),
            duplicates=made.copies,
            near_duplicates=leaks,
            candidates_not_compared=unseen,
            source_sha256=_digest(
                (SourceFile(line.file, line.class_name, line.given), line.sha256)
                for line in journal.files
            ),
        )

    def _publish(self) -> None:
        """Move the finished files to their place; the file that marks completion comes last."""
        (self.partial / "journal.jsonl").unlink(missing_ok=True)
        if is_split(self.partial):  # the parts have their own
            (self.partial / "images.npy").unlink(missing_ok=True)
        made = sorted(self.partial.iterdir(), key=lambda path: (path.name in DONE, path.name))
        for path in made:
            path.rename(self.out / path.name)
        self.partial.rmdir()


def _is_done(folder: Path) -> bool:
    """Whether the folder holds one of the files that are written last."""
    return is_prepared(folder) or is_split(folder)


def _resolved(out: Path) -> Path:
    try:
        return out.resolve()
    except (OSError, RuntimeError) as error:
        raise PreprocessingError(f"{out} is a circular link; choose another OUT") from error


def _nothing_usable(source: Path, made: Outcome) -> str:
    reasons = Counter(reject.reason for reject in made.rejects)
    reason, count = reasons.most_common(1)[0]
    refused = counted(len(made.rejects), "file")
    return f"{source} has no usable scan: {refused} refused, {count} of them: {reason}"


def _digest(scans: Iterable[tuple[SourceFile, str | None]]) -> str:
    """Compute the SHA-256 of the list of files, their classes, subjects and bytes."""
    digest = hashlib.sha256()
    for scan, sha256 in scans:
        digest.update(json.dumps([*scan, sha256]).encode())
    return digest.hexdigest()


def _as_found(told: tuple[SourceFile, str | None]) -> tuple[SourceFile, str | None]:
    """Return the file with its class as the folder is spelt on disk, as older versions did."""
    scan, sha256 = told
    folders = scan.file.split("/")[:-1]
    name = next((each for each in folders if normal(each) == scan.class_name), scan.class_name)
    return scan._replace(class_name=name), sha256


@contextlib.contextmanager
def _one_cv2_thread() -> Iterator[None]:
    """Limit OpenCV to one thread per image, as images already run in parallel."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
