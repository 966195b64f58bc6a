"""A folder of real scans to a prepared dataset."""

import json
import os
import shutil
import zlib

import cv2
import numpy as np
import pytest
from conftest import BRAIN, CLASSES

from scangan.preprocessing import PrepOptions, PreprocessingError, load_dataset, prepare
from scangan.preprocessing.find_scans import SourceOptions
from scangan.preprocessing.outcome import name_subjects
from scangan.preprocessing.summary_text import one_line


def test_sample_scans_are_all_kept_in_order(prepared):
    assert prepared.images.shape == (240, 32, 32)
    assert prepared.images.dtype == np.uint8
    assert prepared.classes == CLASSES
    assert prepared.counts == dict.fromkeys(CLASSES, 60)
    files = [item.file for item in prepared.items]
    assert files == sorted(files)
    assert all(file.startswith(item.class_name) for file, item in zip(files, prepared.items))
    assert not (prepared.path / "rejects.jsonl").read_text()
    assert {p.name for p in prepared.path.iterdir()} == {
        "images.npy", "items.jsonl", "rejects.jsonl", "near_duplicates.jsonl", "preview.png",
        "dataset.json",
    }  # fmt: skip


def test_a_subject_is_known_by_what_its_files_share():
    both, nameless, unnamed, study = (
        ("i1", "n1", "s1"),
        ("i1", None, "s2"),
        (None, "n1", None),
        (None, None, "s2"),
    )
    assert name_subjects([both, nameless, unnamed, study, ()]) == ["i1", "i1", "i1", "i1", None]
    # What several patients are called says nothing.
    two = [("i1", "anonymous", None), ("i2", "anonymous", None), (None, "anonymous", None)]
    assert name_subjects(two) == ["i1", "i2", "anonymous"]
    assert name_subjects([(None, None, None), (None, "n", "s"), (None, None, "s")]) == [
        None,
        "n",
        "n",
    ]
    assert name_subjects([]) == []
    # Then the study may tell; and who is found so tells of others.
    two[2] = (None, "anonymous", "s1")
    assert name_subjects([("i1", "anonymous", "s1"), two[1], two[2]]) == ["i1", "i2", "i1"]
    told = [("i1", None, "s1"), (None, "n1", "s2"), (None, "n1", "s1"), (None, None, "s2")]
    assert name_subjects(told) == ["i1"] * 4


def test_a_subject_that_a_table_names_is_that_of_all_files_of_the_patient():
    told = [("p0", None, None), ("p0", None, "s"), (None, None, "s"), ("p1", None, None), ()]
    given = ["S0", None, None, None, "S4"]
    assert name_subjects(told, given) == ["S0", "S0", "S0", "p1", "S4"]
    # A patient of two names stays apart, and what is named is never renamed.
    assert name_subjects([("p0",)] * 3, ["A", "B", None]) == ["A", "B", "p0"]


@pytest.mark.parametrize("duplicates", ["keep", "drop"])
def test_a_copy_joins_two_subjects_even_if_it_is_dropped(tmp_path, duplicates):
    rng = np.random.default_rng(0)
    (tmp_path / "scans" / "a").mkdir(parents=True)
    for name in ("P0_0", "P0_1", "P1_1", "P2_0", "P3_0"):
        noise = rng.integers(0, 255, (32, 32), np.uint8)
        cv2.imwrite(str(tmp_path / f"scans/a/{name}.png"), noise)
    shutil.copy(tmp_path / "scans/a/P0_0.png", tmp_path / "scans/a/P1_0.png")
    made = prepare(
        tmp_path / "scans", tmp_path / "out", PrepOptions(size=32, duplicates=duplicates),
        sources=SourceOptions(subjects=r"P\d"),
    )  # fmt: skip
    group = {item.file: item.group for item in made.items}
    assert group["a/P0_1.png"] == group["a/P1_1.png"] != group["a/P2_0.png"]


def test_images_stay_on_disk(prepared):
    assert isinstance(prepared.images, np.memmap)
    assert not prepared.images.flags.writeable


