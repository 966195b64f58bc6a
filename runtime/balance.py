"""Count how many scans each class of a dataset is short of."""

from collections.abc import Callable, Sequence
from pathlib import Path

from scangan.artifacts.dataset import is_dataset, is_prepared, load_dataset
from scangan.artifacts.latents import LARGEST_INDEX
from scangan.artifacts.run import refuse_run
from scangan.core.address import Place
from scangan.core.class_folders import count_scans
from scangan.core.counted import counted
from scangan.core.errors import USAGE, FolderError, GenerationError
from scangan.core.printable import to_type


def class_counts(dataset: Place, say: Callable[[str], None] = lambda line: None) -> dict[str, int]:
    """Count the scans of each class in a prepared dataset or a folder with a folder per class.

    In a folder, `count_scans` counts files by name and format, so unusable files count too. A prepared
    dataset holds only usable scans.

    Parameters
    ----------
    dataset : Path or Address
        A prepared dataset or a folder of scans.
    say : callable
        Called with a line of text wherever the count may surprise the user.

    Returns
    -------
    dict
        Number of scans by class name.

    Raises
    ------
    GenerationError
        `dataset` is neither, or has a class folder that cannot be read.
    PreprocessingError
        It is a damaged or divided prepared dataset.
    """
    if isinstance(dataset, Path) and is_dataset(dataset):
        prepared = load_dataset(dataset)
        return prepared.counts | dict.fromkeys(prepared.info.empty_classes, 0)
    if isinstance(dataset, Path) and not dataset.is_dir():
        raise GenerationError(f"{dataset} is not a folder; give --balance the folder of a dataset")
    try:
        refuse_run(dataset)
        count = count_scans(dataset)
        refuse_run(dataset / count.wrapper, count.scans)
    except FolderError as error:
        raise GenerationError(str(error)) from error
    if count.wrapper:
        say(f"the classes are the folders in {count.wrapper}, the only folder with scans")
    if count.volumes:
        one = "file with several slices counts as one scan"
        many = "files with several slices count as one scan each"
        say(
            f"{counted(count.volumes, one, many)}; to count slices, prepare {dataset} and give the "
            f"prepared dataset"
        )
    if count.named_masks:
        say(
            f"{counted(count.named_masks, 'file is', 'files are')} named like masks and count as "
            f"scans; to leave masks out, prepare {dataset} and give the prepared dataset"
        )
    return count.scans


def missing(
    dataset: Place,
    classes: tuple[str, ...],
    asked: Sequence[int],
    target: int | None,
    say: Callable[[str], None] = lambda line: None,
) -> dict[int, int]:
    """Count the scans to make of each class to reach `target`, or the size of the largest class.

    Parameters
    ----------
    dataset : Path or Address
        See `class_counts`.
    classes : tuple of str
        Class names of the model.
    asked : sequence of int
        Class numbers to top up; empty for all.
    target : int, optional
        Scans that each class should have, 1 or more; by default as many as the largest class.
    say : callable
        See `class_counts`.

    Returns
    -------
    dict
        Number of scans to make by class number; only classes that need some.

    Raises
    ------
    GenerationError
        The class names of dataset and model differ, `target` is out of range, or nothing is missing.
    """
    if not classes:
        raise GenerationError(
            "--balance needs a model with classes; this one has none: give --count"
        )
    counts = class_counts(dataset, say)
    if not any(counts.values()):
        raise GenerationError(f"{dataset} has no scans; give --balance the folder of a dataset")
    prepared = isinstance(dataset, Path) and is_prepared(dataset)
    # A folder without scans may hold documents; it is a class only if the model has that class.
    counts = {name: count for name, count in counts.items() if count or name in classes}
    wanted = [classes[number] for number in asked] if asked else list(classes)
    if not set(wanted) <= set(counts) or (not asked and set(counts) != set(classes)):
        most = max(counts.values()) if target is None else target
        both = [name for name in classes if counts.get(name, most) < most]
        choose = f", or choose a class that both have: --class {to_type(both[0])}" if both else ""
        if not both and (shared := [name for name in classes if counts.get(name)]):
            more = f"--class {to_type(shared[0])} --target {max(most, counts[shared[0]]) + 1}"
            choose = f", or choose a class that both have, and more of it: {more}"
        rename = "rename the folders" + (" and prepare them again" if prepared else "")
        raise GenerationError(
            f"classes differ: {dataset} has {', '.join(counts)}; the model has "
            f"{', '.join(classes) or 'none'}; {rename}{choose}"
        )
    if target is not None and not 1 <= target <= LARGEST_INDEX:
        raise GenerationError(
            f"--target {target} is out of range; it takes 1 to 2^63 - 1", exit_code=USAGE
        )
    goal = max(counts.values()) if target is None else target
    lacking = {classes.index(name): goal - counts[name] for name in wanted if counts[name] < goal}
    if not lacking:
        told = ", ".join(f"{counts[name]} {name}" for name in wanted)
        raise GenerationError(
            f"nothing is missing: {dataset} has {told}, and the target is {goal}; ask for more: "
            f"--target {max(counts.values()) + 1}"
        )
    return dict(sorted(lacking.items()))
