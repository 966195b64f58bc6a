"""What is made to be handed on holds no path, user or host name of the machine that made it."""

import json
import os
import shutil
import socket
from pathlib import Path

import pytest
from conftest import copy_scans

from scangan.artifacts.modelfile import read_model_file
from scangan.runtime.catalog import BUNDLED
from scangan.training.recipe import bundled_name

MARK, USER = "wardseven-archive", "doctor.whoever"
PRECISIONS = ("fp32", "fp16", "int8")
FORMATS = ("png", "tar", "npz", "dicom")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory, warm):
    """Everything that the four commands make, in folders whose names say whose they are."""
    root = tmp_path_factory.mktemp("machine") / MARK
    home = root / "home" / USER
    home.mkdir(parents=True)
    copy_scans(root / "patients", 16)
    env = os.environ | {
        "HOME": str(home),
        "USER": USER,
        "LOGNAME": USER,
        "HOSTNAME": MARK,
        "WHOLE_REPORTS": "1",
    }

    def run(*args):
        done = warm.run(home, args, env=env)
        assert done.code == 0, done.stderr

    run("prep-scans", root / "patients", root / "prepared", "--size", 16)
    small = ("--size", 16, "--width", 4, "--kimg", 0.032, "--quiet")
    run("train-gan", root / "prepared", "--out", root / "run", *small)
    models = root / "models"
    models.mkdir()
    for precision in PRECISIONS:
        file = models / f"m-{precision}.onnx"
        options = ["--precision", precision, *(["--accept-loss"] if precision == "int8" else [])]
        run("export-onnx", root / "run", "-o", file, *options)
    scans = root / "scans"
    model = models / "m-fp32.onnx"
    for kind in FORMATS:
        run("gen-scans", "--model", model, "--count", 2, "--format", kind, "--out", scans / kind)
    run("scangan", "strip", "0:1", "--model", model, "--out", scans / "strip.png")
    for part in ("0/2", "1/2"):
        run("gen-scans", "--model", model, "--count", 2, "--shard", part, "--out", scans / "parts")
    return root


def _words():
    """What names the machine or its user."""
    words = [MARK, USER, socket.gethostname(), str(Path(__file__).parents[1]), str(Path.home())]
    return [word.encode() for word in words if len(word) > 4]


def _shared(root):
    """The files that are made to be handed on."""
    for folder in ("models", "scans"):
        yield from (p for p in (root / folder).rglob("*") if p.is_file() and p.name[0] != ".")
    yield from (root / "run" / "samples").iterdir()
    yield root / "run" / "best.safetensors"
    yield root / "run" / "report.png"


def test_nothing_that_is_shared_says_whose_machine_it_was(made):
    files = list(_shared(made))
    suffixes = {file.suffix for file in files}
    assert suffixes >= {".onnx", ".png", ".tar", ".npz", ".dcm", ".json", ".jsonl", ".safetensors"}
    for file in [*files, *BUNDLED.glob("*.onnx")]:
        data = file.read_bytes()
        for word in _words():
            assert word not in data, f"{word!r} in {file}"
            assert word.decode().encode("utf-16-le") not in data, f"{word!r} in {file}"


def test_the_search_finds_what_is_there(made):
    """The run stays where it is, and does hold paths: the words are the right ones."""
    assert MARK.encode() in (made / "run" / "config.json").read_bytes()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_card_keeps_what_reproduces_the_run(made, precision):
    card = read_model_file(made / "models" / f"m-{precision}.onnx").card
    assert card.recipe["name"] == "stable" and "command" not in card.recipe
    assert card.recipe["options"]["width"] == 4 and card.recipe["options"]["kimg"] == 0.032
    assert card.recipe["options"]["seed"] == 0
    assert {"scangan", "torch", "onnx", "python"} <= set(card.versions)


# Whatever a library swallows, it has written down.
ASKS_NOBODY = """
import sys
def heard(event, args):
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg", "socket.getaddrinfo",
                 "socket.gethostbyname", "socket.gethostbyaddr"):
        with open("heard", "a") as file:
            print(event, args, file=file)
sys.addaudithook(heard)
import {start}
from scangan.cli.front_door import main
main(sys.argv[1:], prog_name="scangan")
"""


@pytest.mark.parametrize(
    "argv",
    [
        ("prepare", "{root}/patients", "prepared", "--size", 16),
        ("train", "{root}/prepared", "--out", "run", "--size", 16, "--width", 4, "--kimg", 0.016),
        ("export", "{root}/run", "-o", "m.onnx"),
        ("generate", "--model", "{root}/models/m-fp32.onnx", "--count", 1, "--out", "scans"),
        ("evaluate", "quality", "{root}/prepared", "{root}/models/m-fp32.onnx", "--count", 8,
         "--extractor", "efficientnet-lite0", "--repeats", 20, "--out", "quality"),
        ("info", "{root}/models/m-fp32.onnx"),
        ("doctor",),
    ],
    ids=lambda argv: argv[0],
)  # fmt: skip
def test_no_command_asks_anybody_on_a_network(made, warm, tmp_path, argv):
    words = [str(word).format(root=made) for word in argv]
    done = warm.run(tmp_path, ["-c", ASKS_NOBODY.format(start="json"), *words])
    assert done.code == 0, done.stderr
    assert not (tmp_path / "heard").exists(), (tmp_path / "heard").read_text()


def test_a_word_to_a_network_would_be_heard(warm, tmp_path):
    (tmp_path / "calls.py").write_text(
        "import socket\n"
        "with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:\n"
        "    one.sendto(b'x', ('127.0.0.1', 9))\n"
    )
    script = "import sys; sys.path.insert(0, '.')\n" + ASKS_NOBODY.format(start="calls")
    warm.run(tmp_path, ["-c", script, "--version"])
    assert "socket.sendto" in (tmp_path / "heard").read_text()


def test_a_recipe_of_your_own_is_not_named():
    """Its name is a path; the options are in the card in any case."""
    assert bundled_name("stable") == "stable" and bundled_name("classic-acgan") == "classic-acgan"
    for own in (f"/home/{USER}/own.toml", "own.toml", "stable.toml"):
        assert bundled_name(own) == ""


def test_a_file_whose_card_has_the_command_is_still_verified(made, command, tmp_path):
    """As the first releases wrote it."""
    import dataclasses

    import onnx

    from scangan.export.exporter import write_model

    file = read_model_file(made / "models" / "m-fp32.onnx")
    typed = json.loads((made / "run" / "config.json").read_text())["command"]
    recipe = {key: value for key, value in file.card.recipe.items() if key != "name"}
    run = shutil.copytree(made / "run", tmp_path / "run")
    config = json.loads((run / "config.json").read_text())
    del config["recipe"]
    (run / "config.json").write_text(json.dumps(config))
    model = onnx.load_from_string(file.data)
    del model.metadata_props[:]
    card = dataclasses.replace(file.card, recipe={"command": typed} | recipe)
    write_model(model, card, tmp_path / "old.onnx")
    done = command("export", "--verify", tmp_path / "old.onnx", "--against", run)
    assert done.returncode == 0 and "is the generator of" in done.stdout, done.stderr
    shown = command("info", tmp_path / "old.onnx")
    assert shown.returncode == 0 and MARK not in shown.stdout
