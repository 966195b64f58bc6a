"""How many scans each class of a dataset lacks."""

import json
import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from scangan.artifacts.latents import LARGEST_INDEX
from scangan.core.class_folders import count_scans
from scangan.core.class_names import with_normal_names
from scangan.core.counted import counted
from scangan.core.errors import USAGE, FolderError, GenerationError
from scangan.core.files import read_jsonl
from scangan.core.versions import DATASET, why_newer

Note = Callable[[str], None]


def class_counts(dataset: Path, note: Note = lambda line: None) -> dict[str, int]:
    """Scans of each class of a prepared dataset, or of a folder with a folder for each class.

    In a folder, files count by name and format, as of `count_scans`; a prepared dataset holds what
    could be used.

    Parameters
    ----------
    dataset : Path
    note : callable
        Takes a line where the count may not be what the user expects.

    Raises
    ------
    GenerationError
        It is neither, or a folder of a class cannot be read.
    """
    about = dataset / "dataset.json"
    if about.is_file():
        try:
            told = json.loads(
                about.read_text(encoding="utf-8"), object_pairs_hook=with_normal_names
            )
            if newer := why_newer(dataset, told["format_version"], DATASET):
                raise GenerationError(newer)
            classes = [*told["classes"], *told.get("empty_classes", ())]
            per_class = Counter(item["class"] for item in read_jsonl(dataset / "items.jsonl"))
            return {str(name): per_class[name] for name in classes}
        except (OSError, ValueError, KeyError, TypeError) as error:
            whole = dataset.parent if (dataset.parent / "split.json").is_file() else dataset
            raise GenerationError(
                f"{dataset} is damaged ({error}); delete {whole} and prepare it again"
            ) from error
    if not dataset.is_dir():
        raise GenerationError(f"{dataset} is not a folder; give --balance the folder of a dataset")
    if (dataset / "train" / "dataset.json").is_file():
        raise GenerationError(
            f"{dataset} was split; give its part to train on: {dataset / 'train'}"
        )
    try:
        count = count_scans(dataset)
    except FolderError as error:
        raise GenerationError(str(error)) from error
    if count.wrapper:
        note(f"the classes are the folders in {count.wrapper}, the only folder with scans")
    if count.volumes:
        one = "file with several slices counts as one scan"
        many = "files with several slices count as one scan each"
        note(
            f"{counted(count.volumes, one, many)}; to count slices, prepare {dataset} and give the "
            f"prepared dataset"
        )
    if count.named_masks:
        note(
            f"{counted(count.named_masks, 'file is', 'files are')} named like masks and count as "
            f"scans; to leave masks out, prepare {dataset} and give the prepared dataset"
        )
    return count.scans


def missing(
    dataset: Path,
    classes: tuple[str, ...],
    asked: Sequence[int],
    target: int | None,
    note: Note = lambda line: None,
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
    note : callable
        See `class_counts`.

    Raises
    ------
    GenerationError
        Class names of dataset and model differ, or nothing is missing.
    """
    counts = class_counts(dataset, note)
    prepared = (dataset / "dataset.json").is_file()
    # A folder without a scan is a class only where the model has it: it may hold documents.
    counts = {name: count for name, count in counts.items() if count or name in classes}
    wanted = [classes[number] for number in asked] if asked else list(classes)
    if not set(wanted) <= set(counts) or (not asked and set(counts) != set(classes)):
        both = [name for name in classes if name in counts]
        choose = (
            f", or choose of those that both have: --class {shlex.quote(both[0])}" if both else ""
        )
        rename = "rename the folders" + (" and prepare them again" if prepared else "")
        raise GenerationError(
            f"classes differ: {dataset} has {', '.join(counts)}; the model has "
            f"{', '.join(classes) or 'none'}; {rename}{choose}"
        )
    if target is not None and not 1 <= target <= LARGEST_INDEX:
        raise GenerationError(
            f"--target {target} is out of range; it takes 1 or more", exit_code=USAGE
        )
    goal = max(counts.values()) if target is None else target
    lacking = {classes.index(name): goal - counts[name] for name in wanted if counts[name] < goal}
    if not lacking:
        told = ", ".join(f"{counts[name]} {name}" for name in wanted)
        raise GenerationError(
            f"nothing is missing: {dataset} has {told}, and {goal} are asked for; ask for more: "
            f"--target {max(counts.values()) + 1}"
        )
    return dict(sorted(lacking.items()))
