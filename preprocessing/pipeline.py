"""A folder of scans to a prepared dataset."""

import dataclasses
import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from scangan.preprocessing.dataset import (
    FORMAT_VERSION,
    PreparedDataset,
    fingerprint,
    is_prepared,
    load_dataset,
)
from scangan.preprocessing.errors import PreprocessingError, Rejected
from scangan.preprocessing.options import PrepOptions
from scangan.preprocessing.reading import read_file, read_grey
from scangan.preprocessing.transforms import prepare_image
from scangan.runtime.console import progress_bar
from scangan.runtime.files import naming, only_writer, write_json, write_jsonl
from scangan.runtime.session import usable_cpus

LITTER = {"thumbs.db", "desktop.ini", "__macosx"}
# Beside the class folders these are named as refused; a README or a licence is not.
LOOKS_LIKE_A_SCAN = {
    ".png",
    ".jpg",
    ".jpeg",
    ".tif",
    ".tiff",
    ".bmp",
    ".gif",
    ".dcm",
    ".nii",
    ".gz",
}
QUEUED = 64  # scans decoded ahead: enough to keep the threads busy, few enough to stay small


@dataclasses.dataclass(frozen=True)
class _Source:
    file: str  # relative to the source folder, with "/"
    class_name: str


class _Found(NamedTuple):
    classes: list[str]  # folders, in order
    scans: list[_Source]
    outside: list[str]  # files that look like scans, beside the class folders


def summary(dataset: PreparedDataset) -> str:
    """Say in one line what was kept, what was refused, and which class came out empty."""
    rejected, empty = dataset.info["rejected"], dataset.info["empty_classes"]
    copies = len(dataset.items) - len({item["duplicate_group"] for item in dataset.items})
    parts = [f"{len(dataset.labels)} scans prepared at {dataset.size}x{dataset.size}"]
    parts += [f"{copies} of them copies of another"] if copies else []
    where = f" (see {dataset.path / 'rejects.jsonl'})"
    parts.append(f"{rejected} refused{where}" if rejected else "none refused")
    parts += [f"NO usable scan in {', '.join(empty)}"] if empty else []
    return ", ".join(parts)


def prepare(
    source: str | Path,
    out: str | Path,
    options: PrepOptions | None = None,
    *,
    quiet: bool = True,
) -> PreparedDataset:
    """Prepare the scans of a ``CLASS/file`` folder; a file that can't be used is named, not fatal.

    Parameters
    ----------
    source : path
        Folder with one folder per class, PNG and JPEG files in them (folders below are searched).
    out : path
        The prepared dataset to be: absent, empty, or the result of an earlier run over the same
        scans with the same options, which is then left alone.
    options : PrepOptions, optional
        Size and equalisation.
    quiet : bool
        Show no progress bar.

    Returns
    -------
    PreparedDataset
        The dataset, opened from `out`.

    Raises
    ------
    PreprocessingError
        No source, no usable scan, or `out` is taken by something else.
    """
    source, out, options = Path(source), Path(out), options or PrepOptions()
    found = _find_scans(source)
    out = out.resolve()
    if out.is_relative_to(source.resolve()):
        raise PreprocessingError(
            f"{out} lies in {source}, or is it; choose an OUT outside of SOURCE"
        )
    if Path.cwd().is_relative_to(out):
        raise PreprocessingError(f"{out} is the current folder, or holds it; name a folder in it")
    with only_writer(out.with_name(f".{out.name}.lock")):
        _check_out(out, options)
        partial = out.with_name(f".{out.name}.part")
        shutil.rmtree(partial, ignore_errors=True)  # what a killed run left
        partial.mkdir()
        try:
            with naming(out):
                _write(source, found, partial, options, quiet)
            _move_into_place(partial, out)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return load_dataset(out)


def _find_scans(source: Path) -> _Found:
    """Find the files of every class, and those that lie beside the class folders."""
    if not source.is_dir():
        raise PreprocessingError(f"{source} is no folder; give a folder with one folder per class")
    classes = sorted(p.name for p in source.iterdir() if p.is_dir() and not _is_litter(p.name))
    if not classes:
        raise PreprocessingError(
            f"{source} has no class folders; put the scans into one folder per class: CLASS/file"
        )
    found = []
    for name in classes:
        for folder, below, files in os.walk(source / name, onerror=_raise):
            below[:] = sorted(b for b in below if not _is_litter(b))
            inside = Path(folder).relative_to(source)
            found += [
                _Source((inside / f).as_posix(), name) for f in sorted(files) if not _is_litter(f)
            ]
    outside = sorted(
        p.name
        for p in source.iterdir()
        if p.suffix.lower() in LOOKS_LIKE_A_SCAN and not _is_litter(p.name)
    )
    if not found:
        raise PreprocessingError(f"{source} has no files in its class folders; put scans into them")
    return _Found(classes, found, outside)


