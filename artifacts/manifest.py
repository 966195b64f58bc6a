"""Find out where scans in a folder come from, by the manifests of gen-scans beside them."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath

from msgspec import UNSET, UnsetType

from scangan.artifacts.records import parse_record
from scangan.artifacts.scan_folder import ScanRecord
from scangan.core.address import Place
from scangan.core.files import matching, opened_lines

MANIFESTS = ("manifest.jsonl", "manifest-*-of-*.jsonl")


class ManifestLine(ScanRecord, frozen=True, kw_only=True, rename={"class_name": "class"}):
    """A line of ``manifest.jsonl``: the file of a scan, its place in a shard, and its record."""

    file: str
    member: str | UnsetType = UNSET  # in a tar
    row: int | UnsetType = UNSET  # in an npz

    @property
    def record(self) -> ScanRecord:
        """Where the scan comes from."""
        return ScanRecord(
            synthetic=self.synthetic,
            model=self.model,
            seed=self.seed,
            index=self.index,
            class_name=self.class_name,
            truncation=self.truncation,
            paired=self.paired,
        )


def manifests_beside(source: Place, files: Iterable[str]) -> Iterator[tuple[PurePosixPath, Place]]:
    """Yield each manifest in the folders of some files, or in a folder above, up to `source`.

    Yields
    ------
    folder : PurePosixPath
        The manifest's folder, relative to `source`.
    manifest : Path or Address
        The file.
    """
    with_files = map(PurePosixPath, {file.rpartition("/")[0] for file in files})
    for folder in sorted({above for inner in with_files for above in (inner, *inner.parents)}):
        for pattern in MANIFESTS:
            for name in matching(source / folder, pattern):
                yield folder, source / folder / name


def origins(source: Place, files: Sequence[str]) -> list[ScanRecord | None]:
    """Return where each file comes from; None if no manifest lists it.

    A file that was saved again in another format still has its line.

    Parameters
    ----------
    source : Path or Address
        The folder that the files are relative to.
    files : sequence of str
        Paths with ``/``.
    """
    listed = {
        without_suffixes(folder / (line.member or line.file)): line.record
        for folder, manifest in manifests_beside(source, files)
        for line in _lines(manifest)
    }
    return [listed.get(without_suffixes(PurePosixPath(file))) for file in files]


def named_synthetic(source: Place, files: Sequence[str]) -> frozenset[str]:
    """Return those files that a manifest lists; parameters as for `origins`.

    PNG and DICOM files hold a mark that they are synthetic, which readers see. Files that were saved
    again have lost it. A manifest counts whatever else its lines say, as those of a newer version may.
    """
    made = {
        without_suffixes(folder / stem)
        for folder, manifest in manifests_beside(source, files)
        for stem in _named(manifest)
    }
    return frozenset(file for file in files if without_suffixes(PurePosixPath(file)) in made)


def without_suffixes(path: PurePosixPath) -> str:
    """Return the path of a scan in any format: ``cat/000000001`` for ``cat/000000001.nii.gz``."""
    return str(path.with_name(path.name.partition(".")[0] or path.name))


def _lines(manifest: Place) -> Iterator[ManifestLine]:
    """Read a manifest, up to the first line that gen-scans did not write."""
    try:
        with opened_lines(manifest) as lines:
            for line in lines:
                yield parse_record(ManifestLine, line)
    except (OSError, ValueError):
        return


def _named(manifest: Place) -> Iterator[str]:
    """Read what a manifest lists as synthetic, up to the first line that does not."""
    try:
        with opened_lines(manifest) as lines:
            for line in lines:
                told = json.loads(line)
                if told["synthetic"] is not True:
                    return
                yield str(PurePosixPath(told.get("member") or told["file"]))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return
