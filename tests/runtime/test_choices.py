"""What to make, and on what: balance, truncation, pairs, strips, devices, precisions."""

import itertools
import json
import pickle
import re
import shutil

import cv2
import numpy as np
import pytest
from conftest import CLASSES

from scangan.runtime import GenerationError, ScanGenerator, console, devices, threads
from scangan.runtime.balance import class_counts, missing
from scangan.runtime.card import ModelCard
from scangan.runtime.devices import CPU, Device, choose_device, why_not
from scangan.runtime.interpolate import ends, slerp, strip
from scangan.runtime.latents import Draw
from scangan.runtime.request import Span


@pytest.fixture
def scans(tmp_path):
    """A folder with 5 cats, 2 dogs and none of the third class."""
    for name, count in (("cat", 5), ("dog", 2), ("2", 0)):
        (tmp_path / "scans" / name).mkdir(parents=True)
        for i in range(count):
            (tmp_path / "scans" / name / f"{i}.png").write_bytes(b"x")
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
    for classes in (("cat", "dog"), ("cat", "dog", "2", "cow"), ("Cat", "dog", "2"), ()):
        with pytest.raises(GenerationError, match=r"scans has 2, cat, dog; the model has") as error:
            missing(scans, classes, [], None)
        assert ", ".join(classes) in str(error.value)
    with pytest.raises(GenerationError, match="classes differ"):
        missing(scans, ("cat", "cow"), [1], None)
    assert missing(scans, ("cow", "dog"), [1], None) == {1: 3}  # only that one is asked for


def test_no_dataset(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "dataset.json").write_text("{")
    for folder, says in ((tmp_path / "no", "is no folder"), (tmp_path / "empty", "no folders of classes"),
                         (tmp_path, "damaged")):  # fmt: skip
        with pytest.raises(GenerationError, match=says):
            class_counts(folder)


def test_scans_are_counted_as_they_lie(tmp_path):
    """Below folders and links to them, with no ending if they are DICOM; nothing empty or hidden."""
    folder = tmp_path / "scans" / "a"
    (folder / "deep").mkdir(parents=True)
    (folder / ".hidden").mkdir()
    (tmp_path / "elsewhere").mkdir()
    dicom = b"\0" * 128 + b"DICM"
    for name in ("1.png", "2.nii.gz", "deep/3.JPG", ".hidden/no.png", ".no.png"):
        (folder / name).write_bytes(b"x")
    for name, data in (("1.2.840.4", dicom), ("no", b"text"), ("no.png", b""), ("no.tar.gz", b"x")):
        (folder / name).write_bytes(data)
    (tmp_path / "elsewhere/5.png").write_bytes(b"x")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "circle").symlink_to(folder)
    assert class_counts(tmp_path / "scans") == {"a": 5}


def test_a_folder_that_cannot_be_read_is_not_empty(scans, monkeypatch):
    import os

    walk = os.walk

    def refused(path, *args, **kwargs):
        kwargs["onerror"](PermissionError(13, "denied", str(path)))
        return walk(path, *args, **kwargs)

    monkeypatch.setattr(os, "walk", refused)
    with pytest.raises(PermissionError):
        class_counts(scans)


