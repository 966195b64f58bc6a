"""Which folders are taken as classes, which are refused, and that each way out works."""

import re
import shlex
from itertools import product
from pathlib import Path

import pytest

from scangan.core.class_folders import find_class_files
from scangan.core.errors import FolderError


def make(root, *files):
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root


def spread(*levels, files=3):
    """Every combination of folder names, with some files in each."""
    return ["/".join((*names, f"{i}.png")) for names in product(*levels) for i in range(files)]


CHEST = ("NORMAL", "PNEUMONIA")
LITTER = (".pdf", ".md", ".csv", "README", "cover.png", ".h5", ".m", ".zip")
SPLIT = ("train", "test", "val")

RIGHT = {
    "plain": (spread(CHEST), CHEST),
    "one class": (spread(["NORMAL"]), ["NORMAL"]),
    "control and test groups": (spread(["control", "test"]), ["control", "test"]),
    "control and test groups of patients": (
        spread(["control", "test"], ["patient_1", "patient_2"]), ["control", "test"]),
    "results of a test": (spread(["Test Positive", "Test Negative"]),
                          ["Test Negative", "Test Positive"]),
    "grades": (spread("01234"), "01234"),
    "grades in words": (spread(["grade_1", "grade_2", "grade_3"]), ["grade_1", "grade_2", "grade_3"]),
    "class numbers": (spread(["class001", "class002", "class003"]),
                      ["class001", "class002", "class003"]),
    "magnifications": (spread(["100X", "200X", "400X"]), ["100X", "200X", "400X"]),
    "covid": (spread(["COVID-19", "NORMAL"]), ["COVID-19", "NORMAL"]),
    "images and masks in each class": (spread(["COVID", "Normal"], ["images", "masks"]),
                                       ["COVID", "Normal"]),
    "planes in each class": (spread(["glioma", "pituitary"], ["axial", "coronal", "sagittal"]),
                             ["glioma", "pituitary"]),
    "planes in classes of no known word": (spread(["a", "b"], ["axial", "coronal"]), ["a", "b"]),
    "sequences in each class": (spread(["a", "b"], ["T1w", "T2w", "FLAIR"]), ["a", "b"]),
    "sides in each class": (spread(["a", "b"], ["left", "right"]), ["a", "b"]),
    "a split in each class": (spread(CHEST, SPLIT), CHEST),
    "sexes in each class": (spread(["COVID", "Normal"], ["female", "male"]), ["COVID", "Normal"]),
    "wards in each class": (spread(["COVID", "Normal"], ["icu", "home"]), ["COVID", "Normal"]),
    "the same patients in each class": (spread(["T1", "T2"], ["patient 1", "patient 2"]), ["T1", "T2"]),
    "classes of classes": (["benign/adenoma/1.png", "malignant/carcinoma/1.png",
                            "malignant/lymphoma/1.png"], ["benign", "malignant"]),
    "breakhis": (["benign/SOB/adenosis/SOB_B_A_14-22549AB/40X/1.png",
                  "malignant/SOB/lobular_carcinoma/SOB_M_LC_14-12204/40X/1.png"],
                 ["benign", "malignant"]),
    "unzipped each for itself": (["NORMAL/NORMAL/1.png", "PNEUMONIA/PNEUMONIA/1.png"], CHEST),
    "tcia": (spread(["LIDC-IDRI", "NSCLC"], ["LUNG1-001", "LUNG1-002"], ["1.3.6.1.4.1"]),
             ["LIDC-IDRI", "NSCLC"]),
    "one collection of tcia": (
        spread(["LIDC-IDRI"], ["LIDC-IDRI-0001", "LIDC-IDRI-0002"], ["01-01-2000"]), ["LIDC-IDRI"]),
    "one collection around": (
        spread(["manifest-16"], ["LIDC-IDRI"], ["LIDC-IDRI-0001", "LIDC-IDRI-0002"]), ["manifest-16"]),
    "brats": (["HGG/Brats18_2013_11_1/a_t1.nii.gz", "HGG/Brats18_CBICA_AAB_1/a_t1.nii.gz",
               "LGG/Brats18_TCIA09_141_1/a_t1.nii.gz"], ["HGG", "LGG"]),
    "frames": (spread(["benign", "malignant"], ["frame1", "frame2"]), ["benign", "malignant"]),
    "numbered series": (spread(["a"], map(str, range(9))), ["a"]),
    "wrapped, numbered grades": (spread(["a"], "01234"), "01234"),
    "bids": (spread(["ds"], ["sub-01", "sub-02"], ["anat"]), ["ds"]),
    "a CD": (spread(["DICOM"], ["PA000001"], ["ST000001"], ["SE000001", "SE000002"]), ["DICOM"]),
    "copies of no class": (["grade/0.png", "grade (1)/other.png"],
                           ["grade", "grade (1)"]),
    "empty class": ([*spread(["NORMAL"], ["day1", "day2"]), "PNEUMONIA/.keep"], CHEST),
    "documents beside": ([*spread(CHEST), "README.md", "labels.csv"], CHEST),
    # A wrapper, looked through.
    "wrapped": (spread(["brain"], ["glioma", "no_tumor"]), ["glioma", "no_tumor"]),
    "wrapped twice": (spread(["archive"], ["brain"], ["glioma", "no_tumor"]), ["glioma", "no_tumor"]),
    "wrapped, names of no known word": (spread(["archive"], ["cats", "dogs"]), ["cats", "dogs"]),
    "wrapped, with documents": ([*spread(["brain"], CHEST), "docs/paper.pdf", "README"], CHEST),
    "wrapped, with litter": ([*spread(["brain"], CHEST), "__MACOSX/brain/._x.png"], CHEST),
    "wrapped, one class": (spread(["archive"], ["brain"], ["NORMAL"]), ["NORMAL"]),
    "wrapped, a scan beside": ([*spread(["brain"], CHEST), "brain/cover.png"], CHEST),
    "no wrapper: kinds of files": (spread(["NORMAL"], ["images", "masks"]), ["NORMAL"]),
    "one class, in subsets": (spread(["NORMAL"], SPLIT), ["NORMAL"]),
    "wrapped, one class in subsets": (spread(["archive"], ["NORMAL"], SPLIT), ["NORMAL"]),
    "wrapped, many numbered classes": (
        spread(["archive"], [f"class_{k}" for k in range(10)]), [f"class_{k}" for k in range(10)]),
    "wrapped, with other files beside": (
        [*spread(["brain"], CHEST), "model/w.h5", "code/load.m", "zips/brain.zip"], CHEST),
    "wrapped, with an empty folder": ([*spread(["brain"], CHEST), "results/.keep"], CHEST),
    "wrapped, a stray scan": ([*spread(["archive"], ["cats", "dogs"], files=9), "archive/cover.png"],
                              ["cats", "dogs"]),
    "phases of contrast": (spread(["pre", "post"]), ["post", "pre"]),
    "modalities": (spread(["CT", "MR"]), ["CT", "MR"]),
    "masks alone": (spread(["masks"]), ["masks"]),
    "resolutions of a microscope": (spread(["40X", "100X"]), ["100X", "40X"]),
    "development": (spread(["dev", "prod"]), ["dev", "prod"]),
    "valves": (spread(["AR", "AS", "TR", "TS"]), ["AR", "AS", "TR", "TS"]),
    "a class of classes beside another": (
        [*spread(["control"]), *spread(["dementia"], ["mild", "severe"])], ["control", "dementia"]),
    "labels": ([*spread(["label_0", "label_1"])], ["label_0", "label_1"]),
    "labels and others": (spread(["label_0", "label_1", "unlabeled"]),
                          ["label_0", "label_1", "unlabeled"]),
    "tests by letter": (spread(["Test A", "Test B"]), ["Test A", "Test B"]),
    "modalities of one set": (spread(["data"], ["XRay", "CT"]), ["data"]),
}  # fmt: skip

