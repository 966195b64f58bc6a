"""``prep-scans`` as its users meet it, on every kind of file."""

import json
import os
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest
from conftest import CLASSES
from pydicom.data import get_testdata_file

from scangan.core.errors import Rejected
from scangan.preprocessing import (
    PrepOptions,
    PreprocessingError,
    load_dataset,
    one_file,
    prepare,
    prepare_split,
)
from scangan.preprocessing.geometry import place_of
from scangan.preprocessing.reading.reader import read_scans
from scangan.preprocessing.reading.scan import Scan
from scangan.preprocessing.reading.wanted import Wanted
from scangan.preprocessing.transforms import prepare_scan


def dicom(name):
    return get_testdata_file(name, download=False)


@pytest.fixture
def prep(command, tmp_path):
    """Run the command into ``out``; give what it did and the dataset's folder."""

    def run(source, *options, out="out"):
        return command("prepare", source, tmp_path / out, *options), tmp_path / out

    return run


@pytest.fixture
def every_kind(some_scans):
    """Scans of every format, under names that lie, in two classes."""
    folder, other = (some_scans / name for name in CLASSES[:2])
    scan = cv2.imread(str(sorted(folder.iterdir())[0]), cv2.IMREAD_GRAYSCALE)
    cv2.imwrite(str(folder / "a.png"), scan[2:])
    cv2.imwrite(str(folder / "b.tif"), scan[4:])
    cv2.imwrite(str(folder / "c.bmp"), scan[6:])
    cv2.imwrite(str(folder / "deep.png"), scan[8:].astype(np.uint16) * 16)
    cv2.imwrite(str(folder / "float.tiff"), scan[10:].astype(np.float32) / 7)
    (folder / "a.png").rename(folder / "a.jpg")
    shutil.copy(dicom("CT_small.dcm"), folder / "ct.png")
    shutil.copy(dicom("MR_small.dcm"), other / "mr")
    shutil.copy(dicom("JPEG2000.dcm"), other / "packed.dcm")
    import nibabel

    volume = np.stack([scan[:96, :96].astype(np.int16) * 3 + 5 * k for k in range(4)], axis=2)
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), other / "volume.nii.gz")
    return some_scans


def test_every_kind_of_file_is_read(prep, every_kind):
    done, out = prep(every_kind, "--size", "48", "--equalize", "clahe")
    assert done.returncode == 0 and not done.stderr, done.stderr
    dataset = load_dataset(out)
    assert dataset.info.rejected == 0
    by_file = {item.file.split("/")[1]: item for item in dataset.items}
    names = {"a.jpg", "b.tif", "c.bmp", "deep.png", "float.tiff", "ct.png"}
    assert names | {"mr", "packed.dcm", "volume.nii.gz"} <= by_file.keys()
    assert [i.frame for i in dataset.items if i.file.endswith(".nii.gz")] == [0, 1, 2, 3]
    assert by_file["a.jpg"].window is None
    low, high = dataset.info.window.window
    assert by_file["deep.png"].window == by_file["float.tiff"].window == (low, high)
    assert by_file["mr"].window == (-200, 1399)  # its own: center 600, width 1600
    assert by_file["mr"].subject and "4MR1" not in (out / "items.jsonl").read_text()
    assert all(image.std() > 5 for image in dataset.images)


def test_the_last_lines_are_a_table_and_say_where_it_is(prep, some_scans):
    (some_scans / CLASSES[1] / "notes.png").write_text("no scan")
    done, out = prep(some_scans)
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["class", "files", "kept", "refused"]
    assert lines[1].split() == [CLASSES[0], "10", "10", "0"]
    assert lines[2].split() == [CLASSES[1], "11", "10", "1"]
    assert lines[-1].startswith(f"20 scans prepared at 64x64, 1 refused: {out}")
    assert "real patients" in lines[-1]
    assert str(out / "rejects.jsonl") in done.stdout


