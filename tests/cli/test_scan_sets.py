"""Folders of scans are prepared for an evaluation like the other side, and synthetic ones only once."""

import cv2
import numpy as np
import pytest
from conftest import copy_scans, export_random

from scangan.artifacts.dataset import load_dataset
from scangan.cli.scan_sets import open_pair, open_scans
from scangan.core.errors import EvaluationError
from scangan.preprocessing import PrepOptions, prepare

PREPARED = (
    {"equalize": "clahe"}, {"equalize": "global"}, {"duplicates": "drop"}, {"fit": "crop"},
)  # fmt: skip


def _as_folder(dataset, out):
    """Write the scans of a dataset as PNG, as a perfect generator would make them."""
    for number, (image, label) in enumerate(zip(dataset.images, dataset.labels, strict=True)):
        folder = out / dataset.classes[label]
        folder.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / f"{number:05d}.png"), image)


@pytest.mark.parametrize("options", PREPARED, ids=str)
def test_synthetic_scans_in_a_folder_are_not_prepared_again(options, tmp_path):
    prepare(copy_scans(tmp_path / "scans", 5), tmp_path / "prepared", PrepOptions(**options))
    dataset = load_dataset(tmp_path / "prepared")
    _as_folder(dataset, tmp_path / "made")
    real, synthetic = open_pair(str(tmp_path / "prepared"), str(tmp_path / "made"), count=1)
    assert np.array_equal(synthetic.images, real.images)
    assert synthetic.settings == real.settings  # nothing to warn of


def test_equal_synthetic_scans_are_all_compared(tmp_path):
    scans = copy_scans(tmp_path / "scans", 5)
    prepare(scans, tmp_path / "prepared", PrepOptions(duplicates="drop"))
    one = cv2.imread(str(next(scans.glob("*/*.jpg"))), cv2.IMREAD_GRAYSCALE)
    (tmp_path / "made/glioma_tumor").mkdir(parents=True)
    for number in range(7):
        cv2.imwrite(str(tmp_path / f"made/glioma_tumor/{number}.png"), cv2.resize(one, (64, 64)))
    _, synthetic = open_pair(str(tmp_path / "prepared"), str(tmp_path / "made"), count=1)
    assert len(synthetic) == 7


@pytest.mark.parametrize("size", [48, 128])
def test_two_folders_are_compared_at_the_size_of_the_synthetic_scans(size, tmp_path):
    real = copy_scans(tmp_path / "scans", 3)
    (tmp_path / "made/glioma_tumor").mkdir(parents=True)
    (tmp_path / "made/glioma_tumor/0.txt").write_text("the first file is no scan")
    for number in range(3):
        image = np.random.default_rng(number).integers(0, 256, (size, size), np.uint8)
        cv2.imwrite(str(tmp_path / f"made/glioma_tumor/{number}.png"), image)
    assert [each.size for each in open_pair(str(real), str(tmp_path / "made"), count=1)] == [
        size
    ] * 2


@pytest.mark.parametrize("classes", [("con", "dog", "x:y"), ("aux",)])
def test_folders_named_otherwise_keep_their_classes(classes, command, tmp_path):
    export_random(tmp_path / "m.onnx", classes)
    out = tmp_path / "made"
    if len(classes) > 1:  # a folder around several classes is none
        out /= "synthetic"
    done = command("generate", "--model", tmp_path / "m.onnx", "--count", 2, "--out", out)
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stdout.splitlines() if line.startswith("the folder of")]
    assert [line.split()[3] for line in told] == [name for name in classes if name != "dog"]
    made = open_scans(str(tmp_path / "made"))
    assert made.classes == classes and None not in made.origins


def test_names_that_look_alike_stay_apart_as_folders(command, tmp_path):
    export_random(tmp_path / "m.onnx", ("Dog", "dog"))
    assert not command(
        "generate", "--model", tmp_path / "m.onnx", "--count", 2, "--out", tmp_path / "made"
    ).returncode
    assert open_scans(str(tmp_path / "made")).classes == ("Dog_0", "dog_1")


def test_an_empty_path_and_a_model_of_real_scans_are_mistakes_of_typing():
    for call in (lambda: open_scans(""), lambda: open_pair("brain-mri-64", "x", count=1)):
        with pytest.raises(EvaluationError) as error:
            call()
        assert error.value.exit_code == 2
