"""How many scans each class of a dataset lacks."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from scangan.runtime.errors import USAGE, GenerationError

SCANS = frozenset(
    [".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".dcm", ".dicom", ".nii", ".gz", ".webp"]
)  # endings of files that are scans


def class_counts(dataset: Path) -> dict[str, int]:
    """Scans of each class of a prepared dataset, or of a folder with a folder for each class.

    Raises
    ------
    GenerationError
        It is neither.
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
    folders = sorted(f for f in dataset.iterdir() if f.is_dir() and not f.name.startswith("."))
    counts = {folder.name: _scans_below(folder) for folder in folders}
    if not any(counts.values()):
        raise GenerationError(
            f"{dataset} has no scans in folders of classes, and is no prepared dataset"
        )
    return counts


def _scans_below(folder: Path) -> int:
    files = (file for file in folder.rglob("*") if file.suffix.lower() in SCANS)
    return sum(not file.name.startswith(".") and file.is_file() for file in files)


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
    if target is not None and target < 1:
        raise GenerationError(
            f"--target {target} is out of range; it takes 1 or more", exit_code=USAGE
        )
    goal = max(counts.values()) if target is None else target
    lacking = {classes.index(name): goal - counts[name] for name in wanted if counts[name] < goal}
    if not lacking:
        told = ", ".join(f"{counts[name]} {name}" for name in wanted)
        raise GenerationError(f"nothing is missing: {dataset} has {told}, and {goal} are asked for")
    return dict(sorted(lacking.items()))