def test_names_that_a_terminal_would_obey_or_cannot_show_are_escaped(prep, tmp_path, some_scans):
    done, _ = prep(tmp_path / "no\nsuch\x1b[31m")
    assert done.returncode == 1 and done.stderr.count("\n") == 1
    assert r"no\nsuch\x1b[31m" in done.stderr
    (some_scans / CLASSES[0]).rename(some_scans / "ç😀")
    argv = [sys.executable, "-m", "scangan.cli", "prepare", some_scans, tmp_path / "out"]
    env = os.environ | {"PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(argv, env=env, capture_output=True, timeout=120)
    assert done.returncode == 0 and r"ç\U0001f600".encode("latin-1") in done.stdout
    table = tmp_path / os.fsdecode(b"l\xff.csv")
    table.write_text("file,class\n" + "\n".join(f"{p.name},x" for p in some_scans.rglob("*.jpg")))
    done, out = prep(some_scans, "--labels", table, out="labelled")
    assert done.returncode == 0, done.stderr
    assert load_dataset(out).counts == {"x": 20}


def test_an_out_that_is_a_link_in_a_circle_or_damaged_is_named(prep, tmp_path, some_scans):
    (tmp_path / "loop").symlink_to("loop")
    done, _ = prep(some_scans, out="loop")
    assert done.returncode == 1 and "circular link" in done.stderr
    _, out = prep(some_scans)
    (out / "dataset.json").write_text("{")
    done, _ = prep(some_scans)
    assert done.returncode == 1 and "delete" in done.stderr and done.stderr.count("\n") == 1


def test_the_preview_shows_every_class(prep, some_scans):
    _, out = prep(some_scans)
    picture = cv2.imread(str(out / "preview.png"), cv2.IMREAD_GRAYSCALE)
    assert picture.shape[0] > 2 * 128 and picture.shape[1] > 8 * 128
    assert 20 < picture.std() < 127


def test_strict_turns_a_refusal_into_exit_1_and_keeps_the_rest(prep, some_scans):
    assert prep(some_scans, "--strict", out="good")[0].returncode == 0
    (some_scans / CLASSES[0] / "bad.png").write_bytes(b"")
    done, out = prep(some_scans, "--strict")
    assert done.returncode == 1
    assert done.stderr == "scangan prepare: 1 scan refused, and --strict was given\n"
    assert len(load_dataset(out).images) == 20


def test_a_window_in_the_files_own_units(prep, tmp_path):
    source = tmp_path / "source/ct"
    source.mkdir(parents=True)
    shutil.copy(dicom("CT_small.dcm"), source)
    soft, out = prep(source.parent, "--window", "-160,240", "--size", "128")
    assert soft.returncode == 0, soft.stderr
    import pydicom

    file = pydicom.dcmread(dicom("CT_small.dcm"))
    hounsfield = file.pixel_array * float(file.RescaleSlope) + float(file.RescaleIntercept)
    expected = 255 * ((hounsfield + 160) / 400).clip(0, 1)
    assert np.abs(load_dataset(out).images[0] - expected).max() <= 0.51
    assert load_dataset(out).items[0].window == (-160, 240)


@pytest.mark.parametrize("window", ["dataset", "image"])
def test_intensity_means_the_same_over_a_dataset_or_not(prep, tmp_path, window):
    source = tmp_path / "source/a"
    source.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for n, top in enumerate((1000, 2000, 4000)):
        cv2.imwrite(str(source / f"{n}.png"), rng.integers(0, top, (64, 64)).astype(np.uint16))
    _, out = prep(source.parent, "--window", window)
    peaks = load_dataset(out).images.max((1, 2)).astype(int)
    if window == "dataset":
        assert np.abs(peaks - [64, 128, 255]).max() <= 2
    else:
        assert (peaks >= 254).all()


def test_a_split_never_tears_a_subject_or_copies(prep, tmp_path, some_scans):
    for file in sorted(some_scans.rglob("*.jpg")):
        name = file.stem.split("_")[-1]
        file.rename(file.with_name(f"person{sum(map(ord, name)) % 7}-{name}.jpg"))
    first = sorted(some_scans.rglob("*.jpg"))[0]
    shutil.copy(first, first.with_name("person99-copy.jpg"))
    done, out = prep(some_scans, "--split", "0.6,0.2,0.2", "--subjects", r"person\d+")
    assert done.returncode == 0, done.stderr
    assert "train" in done.stdout.splitlines()[0]
    subsets = {name: load_dataset(out / name) for name in ("train", "val", "test")}
    assert sum(len(subset.images) for subset in subsets.values()) == 21
    assert len({subset.classes for subset in subsets.values()}) == 1
    for key in ("subject", "sha256"):
        sets = [{getattr(item, key) for item in subset.items} for subset in subsets.values()]
        assert not sets[0] & sets[1] and not sets[1] & sets[2] and not sets[0] & sets[2]
    for subset in subsets.values():
        groups = [item.duplicate_group for item in subset.items]
        assert all(group <= n for n, group in enumerate(groups))
        for item, image in zip(subset.items, subset.images):
            data = (some_scans / item.file).read_bytes()
            ((_, scan),) = read_scans(data, Wanted())
            assert np.array_equal(
                prepare_scan(scan, place_of(scan, PrepOptions()), PrepOptions()), image
            )
    again, _ = prep(some_scans, "--split", "0.6,0.2,0.2", "--subjects", r"person\d+")
    assert again.returncode == 0 and again.stdout == done.stdout
    other, _ = prep(some_scans, "--split", "0.8,0.2", "--subjects", r"person\d+")
    assert other.returncode == 1 and "split" in other.stderr


def test_a_split_says_whose_subject_is_not_known(prep, some_scans, tmp_path):
    done, _ = prep(some_scans, "--split", "0.7,0.3")
    assert "20 of 20 scans have no known subject" in done.stdout and "(--subjects)" in done.stdout
    files = sorted(some_scans.rglob("*.jpg"))
    lines = [f"{path.relative_to(some_scans)},{path.parent.name},p1" for path in files]
    table = tmp_path / "labels.csv"
    table.write_text("\n".join(["file,class,patient", *lines]))
    done, _ = prep(some_scans, "--split", "0.7,0.3", "--labels", table, out="labelled")
    assert "how to find the patient (--columns FILE,CLASS,SUBJECT)" in done.stdout
    done, _ = prep(some_scans, "--split", "0.7,0.3", "--subjects", r"glioma_tumor/(.+)", out="two")
    assert done.returncode == 0 and "10 of 20 scans have no known subject" in done.stdout
    done, _ = prep(some_scans, "--split", "0.7,0.3", "--subjects", r".+", out="all")
    assert "no known subject" not in done.stdout
    done, _ = prep(some_scans, out="whole")
    assert "no known subject" not in done.stdout


def test_a_subset_of_a_split_is_no_place_for_it(prep, some_scans):
    prep(some_scans, "--split", "0.7,0.3")
    done, _ = prep(some_scans, "--split", "0.7,0.3", out="out/train")
    assert done.returncode == 1 and "'train' subset of a split" in done.stderr


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--clip", "3"], "--clip only has an effect with --equalize clahe"),
        (["--equalize", "global", "--tiles", "4"], "--tiles only has an effect with"),
        (["--pixel-spacing", "1", "--fit", "crop"], "--fit only has an effect without"),
    ],
)
def test_options_without_an_effect_are_refused(prep, some_scans, argv, says):
    done, out = prep(some_scans, *argv)
    assert done.returncode == 2 and says in done.stderr and done.stderr.count("\n") == 1
    assert not out.exists()


