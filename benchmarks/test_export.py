"""Ways of running one generator: torch, OpenVINO, the export as torch writes it, our float32, our int8.

Weights are random: how fast they are multiplied does not depend on what they are.
"""

import io
import time

import numpy as np
import onnxruntime
import pytest
import torch

from scangan.artifacts.train_options import TrainOptions
from scangan.export.graph import to_onnx
from scangan.export.precision import build
from scangan.training.networks import make_generator

LATENT, CLASSES = 100, 4
CASES = {
    "DCGAN 64, width 64": {"arch": "dcgan", "size": 64, "width": 64},
    "ACGAN 64, width 64": {"arch": "acgan", "size": 64, "width": 64},
    "DCGAN 128, width 64": {"arch": "dcgan", "size": 128, "width": 64},
    "DCGAN 256, width 32": {"arch": "dcgan", "size": 256, "width": 32},
}
WAYS = (
    "int8",
    "fp32",
    "fp32 as torch exports it",
    "OpenVINO fp32",
    "OpenVINO bf16",
    "torch fp32",
    "torch bf16, channels last",
    "torch.compile",
)
IMAGES = {64: 64, 128: 16, 256: 16}  # a round


@pytest.fixture(scope="module")
def generators():
    """A generator of each case, as far from its start as training takes it."""
    made = {}
    for name, options in CASES.items():
        torch.manual_seed(0)
        options = TrainOptions(**options)
        generator = make_generator(options, CLASSES if options.arch == "acgan" else 0).eval()
        for part in generator.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.running_var.uniform_(0.5, 2.0)
            if isinstance(part, torch.nn.ConvTranspose2d | torch.nn.Linear):
                torch.nn.init.normal_(part.weight, 0.0, (2 / part.weight[0].numel()) ** 0.5)
        torch.nn.init.normal_(generator.last.weight, 0.0, 0.02)  # greys, not black and white
        made[name] = generator
    return made


@pytest.fixture(scope="module")
def models(generators):
    """The serialised models of each case."""
    made = {}
    for name, generator in generators.items():
        integers = build(generator, LATENT, "int8")
        assert not integers.float_layers
        made[name] = {
            "fp32 as torch exports it": to_onnx(generator, LATENT).SerializeToString(),
            "fp32": build(generator, LATENT, "fp32").model.SerializeToString(),
            "int8": integers.model.SerializeToString(),
        }
    return made


def runner(way, case, generators, models, threads):
    """A function of a batch of `z` and `label`; and the size of the file, where there is one."""
    if way in models[case]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(models[case][way], options)
        names = {value.name for value in session.get_inputs()}
        run = lambda batch: session.run(None, {k: v for k, v in batch.items() if k in names})  # noqa: E731
        return run, len(models[case][way])
    if way.startswith("OpenVINO"):
        return openvino_runner(models[case]["fp32 as torch exports it"], way[-4:], threads), None
    generator = generators[case]
    if "bf16" in way:
        generator = generator.to(memory_format=torch.channels_last)
    if "compile" in way:
        generator = torch.compile(generator)

    def run(batch):
        tensors = [torch.from_numpy(batch["z"])]
        if generators[case].classes:
            tensors.append(torch.from_numpy(batch["label"]))
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, "bf16" in way):
            image = generator(*tensors).float()
            return ((image + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()

    return run, None


def openvino_runner(model, precision, threads):
    """The same of OpenVINO, which reads the plain export."""
    openvino = pytest.importorskip("openvino")
    core, hint = openvino.Core(), {"fp32": "f32", "bf16": "bf16"}[precision]
    options = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": hint}
    compiled = core.compile_model(core.read_model(io.BytesIO(model)), "CPU", options)
    names = {name for value in compiled.inputs for name in value.names}
    return lambda batch: compiled({k: v for k, v in batch.items() if k in names})


def measure(benchmark, way, case, batch, generators, models, threads):
    """Time a round of passes."""
    run, size = runner(way, case, generators, models, threads)
    images = IMAGES[CASES[case]["size"]] if batch < 32 else 32
    benchmark.extra_info["images"] = images
    if size:
        benchmark.extra_info["bytes"] = size
    given = {
        "z": np.random.default_rng(0).normal(size=(batch, LATENT)).astype(np.float32),
        "label": np.arange(batch) % CLASSES,
    }
    benchmark.pedantic(
        lambda: [run(given) for _ in range(images // batch)], rounds=7, warmup_rounds=2
    )


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("batch", [1, 8, 32])
@pytest.mark.parametrize("case", CASES)
def test_one_thread(benchmark, case, batch, way, generators, models):
    benchmark.group, benchmark.name = f"{case}, batch {batch}", way
    measure(benchmark, way, case, batch, generators, models, threads=1)


@pytest.mark.benchmark(timer=time.perf_counter)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("batch", [8, 32])
@pytest.mark.parametrize("case", ["DCGAN 64, width 64"])
def test_all_threads(benchmark, two_threads, case, batch, way, generators, models):
    benchmark.group, benchmark.name = f"{case}, batch {batch}, wall time", way
    benchmark.extra_info["wall"] = "two threads"
    measure(benchmark, way, case, batch, generators, models, threads=2)