def test_same_scans_make_the_same_dataset_wherever_they_lie(some_scans, tmp_path):
    moved = shutil.copytree(some_scans, tmp_path / "elsewhere")
    one, two = prepare(some_scans, tmp_path / "one"), prepare(moved, tmp_path / "two")
    assert one.fingerprint == two.fingerprint
    assert (tmp_path / "one/images.npy").read_bytes() == (tmp_path / "two/images.npy").read_bytes()
    assert (tmp_path / "one/items.jsonl").read_text() == (tmp_path / "two/items.jsonl").read_text()


def test_fingerprint_sees_a_pixel_and_a_label(some_scans, tmp_path):
    first = prepare(some_scans, tmp_path / "first").fingerprint
    file = sorted((some_scans / CLASSES[0]).iterdir())[0]
    file.rename(some_scans / CLASSES[1] / file.name)
    second = prepare(some_scans, tmp_path / "second").fingerprint
    image = cv2.imread(str(some_scans / CLASSES[1] / file.name), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(some_scans / CLASSES[1] / file.name), 255 - image)
    third = prepare(some_scans, tmp_path / "third").fingerprint
    assert len({first, second, third}) == 3


def test_bad_files_are_named_and_the_rest_is_kept(some_scans, tmp_path):
    folder = some_scans / CLASSES[0]
    good = sorted(folder.iterdir())[0].read_bytes()
    (folder / "cut.jpg").write_bytes(good[: len(good) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("not a picture")
    (folder / "header.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    bomb = bytearray(cv2.imencode(".png", np.zeros((8, 8), np.uint8))[1].tobytes())
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    bomb[29:33] = zlib.crc32(bomb[12:29]).to_bytes(4, "big")
    (folder / "bomb.png").write_bytes(bomb)
    (folder / ".hidden").write_text("litter")
    (folder / "Thumbs.db").write_text("litter")
    (folder / "gone.jpg").symlink_to("nowhere")
    dataset = prepare(some_scans, tmp_path / "out")
    assert len(dataset.images) == 20
    rejects = [json.loads(line) for line in (tmp_path / "out/rejects.jsonl").open()]
    reasons = {r["file"].split("/")[1]: r["reason"] for r in rejects}
    assert reasons.keys() == {
        "cut.jpg", "empty.png", "text.png", "header.png", "bomb.png", "gone.jpg",
    }  # fmt: skip
    assert "JPEG" in reasons["cut.jpg"]
    assert "empty" in reasons["empty.png"]
    assert "text" in reasons["text.png"]
    assert "60000x60000" in reasons["bomb.png"]
    assert "no such file" in reasons["gone.jpg"]
    assert dataset.info.rejected == 6


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9, 0.99])
def test_a_truncated_file_of_either_kind_is_refused(some_scans, tmp_path, share):
    folder = some_scans / CLASSES[0]
    source = sorted(folder.iterdir())[0]
    png = cv2.imencode(".png", cv2.imread(str(source), cv2.IMREAD_GRAYSCALE))[1].tobytes()
    jpg = source.read_bytes()
    (folder / "cut.png").write_bytes(png[: int(len(png) * share)])
    (folder / "cut.jpg").write_bytes(jpg[: int(len(jpg) * share)])
    assert prepare(some_scans, tmp_path / "out").info.rejected == 2


def test_the_same_bytes_twice_are_one_duplicate_group(some_scans, tmp_path):
    first = sorted((some_scans / CLASSES[0]).iterdir())[0]
    shutil.copy(first, some_scans / CLASSES[1] / "zz_copy.jpg")
    items = prepare(some_scans, tmp_path / "out").items
    groups = [item.duplicate_group for item in items]
    assert groups[:20] == list(range(20))
    assert groups[20] == 0


def test_names_with_spaces_brackets_and_accents(some_scans, tmp_path):
    file = sorted((some_scans / CLASSES[0]).iterdir())[0]
    folder = some_scans / "kind (ä)"
    folder.mkdir()
    shutil.copy(file, folder / "Schädel [1] .jpg")
    dataset = prepare(some_scans, tmp_path / "out")
    assert "kind (ä)/Schädel [1] .jpg" in {item.file for item in dataset.items}


def test_a_name_that_is_no_utf_8(some_scans, tmp_path):
    file = sorted((some_scans / CLASSES[0]).iterdir())[0]
    shutil.copy(file, os.fsencode(some_scans / CLASSES[0]) + b"/\xff.jpg")
    dataset = prepare(some_scans, tmp_path / "out")
    assert len(dataset.images) == 21
    assert (some_scans / dataset.items[10].file).exists()


def test_a_file_beside_the_class_folders_is_named(some_scans, tmp_path):
    shutil.copy(sorted((some_scans / CLASSES[0]).iterdir())[0], some_scans / "stray.jpg")
    prepare(some_scans, tmp_path / "out")
    (reject,) = [json.loads(line) for line in (tmp_path / "out/rejects.jsonl").open()]
    assert reject == {"file": "stray.jpg", "class": None, "reason": "in no class folder"}


def test_an_out_inside_the_source_is_refused(some_scans):
    with pytest.raises(PreprocessingError, match="outside of SOURCE"):
        prepare(some_scans, some_scans / "prepared")


def test_a_full_disk_is_one_line_and_the_same_command_goes_on(command, some_scans, tmp_path):
    import resource
    import signal

    def little_space():  # fails a write half-way, like a full disk
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    out = tmp_path / "new/out"
    done = command("prepare", some_scans, out, preexec_fn=little_space)
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert str(out) in done.stderr
    assert not (out / "dataset.json").exists()
    done = command("prepare", some_scans, out)
    assert done.returncode == 0 and len(load_dataset(out).images) == 20


def test_a_class_without_a_usable_scan_is_no_class(some_scans, tmp_path):
    (some_scans / "broken").mkdir()
    (some_scans / "broken/x.png").write_bytes(b"x")
    (some_scans / "void").mkdir()
    dataset = prepare(some_scans, tmp_path / "out")
    assert dataset.classes == CLASSES[:2]
    assert dataset.info.empty_classes == ("broken", "void")
    assert "NO usable scan in broken, void" in one_line(dataset.info)


def test_again_is_left_alone_and_other_scans_are_refused(some_scans, tmp_path):
    out = tmp_path / "out"
    prepare(some_scans, out)
    before = (out / "images.npy").stat().st_mtime_ns
    prepare(some_scans, out)
    assert (out / "images.npy").stat().st_mtime_ns == before
    with pytest.raises(PreprocessingError, match="size 64 -> 32"):
        prepare(some_scans, out, PrepOptions(size=32))
    sorted((some_scans / CLASSES[0]).iterdir())[0].unlink()
    with pytest.raises(PreprocessingError, match="other scans"):
        prepare(some_scans, out)
    assert len(load_dataset(out).images) == 20
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_what_a_killed_run_left_does_no_harm(some_scans, tmp_path):
    left = tmp_path / "out/.part"
    left.mkdir(parents=True)
    (left / "journal.jsonl").write_text("half a li")
    (left / "images.npy").write_bytes(b"x")
    assert len(prepare(some_scans, tmp_path / "out").images) == 20
    assert not left.exists()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda p: None, "is not a folder"),
        (lambda p: p.mkdir(), "no scans"),
        (lambda p: (p / "a").mkdir(parents=True), "no files"),
    ],
)
def test_a_source_without_scans_says_so_and_leaves_nothing(tmp_path, make, says):
    make(tmp_path / "source")
    with pytest.raises(PreprocessingError, match=says):
        prepare(tmp_path / "source", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_usable_scan_names_the_commonest_reason(tmp_path):
    (tmp_path / "source/a").mkdir(parents=True)
    (tmp_path / "source/a/x.png").write_text("no picture")
    with pytest.raises(PreprocessingError, match=r"1 file refused, 1 of them: .*text"):
        prepare(tmp_path / "source", tmp_path / "out")
    assert [p.name for p in tmp_path.iterdir()] == ["source"]


def test_a_folder_of_something_else_is_not_touched(some_scans, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.tex").write_text("years of work")
    with pytest.raises(PreprocessingError, match="choose another OUT"):
        prepare(some_scans, tmp_path / "out")
    assert (tmp_path / "out/thesis.tex").read_text() == "years of work"


def test_a_damaged_dataset_is_named(some_scans, tmp_path):
    prepare(some_scans, tmp_path / "out")
    lines = (tmp_path / "out/items.jsonl").read_text().splitlines()
    (tmp_path / "out/items.jsonl").write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(PreprocessingError, match="prepare it again"):
        load_dataset(tmp_path / "out")


def test_sample_data_is_small():
    files = list(BRAIN.rglob("*.jpg"))
    assert len(files) == 240
    assert sum(f.stat().st_size for f in files) < 3e6
