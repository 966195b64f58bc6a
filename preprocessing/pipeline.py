"""Prepare a folder of scans as a dataset."""

import contextlib
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from rich.progress import Progress

from scangan.artifacts.dataset import FORMAT_VERSION, PreparedDataset, load_dataset
from scangan.artifacts.dataset_records import MeasuredWindow, Preparation
from scangan.artifacts.manifest import named_synthetic
from scangan.artifacts.records import write_records
from scangan.artifacts.split import SUBSET_NAMES, check_fractions
from scangan.core.address import Address, Place, to_place
from scangan.core.errors import PreprocessingError, ScanganError
from scangan.core.files import naming, only_writer
from scangan.core.terminal import progress_bar
from scangan.core.threads import InOrder, in_order, usable_cpus
from scangan.preprocessing.all_files import READS_AT_ONCE, Preparer
from scangan.preprocessing.destination import (
    check_place,
    check_same,
    digest,
    is_done,
    publish,
    resolved,
)
from scangan.preprocessing.find_scans import Found, SourceFile, SourceOptions, find_scans
from scangan.preprocessing.journal import Asked, Journal, installed_readers
from scangan.preprocessing.options import PrepOptions
from scangan.preprocessing.outcome import (
    Outcome,
    count_odd,
    find_near_duplicates,
    outcome_of,
    refusals,
    rejects_of,
    tally,
    told_leaks,
)
from scangan.preprocessing.preview import write_preview
from scangan.preprocessing.write import write_dataset, write_split

if TYPE_CHECKING:
    from scangan.core.cluster import Cluster