REFUSED = {  # and what the path that was meant ends with, and its classes
    "kaggle chest": ([*spread(SPLIT, CHEST), *spread(["chest_xray"], SPLIT, CHEST)], "train", CHEST),
    "kaggle chest, its parent": (
        [*spread(["chest_xray"], SPLIT, CHEST), *spread(["chest_xray"], ["chest_xray"], SPLIT, CHEST)],
        "chest_xray/train", CHEST),
    "train and test": (spread(["Training", "Testing"], ["glioma", "notumor"]), "Training",
                       ["glioma", "notumor"]),
    "train alone": (spread(["train"], CHEST), "train", CHEST),
    "train alone, wrapped": (spread(["archive"], ["train"], CHEST), "archive/train", CHEST),
    "train and a class": ([*spread(["train"], CHEST), *spread(["NORMAL"])], "train", CHEST),
    "test and a class": ([*spread(["test"], CHEST), *spread(["NORMAL"])], "test", CHEST),
    "train, and test without classes": ([*spread(["train"], CHEST), *spread(["test"])], "train", CHEST),
    "subsets without classes": (spread(["train", "valid"]), "train", ["train"]),
    "train beside others": (spread(["extra", "train", "test"]), "train", ["train"]),
    "words around": (spread(["stage_2_train_images", "stage_2_test_images"]), "stage_2_train_images",
                     ["stage_2_train_images"]),
    "glued": (spread(["trainset", "testset"], CHEST), "trainset", CHEST),
    "camels": (spread(["TrainData", "TestData"], CHEST), "TrainData", CHEST),
    "folds": (spread(["fold1", "fold2", "fold3"], CHEST), "fold1", CHEST),
    "folds of subsets": (spread(["fold_1", "fold_2"], ["test", "train"], CHEST), "fold_1/train", CHEST),
    "a wrapper around subsets": (spread(["archive"], ["brain"], SPLIT, CHEST), "archive/brain/train",
                               CHEST),
    "a copy inside": ([*spread(CHEST), *spread(["chest"], CHEST)], "chest", CHEST),
    "a copy deeper": ([*spread(CHEST), *spread(["backup"], ["2023"], CHEST)], "backup", CHEST),
    "hospitals": (spread(["hospital_A", "hospital_B"], CHEST), "hospital_A", CHEST),
    "hospitals, one lacks a class": (
        [*spread(["hospital_A"], CHEST), *spread(["hospital_B"], CHEST[:1])], "hospital_A", CHEST),
    "a source for each class": (
        [*spread(["kaggle"], CHEST[:1]), *spread(["rsna"], CHEST[1:])], "kaggle", CHEST[:1]),
    "hospitals, deeper": (spread(["hospital_A", "hospital_B"], ["data"], CHEST), "hospital_A", CHEST),
    "sources, names of no known word": (spread(["one", "two"], ["cats", "dogs"]), "one",
                                        ["cats", "dogs"]),
    "images and masks": (spread(["images", "masks"], CHEST), "images", CHEST),
    "wrapped, two modalities": (spread(["archive"], ["CT", "MRI"], CHEST), "archive/CT", CHEST),
    "wrapped, versions": (spread(["archive"], ["raw", "processed"], CHEST), "archive/processed", CHEST),
    "wrapped, images and masks": (spread(["archive"], ["images", "masks"], CHEST), "archive/images",
                                  CHEST),
    "a picture beside the set": ([*spread(["brain"], CHEST, files=9), "preview/sheet.png"], "brain",
                                 CHEST),
    "images and masks, no classes": (spread(["images", "masks"]), "images", ["images"]),
    "images and ground truth": (spread(["img", "gt"]), "img", ["img"]),
    "of VOC": (spread(["JPEGImages", "SegmentationClass"]), "JPEGImages", ["JPEGImages"]),
    "of nnU-Net": (spread(["imagesTr", "imagesTs", "labelsTr"]), "imagesTr", ["imagesTr"]),
    "of YOLO": (spread(["images", "labels"], ["train", "val"]), "images/train", ["train"]),
    "subsets of images and masks": (spread(["train", "test"], ["images", "masks"]), "train/images",
                                  ["images"]),
    "versions": (spread(["original", "augmented"]), "original", ["original"]),
    "sizes": (spread(["128x128", "256x256"]), "128x128", ["128x128"]),
    "sets with letters": (spread(["a. Training Set", "b. Testing Set"], CHEST), "a. Training Set",
                          CHEST),
    "trainval": (spread(["trainval", "test"], CHEST), "trainval", CHEST),
    "train+val": (spread(["train+val", "test"], CHEST), "train+val", CHEST),
    "short": (spread(["Tr", "Te"], CHEST), "Tr", CHEST),
    "trn and tst": (spread(["trn", "tst", "dev"], CHEST), "trn", CHEST),
    "numbers first": (spread(["1_fold", "2_fold"], CHEST), "1_fold", CHEST),
    "folds of five": (spread(["Fold 1 of 5", "Fold 2 of 5"], CHEST), "Fold 1 of 5", CHEST),
    "in Spanish": (spread(["entrenamiento", "prueba", "validación"], CHEST), "entrenamiento", CHEST),
    "in Portuguese": (spread(["treino", "teste"], CHEST), "treino", CHEST),
    "in French": (spread(["entraînement", "test"], CHEST), "entraînement", CHEST),
    "in Chinese": (spread(["训练集", "测试集"], CHEST), "训练集", CHEST),
    "test, and the rest": (spread(["rest", "test"], CHEST), "rest", CHEST),
    "datasets of two organs": (
        [*spread(["brain"], ["normal", "tumor"]), *spread(["chest"], ["normal", "pneumonia"])],
        "brain", ["normal", "tumor"]),
}  # fmt: skip

