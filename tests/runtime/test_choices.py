"""What to make: classes, latents, streams; and what is said of it."""

import json
import pickle
import re
import shutil

import cv2
import numpy as np
import pytest
from conftest import CLASSES

from scangan.artifacts.card import ModelCard
from scangan.artifacts.latents import Draw
from scangan.artifacts.request import Span
from scangan.core import terminal as console
from scangan.runtime import GenerationError, ScanGenerator


def test_paired_classes_share_their_latents(tiny_acgan):
    draw, plain = Draw(3, paired=True), Draw(3)
    assert np.array_equal(draw.latents(0, range(4), 10), draw.latents(2, range(4), 10))
    assert not np.array_equal(plain.latents(0, range(4), 10), plain.latents(2, range(4), 10))
    generator = ScanGenerator(tiny_acgan)
    assert np.array_equal(generator.sample(3, 0), generator.sample(3, 0, paired=True))
    assert not np.array_equal(generator.sample(3, 1), generator.sample(3, 1, paired=True))


def test_truncation_draws_latents_together(tiny_acgan):
    generator = ScanGenerator(tiny_acgan)
    spread = [generator.sample(64, 0, truncation=psi).std(0).mean() for psi in (0.01, 0.5, 1.0)]
    assert spread[0] < 3 < spread[1] < spread[2]
    want = Draw(0).latents(0, range(3), 10) * np.float32(0.5)
    assert np.array_equal(Draw(0, 0.5).latents(0, range(3), 10), want)


@pytest.mark.parametrize("psi", [0.0, -1.0, 2.1, float("nan"), float("inf")])
def test_a_truncation_out_of_range(psi):
    with pytest.raises(GenerationError, match="--truncation"):
        Draw(0, psi)


def test_all_choices_are_written_down(command, tiny_acgan, tmp_path):
    done = command("generate", "--model", tiny_acgan, "--count", 2, "--start", 40, "--truncation",
                   0.7, "--paired", "--out", tmp_path / "out")  # fmt: skip
    assert done.returncode == 0, done.stderr
    line = json.loads((tmp_path / "out/manifest.jsonl").open().readline())
    assert line["file"] == "cat/000000040.png"
    assert (line["index"], line["truncation"], line["paired"]) == (40, 0.7, True)
    image = cv2.imread(str(tmp_path / "out/cat/000000041.png"), cv2.IMREAD_GRAYSCALE)
    want = ScanGenerator(tiny_acgan).sample(1, 0, start=41, truncation=0.7, paired=True)
    assert np.array_equal(image, want[0])


def test_a_stream_takes_the_classes_in_turn(tiny_acgan):
    generator = ScanGenerator(tiny_acgan, batch=7)
    scans = list(generator.stream(5, seed=2, start=3))
    assert [(i, name) for i, name, _ in scans] == [
        (i, name) for i in range(3, 8) for name in ("cat", "dog", "2")
    ]
    for name in generator.classes:
        mine = np.array([image for _, n, image in scans if n == name])
        assert np.array_equal(mine, generator.sample(5, name, seed=2, start=3))


def test_a_stream_without_an_end_is_lazy(tiny_dcgan, tiny_acgan):
    with ScanGenerator(tiny_dcgan) as generator:
        stream = generator.stream()
        assert [next(stream)[:2] for _ in range(3)] == [(0, None), (1, None), (2, None)]
        stream.close()
    (one,) = ScanGenerator(tiny_acgan).stream(1, "dog")
    assert one[1] == "dog"


def test_small_integers_of_numpy_do_not_overflow(tiny_acgan):
    generator = ScanGenerator(tiny_acgan)
    got = generator.sample(np.uint8(200), 0, start=np.uint8(200))
    assert np.array_equal(got, generator.sample(200, 0, start=200))
    assert np.array_equal(
        generator.from_latents(Draw(0).latents(1, range(3), 10), np.int8(1)), generator.sample(3, 1)
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda g: g.sample(1.5, 0),
        lambda g: g.sample(1, 1.7),
        lambda g: g.sample(1, 0, seed=1.5),
        lambda g: g.sample(1, 0, start=-1),
        lambda g: g.stream(start=-5),
        lambda g: g.stream(start=2**63),
        lambda g: g.stream(start="1"),
        lambda g: g.stream(-1),
        lambda g: g.from_latents(np.zeros((1, 10), np.float32)),
        lambda g: g.from_latents(np.zeros((1, 10), np.float32), -1),
        lambda g: g.from_latents(np.zeros((1, 9), np.float32), 0),
    ],
)
def test_what_python_may_not_ask_for(tiny_acgan, call):
    with pytest.raises(GenerationError):
        call(ScanGenerator(tiny_acgan))


