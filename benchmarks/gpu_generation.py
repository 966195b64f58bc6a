"""Generation on a GPU: onnxruntime in fp16 beside torch.compile in fp16, alone and as the whole command.

    python benchmarks/gpu_generation.py [--device cuda|cpu] [--seconds 3]

Prints a Markdown table; says so and exits 1 where there is no GPU (``--device cpu`` tries the script).
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from scangan.artifacts.latents import Draw
from scangan.artifacts.modelfile import graph_sha256
from scangan.artifacts.request import Span
from scangan.artifacts.train_options import TrainOptions
from scangan.core.devices import choose_device
from scangan.core.errors import ScanganError
from scangan.core.threads import in_order
from scangan.export.exporter import write_model
from scangan.export.precision import build
from scangan.runtime import ModelCard, ScanGenerator
from scangan.training.networks import make_generator

SIZES = {64: 64, 128: 64, 256: 32}  # pixels: width
LATENT, BATCH = 100, 256


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    given = parser.parse_args()
    try:
        choose_device(given.device)
    except ScanganError as error:
        print(f"no GPU here that works with onnxruntime: {error}", file=sys.stderr)
        return 1
    if given.device == "cuda" and not torch.cuda.is_available():
        print("no GPU here that works with torch", file=sys.stderr)
        return 1
    print(
        "| DCGAN | torch.compile fp16 | gen-scans, inference | of torch | npz command | of inference |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for size, width in SIZES.items():
        rates = measure(size, width, given.device, given.seconds)
        print(
            f"| {size} px, width {width} | {rates[0]:.0f}/s | {rates[1]:.0f}/s | "
            f"{rates[1] / rates[0]:.2f} | {rates[2]:.0f}/s | {rates[2] / rates[1]:.2f} |"
        )
    return 0


def measure(size: int, width: int, device: str, seconds: float) -> tuple[float, float, float]:
    """Images a second: torch, our inference, our whole command."""
    torch.manual_seed(0)
    options = TrainOptions(arch="dcgan", size=size, width=width, latent=LATENT)
    network = make_generator(options, 0).eval()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "m-fp16.onnx"
        model = build(network, LATENT, "fp16").model
        card = ModelCard(
            architecture="dcgan", latent=LATENT, classes=(), size=size, precision="fp16",
            graph_sha256=graph_sha256(model.SerializeToString()),
        )  # fmt: skip
        write_model(model, card, file)
        generator = ScanGenerator(file, device=device, batch=BATCH)
        batches = (Span(None, i * BATCH, BATCH) for i in range(1 << 40))
        made = in_order(lambda s: generator.make([s], Draw()), batches, generator.threads)
        ours = rate(lambda: len(next(made)[1]), seconds)
        made.close()
        count = max(BATCH, int(ours * seconds))
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "scangan.cli", "generate", "--model", file, "--device", device, "--batch",
             str(BATCH), "--count", str(count), "--format", "npz", "--out", Path(folder) / "out"],
            check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        whole = count / (time.perf_counter() - began)
    return rate(torch_pass(network, device), seconds), ours, whole


def torch_pass(network: torch.nn.Module, device: str):
    """A pass as torch makes it fastest: compiled, float16, channels last; uint8 on the host."""
    network = network.to(device, torch.float16, memory_format=torch.channels_last)
    compiled = torch.compile(network)

    @torch.inference_mode()
    def work() -> int:
        image = compiled(torch.randn(BATCH, LATENT, device=device, dtype=torch.float16))
        grey = ((image + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
        return len(grey)

    return work


def rate(work, seconds: float) -> float:
    """Images a second, after a warm-up."""
    for _ in range(3):
        work()
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        done += work()
    return done / (time.perf_counter() - began)


if __name__ == "__main__":
    sys.exit(main())