def test_what_a_window_shows_nothing_of_is_refused(prep, tmp_path):
    source = tmp_path / "deep/a"
    source.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for n, least in enumerate((0, 0, 0, 5000)):
        image = rng.integers(least, least + 3000, (32, 32)).astype(np.uint16)
        cv2.imwrite(str(source / f"{n}.png"), image)
    done, out = prep(source.parent, "--window", "100,3500", "--strict")
    assert done.returncode == 1 and "3 scans prepared" in done.stdout
    assert "blank: its values" in (out / "rejects.jsonl").read_text()
    done, _ = prep(source.parent, "--window", "-160,-100", out="units")
    assert done.returncode == 1 and "lie outside of the window -160 to -100" in done.stderr
    done, _ = prep(source.parent, "--window", "dicom", out="dicom")
    assert done.returncode == 1 and "--window dicom needs one" in done.stderr


def test_damage_behind_the_first_frame_names_the_file(tmp_path, some_scans, monkeypatch):
    """Of a file that needs the window over all scans, when no other does."""
    real = one_file.read_scans

    def damaged(data, *about):
        if data != b"stack":
            yield from real(data, *about)
            return
        yield 0, Scan(np.arange(4096, dtype=np.uint16).reshape(64, 64))
        raise Rejected("damaged behind it")

    monkeypatch.setattr(one_file, "read_scans", damaged)
    (some_scans / CLASSES[0] / "stack.png").write_bytes(b"stack")
    made = prepare(some_scans, tmp_path / "out", workers=1)
    assert len(made.images) == 20 and made.info.window is None
    assert "damaged behind it" in (tmp_path / "out/rejects.jsonl").read_text()