def test_a_split_dataset_names_its_part(tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train/dataset.json").write_text("{}")
    with pytest.raises(GenerationError, match=r"its part to train on: .*train"):
        class_counts(tmp_path)


def test_balance_tops_up(command, tiny_acgan, scans, tmp_path):
    done = command("runtime", "--model", tiny_acgan, "--balance", scans, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "8 synthetic scans of 3 dog, 5 2:" in done.stdout
    assert not (tmp_path / "out/cat").exists()
    assert len(list((tmp_path / "out/dog").iterdir())) == 3
    for argv, says in (["--count", 3], "leave out --count"), (["--target", 0], "--target 0"):
        done = command("runtime", "--model", tiny_acgan, "--balance", scans, *argv, cwd=tmp_path)
        assert done.returncode == 2 and says in done.stderr


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
    done = command("runtime", "--model", tiny_acgan, "--count", 2, "--start", 40, "--truncation",
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
    with pytest.raises(GenerationError, match="is no file"):
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


def test_slerp_keeps_the_length_and_meets_the_ends():
    z = Draw(1).latents(0, range(2), 64)
    path = slerp(z[0], z[1], 9)
    assert path.shape == (9, 64) and path.dtype == np.float32
    assert np.allclose(path[[0, -1]], z, atol=1e-6)
    lengths = np.linalg.norm(path, axis=1)
    assert lengths.min() > 0.99 * min(lengths[0], lengths[-1])
    angles = [
        np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b) for a, b in itertools.pairwise(path)
    ]
    assert np.ptp(np.arccos(angles)) < 0.02  # even steps
    assert np.allclose(slerp(z[0], z[0], 3), z[0])


def test_the_ends_of_a_strip():
    assert ends("3:17", ("cat",)) == (3, 17)
    assert ends("cat:dog", ("cat", "dog")) == ("cat", "dog")
    assert ends("01:02", ("1", "2")) == (1, 2)
    for text, says in [("1:2", "indexes and classes too"), ("1", "give two"), ("a:b", "give two"),
                       ("1:dog", "give two"), ("", "give two")]:  # fmt: skip
        with pytest.raises(GenerationError, match=says):
            ends(text, ("1", "2"))


def test_a_strip_begins_and_ends_with_the_scans_themselves(tiny_acgan):
    generator = ScanGenerator(tiny_acgan)
    image = strip(generator, "4:9", (1,), Draw(2), 5)
    for index, column in ((4, 0), (9, 4)):
        scan = generator.sample(1, 1, seed=2, start=index)[0].repeat(3, 0).repeat(3, 1)
        left = image.shape[1] - (5 - column) * 100
        assert np.array_equal(image[-100:-4, left : left + 96], scan)
    assert strip(generator, "cat:dog", (None,), Draw(2), 5).shape[0] > image.shape[0]


def test_the_command_of_a_strip(command, tiny_acgan, tmp_path):
    done = command("runtime", "--model", tiny_acgan, "--interpolate", "0:3", cwd=tmp_path)
    assert done.stdout == "a strip of 8 synthetic scans: tiny-strip-seed0.png\n"
    assert cv2.imread(str(tmp_path / "tiny-strip-seed0.png")) is not None
    done = command(
        "runtime", "--model", tiny_acgan, "--interpolate", "0:3", "--out", "x", cwd=tmp_path
    )
    assert done.returncode == 2 and "x is no name for one" in done.stderr
    before = (tmp_path / "tiny-strip-seed0.png").read_bytes()
    done = command("runtime", "--model", tiny_acgan, "--interpolate", "0:4", cwd=tmp_path)
    assert done.returncode == 2 and "is there already" in done.stderr
    assert (tmp_path / "tiny-strip-seed0.png").read_bytes() == before


def test_devices():
    assert choose_device("cpu") == choose_device("CPU") == Device("cpu", CPU)
    assert why_not(CPU) is None
    assert choose_device("auto").name in ("cpu", "cuda")
    for name in ("cuda", "tensorrt"):
        if not any(name in p.lower() for p in devices.available()):
            with pytest.raises(
                GenerationError, match=r"it has: .*cpu.*pip install 'scangan\[gpu\]'"
            ):
                choose_device(name)
    with pytest.raises(GenerationError, match="no such provider"):
        choose_device("abacus")


def test_a_device_that_is_there_but_does_not_work(monkeypatch):
    monkeypatch.setattr(devices, "available", lambda: [devices.CUDA, CPU])
    monkeypatch.setattr(devices, "why_not", lambda provider: "no driver")
    chosen = choose_device("auto")
    assert chosen.name == "cpu" and "no driver" in chosen.why
    with pytest.raises(
        GenerationError, match="cuda does not work here: no driver; use --device cpu"
    ):
        choose_device("cuda")
    monkeypatch.setattr(devices, "why_not", lambda provider: None)
    assert choose_device("auto").provider == devices.CUDA


def test_batches_of_one_shape_make_the_same_scans(tiny_acgan, monkeypatch):
    """How a GPU is fed, here on the CPU."""
    want = ScanGenerator(tiny_acgan).sample(11, 1)
    monkeypatch.setattr("scangan.runtime.generator.CPU_PIXELS", 4 * 32 * 32)
    generator = ScanGenerator(tiny_acgan, batch=3)
    shapes = []
    generator._session = _Watched(generator._session, shapes)
    monkeypatch.setattr(generator, "device", Device("like a GPU", "SomeExecutionProvider"))
    assert np.array_equal(generator.sample(11, 1), want)
    assert set(shapes) == {(4, 10), (4,)}
    assert np.array_equal(generator.from_latents(Draw(0).latents(1, range(11), 10), 1), want)
    assert set(shapes) == {(4, 10), (4,)}


class _Watched:
    """A session that notes the shapes that it is given."""

    def __init__(self, session, shapes):
        self._session, self._shapes = session, shapes

    def io_binding(self):
        binding, shapes = self._session.io_binding(), self._shapes

        class Watched:
            def bind_cpu_input(self, name, values):
                shapes.append(values.shape)
                binding.bind_cpu_input(name, values)

            def __getattr__(self, name):
                return getattr(binding, name)

        watched = Watched()
        watched.real = binding
        return watched

    def run_with_iobinding(self, watched):
        self._session.run_with_iobinding(watched.real)


def test_a_containers_share_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(threads, "CGROUP", tmp_path)
    monkeypatch.setattr(threads.os, "sched_getaffinity", lambda _: range(16), raising=False)
    assert threads.usable_cpus() == 16
    for text, count in (("max 100000", 16), ("150000 100000", 2), ("5000 100000", 1), ("x", 16)):
        (tmp_path / "cpu.max").write_text(f"{text}\n")
        assert threads.usable_cpus() == count
    (tmp_path / "cpu.max").unlink()
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000\n")
    for quota, count in (("-1", 16), ("300000", 3)):
        (tmp_path / "cpu/cpu.cfs_quota_us").write_text(quota)
        assert threads.usable_cpus() == count


@pytest.fixture(scope="module")
def in_precisions(tmp_path_factory):
    """One generator in two precisions, and a stranger beside it."""
    import torch

    from scangan.export.exporter import graph_sha256, write_model
    from scangan.export.precision import build
    from scangan.training.networks import Generator

    folder = tmp_path_factory.mktemp("precisions")
    torch.manual_seed(0)
    generator = Generator(size=32, width=4, latent=10, classes=2).eval()
    for precision, date in (("fp32", "today"), ("int8", "today"), ("fp16", "yesterday")):
        model = build(generator, 10, precision).model
        card = ModelCard(
            architecture="acgan", latent=10, classes=("a", "b"), size=32, precision=precision,
            graph_sha256=graph_sha256(model.SerializeToString()), date=date,
        )  # fmt: skip
        name = "m.onnx" if precision == "fp32" else f"m-{precision}.onnx"
        write_model(model, card, folder / name)
    return folder


def test_a_precision_picks_among_the_files(in_precisions):
    def file(name, precision):
        return ScanGenerator(in_precisions / name, precision=precision).file.path.name

    assert file("m.onnx", "auto") == file("m.onnx", "fp32") == "m.onnx"
    assert file("m.onnx", "int8") == file("m-int8.onnx", "auto") == "m-int8.onnx"
    assert file("m-int8.onnx", "fp32") == "m.onnx"
    with pytest.raises(GenerationError, match=r"no m-fp16.onnx of the same run.*--precision fp16"):
        file("m.onnx", "fp16")


def test_a_bundled_model_runs_in_what_is_fastest(in_precisions, monkeypatch):
    from scangan.runtime import catalog

    monkeypatch.setattr(catalog, "BUNDLED", in_precisions)
    assert catalog.bundled_models() == ["m"]
    cpu, gpu = Device("cpu", CPU), Device("cuda", devices.CUDA)
    assert catalog.open_model("m", cpu).card.precision == "int8"
    assert catalog.open_model("m", gpu).card.precision == "fp32"  # its fp16 is of another run
    assert catalog.open_model("m", cpu, "fp32").card.precision == "fp32"


def test_doctor_and_benchmark(command, tiny_acgan, monkeypatch):
    done = command("runtime", "--doctor", "--json")
    facts = json.loads(done.stdout)
    assert facts["device cpu"] == "works" and "onnxruntime" in facts
    assert "acgan 64x64" in facts["model brain-mri-64"]
    assert command("runtime", "--doctor").stdout.count("\n") == len(facts)
    monkeypatch.setattr("scangan.runtime.speed.SECONDS", 0.05)
    from scangan.runtime.speed import measure

    rates = dict(measure(lambda batch: ScanGenerator(tiny_acgan, batch=batch)))
    assert [name.split(",")[0] for name in rates] == [
        *["inference"] * 3, "encoding PNG", *["all"] * 3,
    ]  # fmt: skip
    assert all(rate > 10 for rate in rates.values())


def test_for_machines(command, tiny_acgan, tmp_path):
    argv = ["runtime", "--model", tiny_acgan, "--count", 2, "--out", tmp_path / "out", "--json"]
    said = json.loads(command(*argv).stdout)
    assert said["made"] == said["scans"] == 6 and said["device"] == "cpu"
    assert said["classes"] == {"cat": 2, "dog": 2, "2": 2}
    assert json.loads(command(*argv).stdout)["made"] == 0
    assert command(*argv[:-1], "--quiet").stdout == ""
    info = json.loads(command("runtime", "--model", tiny_acgan, "--info", "--json").stdout)
    assert info["classes"] == ["cat", "dog", "2"]


def test_no_sheet(command, tiny_acgan, tmp_path):
    done = command(
        "runtime", "--model", tiny_acgan, "--count", 1, "--no-sheet", "--out", tmp_path / "o"
    )
    assert "look at" not in done.stdout and not (tmp_path / "o/sheet.png").exists()


def test_made_again_when_asked(command, tiny_acgan, tmp_path):
    argv = ["runtime", "--model", tiny_acgan, "--count", 2, "--out", tmp_path / "out"]
    command(*argv)
    shutil.copy(tmp_path / "out/sheet.png", tmp_path / "out/cat/000000001.png")
    assert "6 were there" in command(*argv).stdout
    assert "were there" not in command(*argv, "--force").stdout
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
