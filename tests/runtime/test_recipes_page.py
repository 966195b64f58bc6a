"""What docs/recipes.md shows, run as printed: its commands make what its snippets read."""

import importlib
import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import BRAIN, CLASSES
from cpu_torchvision import import_torchvision

from scangan.runtime import ScanGenerator

PAGE = Path(__file__).parents[2] / "docs" / "recipes.md"
REAL = {"2": 6, "cat": 3, "dog": 2}  # as folders are sorted; the model's order is cat, dog, 2
NUMBER = {"cat": 0, "dog": 1, "2": 2}
COUNT, SHARD = 40, 5  # instead of thousands


def _sections():
    """Text under each heading."""
    parts = re.split(r"^## (.*)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def _fenced(title, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", _sections()[title], re.DOTALL | re.MULTILINE)


def _commands():
    """The indented commands, by section."""
    found = {
        t: re.findall(r"^    ((?:gen|prep)-scans .*)$", s, re.M) for t, s in _sections().items()
    }
    return {title: commands for title, commands in found.items() if commands}


def _run_snippet(title, which=0, **given):
    space = {"__name__": "__main__", **given}
    exec(compile(_fenced(title, "python")[which], f"{PAGE.name}: {title}", "exec"), space)
    return space


def _shell(script, folder, **env):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=folder, env=os.environ | {"PATH": path} | env,
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def place(tiny_acgan, tmp_path_factory):
    """Make a folder with ``acgan.onnx``, ``scans/`` and all that the page's commands make of them."""
    if not (Path(sys.executable).parent / "gen-scans").exists():
        pytest.skip("the commands are not installed")
    folder = tmp_path_factory.mktemp("recipes")
    shutil.copy(tiny_acgan, folder / "acgan.onnx")
    for (name, count), source in zip(REAL.items(), CLASSES):
        (folder / "scans" / name).mkdir(parents=True)
        for file in sorted((BRAIN / source).iterdir())[:count]:
            shutil.copy(file, folder / "scans" / name)
    script = "\n".join(command for commands in _commands().values() for command in commands)
    for option, value in ("count", COUNT), ("shard-size", SHARD), ("size", 32):
        script = re.sub(rf"--{option} \d+", f"--{option} {value}", script)
    _shell(script, folder)
    return folder


@pytest.fixture
def here(place, monkeypatch):
    monkeypatch.chdir(place)
    return place


@pytest.fixture
def forked():
    """Workers that need not import a snippet's file, which it does not have here."""
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("no fork")
    before = multiprocessing.get_start_method(allow_none=True)
    multiprocessing.set_start_method("fork", force=True)
    yield
    multiprocessing.set_start_method(before, force=True)


@pytest.fixture(scope="module")
def made(tiny_acgan):
    """Say which scans a count of each class are: (bytes, class number)."""
    generator = ScanGenerator(tiny_acgan)

    def of(count, seed=0):
        return Counter(
            (image.tobytes(), k) for k in range(3) for image in generator.sample(count, k, seed)
        )

    return of


def _seen(batches):
    """(bytes, class number) of all scans of float batches [N, 1, H, W], which it checks."""
    seen = []
    for images, labels in batches:
        images, labels = np.asarray(images), np.asarray(labels)
        assert images.dtype == np.float32 and images.shape[1:] == (1, 32, 32)
        assert labels.dtype == np.int64 and labels.shape == images.shape[:1]
        assert images.min() >= -1 and images.max() <= 1
        grey = np.round((images + 1) * 127.5).astype(np.uint8)
        seen += zip((image.tobytes() for image in grey), labels.tolist())
    return seen


def _mixed(labels):
    """Whether classes do not come one after the other."""
    return np.count_nonzero(np.diff(labels)) > len(labels) // 4


def test_every_snippet_of_the_page_has_a_test():
    counts = {title: len(_fenced(title, "python")) for title in _sections()}
    assert {title: n for title, n in counts.items() if n} == {
        "torch, without files": 1, "Keras": 1, "torchvision: ImageFolder": 1,
        "Hugging Face datasets": 1, "WebDataset": 1, "npz and numpy": 1, "MONAI": 1,
    }  # fmt: skip
    assert set(_commands()) == {"Keras", "torchvision: ImageFolder", "WebDataset", "npz and numpy"}


def test_the_links_of_the_page_lead_somewhere():
    for target, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", PAGE.read_text(encoding="utf-8")):
        text = (PAGE.parent / target).read_text(encoding="utf-8")
        titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
        assert not anchor or anchor in [
            re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles
        ]


def test_torch_workers_make_every_scan_once(here, made, forked):
    space = _run_snippet("torch, without files")
    loader = space["loader"]
    assert loader.num_workers == 2 and loader.batch_size == 64
    seen = _seen(loader)
    assert Counter(seen) == made(1000) and max(Counter(seen).values()) == 1
    assert _mixed([label for _, label in seen])

    loader.dataset.seed = 1  # as the page says: other scans
    assert Counter(_seen(loader)) == made(1000, seed=1)


