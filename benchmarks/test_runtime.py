"""Generation: the bundled model in scangan beside the same networks in torch; writing PNG files."""

import io

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from scangan.runtime import ScanGenerator
from scangan.runtime.png import encode_png
from scangan.training.networks import Generator

COUNT = 64


@pytest.mark.parametrize("batch", [1, 8, 32])
def test_generate_scangan(benchmark, batch):
    benchmark.group, benchmark.name = f"generate, batch {batch}", "scangan, fp32"
    benchmark.extra_info["images"] = COUNT
    generator = ScanGenerator(batch=batch, threads=1)
    benchmark.pedantic(generator.sample, (COUNT, 0), rounds=9, warmup_rounds=2)


@pytest.mark.parametrize("batch", [1, 8, 32])
def test_generate_torch(benchmark, batch):
    benchmark.group, benchmark.name = f"generate, batch {batch}", "torch eager, fp32"
    benchmark.extra_info["images"] = COUNT
    card = ScanGenerator().card
    width = card.recipe["options"]["width"]
    generator = Generator(
        size=card.size, width=width, latent=card.latent, classes=len(card.classes)
    ).eval()

    @torch.inference_mode()
    def sample():
        label = torch.zeros(batch, dtype=torch.int64)
        for _ in range(COUNT // batch):
            image = generator(torch.randn(batch, card.latent), label)
            ((image + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()

    benchmark.pedantic(sample, rounds=9, warmup_rounds=2)


@pytest.fixture(scope="module")
def scans():
    return ScanGenerator(threads=1).sample(COUNT, 0)


def _scangan(image):
    return encode_png(image)


def _opencv(image):
    return cv2.imencode(".png", image)[1].tobytes()


def _pillow(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("encode", [_scangan, _opencv, _pillow])
def test_encode_png(benchmark, scans, encode):
    benchmark.group, benchmark.name = "encode PNG, 64x64", encode.__name__[1:]
    benchmark.extra_info["images"] = COUNT
    benchmark.extra_info["bytes"] = int(np.mean([len(encode(s)) for s in scans]))
    benchmark.pedantic(lambda: [encode(s) for s in scans], rounds=15, warmup_rounds=2)
