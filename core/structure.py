"""Judge whether the folders of a level are classes, or something else such as subsets of a split.

The judgement uses only names and which folders hold files, so it can be wrong. Callers must let the
user override it.
"""

import dataclasses
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from scangan.core.folder_words import (
    BESIDE_OTHERS,
    IN_MASKS,
    MASKS,
    RATED,
    SPLIT_WORDS,
    VERSIONS,
    is_case,
    is_kind,
    is_of,
    is_version,
    says_finding,
    subset_by,
    subset_of,
    words_of,
)

SERIES = 8  # this many numbered folders are a series; fewer may be grades
FEW = 0.1  # at most this many files beside folders, for each file in them, are strays
DEEPEST = 4  # levels to look at


@dataclasses.dataclass
class Node:
    """A folder with files in it or below it."""

    folders: dict[str, "Node"] = dataclasses.field(default_factory=dict)
    files: int = 0  # directly in it

    def at(self, depth: int) -> set[str]:
        """Return the names of the folders `depth` levels down."""
        if depth == 1:
            return set(self.folders)
        return {name for inner in self.folders.values() for name in inner.at(depth - 1)}

    @property
    def below(self) -> int:
        """Number of files in its folders."""
        return sum(inner.files + inner.below for inner in self.folders.values())


@dataclasses.dataclass(frozen=True)
class Doubt:
    """Why the folders of a level may not be classes.

    Parameters
    ----------
    what : str
        The reason, worded to follow "SOURCE has the folders a, b".
    candidates : list of str
        Folders that the user may have meant as the source, likeliest first.
    deeper : int
        How many levels further down the classes may be; 0 if not known.
    one_class : bool
        Whether everything may be one class.
    move : list of str
        Folders to move away, if that helps.
    """

    what: str
    candidates: list[str] = dataclasses.field(default_factory=list)
    deeper: int = 0
    one_class: bool = False
    move: list[str] = dataclasses.field(default_factory=list)

    @property
    def knows_better(self) -> bool:
        """Whether it names something else to use as classes."""
        return bool(self.candidates or self.deeper or self.move)


def tree(files: Iterable[str]) -> Node:
    """Build the tree of folders from file paths with ``/``."""
    root = Node()
    for file in files:
        node = root
        for name in file.split("/")[:-1]:
            node = node.folders.setdefault(name, Node())
        node.files += 1
    return root


def wrapper(root: Node) -> str:
    """Return the path through single folders down to those that may be classes, or are doubtful; or empty.

    Doubtful are folders of which `doubt` knows better: it will report them there.
    """
    way: list[str] = []
    node = root
    while len(node.folders) == 1:
        name, inner = next(iter(node.folders.items()))
        if subset_of(name):
            return "/".join(way)  # `doubt` will report it there
        if not inner.folders or (says_finding(name) and any(map(subset_of, inner.folders))):
            break
        way.append(name)
        node = inner
    names = node.folders
    findings = sum(map(says_finding, names))
    strays = node.files <= FEW * node.below or findings > 1
    if findings == len(names) or (len(names) > 1 and _may_be_classes(names) and strays):
        return "/".join(way)
    if way and says_finding(way[-1]):
        return "/".join(way[:-1])
    why = doubt(node) if way else None
    return "/".join(way) if why and why.knows_better else ""


def finds(root: Node) -> bool:
    """Return whether a level below the top has several findings."""
    return any(sum(map(says_finding, root.at(depth))) > 1 for depth in range(2, DEEPEST))


def doubt(root: Node) -> Doubt | None:
    """Return why the folders in `root` may not be classes; None if they may be."""
    checks = (_subsets, _nested_copy, _cases, _wrappers, _derived, _versions)
    return next(filter(None, (check(root) for check in checks)), None)


def _subsets(root: Node) -> Doubt | None:
    """Detect subsets of a split (train, test, val, folds), even among other folders."""
    subset = _subsets_among(root)
    subsets = list(subset)
    kinds = {subset[name] for name in subsets}
    sure = kinds & {"train", "val"} or len(kinds) > 1 or len(subsets) == len(root.folders)
    if subsets and (sure or any(_may_be_classes(root.folders[name].folders) for name in subsets)):
        inner = root.folders.values()
        deeper = all(not each.files and _may_be_classes(each.folders) for each in inner)
        deeper = deeper and not any(subset_of(name) for each in inner for name in each.folders)
        # Beside subsets for testing alone, folders with classes are for training, whatever their names.
        for name, each in root.folders.items():
            if "train" not in kinds and name not in subset and _may_be_classes(each.folders):
                subset[name] = "train"
        best = sorted(subset, key=lambda name: (subset[name] != "train", name))
        what = "which are subsets of a split, not classes"
        if len(subsets) < len(root.folders):
            what = f"which include subsets of a split ({', '.join(sorted(subsets))}), not classes"
        return Doubt(what, best, int(deeper))
    pairs = defaultdict[tuple[str, ...], dict[str, str]](dict)
    for name in root.folders:
        words = words_of(name)
        for word in words:
            if word in SPLIT_WORDS:
                pairs[tuple(w for w in words if w != word)].setdefault(SPLIT_WORDS[word], name)
    several = [names for names in pairs.values() if len(names) > 1]
    if several:
        what = "whose names mix classes and subsets of a split"
        kept = "train" if any("train" in names for names in several) else min(several[0])
        others = (name for names in several for subset, name in names.items() if subset != kept)
        return Doubt(what, move=sorted(others))
    return None