@pytest.mark.parametrize(("count", "workers"), [(7, 2), (1, 2), (5, 0)])
def test_torch_workers_share_any_count(here, made, forked, count, workers):
    import torch

    space = _run_snippet("torch, without files", __name__="not main")
    scans = space["SyntheticScans"]("acgan.onnx", count, seed=4)
    loader = torch.utils.data.DataLoader(scans, batch_size=4, num_workers=workers)
    assert Counter(_seen(loader)) == made(count, seed=4)


@pytest.fixture
def keras(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_BACKEND", os.environ.get("KERAS_BACKEND", "torch"))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    return importlib.import_module("keras")


def test_keras_mixes_real_and_synthetic_scans(here, keras):
    space = _run_snippet("Keras")
    data = space["data"]
    batches = [data[i] for i in range(len(data))]
    assert all(len(y) == 32 for _, y in batches[:-1]) and 1 <= len(batches[-1][1]) <= 32
    assert batches[0][0].shape == (32, 32, 32, 1)
    x, y = (np.concatenate(part) for part in zip(*batches))
    assert x.dtype == np.float32 and x.min() >= -1 and x.max() <= 1
    assert np.bincount(y).tolist() == [1000, 1000, 1000] and _mixed(y)

    generator, names = ScanGenerator("acgan.onnx"), sorted(REAL)
    grey = np.round((x[..., 0] + 1) * 127.5).astype(np.uint8)
    seen = {(image.tobytes(), names[k]) for image, k in zip(grey, y)}
    for name, real in REAL.items():
        synthetic = {(image.tobytes(), name) for image in generator.sample(1000 - real, name)}
        assert synthetic <= seen
        assert len({pair for pair in seen if pair[1] == name} - synthetic) == real

    real = space["load_dataset"]("prepared")
    few = space["RealAndSynthetic"](real, "acgan.onnx", target=4, batch=4)
    assert np.bincount(few.y).tolist() == [6, 4, 4] and len(few) == 4  # none is taken away
    before = few.order.copy()
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="sgd", loss=loss)
    history = model.fit(few, epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert not np.array_equal(few.order, before)  # another order in every epoch


def test_image_folder_numbers_both_alike(here):
    import_torchvision()
    space = _run_snippet("torchvision: ImageFolder")
    assert space["real"].classes == sorted(REAL) and space["more"].classes == ["cat", "dog"]
    labels = []
    for images, numbers in space["loader"]:
        assert images.shape[1:] == (1, 64, 64)
        assert images.min() >= -1 and images.max() <= 1 and images.std() > 0.1
        labels += numbers.tolist()
    assert Counter(labels) == {0: 6, 1: 6, 2: 6}
    first = np.asarray(space["more"][0][0])[0].reshape(32, 2, 32, 2).mean((1, 3))
    want = ScanGenerator("acgan.onnx").sample(1, "cat")[0]
    assert np.corrcoef(first.ravel(), want.ravel())[0, 1] > 0.7  # enlarged, and still that scan


def test_hugging_face_loads_the_folder_as_it_is(here, monkeypatch, tmp_path):
    for name in ("HF_HOME", "HF_DATASETS_CACHE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    space = _run_snippet("Hugging Face datasets")
    data, names = space["data"], space["names"]
    generator = ScanGenerator("acgan.onnx")
    want = Counter(
        (image.tobytes(), name)
        for name, n in {"cat": 3, "dog": 4}.items()
        for image in generator.sample(n, name)
    )
    assert Counter((np.asarray(r["image"]).tobytes(), names[r["label"]]) for r in data) == want


def test_webdataset_reads_the_shards(here, made):
    space = _run_snippet("WebDataset")
    assert len(space["shards"]) == 3 * COUNT // SHARD
    seen = _seen(space["wds"].WebLoader(space["dataset"], batch_size=64))
    assert Counter(seen) == made(COUNT)
    assert _mixed([label for _, label in seen])


def test_numpy_reads_the_arrays(here, made):
    space = _run_snippet("npz and numpy")
    images, labels = space["images"], space["labels"]
    assert images.shape == (3 * COUNT, 32, 32) and images.dtype == np.uint8
    assert Counter((i.tobytes(), k) for i, k in zip(images, labels.tolist())) == made(COUNT)
    assert _mixed(labels)
    with np.load("arrays/scans-000000.npz") as shard:  # as the page says
        assert shard["indices"].dtype == np.int64 and len(shard["indices"]) == len(shard["images"])
        assert "Synthetic" in json.loads(str(shard["about"]))["notice"]


def test_monai_reads_what_the_manifest_lists(here):
    dataset, loader = (_run_snippet("MONAI")[name] for name in ("dataset", "loader"))
    assert len(dataset) == 3 + 4
    generator = ScanGenerator("acgan.onnx")
    want = Counter()
    for name, count in {"cat": 3, "dog": 4}.items():
        want.update((i.tobytes(), NUMBER[name]) for i in generator.sample(count, name))
    assert Counter(_seen(loader)) == want
