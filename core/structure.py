"""Judge whether the folders of a level are classes, or something else such as parts of a split.

The judgement uses only names and which folders hold files, so it can be wrong. Callers must let the
user override it.
"""

import dataclasses
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

# Words that name a part of a split, with that part.
SPLIT_WORDS = {
    "train": "train", "training": "train", "test": "test", "testing": "test", "val": "val",
    "valid": "val", "validation": "val", "holdout": "test", "eval": "test", "evaluation": "test",
}  # fmt: skip
FOLDS = {"fold", "kfold", "cv", "partition", "split"}
# Words that appear next to "train" in the name of a part.
FILLERS = {
    "set", "sets", "data", "dataset", "image", "images", "img", "imgs", "scan", "scans", "slices",
    "split", "part", "input", "dicom", "dicoms", "png", "jpg", "jpeg", "stage", "new", "full", "raw",
    "original", "isic", "dir", "folder", "x", "xray", "xrays", "mri", "ct", "labelled", "labeled",
}  # fmt: skip
# Words that name a finding.
FINDINGS = {
    "normal", "abnormal", "healthy", "benign", "malignant", "malign", "pneumonia", "covid", "tumor",
    "tumour", "notumor", "glioma", "meningioma", "pituitary", "cancer", "carcinoma", "adenocarcinoma",
    "positive", "negative", "pos", "neg", "yes", "infected", "uninfected", "parasitized", "disease",
    "diseased", "tuberculosis", "tb", "nodule", "fracture", "fractured", "stroke", "hemorrhage",
    "haemorrhage", "effusion", "lesion", "melanoma", "nevus", "cyst", "stone", "polyp", "polyps",
    "demented", "nondemented", "atelectasis", "cardiomegaly", "edema", "hgg", "lgg", "viral",
    "bacterial", "drusen", "cnv", "dme", "glaucoma", "cataract", "opacity", "finding", "metastasis",
    "mild", "moderate", "severe", "sick", "lymphoma", "keratosis", "retinopathy",
}  # fmt: skip
# Words that say how a scan was made or stored, not what it shows. Such folders may hold the same scans.
KINDS = {
    "image", "images", "img", "imgs", "mask", "masks", "label", "labels", "annotation",
    "annotations", "segmentation", "segmentations", "seg", "gt", "ground", "truth", "groundtruth",
    "png", "jpg", "jpeg", "dicom", "dcm", "nifti", "nii", "raw", "processed", "original", "frame",
    "frames", "slice", "slices", "scan", "scans", "series", "study", "axial", "coronal", "sagittal",
    "ax", "cor", "sag", "left", "right", "l", "r", "lateral", "frontal", "pa", "ap", "cc", "mlo", "t",
    "w", "ce", "gd", "tw", "tce", "flair", "dwi", "adc", "swi", "pd", "ct", "mr", "mri", "pet",
    "us", "xray", "pre", "post", "contrast", "anat", "func", "perf", "fmap", "baseline", "follow",
    "followup", "up", "male", "female", "m", "f", "x", "view", "views", "plane",
}  # fmt: skip
CASE_WORDS = (
    "patient|patients|pat|pt|subject|subj|sub|case|person|study|series|exam|visit|session|ses|scan|"
    "volume|vol|slice|frame|image|img|im|id|st|se|pa|batch|chunk"
)
RATED = re.compile(
    r"(class|grade|stage|type|label|cat|category|group|level|score|bi-?rads|kl|cluster|phase)"
    r"[ _-]*\d+",
    re.IGNORECASE,
)
MEASURED = re.compile(r"\d+ ?(x|mm|um|mg|mgy|kv|kvp|mas|hz|ml)", re.IGNORECASE)
NUMBERED = re.compile(rf"({CASE_WORDS})[ _.#-]*\(?\d+\)?", re.IGNORECASE)
COPY = re.compile(
    r"^copy of (?P<a>.+)$|^(?P<b>.+?)([ _-]+(copy|backup|bak|old)( ?\(?\d+\)?)?| ?\(\d+\))$",
    re.IGNORECASE,
)
SERIES = 8  # this many numbered folders are a series; fewer may be grades
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
    move : str
        A folder to move away, if that helps.
    """

    what: str
    candidates: list[str] = dataclasses.field(default_factory=list)
    deeper: int = 0
    one_class: bool = False
    move: str = ""


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
    """Return the path through single folders down to folders that look like classes; else empty."""
    way: list[str] = []
    node = root
    while len(node.folders) == 1:
        name, inner = next(iter(node.folders.items()))
        if part_of(name):
            return "/".join(way)  # `doubt` will report it there
        if not inner.folders:
            break
        way.append(name)
        node = inner
    names = node.folders
    findings = sum(map(says_finding, names))
    several = len(names) > 1 and _may_be_classes(names) and (not node.files or findings > 1)
    return "/".join(way) if several or findings == len(names) else ""


def doubt(root: Node) -> Doubt | None:
    """Return why the folders in `root` may not be classes; None if they may be."""
    return _parts(root) or _nested_copy(root) or _cases(root) or _wrappers(root)


def _parts(root: Node) -> Doubt | None:
    """Detect parts of a split (train, test, val, folds), even among other folders."""
    part = {name: part_of(name) for name in root.folders}
    parts = [name for name, kind in part.items() if kind]
    kinds = {part[name] for name in parts}
    sure = kinds & {"train", "val"} or len(kinds) > 1 or len(parts) == len(root.folders)
    if parts and (sure or any(_may_be_classes(root.folders[name].folders) for name in parts)):
        inner = root.folders.values()
        deeper = all(not each.files and _may_be_classes(each.folders) for each in inner)
        deeper = deeper and not any(part_of(name) for each in inner for name in each.folders)
        best = sorted(parts, key=lambda name: (part[name] != "train", name))
        what = "which are parts of a split, not classes"
        if len(parts) < len(root.folders):
            what = f"which include parts of a split ({', '.join(sorted(parts))}), not classes"
        return Doubt(what, best, int(deeper))
    pairs = defaultdict[tuple[str, ...], dict[str, str]](dict)
    for name in root.folders:
        words = _words(name)
        for word in words:
            if word in SPLIT_WORDS:
                pairs[tuple(w for w in words if w != word)].setdefault(SPLIT_WORDS[word], name)
    if any(len(names) > 1 for names in pairs.values()):
        what = "whose names mix classes and parts of a split"
        return Doubt(what, move="those of the other parts")
    return None


def _nested_copy(root: Node) -> Doubt | None:
    """Detect a folder that holds folders with the same names as those beside it."""
    for name, inner in root.folders.items():
        beside = {other.casefold() for other in root.folders if other != name}
        for depth in range(1, DEEPEST):
            both = beside & {found.casefold() for found in inner.at(depth)}
            if both and (len(both) > 1 or both == beside):
                what = f"and {name!r} has folders with the same names as those beside it"
                return Doubt(what, [name], move=name)
    return None


def _cases(root: Node) -> Doubt | None:
    """Detect patients, series or batches of files."""
    names = root.folders
    if len(names) > 2 and all(map(is_case, names)):
        what = "which are named like patients, series or batches, not classes"
        return Doubt(what, one_class=True)
    return None


def _wrappers(root: Node) -> Doubt | None:
    """Detect folders that each hold the same classes, such as one folder per hospital."""
    if len(root.folders) < 2 or all(map(says_finding, root.folders)):
        return None
    for depth in range(1, DEEPEST):
        sets = {name: _class_names(inner.at(depth)) for name, inner in root.folders.items()}
        holding = {name: found for name, found in sets.items() if found}
        if len(holding) < 2:
            continue
        values = list(holding.values())
        union = set().union(*values)
        findings = {name for name in union if says_finding(name)}
        same = len(union) > 1 and all(found == values[0] for found in values)
        above = any(map(says_finding, root.folders))
        told = len(findings) > 1 and len(holding) == len(root.folders) and not above
        told = told and all(found & findings for found in values)
        if told or (same and not (above and not findings)):
            shown = ", ".join(sorted(union)[:4])
            what = f"which contain folders that look like classes ({shown})"
            return Doubt(what, sorted(holding), depth)
    return None


def copy_of(name: str, others: Iterable[str]) -> str:
    """Return which of `others` is the original, if `name` says it is a copy; else empty."""
    match = COPY.match(name)
    original = (match["a"] or match["b"]).casefold() if match else ""
    return next((other for other in others if other.casefold() == original), "")


def part_of(name: str) -> str:
    """Return the part of a split that a name stands for: ``train``, ``test``, ``val``, a fold; else empty."""
    words = _words(name)
    if len(words) > 1 and words[0] in FOLDS and all(word.isdecimal() for word in words[1:]):
        return "".join(words)
    kinds = [SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS]
    others = [word for word in words if word not in SPLIT_WORDS]
    plain = all(word.isdecimal() or word in FILLERS for word in others)
    return kinds[0] if len(kinds) == 1 and plain else ""


def is_case(name: str) -> bool:
    """Return whether a name is a number or identifies a patient, a series or a file, not a class."""
    if RATED.fullmatch(name) or MEASURED.fullmatch(name):
        return False
    return sum(letter.isdecimal() for letter in name) > 2 or bool(NUMBERED.fullmatch(name))


def says_finding(name: str) -> bool:
    """Return whether a word of the name is a finding."""
    return name.casefold() == "no" or any(word in FINDINGS for word in _words(name))


def _class_names(names: Iterable[str]) -> set[str]:
    return {
        name.casefold()
        for name in names
        if not is_case(name) and not part_of(name) and not _is_kind(name)
    }


def _may_be_classes(names: Mapping[str, Node]) -> bool:
    if not names or all(map(_is_kind, names)) or sum(map(is_case, names)) * 2 >= len(names):
        return False
    alike = Counter(re.sub(r"\d+", "0", name) for name in names if re.search(r"\d", name))
    return max(alike.values(), default=0) < SERIES


def _is_kind(name: str) -> bool:
    words = [word for word in _words(name) if not word.isdecimal()]
    return bool(words) and all(word in KINDS for word in words)


def _words(name: str) -> list[str]:
    """Split a name into words and numbers in lower case: ``Stage2_trainSet`` has four."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).casefold()
    apart = re.sub(r"\b(train|test|val)(?=(set|data|images?)\b)", r"\1 ", apart)
    return re.findall(r"[^\W\d_]+|\d+", apart)
