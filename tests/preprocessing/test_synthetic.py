"""Scans that gen-scans made are recognised, and never taken for real ones where that would matter."""

import json
import shutil
import types

import cv2
import nibabel
import numpy as np
import pydicom
import pytest
from conftest import CLASSES, copy_scans
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from scangan.artifacts.request import Request, Span
from scangan.artifacts.split import split_indices
from scangan.artifacts.train_options import TrainOptions
from scangan.cli import strip
from scangan.core.errors import ExportError, TrainingError
from scangan.core.sheet import NOTICE
from scangan.export.exporter import _real_scans
from scangan.preprocessing import (
    PrepOptions,
    SourceOptions,
    load_dataset,
    prepare,
    prepare_split,
)
from scangan.preprocessing.summary_text import summary_lines
from scangan.runtime import ScanGenerator
from scangan.runtime.output import write_scans
from scangan.training.data import TrainingScans, check_counts, hold_back, synthetic_warning

SPANS = (Span(0, 0, 6), Span(1, 0, 6))


@pytest.fixture(scope="module")
def generated(tmp_path_factory, tiny_acgan):
    """Six scans of two classes in every format, in a folder each."""
    root = tmp_path_factory.mktemp("generated")
    for kind in ("png", "dicom", "tar", "npz"):
        generator = ScanGenerator(tiny_acgan, threads=1)
        write_scans(generator, Request(spans=SPANS, format=kind), root / kind)
    return root


@pytest.fixture
def mixed(tmp_path, generated):
    """Twenty real scans of each of two classes, with three PNG and three DICOM files of ours in one."""
    folder = copy_scans(tmp_path / "mixed", 20)
    for kind in ("png", "dicom"):
        for file in sorted((generated / kind / "cat").iterdir())[:3]:
            shutil.copy(file, folder / CLASSES[0] / f"made-{file.name}")
    return folder


def marked(dataset):
    return {item.file for item in dataset.items if item.synthetic}


def test_png_and_dicom_say_it_themselves(mixed, tmp_path):
    done = prepare(mixed, tmp_path / "out", PrepOptions(size=32))
    assert len(marked(done)) == 6 and all("made-" in file for file in marked(done))
    assert done.synthetic.sum() == done.info.synthetic == 6
    assert "6 of 46 scans say that they are synthetic" in "\n".join(
        summary_lines(done.info, tmp_path)
    )


def test_real_scans_of_a_group_with_a_synthetic_one_stay_in_train(generated, tmp_path):
    rng = np.random.default_rng(0)
    for k in range(12):
        path = tmp_path / f"in/cat/p{k % 6}_{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), rng.integers(0, 256, (32, 32), np.uint8))
    shutil.copy(next((generated / "png/cat").iterdir()), tmp_path / "in/cat/p3_made.png")
    sources = SourceOptions(subjects=r"(p\d)_")
    size = PrepOptions(size=32)
    subsets = prepare_split(tmp_path / "in", tmp_path / "out", (0.5, 0.5), size, sources=sources)
    assert not subsets["test"].synthetic.any() and subsets["train"].synthetic.sum() == 1
    assert not any("/p3_" in item.file for item in subsets["test"].items)


@pytest.mark.parametrize("kind", ["png", "dicom"])
def test_a_folder_of_ours_is_synthetic_as_a_whole(generated, tmp_path, kind):
    assert prepare(generated / kind, tmp_path / "out").synthetic.all()


@pytest.mark.parametrize("suffix", [".jpg", ".png.jpg", ".nii.gz"])
def test_files_that_were_saved_anew_are_named_by_the_manifest(suffix, generated, tmp_path):
    folder = shutil.copytree(generated / "png", tmp_path / "again")
    for file in folder.rglob("*.png"):
        pixels, again = cv2.imread(str(file), 0), file.with_name(file.stem + suffix)
        if suffix == ".nii.gz":
            nibabel.save(nibabel.Nifti1Image(pixels, np.eye(4)), again)
        else:
            cv2.imwrite(str(again), pixels)
        file.unlink()
    cv2.imwrite(str(folder / "cat/other.jpg"), np.arange(900).reshape(30, 30) % 251)
    done = prepare(folder, tmp_path / "out")
    assert len(done.items) == 13 and marked(done) == {i.file for i in done.items} - {
        "cat/other.jpg"
    }
    (folder / "manifest.jsonl").write_text('{"file": "cat/000000000.png"}\n')  # somebody else's
    assert not prepare(folder, tmp_path / "second").synthetic.any()


def _with_text(path, add):
    told = PngInfo()
    add(told)
    Image.fromarray(np.arange(900, dtype=np.uint8).reshape(30, 30)).save(path, pnginfo=told)