NO_PATH = {
    "subsets of patients": spread(SPLIT, ["0001", "0002", "0003"]),
    "patients": spread(["LIDC-IDRI-0001", "LIDC-IDRI-0002", "LIDC-IDRI-0003"]),
    "patients in words": spread(["patient 1", "patient 2", "patient 3"]),
    "batches": spread(["images_001", "images_002", "images_003"], ["images"]),
    "letters and subsets in one": spread(["train_a", "train_b", "test_a", "test_b"]),
    "classes and subsets in one": spread(["train_NORMAL", "test_NORMAL", "train_TB", "test_TB"]),
    "a copy beside": spread(["NORMAL", "NORMAL - Copy", "PNEUMONIA"]),
    "another copy beside": spread(["NORMAL", "Copy of NORMAL", "PNEUMONIA"]),
    "numbered copies": spread(["NORMAL", "NORMAL (1)", "PNEUMONIA"]),
    "masks of each class": spread(["NORMAL", "NORMAL_masks", "TB", "TB_masks"]),
    "a class, changed": spread(["NORMAL", "normal_aug", "TB"]),
    "classes, changed": [*spread(["NORMAL", "TB"]), *spread(["augmented"], ["TB"])],
    "masks beside scans": [*spread(["masks"]), "0.png", "1.png"],
    "classes in patients": spread(["patient1", "patient2", "patient3"], CHEST),
    "classes in years": spread(["2019", "2020", "2021"], CHEST),
    "classes in wrapped patients": spread(["IDC"], ["10253", "10254", "10255"], ["0", "1"]),
}