def _raise(error: OSError) -> None:
    raise error


def _is_litter(name: str) -> bool:
    return name.startswith(".") or name.lower() in LITTER


def _check_out(out: Path, options: PrepOptions) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not is_prepared(out):
        raise PreprocessingError(f"{out} exists and is no prepared dataset; choose another OUT")
    before = load_dataset(out).info["options"]
    differing = [
        f"{key} {before.get(key)} -> {value}"
        for key, value in options.to_dict().items()
        if before.get(key) != value
    ]
    if differing:
        raise PreprocessingError(
            f"{out} was prepared with other options ({', '.join(differing)}); "
            f"choose another OUT, or delete it"
        )


def _write(
    source: Path,
    found: _Found,
    out: Path,
    options: PrepOptions,
    quiet: bool,
) -> None:
    items: list[dict[str, Any]] = []
    rejects: list[dict[str, Any]] = [
        {"file": file, "class": None, "reason": "in no class folder"} for file in found.outside
    ]
    first_with: dict[str, int] = {}
    with (
        progress_bar("scans", quiet=quiet) as bar,
        (out / "images.npy").open("wb") as images,
    ):
        # Written as a plain file, not through a memory map: on a full disk that would be a crash.
        _write_header(images, len(found.scans), options.size)
        task = bar.add_task("preparing", total=len(found.scans), note="")
        for scan, sha256, result in _prepared(source, found.scans, options):
            if isinstance(result, Rejected):
                rejects.append({"file": scan.file, "class": scan.class_name, "reason": str(result)})
                bar.update(task, note=f"{len(rejects)} refused")
            else:
                images.write(result.data)
                items.append(
                    {
                        "file": scan.file,
                        "sha256": sha256,
                        "class": scan.class_name,
                        "subject": None,
                        "frame": 0,
                        "duplicate_group": first_with.setdefault(sha256, len(items)),
                    }
                )
            bar.advance(task)
        _write_header(images, len(items), options.size)
    if not items:
        reasons = Counter(str(reject["reason"]) for reject in rejects)
        reason, count = reasons.most_common(1)[0]
        raise PreprocessingError(
            f"{source} has no usable scan: {len(rejects)} files refused, {count} of them: {reason}"
        )
    with_scans = {str(item["class"]) for item in items}
    classes = tuple(sorted(with_scans))
    labels = np.array([classes.index(item["class"]) for item in items], np.int64)
    kept = np.load(out / "images.npy", mmap_mode="r")
    write_jsonl(out / "items.jsonl", items)
    write_jsonl(out / "rejects.jsonl", rejects)
    write_json(
        out / "dataset.json",
        {
            "format_version": FORMAT_VERSION,
            "classes": list(classes),
            "size": options.size,
            "count": len(items),
            "rejected": len(rejects),
            "empty_classes": [name for name in found.classes if name not in with_scans],
            "options": options.to_dict(),
            "fingerprint": fingerprint(kept, labels, classes),
        },
    )


def _write_header(file: BinaryIO, count: int, size: int) -> None:
    """Write the header of ``images.npy`` at its start; numpy leaves room for any count."""
    file.seek(0)
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, size, size)}
    np.lib.format.write_array_header_1_0(file, header)


def _prepared(
    source: Path, found: list[_Source], options: PrepOptions
) -> Iterator[tuple[_Source, str, npt.NDArray[np.uint8] | Rejected]]:
    """Decode and resize on all cores (OpenCV lets go of the GIL), in order, a few ahead."""

    def one(scan: _Source) -> tuple[str, npt.NDArray[np.uint8] | Rejected]:
        try:
            data = read_file(source / scan.file)
            return hashlib.sha256(data).hexdigest(), prepare_image(read_grey(data), options)
        except Rejected as reason:
            return "", reason

    with ThreadPoolExecutor(usable_cpus()) as pool:
        for start in range(0, len(found), QUEUED):
            batch = found[start : start + QUEUED]
            for scan, (sha256, result) in zip(batch, pool.map(one, batch), strict=True):
                yield scan, sha256, result


def _move_into_place(partial: Path, out: Path) -> None:
    """Rename the finished folder to `out`; an equal earlier result stays, an unequal one is kept."""
    if is_prepared(out):
        before, now = load_dataset(out), load_dataset(partial)
        if before.fingerprint == now.fingerprint and before.items == now.items:
            return
        raise PreprocessingError(
            f"{out} holds a dataset of other scans ({len(before.labels)}, now "
            f"{len(now.labels)}); choose another OUT, or delete it"
        )
    if out.is_dir():
        out.rmdir()
    partial.rename(out)
