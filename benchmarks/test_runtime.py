"""gen-scans beside inference alone, and beside what people do today; its start; its encoder.

Commands write to memory (/dev/shm where there is one); wall time on all threads, best round.
"""

import io
import shutil
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from notebook import notebook
from PIL import Image
from processes import peak_memory, run

from scangan.artifacts.latents import Draw
from scangan.artifacts.request import Span
from scangan.core.png import encode_png
from scangan.core.threads import in_order, usable_cpus
from scangan.runtime import ScanGenerator

COUNT, WHOLE = 64, 10_000
PRECISIONS = "fp32", "int8"
WALL = f"{usable_cpus()} threads"
GEN_SCANS = [sys.executable, "-m", "scangan.cli", "generate"]


# Cold start


@pytest.mark.benchmark(timer=time.perf_counter)
@pytest.mark.parametrize(
    ("name", "argv"),
    [
        ("import numpy, onnxruntime", ["-c", "import numpy, onnxruntime"]),
        (
            "gen-scans --count 1 --class 0",
            ["-m", "scangan.cli", "generate", "--count", 1, "--class", 0],
        ),
        ("gen-scans --help", ["-m", "scangan.cli", "generate", "--help"]),
        ("python -c pass", ["-c", "pass"]),
    ],
)
def test_cold_start(benchmark, memory, name, argv):
    benchmark.group, benchmark.name = "cold start", name
    benchmark.extra_info |= {"images": 1, "wall": "whole process"}
    out = ["--out", memory / "out"] if "--count" in argv else []

    def start():
        shutil.rmtree(memory / "out", ignore_errors=True)
        run(sys.executable, *argv, *out)

    benchmark.pedantic(start, rounds=15, warmup_rounds=2)


# The whole command


@pytest.mark.benchmark(timer=time.perf_counter)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("way", ["inference alone", "npz", "tar", "png"])
def test_whole_command(benchmark, memory, precision, way):
    benchmark.group = f"{WHOLE} scans, {precision}, the command and inference alone"
    benchmark.name = way
    benchmark.extra_info |= {"images": WHOLE, "wall": WALL}
    if way == "inference alone":
        generator = ScanGenerator(precision=precision)
        spans = [Span(0, start, 32) for start in range(0, WHOLE, 32)]

        def work():
            for _ in in_order(lambda s: generator.make([s], Draw()), spans, generator.threads):
                pass
    else:

        def work():
            shutil.rmtree(memory / "out", ignore_errors=True)
            run(*GEN_SCANS, "--class", 0, "--count", WHOLE, "--precision", precision, "--format",
                way, "--out", memory / "out")  # fmt: skip

    benchmark.pedantic(work, rounds=3, warmup_rounds=1)


@pytest.mark.benchmark(timer=time.perf_counter)
@pytest.mark.parametrize("count", [1_000, 10_000, 100_000])
def test_cost_and_memory(benchmark, memory, count):
    benchmark.group, benchmark.name = "as tar, int8: cost and memory", f"{count} scans"
    benchmark.extra_info |= {"images": count, "wall": WALL}

    def work():
        shutil.rmtree(memory / "out", ignore_errors=True)
        benchmark.extra_info["peak MB"] = peak_memory(
            *GEN_SCANS, "--class", 0, "--count", count, "--precision", "int8", "--format", "tar",
            "--out", memory / "out",
        )  # fmt: skip

    benchmark.pedantic(work, rounds=2 if count > 10_000 else 4)


# What people do today


@pytest.mark.benchmark(timer=time.perf_counter)
@pytest.mark.parametrize("way", ["notebook", "script", *PRECISIONS])
def test_against_the_notebook(benchmark, memory, way):
    """The command as a whole, start and manifest and all, against the notebook's loop alone.

    And against the same loop as a script, which imports torch as the command imports onnxruntime.
    """
    count = 9_984
    names = {"notebook": "torch eager, Pillow, batch 64", "script": "the same as a script"}
    benchmark.group = f"{count} scans as PNG in memory: gen-scans and torch eager with Pillow"
    benchmark.name = names.get(way, f"gen-scans, {way}")
    benchmark.extra_info |= {"images": count, "wall": WALL}
    out = memory / "out"

    def work():
        shutil.rmtree(out, ignore_errors=True)
        if way == "notebook":
            torch.set_num_threads(usable_cpus())
            notebook(out, count)
            torch.set_num_threads(1)
        elif way == "script":
            run(sys.executable, Path(__file__).with_name("notebook.py"), out, count)
        else:
            run(*GEN_SCANS, "--class", 0, "--count", count, "--precision", way, "--out", out)

    # Two threads of torch wait for each other: a round of its loop may take twice another's time.
    benchmark.pedantic(work, rounds=9, warmup_rounds=1)


# Encoding


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