def prepare(
    source: str | Place,
    out: str | Path,
    options: PrepOptions | None = None,
    *,
    sources: SourceOptions | None = None,
    workers: int | None = None,
    cluster: "Cluster | None" = None,
    quiet: bool = True,
) -> PreparedDataset:
    """Prepare a folder of scans. Unusable files are listed as rejects and do not stop it.

    Parameters
    ----------
    source : path or address
        Folder of scans, on disk or in an object store: one folder per class, or flat with a table of labels.
    out : path
        The folder for the dataset. It may be absent or empty, or hold what a killed run left, which
        is resumed, or a finished dataset from the same scans and options, which is left unchanged.
    options : PrepOptions, optional
        How to prepare each scan.
    sources : SourceOptions, optional
        How to find its class and subject.
    workers : int, optional
        Number of files to prepare at once; by default, one per usable processor, or 16 from a store.
        The result does not depend on it.
    cluster : Cluster, optional
        The Ray cluster to prepare the files on; by default, this machine. The result does not depend
        on it.
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
    run = _Run(source, out, options, sources, None, workers, cluster, quiet)
    run.run()
    return load_dataset(run.out)


def prepare_split(
    source: str | Place,
    out: str | Path,
    fractions: tuple[float, ...],
    options: PrepOptions | None = None,
    *,
    sources: SourceOptions | None = None,
    allow_synthetic: bool = False,
    workers: int | None = None,
    cluster: "Cluster | None" = None,
    quiet: bool = True,
) -> dict[str, PreparedDataset]:
    """Prepare a folder of scans as ``train``, (``val``) and ``test`` datasets in `out`.

    Parameters
    ----------
    fractions : tuple of float
        Shares of train and test, or of train, val and test; they add up to 1. The split is
        stratified by class. Scans of one subject or file, copies and near-duplicates stay in one
        subset.
    allow_synthetic : bool
        Split synthetic scans like real ones; by default, all of them go to train.
    source, out, options, sources, workers, cluster, quiet
        As for `prepare`.

    Returns
    -------
    dict
        The subsets by name.
    """
    run = _Run(source, out, options, sources, fractions, workers, cluster, quiet, allow_synthetic)
    run.run()
    return {name: load_dataset(run.out / name) for name in SUBSET_NAMES[len(fractions)]}


class _Run:
    """One preparation. Its output stays in ``OUT/.part`` until it is complete."""

    def __init__(
        self,
        source: str | Place,
        out: str | Path,
        options: PrepOptions | None,
        sources: SourceOptions | None,
        fractions: tuple[float, ...] | None,
        workers: int | None,
        cluster: "Cluster | None",
        quiet: bool,
        allow_synthetic: bool = False,
    ) -> None:
        self.source, self.out = to_place(source), resolved(Path(out))
        self.options, self.sources = options or PrepOptions(), sources or SourceOptions()
        self.fractions, self.quiet = fractions and tuple(fractions), quiet
        self.allow_synthetic, self.cluster = allow_synthetic, cluster
        included = bool(self.sources.include)
        workers = workers or (READS_AT_ONCE if isinstance(self.source, Address) else usable_cpus())
        read_from = self.source.resolve() if cluster else self.source  # workers start elsewhere
        self.preparer = Preparer(read_from, self.options, workers, included)
        self.partial, self.lock = self.out / ".part", self.out / ".lock"
        if fractions is not None:
            check_fractions(fractions, ",".join(map(str, fractions)))
        self.asked = Asked(
            options=self.options.to_dict(),
            sources=self.sources.to_dict(),
            readers=installed_readers(),
        )

    def run(self) -> None:
        """Prepare the source, or check that it is already prepared."""
        if is_done(self.source):
            advice = "give a folder of scans"
            if isinstance(self.source, Address):
                advice = (
                    "copy it to a disk, as datasets are read from there, or give a folder of scans"
                )
            raise PreprocessingError(f"{self.source} is already prepared; {advice}")
        found = find_scans(self.source, self.sources)
        check_place(self.source, self.out, self.partial)
        if not self.partial.exists() and is_done(self.out):
            self._drop_lock()
            return self._check_same(found)  # needs no permission to write
        with only_writer(self.lock), naming(self.out), _one_cv2_thread():
            if is_done(self.partial):
                publish(self.partial, self.out)  # the earlier run was killed while publishing
            if is_done(self.out):
                return self._check_same(found)
            with progress_bar("scans", quiet=self.quiet) as bar:
                journal = Journal(self.partial, self.options.size, self.asked)
                with self._spreading() as spread:
                    self.preparer.prepare_all(found.scans, journal, bar, spread)
                self._finish(found, journal, bar)
            publish(self.partial, self.out)
            return None

    @contextlib.contextmanager
    def _spreading(self) -> Iterator[InOrder]:
        """Yield what hands out the files: to threads, or to a cluster."""
        if self.cluster is None:
            yield in_order
            return
        from scangan.preprocessing.ray_engine import on_cluster

        with on_cluster(self.cluster, self.preparer.source) as spread:
            yield spread

    def _drop_lock(self) -> None:
        """Remove the lock of a run that was killed after finishing everything else."""
        if self.lock.exists():
            with contextlib.suppress(OSError, ScanganError), only_writer(self.lock):
                pass

    def _check_same(self, found: Found) -> None:
        hashes = self.preparer.hashes(found.scans)
        check_same(self.out, self.asked, self.fractions, self.allow_synthetic, hashes)

    def _finish(self, found: Found, journal: Journal, bar: Progress) -> None:
        for path in self.partial.iterdir():  # left by a killed run with another --split
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in ("images.npy", "journal.jsonl"):
                path.unlink()
        synthetic = named_synthetic(self.source, [scan.file for scan in found.scans])
        made = outcome_of(journal, synthetic)
        if not len(made):
            refused = refusals(rejects_of(journal, found.rejects))
            shutil.rmtree(self.partial)
            raise PreprocessingError(f"{self.source} has no usable scan: {refused}")
        bar.add_task("comparing", total=None, note="")
        images = np.load(self.partial / "images.npy", mmap_mode="r")
        pairs, leaks, unseen = find_near_duplicates(images, made)
        made.group((pair.first, pair.second) for pair in pairs)
        write_records(self.partial / "near_duplicates.jsonl", told_leaks(leaks, made))
        write_preview(self.source, images, made, self.options, self.partial / "preview.png")
        told = self._told(found, journal, made, len(leaks), unseen)
        rejects, size = rejects_of(journal, found.rejects), self.options.size
        if self.fractions is None:
            write_dataset(self.partial, made, rejects, size, told)
        else:
            write_split(self.partial, made, rejects, size, self.fractions, told)

    def _told(
        self, found: Found, journal: Journal, made: Outcome, leaks: int, unseen: int
    ) -> Preparation:
        """Return the record of the options and findings."""
        over, odd = journal.window, count_odd(made.items())
        files = Counter(scan.class_name for scan in found.scans)
        kept = Counter(made.classes[label] for label in made.labels.tolist())
        return Preparation(
            format_version=FORMAT_VERSION,
            options=self.asked.options,
            sources=self.asked.sources,
            split=self.fractions,
            readers=self.asked.readers,
            wrapper=found.wrapper,
            files=tally(files, kept, rejects_of(journal, found.rejects)),
            allow_synthetic=self.allow_synthetic,
            synthetic=int(made.synthetic.sum()),
            left_out=found.left_out,
            squared=odd.squared,
            noted=odd.noted,
            blank=odd.blank,
            without_subject=int((made.subjects < 0).sum()),
            empty_classes=tuple(name for name in found.classes if name not in made.classes),
            window=over
            and MeasuredWindow(window=over.window, scans=over.scans, outliers=over.outliers),
            duplicates=made.copies,
            near_duplicates=leaks,
            candidates_not_compared=unseen,
            source_sha256=digest(
                (SourceFile(line.file, line.class_name, line.given), line.sha256)
                for _, line in journal.file_lines()
            ),
        )


@contextlib.contextmanager
def _one_cv2_thread() -> Iterator[None]:
    """Limit OpenCV to one thread per image, as images already run in parallel."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
