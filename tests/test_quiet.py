"""Nothing that a library prints reaches the terminal, unless ``--debug`` is given; our own words do."""

import io
import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from conftest import copy_scans
from PIL import Image

# Python runs this when it starts: a made-up dependency that is imported along with numpy, which the
# commands import when they begin to work.
SITE = """
import sys

class Noisy:
    def find_spec(self, name, path=None, target=None):
        if name == "numpy":
            sys.meta_path.remove(self)
            import faulthandler, logging, os, subprocess, warnings
            {does}

sys.meta_path.insert(0, Noisy())
"""
TALKS = """
os.write(1, b"NOISE from C, on stdout\\n")
os.write(2, b"NOISE from C\\n")
print("NOISE from Python", file=sys.stderr, flush=True)
warnings.warn("NOISE of warnings")
logging.getLogger("dependency").warning("NOISE of logging")
subprocess.run([sys.executable, "-c", "import os; os.write(2, b'NOISE of a child')"])
"""
WAYS = 6


@pytest.fixture
def noisy(tmp_path):
    """An environment in which a dependency does something of its own when it is imported."""

    def make(does):
        folder = tmp_path / "site"
        folder.mkdir(exist_ok=True)
        indented = textwrap.indent(does, " " * 12).strip()
        (folder / "sitecustomize.py").write_text(SITE.format(does=indented))
        paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}

    return make


@pytest.fixture
def nowhere(tmp_path):
    """An environment whose home and caches cannot be written, by root neither: a file is in the way."""
    file = tmp_path / "a-file"
    file.write_text("")
    names = ("HOME", "MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "NUMBA_CACHE_DIR")
    return os.environ | {name: str(file / "no-folder") for name in names}


def _argv(verb, tmp_path, model):
    """Arguments with which a command has work to do."""
    if verb == "generate":
        return ["--model", model, "--count", 1, "--out", tmp_path / "out", "--quiet"]
    if verb == "prepare":
        return [copy_scans(tmp_path / "scans", 2), tmp_path / "out", "--size", 16]
    return [tmp_path / "nothing", "-o" if verb == "export" else "--out", tmp_path / "out"]


VERBS = ("prepare", "train", "export", "generate")


@pytest.mark.parametrize("verb", VERBS)
def test_a_dependency_that_talks_is_not_heard(verb, noisy, command, tiny_acgan, tmp_path):
    argv = _argv(verb, tmp_path, tiny_acgan)
    done = command(verb, *argv, env=noisy(TALKS))
    assert "NOISE" not in done.stdout + done.stderr
    if verb in ("train", "export"):
        assert done.returncode == 1 and done.stderr.startswith(f"scangan {verb}: ")
        assert done.stderr.count("\n") == 1
    else:
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("verb", ["export", "generate"])
def test_with_debug_it_is(verb, noisy, command, tiny_acgan, tmp_path):
    argv = [*_argv(verb, tmp_path, tiny_acgan), "--debug"]
    done = command(verb, *argv, env=noisy(TALKS))
    assert (done.stdout + done.stderr).count("NOISE") >= WAYS


def test_json_is_json_whatever_a_library_prints(noisy, command, tiny_acgan, tmp_path):
    argv = ["--model", tiny_acgan, "--count", 1, "--out", tmp_path / "out", "--json"]
    done = command("generate", *argv, env=noisy(TALKS))
    assert json.loads(done.stdout)["scans"] == 3 and done.stderr == ""


@pytest.mark.parametrize("verb", VERBS)
def test_a_crash_is_not_silent(verb, noisy, command, tiny_acgan, tmp_path):
    argv = _argv(verb, tmp_path, tiny_acgan)
    done = command(verb, *argv, env=noisy("os.abort()"))
    assert done.returncode < 0 and done.stderr.startswith("Fatal Python error: Aborted")


@pytest.mark.slow
def test_a_home_and_caches_that_cannot_be_written(nowhere, command, tmp_path):
    small = ("--width", 4, "--latent", 8, "--kimg", 0.016)
    steps = [
        ("prepare", [copy_scans(tmp_path / "scans", 8), tmp_path / "ds", "--size", 16]),
        ("train", [tmp_path / "ds", "--out", tmp_path / "run", "--size", 16, *small]),
        ("export", [tmp_path / "run", "-o", tmp_path / "m.onnx"]),
        ("generate", ["--model", tmp_path / "m.onnx", "--count", 2, "--out", tmp_path / "more"]),
    ]
    for verb, argv in steps:
        done = command(verb, *argv, env=nowhere)
        assert (done.returncode, done.stderr) == (0, ""), verb


def _tiff_with_damaged_jpeg(damage):
    rng = np.random.default_rng(0)
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 255, (64, 64), np.uint8)).save(
        file, "TIFF", compression="jpeg", quality=90
    )
    data = bytearray(file.getvalue())
    start = data.find(b"\xff\xda") + 200  # inside of the image data
    data[start : start + len(damage)] = damage
    return bytes(data)


@pytest.mark.parametrize("damage", [b"\xff\xd9", b"\xff\xd0\xff\xd7", bytes(40)], ids=repr)
def test_a_tiff_with_damaged_jpeg_is_refused_and_nothing_else_is_said(damage, command, tmp_path):
    scans = copy_scans(tmp_path / "scans", 2)
    (scans / "glioma_tumor" / "bad.tif").write_bytes(_tiff_with_damaged_jpeg(damage))
    done = command("prepare", scans, tmp_path / "out", "--size", 16, "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    (refused,) = map(json.loads, (tmp_path / "out" / "rejects.jsonl").read_text().splitlines())
    assert refused["file"] == "glioma_tumor/bad.tif" and "JPEG" in refused["reason"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell that closes descriptors")
@pytest.mark.parametrize("closed", ["2>&-", "1>&-", "1>&- 2>&-", "0<&- 1>&- 2>&-"])
def test_closed_descriptors(closed, tiny_acgan, tmp_path):
    """Their numbers may be those of files that are written by then."""
    out = tmp_path / "out"
    line = f'exec "$@" {closed}'
    argv = [sys.executable, "-m", "scangan.cli", "generate", "--model", tiny_acgan, "--out", out]
    subprocess.run(["sh", "-c", line, "sh", *map(str, argv)], check=True, timeout=120)
    assert len(list(out.rglob("0*.png"))) == 48


def test_a_command_inside_of_another_program_leaves_its_descriptors_alone(tmp_path):
    code = (
        "import os\nfrom scangan.cli.doctor import main\n"
        "main([], standalone_mode=False)\nos.write(2, b'still heard')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=120)
    assert done.returncode == 0 and done.stderr == b"still heard"
