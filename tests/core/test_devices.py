"""On what it runs: devices, threads, and which of a model's files."""

import json
import shutil

import numpy as np
import pytest
from exports import exports_once

from scangan.artifacts.card import ModelCard
from scangan.artifacts.latents import Draw
from scangan.core import devices, threads
from scangan.core.devices import CPU, Device, choose_device, why_not
from scangan.runtime import GenerationError, ScanGenerator


def test_devices():
    assert choose_device("cpu") == choose_device("CPU") == Device("cpu", CPU)
    assert why_not(CPU) is None
    assert choose_device("auto").name in ("cpu", "cuda")
    for name in ("cuda", "tensorrt"):
        if not any(name in p.lower() for p in devices.available()):
            with pytest.raises(
                GenerationError, match=r'it has: .*cpu.*pip install "scangan\[gpu\]"'
            ):
                choose_device(name)
    with pytest.raises(GenerationError, match="no such provider"):
        choose_device("abacus")


def test_a_gpu_that_is_there_is_not_to_be_installed_again(monkeypatch):
    monkeypatch.setattr(devices, "available", lambda: [devices.CUDA, CPU])
    with pytest.raises(
        GenerationError, match=r"it has: cpu, cuda\); for an NVIDIA GPU: --device cuda$"
    ):
        choose_device("gpu")


def test_a_device_has_its_own_name_however_little_of_it_was_typed(monkeypatch):
    there = [devices.CUDA, "OpenVINOExecutionProvider", CPU]
    monkeypatch.setattr(devices, "available", lambda: there)
    monkeypatch.setattr(devices, "why_not", lambda provider: None)
    assert choose_device("open") == Device("openvino", "OpenVINOExecutionProvider")
    assert choose_device("cu").name == "cuda" and choose_device("cp").name == "cpu"
    with pytest.raises(GenerationError, match="--device c could be cuda or cpu; type more of it"):
        choose_device("c")


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


def test_a_batch_of_one_class_is_filled_up_with_that_class(tiny_acgan, monkeypatch):
    """A model of one generator a class would run another shape of each if others filled it up."""
    monkeypatch.setattr("scangan.runtime.generator.CPU_PIXELS", 4 * 32 * 32)
    generator = ScanGenerator(tiny_acgan, batch=3)
    shapes, labels = [], []
    generator._session = _Watched(generator._session, shapes, labels)
    monkeypatch.setattr(generator, "device", Device("like a GPU", "SomeExecutionProvider"))
    generator.sample(7, 2)
    assert [list(given) for given in labels] == [[2] * 4] * 3


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("cpu", "with 4 scans per pass; try gen-scans --batch 2"),
        ("cuda", "with 4 scans per pass; try --device cpu"),
    ],
)
def test_out_of_memory_advises_what_helps_there(tiny_acgan, monkeypatch, name, says):
    monkeypatch.setattr("scangan.runtime.generator.CPU_PIXELS", 4 * 32 * 32)
    generator = ScanGenerator(tiny_acgan, batch=4, threads=1)
    if name == "cuda":
        monkeypatch.setattr(generator, "device", Device("cuda", devices.CUDA))
    assert says in generator._out_of_memory(4)


class _Watched:
    """A session that notes the shapes that it is given."""

    def __init__(self, session, shapes, labels=None):
        self._session, self._shapes, self._labels = session, shapes, labels

    def io_binding(self):
        binding, shapes, labels = self._session.io_binding(), self._shapes, self._labels

        class Watched:
            def bind_cpu_input(self, name, values):
                shapes.append(values.shape)
                if labels is not None and name == "label":
                    labels.append(values)
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
    generator = Generator(size=32, width=4, latent=10, classes=3).eval()
    for precision, date in (("fp32", "today"), ("int8", "today"), ("fp16", "yesterday")):
        with exports_once():
            model = build(generator, 10, precision).model
        card = ModelCard(
            architecture="acgan", latent=10, classes=("a", "b", "c"), size=32, precision=precision,
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
    assert catalog.open_model("m", gpu).card.precision == "fp16"
    assert catalog.open_model("m", cpu, "fp32").card.precision == "fp32"
    with pytest.raises(GenerationError, match=r"^m does not come in fp16; choose .* fp32 or int8$"):
        catalog.open_model("m", cpu, "fp16")  # what lies there is of another run


def test_a_bundled_model_may_come_without_float32(in_precisions, tmp_path, monkeypatch):
    from scangan.runtime import catalog

    shutil.copy(in_precisions / "m-int8.onnx", tmp_path)
    monkeypatch.setattr(catalog, "BUNDLED", tmp_path)
    for device in (Device("cpu", CPU), Device("cuda", devices.CUDA)):
        for precision in ("auto", "int8"):
            assert catalog.open_model("m", device, precision).card.precision == "int8"
        with pytest.raises(GenerationError, match=r"^m does not come in fp32; choose .* int8$"):
            catalog.open_model("m", device, "fp32")


def test_doctor_and_benchmark(command, tiny_acgan, tiny_dcgan, monkeypatch):
    done = command("doctor", "--json")
    facts = json.loads(done.stdout)
    assert facts["device cpu"] == "works" and "onnxruntime" in facts
    assert "acgan 64x64" in facts["model brain-mri-64"]
    assert command("doctor").stdout.count("\n") == len(facts)
    monkeypatch.setattr("scangan.runtime.benchmark.SECONDS", 0.05)
    from scangan.runtime.benchmark import measure

    for model in (tiny_acgan, tiny_dcgan):
        rates = dict(measure(lambda batch, model=model: ScanGenerator(model, batch=batch)))
        assert [name.split(",")[0] for name in rates] == [
            *["inference"] * 3, "encoding PNG", *["all"] * 3,
        ]  # fmt: skip
        assert all(rate > 10 for rate in rates.values())