@pytest.mark.parametrize("kind", RIGHT)
def test_a_right_set_is_taken(kind, tmp_path):
    files, classes = RIGHT[kind]
    make(tmp_path, *files)
    found = find_class_files(tmp_path)
    assert found.classes == sorted(classes)
    assert all((tmp_path / file).is_file() for file, _ in found.files)
    hidden = sum("/." in file or "__MACOSX" in file for file in files)
    documents = sum(file.endswith(LITTER) for file in files)
    assert len(found.files) == len(files) - hidden - documents
    assert bool(found.wrapper) == kind.startswith("wrapped")


@pytest.mark.parametrize("kind", REFUSED)
def test_what_only_looks_like_classes_is_refused_with_the_path_that_was_meant(kind, tmp_path):
    files, meant, classes = REFUSED[kind]
    make(tmp_path, *files)
    with pytest.raises(FolderError) as refused:
        find_class_files(tmp_path)
    path = Path(re.search(r"give one of them: (.+?);", str(refused.value))[1])
    assert path == tmp_path / meant
    assert find_class_files(path).classes == sorted(classes)


@pytest.mark.parametrize("kind", [*REFUSED, *NO_PATH])
def test_every_command_in_a_refusal_works(kind, tmp_path):
    files = NO_PATH[kind] if kind in NO_PATH else REFUSED[kind][0]
    make(tmp_path / "my scans", *files)
    with pytest.raises(FolderError) as refused:
        find_class_files(tmp_path / "my scans")
    assert "\n" not in str(refused.value)
    commands = re.findall(r"prep-scans .*? --class-level \d", str(refused.value))
    for command in commands:
        _, source, _, _, level = shlex.split(command)
        assert find_class_files(Path(source), int(level)).files
    assert commands[-1] in str(refused.value).partition("as classes anyway: ")[2]
    if move := re.search(r"; move (.+?) away", str(refused.value)):
        for number, folder in enumerate(shlex.split(move[1])):
            Path(folder).rename(tmp_path / f"elsewhere{number}")
        assert find_class_files(tmp_path / "my scans").files


