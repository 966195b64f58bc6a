"""What the loaders that people use find in a folder of gen-scans: its scans, and nothing else."""

import json
import mimetypes
import os
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import folder_bytes
from cpu_torchvision import import_torchvision
from PIL import Image

from scangan.artifacts.request import Part, Request, Span
from scangan.runtime import ScanGenerator
from scangan.runtime.output import write_scans

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:monai")

COUNTS = {"2": 4, "cat": 3, "dog": 5}  # as folders are sorted; the model's order is cat, dog, 2
SPANS = Span(0, 0, 3), Span(1, 0, 5), Span(2, 0, 4)
# What a kill may leave: files being written, and locks.
LEFT = (".gen-scans-lock", ".gen-scans-lock-gate", ".gen-scans-lock-1-of-3", ".sheet.html.part",
        ".manifest.jsonl.part", "cat/.000000002.png.part")  # fmt: skip


@pytest.fixture(scope="module")
def generator(tiny_acgan):
    return ScanGenerator(tiny_acgan)


@pytest.fixture(scope="module")
def folders(generator, tmp_path_factory):
    """Scans in every format, of one class alone, of one scan, and in every state of the work."""
    place = tmp_path_factory.mktemp("folders")
    for kind in ("png", "tar", "npz", "dicom"):
        write_scans(generator, Request(spans=SPANS, format=kind, shard_size=5), place / kind)
    write_scans(generator, Request(spans=SPANS, format="tar"), place / "one tar")
    write_scans(generator, Request(spans=(Span(1, 7, 1),)), place / "one scan")
    write_scans(generator, Request(spans=SPANS), place / "part", part=Part(1, 3))
    shutil.copytree(place / "png", place / "killed")
    (place / "killed/manifest.jsonl").unlink()
    scan = (place / "png/cat/000000002.png").read_bytes()
    for name in LEFT:
        (place / "killed" / name).write_bytes(scan)
    return place


