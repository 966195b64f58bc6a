"""Model files on processors other than this one: without VNNI, and ARM, both emulated.

`make check-edge` collects what is needed and runs this; elsewhere what is lacking is skipped.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from scangan.artifacts.card import PRECISIONS
from scangan.core.session import open_session
from scangan.export import precision as precisions
from scangan.export import quantize
from scangan.export.precision import build, psnr
from scangan.training.networks import Generator

LEAST_PSNR = 45.0  # dB
LATENT = 32
ARM = Path(os.environ.get("SCANGAN_ARM64_ROOT", ".arm64"))  # of tools/arm64_root.sh
MACHINES = {
    "haswell": ["qemu-x86_64-static", "-cpu", "Haswell", sys.executable],
    "arm64": ["qemu-aarch64-static", "-cpu", "cortex-a72", "-L", ARM, ARM / "usr/bin/python"],
}
RUN = """
import sys
import numpy, onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, ["CPUExecutionProvider"])
numpy.save(sys.argv[3], session.run(["image"], dict(numpy.load(sys.argv[2])))[0])
"""


@pytest.fixture(params=MACHINES)
def machine(request):
    """The command of a Python on another processor."""
    command = MACHINES[request.param]
    if not shutil.which(command[0]) or not Path(command[-1]).exists():
        lacking = f"needs {command[0]} and {command[-1]}: make check-edge"
        pytest.fail(lacking) if "SCANGAN_EDGE" in os.environ else pytest.skip(lacking)
    return command


@pytest.fixture(scope="module")
def generator():
    """Weights of all sizes alike: eight bits of them overflow where two products share 16 bits."""
    torch.manual_seed(0)
    generator = Generator(size=64, width=16, latent=LATENT, classes=3).eval()
    for name, tensor in generator.state_dict().items():
        if tensor.is_floating_point() and not name.endswith("running_var"):
            tensor.normal_(1.0 if "scale" in name else 0.0, 0.2)
            if tensor.dim() == 4:
                tensor.uniform_(-0.3, 0.3)
    return generator


@pytest.fixture(autouse=True)
def large_products(monkeypatch):
    """All layers in integers, and activations at the end of their scale, where products are largest."""
    monkeypatch.setattr(quantize, "HEADROOM", 0.5)
    monkeypatch.setattr(precisions, "WANTED_MEAN", 0.0)
    monkeypatch.setattr(precisions, "WANTED_WORST", 0.0)


def _here_and_there(model, machine, folder):
    """What a model makes on this processor and on another one."""
    feeds = {
        "z": np.random.default_rng(0).normal(size=(7, LATENT)).astype(np.float32),
        "label": np.arange(7) % 3,
    }
    file, z, out = folder / "m.onnx", folder / "z.npz", folder / "out.npy"
    file.write_bytes(model.SerializeToString())
    np.savez(z, **feeds)
    here = open_session(file, threads=1).run(["image"], feeds)[0]
    assert here.std() > 10
    subprocess.run([*machine, "-c", RUN, file, z, out], check=True, timeout=600)
    return here[:, 0], np.load(out)[:, 0]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_another_processor_makes_the_same_scans(generator, machine, precision, tmp_path):
    here, there = _here_and_there(build(generator, LATENT, precision).model, machine, tmp_path)
    assert psnr(there, here).min() >= LEAST_PSNR
    if precision != "int8":
        assert np.abs(there.astype(int) - here).max() <= 1


@pytest.mark.parametrize("machine", ["haswell"], indirect=True)
def test_eight_bits_of_weight_overflow_there(generator, machine, tmp_path, monkeypatch):
    monkeypatch.setattr(quantize, "MOST_WEIGHT", 127)
    here, there = _here_and_there(build(generator, LATENT, "int8").model, machine, tmp_path)
    assert psnr(there, here).min() < LEAST_PSNR
