"""The projects of the mission: what each `project.toml` says."""

import dataclasses
import tomllib
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PHANTOMS = "phantoms"  # in place of folders: scans that are simulated


@dataclasses.dataclass(frozen=True)
class Project:
    """What `project.toml` says.

    Parameters
    ----------
    title, claim, reading : str
        Headline; what the project claimed; what our figures say, written by hand.
    train, test : str
        Folders of scans below DATA, or ``phantoms``.
    sample : str
        Folder of a few scans in tests/data, for ``--quick``.
    prepare : tuple of str
        Options of prep-scans.
    classifiers : tuple of str
        Classifiers that learn from the scans of each generator, three times.
    large_classifiers : tuple of str
        Those that take an hour: they learn once, from the scans of each generator's seed 0.
    generators : dict
        Options of train-gan by the generator's name.
    seeds : int
        How many times each is trained.
    held_back : bool
        Whether classifiers are tested on the scans that each run held back, too: where the test set
        differs from the training set. The large ones are then tested on nothing else.
    demonstrations : dict
        Options of train-gan by size in pixels, larger than the scans: trained once, to see that it
        trains, and not evaluated.
    """

    title: str
    claim: str
    train: str
    test: str
    sample: str
    prepare: tuple[str, ...]
    classifiers: tuple[str, ...]
    generators: dict[str, list[str]]
    seeds: int
    large_classifiers: tuple[str, ...] = ()
    held_back: bool = False
    demonstrations: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    reading: str = ""

    @classmethod
    def read(cls, name: str) -> "Project":
        """Read a project's file."""
        told: dict[str, Any] = tomllib.loads((HERE / name / "project.toml").read_text("utf-8"))
        lists = "prepare", "classifiers", "large_classifiers"
        told |= {key: tuple(told[key]) for key in lists if key in told}
        return cls(**told)


def names() -> list[str]:
    """Return the names of the projects."""
    return sorted(file.parent.name for file in HERE.glob("*/project.toml"))