def _nested_copy(root: Node) -> Doubt | None:
    """Detect a folder that holds folders with the same names as those beside it."""
    for name, inner in root.folders.items():
        beside = {other.casefold() for other in root.folders if other != name}
        for depth in range(1, DEEPEST):
            both = beside & {found.casefold() for found in inner.at(depth)}
            if both and (len(both) > 1 or both == beside or is_version(name)):
                what = f"and {name!r} has folders with the same names as those beside it"
                return Doubt(what, [] if is_version(name) else [name], move=[name])
    return None


def _cases(root: Node) -> Doubt | None:
    """Detect patients, series or batches of files."""
    names = root.folders
    if len(names) > 2 and all(map(is_case, names)):
        what = "which are named like patients, series or batches, not classes"
        inside = _wrappers(root)
        return Doubt(what, deeper=inside.deeper if inside else 0, one_class=True)
    return None


def _wrappers(root: Node) -> Doubt | None:
    """Detect folders that each hold the same classes, such as one folder per hospital."""
    if len(root.folders) < 2 or all(map(says_finding, root.folders)):
        return None
    files = {name: inner.files + inner.below for name, inner in root.folders.items()}
    for depth in range(1, DEEPEST):
        sets = {name: _class_names(inner.at(depth)) for name, inner in root.folders.items()}
        holding = {name: found for name, found in sets.items() if found}
        if not holding:
            continue
        values = list(holding.values())
        union = set().union(*values)
        findings = {name for name in union if says_finding(name)}
        same = len(union) > 1 and all(found == values[0] for found in values)
        above = any(map(says_finding, root.folders))
        # One folder may hold them if the others are nearly empty; else it may be a class of classes.
        held = sum(files[name] for name in holding)
        most = len(holding) == len(root.folders) or sum(files.values()) - held <= FEW * held
        told = len(findings) > 1 and most and not above
        told = told and all(found & findings for found in values)
        if told or (same and len(holding) > 1 and not (above and not findings)):
            shown = ", ".join(sorted(union)[:4])
            which = "which contain" if len(holding) > 1 else f"of which {min(holding)} contains"
            return Doubt(
                f"{which} folders that look like classes ({shown})", sorted(holding), depth
            )
    return None


def _derived(root: Node) -> Doubt | None:
    """Detect folders of masks beside scans, and of changed scans beside the scans."""
    words = {name: words_of(name) for name in root.folders}
    rated = set(filter(RATED.fullmatch, root.folders))  # label_0 is a class
    derived = [name for name in words if is_of(name, MASKS, among=IN_MASKS) and name not in rated]
    if derived and len(derived) == len(root.folders) and root.files <= FEW * root.below:
        return None  # whoever has only masks wants them
    plain = {tuple(own) for own in words.values()}
    for name, own in words.items():
        halves = [(own[:at], own[at:]) for at in range(1, len(own))]
        for scans, rest in [
            *halves,
            *((end, start) for start, end in halves),
        ]:  # either may come first
            if tuple(scans) in plain and {*rest} <= MASKS | VERSIONS:
                derived.append(name)
    if not derived:
        return None
    shown = sorted(set(derived))
    what = f"of which some hold masks or changed scans ({', '.join(shown[:3])})"
    scans = sorted(name for name in root.folders if name not in shown and is_kind(name))
    return Doubt(what, scans, move=shown)


def _versions(root: Node) -> Doubt | None:
    """Detect several versions of the same scans: raw and processed, or of several sizes."""
    if len(root.folders) < 2 or not all(map(is_version, root.folders)):
        return None
    first = ("original", "originals", "raw")
    best = sorted(root.folders, key=lambda name: (not {*first} & {*words_of(name)}, name))
    return Doubt("which are named like versions of the same scans, not classes", best)


def _subsets_among(root: Node) -> dict[str, str]:
    """Return the folders that are subsets of a split, with the subset of each."""
    names = root.folders
    sure = {name: subset for name in names if (subset := subset_of(name))}
    more = {
        name: subset for name in names if (subset := subset_by(name, SPLIT_WORDS | BESIDE_OTHERS))
    }
    # TR and TS alone may be classes, such as diseases of a valve.
    may_be_classes = all(names[name].files and len(words_of(name)) == 1 for name in more)
    return more if len({*more.values()}) > 1 and (sure or not may_be_classes) else sure


def _class_names(names: Iterable[str]) -> set[str]:
    return {
        name.casefold()
        for name in names
        if not is_case(name) and not subset_of(name) and not is_kind(name)
    }


def _may_be_classes(names: Mapping[str, Node]) -> bool:
    if not names or all(map(is_kind, names)) or sum(map(is_case, names)) * 2 >= len(names):
        return False
    numbered = (name for name in names if re.search(r"\d", name) and not RATED.fullmatch(name))
    alike = Counter(re.sub(r"\d+", "0", name) for name in numbered)
    return max(alike.values(), default=0) < SERIES
