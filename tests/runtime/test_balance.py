"""How many scans each class of a dataset lacks."""

import os

import pytest
from conftest import CLASSES
from PIL import Image

from scangan.core.errors import Unreadable
from scangan.runtime import GenerationError, ScanganError
from scangan.runtime.balance import class_counts, missing

PNG = b"\x89PNG\r\n\x1a\n" + bytes(16)  # counted by content, and not decoded
DICOM = bytes(128) + b"DICM"


@pytest.fixture
def scans(tmp_path):
    """A folder with 5 cats, 2 dogs and none of the third class."""
    for name, count in (("cat", 5), ("dog", 2), ("2", 0)):
        (tmp_path / "scans" / name).mkdir(parents=True)
        for i in range(count):
            (tmp_path / "scans" / name / f"{i}.png").write_bytes(PNG)
    (tmp_path / "scans/cat/notes.txt").write_text("no scan")
    (tmp_path / "scans/.hidden").mkdir()
    return tmp_path / "scans"


def test_a_prepared_dataset_and_a_folder_are_counted_alike(prepared):
    from conftest import BRAIN

    counts = class_counts(prepared.path)
    assert counts == class_counts(BRAIN) and set(counts) == set(CLASSES)
    assert sum(counts.values()) == len(prepared.images)


def test_what_is_missing(scans):
    classes = ("cat", "dog", "2")
    assert missing(scans, classes, [], None) == {1: 3, 2: 5}
    assert missing(scans, classes, [], 7) == {0: 2, 1: 5, 2: 7}
    assert missing(scans, classes, [], 4) == {1: 2, 2: 4}
    assert missing(scans, classes, [1], None) == {1: 3}
    with pytest.raises(GenerationError, match="nothing is missing"):
        missing(scans, classes, [0], None)
    with pytest.raises(GenerationError, match="--target 0"):
        missing(scans, classes, [], 0)


def test_a_mismatch_of_classes_shows_both_lists(scans):
    for classes in (("cat", "2"), ("cat", "dog", "2", "cow"), ("Cat", "dog", "2")):
        with pytest.raises(
            GenerationError, match=r"scans has (2, )?cat, dog; the model has"
        ) as error:
            missing(scans, classes, [], None)
        assert ", ".join(classes) in str(error.value)
    with pytest.raises(GenerationError, match="classes differ"):
        missing(scans, ("cat", "cow"), [1], None)
    assert missing(scans, ("cow", "dog"), [1], None) == {1: 3}  # only that one is asked for


def test_what_is_advised_works(scans):
    with pytest.raises(GenerationError, match="--class dog") as error:
        missing(scans, ("cat", "dog", "cow"), [], None)
    assert "--class cat" not in str(error.value)  # there are enough of them
    assert missing(scans, ("cat", "dog", "cow"), [1], None) == {1: 3}
    for target in (None, 3):
        with pytest.raises(GenerationError, match=r"--class cat --target 6$"):
            missing(scans, ("cat", "cow"), [], target)
    assert missing(scans, ("cat", "cow"), [0], 6) == {0: 1}
    with pytest.raises(GenerationError, match=r"rename the folders$"):
        missing(scans, ("cow", "pig"), [], None)


def test_a_model_without_classes_and_a_folder_without_scans_are_refused(scans, tmp_path):
    with pytest.raises(GenerationError, match="needs a model with classes"):
        missing(scans, (), [], None)
    for name in ("a", "b"):
        (tmp_path / "texts" / name).mkdir(parents=True)
        (tmp_path / "texts" / name / "notes.txt").write_text("no scan")
    with pytest.raises(GenerationError, match="texts has no scans"):
        missing(tmp_path / "texts", ("a", "b"), [], None)


def test_slices_in_a_file_are_told_of_in_both_spellings(tmp_path):
    """A multi-frame DICOM file, with and without the kind of each element."""
    (tmp_path / "ct").mkdir()
    for name, kind in (("explicit", b"IS\x02\0"), ("implicit", b"\x02\0\0\0")):
        head = DICOM + b"\x28\0\x08\0" + kind + b"12"
        (tmp_path / "ct" / name).write_bytes(head)
    said = []
    assert class_counts(tmp_path, said.append) == {"ct": 2}
    assert any("2 files with several slices count as one scan each" in line for line in said)