@pytest.mark.parametrize("fractions", [(0.5, 0.1, 0.1, 0.3), (5, 3), (1.0,)])
def test_fractions_are_checked_before_anything_is_done(some_scans, tmp_path, fractions):
    with pytest.raises(PreprocessingError, match="--split"):
        prepare_split(some_scans, tmp_path / "out", fractions)
    assert not (tmp_path / "out").exists()


def test_bad_files_beside_scans_that_need_the_window_over_all(prep, tmp_path):
    source = tmp_path / "source/a"
    source.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for n in range(6):
        cv2.imwrite(str(source / f"{n}.png"), rng.integers(0, 4000, (64, 64)).astype(np.uint16))
    good = (source / "5.png").read_bytes()
    (source / "header.png").write_bytes(good[:8])
    (source / "cut.png").write_bytes(good[:1000])
    (source / "empty.png").write_bytes(b"")
    (source / "gone.png").symlink_to("nowhere")
    os.mkfifo(source / "pipe.png")
    import pydicom

    for name, slope, spacing in (
        ("tiny", "1e-310", 1.0),
        ("huge", "1e40", 1.0),
        ("far", "1", 1e300),
    ):
        file = pydicom.dcmread(dicom("CT_small.dcm"))
        file.RescaleSlope, file.PixelSpacing = slope, [spacing, spacing]
        file.save_as(source / f"{name}.dcm")
    done, out = prep(source.parent)
    assert done.returncode == 0 and not done.stderr, done.stderr
    dataset = load_dataset(out)
    assert dataset.counts == {"a": 7}  # the spacing matters only where it is asked for
    rejects = [json.loads(line) for line in (out / "rejects.jsonl").open()]
    bad = {"header.png", "cut.png", "empty.png", "gone.png", "pipe.png", "tiny.dcm", "huge.dcm"}
    assert {r["file"].split("/")[1] for r in rejects} == bad
    assert all(len(np.unique(image)) > 50 for image in dataset.images)
    low, high = dataset.info.window.window
    assert -1100 < low < 10 and 3900 < high < 4100 and dataset.info.window.scans == 7
    done, out = prep(source.parent, "--pixel-spacing", "0.5", out="spaced")
    assert done.returncode == 1 and "no usable scan" in done.stderr


def test_a_split_dataset_is_not_mistaken_for_scans_or_for_one_dataset(prep, command, some_scans):
    _, out = prep(some_scans, "--split", "0.7,0.3")
    done, _ = prep(out, out="again")
    assert done.returncode == 1 and "already prepared" in done.stderr
    done = command("train", out, "--out", out.parent / "run")
    assert done.returncode == 1 and str(out / "train") in done.stderr