@pytest.fixture(scope="module")
def offline(tmp_path_factory):
    """Hugging Face's and Keras's caches in a folder of their own, and no network."""
    home = str(tmp_path_factory.mktemp("home"))
    with pytest.MonkeyPatch.context() as patch:
        for name in ("HF_HOME", "HF_DATASETS_CACHE", "KERAS_HOME"):
            patch.setenv(name, home)
        for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
            patch.setenv(name, "1")
        patch.setenv("KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "torch"))
        yield home


def _read(pixels):
    """The bytes of a grey scan, whatever a loader makes of it."""
    return np.asarray(pixels, np.uint8).reshape(32, 32).tobytes()


@pytest.fixture(scope="module")
def want(generator):
    """The scans of all folders of 12: (bytes, class), each once."""
    return Counter(
        (image.tobytes(), name) for name, n in COUNTS.items() for image in generator.sample(n, name)
    )


def _torchvision(folder):
    import_torchvision()
    from torchvision.datasets import ImageFolder

    dataset = ImageFolder(folder)
    return [(_read(image.convert("L")), dataset.classes[k]) for image, k in dataset]


def _keras(folder, **options):
    import keras

    batches = keras.utils.image_dataset_from_directory(
        folder, image_size=(32, 32), color_mode="grayscale", format="grain", shuffle=False,
        verbose=False, **options,
    )  # fmt: skip
    return batches


def _keras_by_class(folder):
    batches = _keras(folder)
    return [
        (_read(x), batches.class_names[int(k)])
        for images, labels in batches
        for x, k in zip(images, labels)
    ]


def _monai(folder):
    """Read images by glob, in the folders that are there, as MONAI's tutorials do."""
    from monai.data import DataLoader, ImageDataset

    classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
    found = [(file, k) for k, name in enumerate(classes) for file in folder.glob(f"{name}/*.png")]
    files, labels = zip(*found)
    dataset = ImageDataset(
        [str(file) for file in files], labels=labels, reader="PILReader", reverse_indexing=False
    )
    return [(_read(x[0]), classes[int(k)]) for x, k in DataLoader(dataset, batch_size=1)]


def _hugging_face(*args, **options):
    from datasets import disable_progress_bars, load_dataset

    disable_progress_bars()
    return load_dataset(*args, split="train", **options)


def _image_folder(rows):
    names = rows.features["label"].names
    return [(_read(row["image"].convert("L")), names[row["label"]]) for row in rows]


BY_CLASS = {
    "torchvision ImageFolder": _torchvision,
    "keras image_dataset_from_directory": _keras_by_class,
    "MONAI ImageDataset": _monai,
    "datasets imagefolder": lambda f: _image_folder(_hugging_face("imagefolder", data_dir=str(f))),
    "datasets, folder alone": lambda f: _image_folder(_hugging_face(str(f))),
}


def _clean_fid(folder):
    import_torchvision()
    import torch
    from cleanfid import fid

    return len(
        fid.get_folder_features(
            str(folder), model=lambda batch: batch.mean((2, 3)), num_workers=0,
            device=torch.device("cpu"), verbose=False,
        )
    )  # fmt: skip


def _fastai(folder):
    """Count images as fastai's get_image_files does: all below that have an image's ending, none hidden."""
    endings = {ending for ending, kind in mimetypes.types_map.items() if kind.startswith("image/")}
    found = 0
    for _, inner, files in os.walk(folder):
        inner[:] = [name for name in inner if not name.startswith(".")]
        found += sum(Path(f).suffix.lower() in endings for f in files if not f.startswith("."))
    return found


def _rglob(folder):
    """Count all that some reader of images takes, by Pillow's list, hidden or not."""
    endings = set(Image.registered_extensions()) | {".dcm", ".nii", ".npy", ".svg"}
    return sum(path.suffix.lower() in endings for path in folder.rglob("*"))


COUNTED = {
    "keras without labels": lambda f: sum(len(x) for x in _keras(f, labels=None)),
    "clean-fid": _clean_fid,
    "fastai get_image_files": _fastai,
    "recursive glob": _rglob,
}


@pytest.mark.parametrize("loader", BY_CLASS)
@pytest.mark.parametrize("state", ["png", "killed"])
def test_every_scan_once_in_its_class(folders, want, offline, loader, state):
    assert Counter(BY_CLASS[loader](folders / state)) == want


@pytest.mark.parametrize("loader", COUNTED)
@pytest.mark.parametrize(("state", "scans"), [("png", 12), ("killed", 12), ("one scan", 1)])
def test_no_image_but_the_scans(folders, offline, loader, state, scans):
    assert COUNTED[loader](folders / state) == scans


@pytest.mark.parametrize("state", ["tar", "one tar", "npz", "part"])
def test_no_image_beside_shards_or_in_a_part(folders, state):
    assert _fastai(folders / state) == _rglob(folders / state) == (4 if state == "part" else 0)


@pytest.mark.parametrize("state", ["png", "killed", "dicom", "part", "tar", "npz"])
def test_no_folder_but_those_of_classes(folders, state):
    inner = {path.name for path in (folders / state).iterdir() if path.is_dir()}
    assert inner == (set() if state in ("tar", "npz") else set(COUNTS))


def test_one_scan_is_taken_for_images_not_for_its_manifest(folders, offline):
    """One class is no label, to Hugging Face."""
    (row,) = _hugging_face(str(folders / "one scan"))
    assert list(row) == ["image"] and row["image"].size == (32, 32)


@pytest.mark.parametrize("state", ["tar", "one tar"])
def test_shards_are_taken_for_webdataset(folders, want, offline, state):
    import webdataset

    def of(samples):
        names = ("cat", "dog", "2")
        return Counter((_read(png), names[int(number)]) for png, number in samples)

    shards = sorted(str(path) for path in (folders / state).glob("*.tar"))
    dataset = webdataset.WebDataset(shards, shardshuffle=False).decode("l8")
    assert of(dataset.to_tuple("png", "cls")) == want
    for rows in (
        _hugging_face(str(folders / state)),
        _hugging_face("webdataset", data_files=str(folders / state / "*.tar")),
    ):
        assert of((row["png"].convert("L"), row["cls"]) for row in rows) == want


@pytest.mark.parametrize("state", ["npz", "dicom"])
def test_what_hugging_face_cannot_read_it_does_not_misread(folders, offline, state):
    from datasets.exceptions import DataFilesNotFoundError

    with pytest.raises(DataFilesNotFoundError, match="No \\(supported\\) data files"):
        _hugging_face(str(folders / state))


def test_monai_takes_a_folder_of_dicom_slice_by_slice(folders, generator):
    from monai.data import PydicomReader

    for name, count in COUNTS.items():
        files = sorted((folders / "dicom" / name).iterdir())
        assert [file.suffix for file in files] == [".dcm"] * count
        reader = PydicomReader(swap_ij=False)
        for file, scan in zip(files, generator.sample(count, name)):
            pixels, _ = reader.get_data(reader.read(str(file)))
            assert _read(pixels) == scan.tobytes()


def test_a_picture_in_the_folder_is_found_by_these_loaders(folders, tmp_path, offline):
    """The tests above can fail: what earlier versions wrote, they would have refused."""
    shutil.copytree(folders / "png", tmp_path / "out")
    shutil.copy(folders / "png/cat/000000000.png", tmp_path / "out/sheet.png")
    assert {name: count(tmp_path / "out") for name, count in COUNTED.items()} == dict.fromkeys(
        COUNTED, 13
    )
    rows = _hugging_face("imagefolder", data_dir=str(tmp_path / "out"))
    assert len(rows) == 13 and "label" not in rows.features


def _as_before(folder, out):
    """A folder as earlier versions left it: a picture, and no README."""
    from scangan.core.png import encode_png
    from scangan.core.sheet import NOTICE

    shutil.copytree(folder, out)
    for name in ("README.md", "sheet.html"):
        (out / name).unlink(missing_ok=True)
    (out / "sheet.png").write_bytes(encode_png(np.zeros((9, 9), np.uint8), {"Comment": NOTICE}))
    return out


@pytest.mark.parametrize("how", ["again", "--no-sheet", "--force", "another request"])
def test_the_picture_of_earlier_versions_goes(generator, folders, tmp_path, how):
    out = _as_before(folders / "png", tmp_path / "out")
    spans = SPANS[:2] if how == "another request" else SPANS
    force = how in ("--force", "another request")
    made = write_scans(generator, Request(spans=spans), out, force=force, sheet=how != "--no-sheet")
    assert made == (sum(span.count for span in spans) if force else 0)
    fresh = tmp_path / "fresh"
    write_scans(generator, Request(spans=spans), fresh, sheet=how != "--no-sheet")
    assert folder_bytes(out) == folder_bytes(fresh)


def test_the_picture_goes_when_parts_are_merged(generator, folders, tmp_path):
    from scangan.runtime.merge import merge

    request = Request(spans=SPANS)
    for i in range(2):
        write_scans(generator, request, tmp_path / "parts", part=Part(i, 2))
    shutil.copytree(tmp_path / "parts", tmp_path / "elsewhere")
    out = _as_before(tmp_path / "parts", tmp_path / "out")
    merge([out], out)
    assert not (out / "sheet.png").exists() and (out / "README.md").exists()
    merge([tmp_path / "elsewhere"], tmp_path / "all")
    assert folder_bytes(tmp_path / "all") == folder_bytes(folders / "png")
    merged = _as_before(folders / "png", tmp_path / "merged")
    merge([merged], merged)
    assert not (merged / "sheet.png").exists()


def test_a_picture_of_the_users_own_stays(generator, folders, tmp_path):
    out = shutil.copytree(folders / "png", tmp_path / "out")
    Image.new("L", (9, 9)).save(out / "sheet.png")
    write_scans(generator, Request(spans=SPANS), out, force=True)
    assert (out / "sheet.png").exists()


def test_a_readme_of_the_users_own_stays(generator, folders, tmp_path):
    out = shutil.copytree(folders / "png", tmp_path / "out")
    ours = (out / "README.md").read_text()
    kept = "".join(line for line in ours.splitlines(True) if not line.startswith("# Written by"))
    for text, then in [(kept + "Mine.\n", kept + "Mine.\n"), (ours + "Mine.\n", ours), ("", ours)]:
        (out / "README.md").write_text(text)
        write_scans(generator, Request(spans=SPANS), out)
        assert (out / "README.md").read_text() == then


def test_the_readme_says_what_it_is_of(folders):
    text = (folders / "one scan/README.md").read_text()
    (line,) = (folders / "one scan/manifest.jsonl").open()
    assert "Synthetic" in text and json.loads(line)["model"] in text
    assert "| class dog | 1, index 7 |" in text