def test_another_process_opens_the_model_again(tiny_acgan):
    generator = ScanGenerator(tiny_acgan, batch=3, threads=1)
    again = pickle.loads(pickle.dumps(generator))
    assert (again.batch, again.threads, again.sha256) == (3, 1, generator.sha256)
    assert np.array_equal(again.sample(4, 1), generator.sample(4, 1))


def test_a_bundled_name_is_the_bundled_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "brain-mri-64").mkdir()
    assert ScanGenerator("brain-mri-64").card.size == 64
    with pytest.raises(GenerationError, match="is not a file"):
        ScanGenerator("./brain-mri-64")


def test_threads_may_share_a_generator(tiny_acgan):
    from concurrent.futures import ThreadPoolExecutor

    generator = ScanGenerator(tiny_acgan, batch=3)
    want = [generator.sample(20, k % 3, seed=k) for k in range(12)]
    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda k: generator.sample(20, k % 3, seed=k), range(12)))
    assert all(np.array_equal(a, b) for a, b in zip(got, want, strict=True))


@pytest.mark.parametrize(
    ("wanted", "number"),
    [("glioma_tumor", 0), ("GLIOMA_TUMOR", 0), ("glio", 0), ("no", 2), ("3", 3), (1, 1)],
)
def test_a_class_may_be_named_by_how_it_begins(wanted, number):
    card = ModelCard(architecture="acgan", latent=2, classes=CLASSES, size=32, graph_sha256="")
    assert card.class_number(wanted) == number


def test_a_class_that_could_be_several_is_an_error():
    names = ("Tumour", "tumour", "tumour_b", "10")
    card = ModelCard(architecture="acgan", latent=2, classes=names, size=32, graph_sha256="")
    assert card.class_number("tumour") == 1 and card.class_number("10") == 3
    for wanted in ("TUMOUR", "tum"):
        with pytest.raises(GenerationError, match="could be any of: 0 Tumour, 1 tumour"):
            card.class_number(wanted)


def test_of_many_classes_a_few_are_listed():
    names = tuple(f"kind {n}" for n in range(1000))
    card = ModelCard(architecture="acgan", latent=2, classes=names, size=32, graph_sha256="")
    for wanted, says in (
        ("cat", "has no class 'cat'; it has: 0 "),
        ("kind", "could be any of: 0 "),
    ):
        with pytest.raises(GenerationError, match=says) as refused:
            card.class_number(wanted)
        assert "10 kind 10, ..., 999 kind 999" in str(refused.value)
        assert refused.value.exit_code == 2


def test_for_machines(command, tiny_acgan, tmp_path):
    argv = ["generate", "--model", tiny_acgan, "--count", 2, "--out", tmp_path / "out", "--json"]
    said = json.loads(command(*argv).stdout)
    assert said["made"] == said["scans"] == 6 and said["device"] == "cpu"
    assert said["classes"] == {"cat": 2, "dog": 2, "2": 2}
    assert json.loads(command(*argv).stdout)["made"] == 0
    assert command(*argv[:-1], "--quiet").stdout == ""
    info = json.loads(command("info", tiny_acgan, "--json").stdout)
    assert info["classes"] == ["cat", "dog", "2"]


def test_no_sheet(command, tiny_acgan, tmp_path):
    done = command(
        "generate", "--model", tiny_acgan, "--count", 1, "--no-sheet", "--out", tmp_path / "o"
    )
    assert "look at" not in done.stdout and not (tmp_path / "o/sheet.html").exists()


def test_made_again_when_asked(command, tiny_acgan, tmp_path):
    argv = ["generate", "--model", tiny_acgan, "--count", 2, "--out", tmp_path / "out"]
    command(*argv)
    shutil.copy(tmp_path / "out/dog/000000000.png", tmp_path / "out/cat/000000001.png")
    assert "6 already there" in command(*argv).stdout
    assert "already there" not in command(*argv, "--force").stdout
    image = cv2.imread(str(tmp_path / "out/cat/000000001.png"), cv2.IMREAD_GRAYSCALE)
    assert np.array_equal(image, ScanGenerator(tiny_acgan).sample(2, 0)[1])


def test_spans_know_their_indices():
    assert list(Span(0, 3, 2).indices) == [3, 4]


def test_lines_of_progress_where_there_is_no_terminal(monkeypatch, capsys):
    monkeypatch.setattr(console, "LINES_APART", 0.0)
    with console.progress("generating", 10**30, "scans") as advance:
        advance(4)
    said = capsys.readouterr().err
    assert re.fullmatch(r"generating: 4 of 10{30} scans, \d+ scans/s, .+ left\n", said)
    with console.progress("generating", 10, "scans", quiet=True) as advance:
        advance(4)
    monkeypatch.setattr(console, "LINES_APART", 10.0)
    with console.progress("generating", 10, "scans") as advance:
        advance(10)
    assert capsys.readouterr().err == ""  # short work needs no words