def test_a_table_of_labels_as_of_the_nih(prep, tmp_path, some_scans):
    flat = tmp_path / "nih/images_001/images"
    flat.mkdir(parents=True)
    files = sorted(some_scans.rglob("*.jpg"))[:6]
    for n, file in enumerate(files):
        shutil.copy(file, flat / f"0000000{n}_000.png")
    lines = ["Image Index,Finding Labels,Follow-up #,Patient ID"]
    labels = ["No Finding", "Mass", "Mass|Nodule", "Nodule", "Mass", "No Finding"]
    lines += [f"0000000{n}_000.png,{label},0,{n // 2}" for n, label in enumerate(labels)]
    table = tmp_path / "Data_Entry_2017.csv"
    table.write_text("\n".join(lines))
    columns = ("--labels", table, "--columns", "Image Index,Finding Labels,Patient ID")
    done, out = prep(tmp_path / "nih", *columns)
    assert done.returncode == 0, done.stderr
    assert load_dataset(out).counts == {"Mass": 2, "No Finding": 2, "Nodule": 1}
    assert {item.subject for item in load_dataset(out).items} == {"0", "1", "2"}
    assert "--multi-label" in (out / "rejects.jsonl").read_text()
    _, out = prep(tmp_path / "nih", *columns, "--multi-label", "join", out="joined")
    assert load_dataset(out).counts["Mass+Nodule"] == 1


def test_copies_are_kept_and_listed_or_dropped_and_named(prep, some_scans):
    first = sorted(some_scans.rglob("*.jpg"))[0]
    shutil.copy(first, some_scans / CLASSES[1] / "zz.jpg")
    done, out = prep(some_scans)
    assert "1 of them a copy of another" in done.stdout
    (leak,) = [json.loads(line) for line in (out / "near_duplicates.jsonl").open()]
    assert leak["across"] == "classes" and leak["differing_bits"] == 0
    done, out = prep(some_scans, "--duplicates", "drop", out="dropped")
    assert "20 scans prepared" in done.stdout and "1 refused" in done.stdout
    (reject,) = [json.loads(line) for line in (out / "rejects.jsonl").open()]
    assert reject["file"] == f"{CLASSES[1]}/zz.jpg"
    assert reject["reason"] == f"same bytes as {CLASSES[0]}/{first.name}"


def test_a_file_without_the_spacing_that_is_asked_for_is_refused(prep, every_kind):
    done, out = prep(every_kind, "--pixel-spacing", "1.0")
    assert done.returncode == 0, done.stderr
    kept = {item.file.split("/")[1] for item in load_dataset(out).items}
    assert kept <= {"ct.png", "mr", "packed.dcm", "volume.nii.gz"} and "volume.nii.gz" in kept
    assert "--pixel-spacing" in (out / "rejects.jsonl").read_text()


def test_slices_of_a_volume(prep, every_kind):
    _, out = prep(every_kind, "--slices", "1:3")
    items = [i for i in load_dataset(out).items if i.file.endswith(".nii.gz")]
    assert [item.frame for item in items] == [1, 2]


def test_a_folder_without_classes_is_one_class(prep, some_scans):
    done, out = prep(some_scans / CLASSES[0])
    assert load_dataset(out).counts == {CLASSES[0]: 10}, done.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--size", "8"), "16 to 1024"),
        (("--equalize", "lots"), "none, global, clahe"),
        (("--window", "5"), "LO,HI"),
        (("--window", "0,1e-300"), "LO,HI"),
        (("--window=-1e308,1e308",), "LO,HI"),
        (("--split", "0.5,0.6"), "adds up to 1.1"),
        (("--subjects", "("), "regular expression"),
        (("--slices", "4:2"), "10:90"),
        (("--workers", "0"), "workers"),
    ],
)
def test_what_cannot_be_asked_is_one_line_and_exit_2(prep, some_scans, options, says):
    done, out = prep(some_scans, *options)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and says in done.stderr
    assert not out.exists()


def test_8_bits_that_are_small_need_no_numba_and_help_needs_nothing(some_scans, tmp_path):
    code = (
        "import sys\nfrom scangan.cli.prepare import main\n"
        f"main([{str(some_scans)!r}, {str(tmp_path / 'out')!r}, '--equalize', 'global'], "
        "standalone_mode=False)\nassert 'numba' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, capture_output=True)
    code = (
        "import sys\nfrom scangan.cli.prepare import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "assert not {'numba', 'cv2', 'numpy', 'pydicom'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, capture_output=True)


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_freed_memory_is_kept_for_the_next_scan():
    code = """
import resource, numpy as np
from scangan.preprocessing.malloc import keep_freed_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        np.ones(6_000_000, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
first = faults()
keep_freed_memory()
print(first, faults())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert after < before / 5
