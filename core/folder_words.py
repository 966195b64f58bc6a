"""What the name of a folder says: a subset of a split, a case, a finding, masks, a version, a copy.

Names are compared by their words, so this can be wrong: see `structure`, which judges whole levels.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping

# Words that name a subset of a split, with that subset.
SPLIT_WORDS = {
    "train": "train", "training": "train", "test": "test", "testing": "test", "val": "val",
    "valid": "val", "validation": "val", "holdout": "test", "eval": "test", "evaluation": "test",
    "trn": "train", "tst": "test", "trainval": "train",
    "trainings": "train", "trainingsdaten": "train", "testdaten": "test", "validierung": "val",
    "validierungsdaten": "val", "entrainement": "train", "apprentissage": "train",
    "entrenamiento": "train", "prueba": "test", "pruebas": "test", "validacion": "val",
    "treino": "train", "treinamento": "train", "teste": "test", "validacao": "val",
    "addestramento": "train", "训练": "train", "训练集": "train", "测试": "test", "测试集": "test",
    "验证": "val", "验证集": "val",
}  # fmt: skip
# They do so only beside another subset.
BESIDE_OTHERS = {"tr": "train", "te": "test", "ts": "test", "dev": "val"}
FOLDS = {"fold", "kfold", "cv", "xval", "partition", "split"}
# Words that appear next to "train" in the name of a subset.
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
# Words for what is drawn onto scans.
MASKS = {
    "mask", "masks", "label", "labels", "annotation", "annotations", "segmentation", "segmentations",
    "seg", "gt", "ground", "truth", "groundtruth", "contour", "contours",
}  # fmt: skip
# Words for how scans were changed.
VERSIONS = {
    "raw", "original", "originals", "processed", "preprocessed", "augmented", "augmentation", "aug",
    "resized", "cropped", "normalized", "normalised", "filtered", "denoised", "clahe", "equalized",
}  # fmt: skip
# What may stand beside them.
IN_MASKS = {"class", "object", "image", "images", "png", "tr", "ts", *SPLIT_WORDS}
IN_VERSIONS = {"image", "images", "img", "imgs", "scan", "scans", "data", "dataset", "set"}
RESIZED = re.compile(r"\d+ ?[x×] ?\d+( ?px)?|\d+ ?px", re.IGNORECASE)
# What identifies one patient, series or file, if a number follows.
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


def subset_of(name: str) -> str:
    """Return the subset of a split that a name stands for: ``train``, ``test``, ``val``, a fold; else empty."""
    return subset_by(name, SPLIT_WORDS)


def subset_by(name: str, known: Mapping[str, str]) -> str:
    """Return what `subset_of` does, by other words."""
    words = words_of(name)
    folds = [word for word in words if word in FOLDS]
    numbers = [word for word in words if word.isdecimal()]
    if len(folds) == 1 and numbers and {*words} <= {*folds, *numbers, "of"}:
        return "".join(folds + numbers)
    kinds = {known[word] for word in words if word in known}
    others = [word for word in words if word not in known]
    numbered = words[:1] if len("".join(words[:1])) == 1 else []  # a. Training Set
    plain = all(word.isdecimal() or word in FILLERS or word in numbered for word in others)
    if kinds == {"train", "val"}:
        kinds = {"train"}
    return kinds.pop() if len(kinds) == 1 and plain else ""


def is_case(name: str) -> bool:
    """Return whether a name is a number or identifies a patient, a series or a file, not a class."""
    if RATED.fullmatch(name) or MEASURED.fullmatch(name):
        return False
    return sum(letter.isdecimal() for letter in name) > 2 or bool(NUMBERED.fullmatch(name))


def says_finding(name: str) -> bool:
    """Return whether a word of the name is a finding."""
    return name.casefold() == "no" or any(word in FINDINGS for word in words_of(name))


def copy_of(name: str, others: Iterable[str]) -> str:
    """Return which of `others` is the original, if `name` says it is a copy; else empty."""
    match = COPY.match(name)
    original = (match["a"] or match["b"]).casefold() if match else ""
    return next((other for other in others if other.casefold() == original), "")


def is_kind(name: str) -> bool:
    """Return whether a name says only how scans were made or stored: ``T1 axial``, ``png``, ``left``."""
    words = [word for word in words_of(name) if not word.isdecimal()]
    return bool(words) and all(word in KINDS for word in words)


def is_version(name: str) -> bool:
    """Return whether a name says how scans were changed: ``processed images``, ``128x128``."""
    return bool(RESIZED.fullmatch(name)) or is_of(name, VERSIONS, among=IN_VERSIONS)


def is_of(name: str, words: set[str], *, among: set[str]) -> bool:
    """Return whether the name has one of the words, and besides them only numbers and those of `among`."""
    own = {word for word in words_of(name) if not word.isdecimal()}
    return bool(own & words) and own <= words | among


def words_of(name: str) -> list[str]:
    """Split a name into words and numbers in lower case: ``Stage2_trainSet`` has four; é becomes e."""
    name = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z]{2})(?=[A-Z][a-z]{2})", " ", name).casefold()
    apart = re.sub(r"\b(train|test|val)(?=(set|data|images?)\b)", r"\1 ", apart)
    return re.findall(r"[^\W\d_]+|\d+", apart)