def test_subsets_that_hold_patients_are_one_class_each(tmp_path):
    make(tmp_path, *NO_PATH["subsets of patients"])
    with pytest.raises(FolderError, match=r"give one of them: .*/train with --class-level 0;"):
        find_class_files(tmp_path)
    assert find_class_files(tmp_path / "train", 0).classes == ["train"]


@pytest.mark.parametrize("kind", [kind for kind in NO_PATH if "classes in" in kind])
def test_classes_in_patients_are_offered(kind, tmp_path):
    make(tmp_path, *NO_PATH[kind])
    with pytest.raises(FolderError, match="to use the folders inside them as classes") as refused:
        find_class_files(tmp_path)
    level = re.search(r"inside them as classes: .*?--class-level (\d)", str(refused.value))[1]
    assert len(find_class_files(tmp_path, int(level)).classes) == 2


def test_subsets_of_patients_with_classes(tmp_path):
    make(tmp_path, *spread(["train", "test"], ["p001", "p002", "p003"], CHEST))
    with pytest.raises(FolderError, match=r"give one of them: .*/train with --class-level 2;"):
        find_class_files(tmp_path)


def test_levels(tmp_path):
    make(tmp_path, *spread(["A", "B"], CHEST), "A/loose.png", "cover.png")
    assert find_class_files(tmp_path, 0).classes == [tmp_path.name]
    assert len(find_class_files(tmp_path, 0).files) == 14
    assert find_class_files(tmp_path, 1).classes == ["A", "B"]
    merged = find_class_files(tmp_path, 2)
    assert merged.classes == list(CHEST)
    assert sorted(merged.files)[:2] == [("A/NORMAL/0.png", "NORMAL"), ("A/NORMAL/1.png", "NORMAL")]
    assert [line.file for line in merged.rejects] == ["cover.png", "A/loose.png"]
    with pytest.raises(FolderError, match="no files in its class folders"):
        find_class_files(tmp_path, 5)


def test_copies_are_told_by_their_bytes(tmp_path):
    make(tmp_path, *spread(["brain", "kopf", "other"], files=4))
    for file in tmp_path.rglob("*.png"):
        file.write_bytes(file.name.encode() + (b"!" if file.parent.name == "other" else b"?"))
    with pytest.raises(
        FolderError, match=r"'kopf' holds the same files as 'brain'; move \S+/kopf away"
    ):
        find_class_files(tmp_path)
    (tmp_path / "kopf/0.png").write_bytes(b"0.png#")
    assert find_class_files(tmp_path).classes == ["brain", "kopf", "other"]


def test_a_class_on_a_disk_that_is_not_there_is_told(tmp_path):
    make(tmp_path, *spread(["tumor"]))
    (tmp_path / "normal").symlink_to("nowhere")
    (told,) = find_class_files(tmp_path).rejects
    assert told.file == "normal" and told.reason.startswith("a broken link")
