"""A model file in onnxruntime-web, as a browser runs it: WebAssembly, here under node.

Skipped where `make web` could not install onnxruntime-web, as without npm.
"""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from scangan.artifacts.card import PRECISIONS
from scangan.core.session import open_session
from scangan.export.precision import build
from scangan.training.networks import Generator

WEB = Path(__file__).parent / "web"
PACKAGES = Path(__file__).parents[2] / "runtime/web/node_modules"
CLASSES, LATENT = 3, 12

pytestmark = pytest.mark.skipif(
    not shutil.which("node") or not PACKAGES.is_dir(),
    reason="needs node and the npm package onnxruntime-web: make web",
)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_browser_makes_the_same_scans(precision, tmp_path):
    torch.manual_seed(0)
    generator = Generator(size=32, width=8, latent=LATENT, classes=CLASSES).eval()
    for name, tensor in generator.state_dict().items():
        if tensor.is_floating_point() and not name.endswith("running_var"):
            tensor.normal_(1.0 if "scale" in name else 0.0, 0.3)
    file = tmp_path / "m.onnx"
    file.write_bytes(build(generator, LATENT, precision).model.SerializeToString())
    z = np.random.default_rng(0).normal(size=(7, LATENT)).astype(np.float32)
    label = np.arange(7) % CLASSES
    want = open_session(file).run(["image"], {"z": z, "label": label})[0]
    assert want.std() > 10
    told = subprocess.run(
        ["node", "run.mjs", file],
        cwd=WEB,
        input=json.dumps({"z": z.tolist(), "label": label.tolist()}),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout
    got = json.loads(told)
    assert got["dims"] == list(want.shape)
    assert np.abs(np.array(got["data"]).reshape(want.shape) - want.astype(int)).max() <= 1
