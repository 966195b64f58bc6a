"""How many scans each class of a dataset lacks."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from scangan.runtime.errors import USAGE, GenerationError
from scangan.runtime.latents import LARGEST_INDEX

# Endings of files that are scans; another may be a DICOM, which says so: its name may be a UID.
SCANS = (
    *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".tif", ".tiff", ".bmp"),
    *(".dcm", ".dicom", ".ima", ".nii", ".nii.gz"),
)
DICM = slice(128, 132)


def class_counts(dataset: Path) -> dict[str, int]:
    """Scans of each class of a prepared dataset, or of a folder with a folder for each class.

    Raises
    ------
    GenerationError
        It is neither.
    OSError
        A folder cannot be read.
    """
    about = dataset / "dataset.json"
    if about.is_file():
        try:
            classes = json.loads(about.read_text(encoding="utf-8"))["classes"]
            with (dataset / "items.jsonl").open(encoding="utf-8") as lines:
                counted = Counter(json.loads(line)["class"] for line in lines)
            return {str(name): counted[name] for name in classes}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise GenerationError(f"{dataset} is damaged ({error}); prepare it again") from error
    if not dataset.is_dir():
        raise GenerationError(f"{dataset} is no folder; --balance takes a dataset")
    if (dataset / "train" / "dataset.json").is_file():
        raise GenerationError(
            f"{dataset} was split; give its part to train on: {dataset / 'train'}"
        )
    folders = sorted(f for f in dataset.iterdir() if f.is_dir() and not f.name.startswith("."))
    if not folders:
        raise GenerationError(f"{dataset} has no folders of classes, and is no prepared dataset")
    return {folder.name: _scans_below(folder) for folder in folders}


def _scans_below(folder: Path) -> int:
    """Files that are scans; one with several frames or slices counts once."""
    count, seen = 0, set()
    for path, folders, files in os.walk(folder, followlinks=True, onerror=_raise):
        seen.add(Path(path).resolve())  # links may lead back
        folders[:] = [
            name
            for name in folders
            if not name.startswith(".") and (Path(path) / name).resolve() not in seen
        ]
        count += sum(_is_scan(Path(path) / name) for name in files if not name.startswith("."))
    return count


def _is_scan(file: Path) -> bool:
    if not file.is_file():  # a link that leads nowhere, a pipe
        return False
    if file.name.lower().endswith(SCANS):
        return file.stat().st_size > 0
    with file.open("rb") as opened:
        return opened.read(DICM.stop)[DICM] == b"DICM"


def _raise(error: OSError) -> None:
    raise error


def missing(
    dataset: Path, classes: tuple[str, ...], asked: Sequence[int], target: int | None
) -> dict[int, int]:
    """How many scans to make of each class number, to bring all to `target` or the largest class.

    Parameters
    ----------
    dataset : Path
        See `class_counts`.
    classes : tuple of str
        Of the model.
    asked : sequence of int
        Class numbers to top up; all if it is empty.
    target : int, optional
        Scans of each class there should be.

    Raises
    ------
    GenerationError
        Class names of dataset and model differ, or nothing is missing.
    """
    counts = class_counts(dataset)
    wanted = [classes[number] for number in asked] if asked else list(classes)
    if not set(wanted) <= set(counts) or (not asked and set(counts) != set(classes)):
        raise GenerationError(
            f"classes differ: {dataset} has {', '.join(counts)}; the model has "
            f"{', '.join(classes) or 'none'}; rename the folders, or choose with --class"
        )
    if target is not None and not 1 <= target <= LARGEST_INDEX:
        raise GenerationError(
            f"--target {target} is out of range; it takes 1 or more", exit_code=USAGE
        )
    goal = max(counts.values()) if target is None else target
    lacking = {classes.index(name): goal - counts[name] for name in wanted if counts[name] < goal}
    if not lacking:
        told = ", ".join(f"{counts[name]} {name}" for name in wanted)
        raise GenerationError(f"nothing is missing: {dataset} has {told}, and {goal} are asked for")
    return dict(sorted(lacking.items()))