@pytest.mark.parametrize("big", [False, True], ids=["TIFF", "BigTIFF"])
def test_pages_of_a_tiff_are_told_of(tmp_path, big):
    (tmp_path / "ct").mkdir()
    pages = [Image.new("L", (200, 200), grey) for grey in (10, 20, 30)]
    pages[0].save(tmp_path / "ct/one.tif", big_tiff=big)
    said = []
    assert class_counts(tmp_path, said.append) == {"ct": 1} and not said
    path = tmp_path / "ct/three.tif"
    pages[0].save(path, save_all=True, append_images=pages[1:], big_tiff=big)
    assert class_counts(tmp_path, said.append) == {"ct": 2}
    assert len(said) == 1 and said[0].startswith("1 file with several slices counts as one scan;")
    offset = slice(8, 16) if big else slice(4, 8)
    for damage in (lambda d: d[:12], lambda d: d[: offset.start] + b"\xff" * 8 + d[offset.stop :]):
        path.write_bytes(damage(path.read_bytes()))
        assert class_counts(tmp_path) == {"ct": 2}


def test_no_dataset(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "dataset.json").write_text("{")
    for folder, says in ((tmp_path / "no", "is not a folder"), (tmp_path / "empty", "no class folders"),
                         (tmp_path, "damaged")):  # fmt: skip
        with pytest.raises(ScanganError, match=says):
            class_counts(folder)


def test_scans_are_counted_as_they_lie(tmp_path):
    """Below folders and links to them, by content; nothing empty, hidden or in a circle."""
    folder = tmp_path / "scans" / "a"
    (folder / "deep").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    (tmp_path / "elsewhere").mkdir()
    nifti = (348).to_bytes(4, "little") + bytes(340) + b"n+1\0"
    for name, data in (("1.png", PNG), ("2.nii", nifti), ("deep/3.JPG", PNG), ("1.2.840.4", DICOM),
                       (".hidden/no.png", PNG), (".no.png", PNG), ("no", b"text"), ("no.png", b""),
                       ("no.tar.gz", b"x"), ("no.txt", b"text")):  # fmt: skip
        (folder / name).write_bytes(data)
    (tmp_path / "elsewhere/5.png").write_bytes(PNG)
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "circle").symlink_to(folder)
    (folder / "lost.png").symlink_to("/nowhere")
    os.mkfifo(folder / "pipe")
    notes = []
    assert class_counts(tmp_path / "scans", notes.append) == {"a": 5}
    assert len(notes) == 1 and notes[0].startswith("1 file with several slices counts as one scan;")


def test_a_file_that_cannot_be_read_is_not_left_out(scans, monkeypatch):
    def failing(path):
        raise Unreadable("cannot be read: input/output error")

    monkeypatch.setattr("scangan.core.class_folders.head_of_scan", failing)
    with pytest.raises(GenerationError, match=r"png cannot be read: .*; change its permissions"):
        class_counts(scans)


def test_a_folder_that_cannot_be_read_is_not_empty(scans, monkeypatch):
    scandir = os.scandir
    (scans / "cat/locked").mkdir()

    def refusing(path):  # the tests may run as root, who may read everything
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    with pytest.raises(GenerationError, match="cat/locked cannot be read: permission denied"):
        class_counts(scans)


def test_a_folder_without_scans_is_a_class_only_if_the_model_has_it(scans):
    (scans / "papers").mkdir()
    (scans / "papers/paper.txt").write_text("on cats")
    assert missing(scans, ("cat", "dog", "2"), [], None) == {1: 3, 2: 5}
    (scans / "papers/1.png").write_bytes(PNG)
    with pytest.raises(GenerationError, match=r"classes differ: .* has 2, cat, dog, papers"):
        missing(scans, ("cat", "dog", "2"), [], None)


def test_a_split_dataset_names_its_subsets(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "split.json").write_text("{}")
    with pytest.raises(ScanganError, match=r"split into subsets; give one of them: .*train"):
        class_counts(tmp_path)


def test_balance_tops_up(command, tiny_acgan, scans, tmp_path):
    done = command("generate", "--model", tiny_acgan, "--balance", scans, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "8 synthetic scans (3 dog, 5 2):" in done.stdout
    assert not (tmp_path / "out/cat").exists()
    assert len(list((tmp_path / "out/dog").iterdir())) == 3
    for argv, says in (["--count", 3], "leave out --count"), (["--target", 0], "--target 0"):
        done = command("generate", "--model", tiny_acgan, "--balance", scans, *argv, cwd=tmp_path)
        assert done.returncode == 2 and says in done.stderr
