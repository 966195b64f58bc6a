"""What a name alone says."""

import pytest

from scangan.core.folder_words import copy_of, is_case, is_kind, is_version, says_finding, subset_of

SUBSETS = {
    "train": "train", "TRAIN": "train", "Training Set": "train", "train_images": "train",
    "ISIC_2019_Training_Input": "train", "train1": "train", "valid": "val", "test": "test",
    "fold-3": "fold3", "cv_10": "cv10", "normal": "", "trained": "", "stress_test": "",
    "test_positive": "", "folded": "", "fold": "", "value": "",
}  # fmt: skip
CASES = ["0001", "LIDC-IDRI-0001", "patient1", "sub-01", "1.3.6.1.4.1.14519", "Case (3)", "S0012"]
CLASSES = [
    "0", "12", "grade 3", "class_0001", "covid19", "T1", "BIRADS4", "patient", "400x", "10 mm",
]  # fmt: skip


@pytest.mark.parametrize(("name", "subset"), SUBSETS.items())
def test_subsets(name, subset):
    assert subset_of(name) == subset


def test_cases():
    assert [name for name in CASES if not is_case(name)] == []
    assert [name for name in CLASSES if is_case(name)] == []


@pytest.mark.parametrize(
    ("says", "yes", "no"),
    [
        (says_finding, ["NORMAL", "no", "no_tumor", "Pneumonia1"], ["normalized", "images", "a"]),
        (is_kind, ["T1 axial", "png", "Left", "images_2"], ["tumor", "axial tumor", "7"]),
        (is_version, ["128x128", "64 px", "Processed Images", "aug"], ["augusta", "processed a"]),
    ],
)
def test_words(says, yes, no):
    assert [name for name in yes if not says(name)] == []
    assert [name for name in no if says(name)] == []


@pytest.mark.parametrize("name", ["a - Copy", "A (2)", "a_backup", "copy of a"])
def test_copies(name):
    assert copy_of(name, ["a", "b"]) == "a"


@pytest.mark.parametrize("name", ["a", "b copy", "scopy"])
def test_no_copies(name):
    assert copy_of(name, ["a", "s"]) == ""