@pytest.mark.parametrize(
    "add",
    [
        lambda told: told.add_text("Comment", NOTICE),
        lambda told: told.add_text("scangan", '{"synthetic": true}', zip=True),
        lambda told: told.add_itxt("Comment", NOTICE, lang="en"),
        lambda told: told.add_itxt("scangan", '{"synthetic": true}', zip=True),
    ],
)
def test_a_png_of_ours_is_known_by_any_of_its_texts(add, some_scans, tmp_path):
    _with_text(some_scans / CLASSES[0] / "ours.png", add)
    assert marked(prepare(some_scans, tmp_path / "out")) == {f"{CLASSES[0]}/ours.png"}


def test_a_strip_is_no_real_scan(some_scans, tiny_acgan, tmp_path):
    argv = ["--model", tiny_acgan, "0:5", "--class", "0", "--steps", "2", "--out"]
    strip.main([*argv, str(some_scans / CLASSES[0] / "strip.png")], standalone_mode=False)
    assert marked(prepare(some_scans, tmp_path / "out")) == {f"{CLASSES[0]}/strip.png"}


def test_a_dicom_of_ours_is_known_by_its_derivation(generated, tmp_path):
    folder = shutil.copytree(generated / "dicom", tmp_path / "again")
    (folder / "manifest.jsonl").unlink()
    for file in folder.rglob("*.dcm"):
        scan = pydicom.dcmread(file)
        del scan.SyntheticData
        scan.save_as(file)
    assert prepare(folder, tmp_path / "out").synthetic.all()


@pytest.mark.parametrize("kind", ["tar", "npz"])
def test_shards_are_refused_as_ours(generated, tmp_path, some_scans, kind):
    (shard,) = (generated / kind).glob(f"*.{kind}")
    shutil.copy(shard, some_scans / CLASSES[0])
    prepare(some_scans, tmp_path / "out")
    (line,) = (tmp_path / "out/rejects.jsonl").read_text().splitlines()
    assert json.loads(line)["reason"].startswith("a shard of synthetic scans that gen-scans made")


@pytest.mark.parametrize("allowed", [False, True])
def test_a_split_keeps_them_in_train_unless_it_is_allowed(mixed, tmp_path, allowed):
    subsets = prepare_split(mixed, tmp_path / "out", (0.3, 0.7), allow_synthetic=allowed)
    counts = {name: int(subset.synthetic.sum()) for name, subset in subsets.items()}
    assert sum(counts.values()) == 6 and (counts["test"] > 0) == allowed
    real = {name: len(subset.items) - counts[name] for name, subset in subsets.items()}
    if not allowed:
        assert abs(real["train"] - 12) <= 3  # real scans are in proportion all the same


def test_what_is_fixed_in_train_does_not_change_how_others_are_divided():
    classes = np.arange(40) % 2
    plain = split_indices(np.arange(40), classes, (0.5, 0.5))
    more = np.concatenate([classes, np.zeros(10, np.int64)])
    fixed = np.arange(50) >= 40
    train, test = split_indices(np.arange(50), more, (0.5, 0.5), in_train=fixed)
    np.testing.assert_array_equal(test, plain[1])
    np.testing.assert_array_equal(train, np.concatenate([plain[0], np.arange(40, 50)]))


def test_training_never_scores_against_them(mixed, tmp_path):
    done = prepare(mixed, tmp_path / "out", PrepOptions(size=32))
    held = hold_back(done, 0.4)
    assert held.any() and not (held & done.synthetic).any()
    assert "6 of 46" in synthetic_warning(done)
    scans = TrainingScans(done.images, done.labels, done.classes, held, done.synthetic)
    real = scans.real()
    assert len(real.images) == 40 and real.held_back.sum() == held.sum()
    np.testing.assert_array_equal(real.images, done.images[~done.synthetic])


def test_a_class_of_too_few_real_scans_is_refused(generated, tmp_path):
    folder = copy_scans(tmp_path / "few", 10)
    for file in sorted((folder / CLASSES[0]).iterdir())[:4]:
        file.unlink()
    for file in (generated / "png/cat").iterdir():
        shutil.copy(file, folder / CLASSES[0])
    done = prepare(folder, tmp_path / "out", PrepOptions(size=64))
    with pytest.raises(TrainingError, match="too few real scans of 'glioma_tumor'"):
        check_counts(done, TrainOptions(size=64))


def test_int8_is_not_scored_against_them(mixed, tmp_path):
    prepare(mixed, tmp_path / "out", PrepOptions(size=32))

    class Run:
        config = types.SimpleNamespace(dataset=None)
        options = TrainOptions(size=32)
        classes = load_dataset(tmp_path / "out").classes

    with pytest.raises(ExportError, match="6 synthetic scans"):
        _real_scans(Run, tmp_path / "out", accept_loss=False)
