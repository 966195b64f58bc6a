"""The folder for a dataset: whether it can be used, what it holds already, and filling it at last."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from scangan.artifacts.dataset import is_dataset, is_split, read_summary
from scangan.artifacts.dataset_records import Reject
from scangan.artifacts.records import parse_records
from scangan.artifacts.scan_folder import refuse_inside_scans
from scangan.core.address import Address, Place
from scangan.core.class_names import normal
from scangan.core.counted import counted
from scangan.core.errors import OtherDataset, PreprocessingError
from scangan.core.files import is_there, read_bytes
from scangan.core.folders import is_litter
from scangan.preprocessing.find_scans import SourceFile
from scangan.preprocessing.journal import Asked

Hash = tuple[SourceFile, str | None]  # a file with its SHA-256; None if it cannot be read

DONE = ("dataset.json", "split.json")  # one of them is written last
MADE = {
    *DONE, "journal.jsonl", "images.npy", "items.jsonl", "rejects.jsonl", "near_duplicates.jsonl",
    "preview.png", "train", "val", "test",
}  # fmt: skip


def is_done(folder: Place) -> bool:
    """Whether the folder holds one of the files that are written last."""
    if isinstance(folder, Address):
        return any(is_there(folder / name) for name in DONE)
    return is_dataset(folder)


def resolved(out: Path) -> Path:
    """Return the path without links."""
    try:
        return out.resolve()
    except (OSError, RuntimeError) as error:
        raise PreprocessingError(f"{out} is a circular link; choose another OUT") from error


def check_place(source: Place, out: Path, partial: Path) -> None:
    """Raise `PreprocessingError` if a dataset from `source` cannot go to `out`, by way of `partial`."""
    if isinstance(source, Path) and out.is_relative_to(source.resolve()):
        raise PreprocessingError(f"{out} is {source} or inside it; choose an OUT outside of SOURCE")
    if out.exists() and not out.is_dir():
        raise PreprocessingError(f"{out} is a file; choose another OUT")
    if isinstance(source, Path) and source.resolve().is_relative_to(out):
        raise PreprocessingError(
            f"{source} is inside {out}; choose an OUT that does not hold SOURCE"
        )
    refuse_inside_scans(out)
    if not out.is_dir() or is_done(out):
        return
    others = [p.name for p in out.iterdir() if not is_litter(p.name)]
    ours = MADE | {f".{name}.part" for name in MADE}  # a killed run may leave partial files
    if partial.is_dir() and {p.name for p in partial.iterdir()} - ours:
        others.append(".part")  # somebody else's
    if others and not is_done(partial):
        raise PreprocessingError(f"{out} exists and is not a prepared dataset; choose another OUT")


def check_same(
    out: Path,
    asked: Asked,
    fractions: tuple[float, ...] | None,
    allow_synthetic: bool,
    hashes: Iterable[Hash],
) -> None:
    """Raise unless the dataset in `out` has these options and scans; `hashes` are only taken if needed."""
    before = read_summary(out)
    differing = [
        f"{key} {_told(then.get(key))} -> {_told(value)}"
        for then, now in ((before.options, asked.options), (before.sources, asked.sources))
        for key, value in now.items()
        if then.get(key) != value
    ]
    if before.split != fractions:
        differing.append(f"split {_told(before.split)} -> {_told(fractions)}")
    elif before.allow_synthetic != allow_synthetic:
        differing.append(f"allow_synthetic -> {allow_synthetic}")
    if differing:
        raise OtherDataset(out, f"with other options ({', '.join(differing)})")
    if before.rejected and before.readers != asked.readers:
        refused = counted(before.rejected, "scan was", "scans were")
        raise OtherDataset(out, f"with other readers installed, and {refused} refused")
    unread = _unread(out)
    now, older, without = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
    unread_now = ""
    for scan, sha256 in hashes:
        if sha256 is None and scan.file not in unread:
            unread_now = unread_now or scan.file
        now.update(_told_file(scan, sha256))
        older.update(_told_file(_as_found(scan), sha256))
        without.update(_told_file(scan, None if scan.file in unread else sha256))
    if before.source_sha256 in (now.hexdigest(), older.hexdigest()):
        return
    if unread and before.source_sha256 == without.hexdigest():
        raise PreprocessingError(
            f"{out} lacks files that could not be read then ({len(unread)}, "
            f"{min(unread)!r} first); delete it to prepare them too, or choose another OUT"
        )
    if unread_now:
        raise PreprocessingError(
            f"{unread_now} cannot be read, so nothing tells whether {out} was prepared from these scans; make "
            f"the file readable, or choose another OUT"
        )
    raise OtherDataset(out, f"from other scans ({before.count})")


def _unread(out: Path) -> set[str]:
    """Return the files that could not be read when the dataset was prepared."""
    file = out / "rejects.jsonl"
    rejects = parse_records(Reject, read_bytes(file)) if file.exists() else ()
    return {each.file for each in rejects if each.reason.startswith("cannot be read")}


def publish(partial: Path, out: Path) -> None:
    """Move finished files from `partial` into `out`; the file that marks completion comes last."""
    (partial / "journal.jsonl").unlink(missing_ok=True)
    if is_split(partial):  # the subsets have their own
        (partial / "images.npy").unlink(missing_ok=True)
    for path in sorted(partial.iterdir(), key=lambda path: (path.name in DONE, path.name)):
        path.rename(out / path.name)
    partial.rmdir()


def digest(scans: Iterable[Hash]) -> str:
    """Compute the SHA-256 of the list of files, their classes, subjects and bytes."""
    digest = hashlib.sha256()
    for scan, sha256 in scans:
        digest.update(_told_file(scan, sha256))
    return digest.hexdigest()


def _told_file(scan: SourceFile, sha256: str | None) -> bytes:
    return json.dumps([*scan, sha256]).encode()


def _as_found(scan: SourceFile) -> SourceFile:
    """Return the file with its class as the folder is spelt on disk, as older versions did."""
    folders = scan.file.split("/")[:-1]
    name = next((each for each in folders if normal(each) == scan.class_name), scan.class_name)
    return scan._replace(class_name=name)


def _told(value: object) -> str:
    """Tell the value of an option as one would type it."""
    if value is None:
        return "none"
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
