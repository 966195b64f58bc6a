"""Evaluate a set, and generate it again without its suspects, by the words that the commands print."""

import json
import re
import shlex
import shutil
from pathlib import Path

import cv2
import pytest
from click.testing import CliRunner
from conftest import copy_scans, folder_bytes
from programs import main_of

from scangan.evaluation.planted import LEVELS
from scangan.runtime import ScanGenerator

COPIES = {
    ("cat", 3),
    ("dog", 0),
    ("2", 7),
}  # class, index: scans of the model that are training scans


def type_in(line):
    """Run a command line in this process: its exit code, and what it printed."""
    program, *argv = shlex.split(line)
    done = CliRunner().invoke(main_of(program), argv)
    return done.exit_code, done.output


def works(line):
    code, output = type_in(line)
    assert code == 0, f"{line}\n{output}"
    return output


def lines_of(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def made(folder):
    """The scans of a folder: their bytes by class and index."""
    found = folder_bytes(Path(folder))
    lines = lines_of(Path(folder, "manifest.jsonl"))
    scans = {(line["class"], line["index"]): found[line["file"]] for line in lines}
    assert len(scans) == len(lines) == sum(name.endswith(".png") for name in found)
    return scans


@pytest.fixture(scope="module")
def leaked(tiny_acgan, tmp_path_factory):
    """A folder with a model, and training scans among which are some that the model makes.

    They are scans of the seed that evaluations draw, and of seed 5.
    """
    folder = tmp_path_factory.mktemp("leaked")
    shutil.copy(tiny_acgan, folder / "my model.onnx")
    generator = ScanGenerator(tiny_acgan)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        copy_scans(Path("train"), 40)
        for seed in (1_000_000, 5):
            for name, index in COPIES:
                file = Path("train", "no_tumor", f"{seed}-{name}-{index}.png")
                file.parent.mkdir(exist_ok=True)
                assert cv2.imwrite(str(file), generator.sample(1, name, seed, index)[0])
        works("prep-scans train prepared --size 32 --quiet")
    return folder


@pytest.fixture(autouse=True)
def _here(leaked, tmp_path, monkeypatch):
    """Work in a copy of that; exact copies are enough here."""
    for change in list(LEVELS)[1:]:
        monkeypatch.delitem(LEVELS, change)
    monkeypatch.setenv("XDG_CACHE_HOME", str(leaked / "cache"))
    shutil.copytree(leaked, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)


def test_a_model_without_the_suspects():
    said = works("eval-scans privacy prepared 'my model.onnx' --count 8 --out 'my results'")
    suspects = lines_of(Path("my results/suspects.jsonl"))
    assert {(s["origin"]["class"], s["origin"]["index"]) for s in suspects} == COPIES
    (command,) = re.findall(r"without the suspects: (gen-scans .*)$", said, re.M)
    assert "3 suspects left out: my results/suspects.jsonl" in works(command)
    works("gen-scans --model 'my model.onnx' --seed 1000000 --count 8 --out all")
    everything = made("all")
    kept = {key: value for key, value in everything.items() if key not in COPIES}
    assert made("my model-seed1000000-n8-without3") == kept and len(kept) == 21
    # The rest is clean.
    said = works("eval-scans privacy prepared 'my model-seed1000000-n8-without3' --out again")
    assert "0 suspects of 21" in said and "without the suspects" not in said
    works("gen-scans --model 'my model.onnx' --seed 3 --exclude again/suspects.jsonl --out other")


@pytest.mark.parametrize("kind", ["png", "dicom"])
def test_a_folder_without_the_suspects(kind):
    generate = (
        f"gen-scans --model 'my model.onnx' --seed 5 --count 9 --format {kind} --out 'my scans'"
    )
    works(generate)
    before = folder_bytes(Path("my scans"))
    said = works("eval-scans privacy prepared 'my scans' --out found")
    (words,) = [line for line in said.splitlines() if "without the suspects" in line]
    exclude = re.search(r" with (--exclude \S+), and another --out, or --force ", words)[1]
    done = works(f"{generate} {exclude} --force")
    assert "3 suspects left out: found/suspects.jsonl" in done
    assert "24 synthetic scans of cat, dog, 2: my scans" in done
    ending = {"png": "png", "dicom": "dcm"}[kind]
    lost = {f"{name}/{index:09d}.{ending}" for name, index in COPIES}
    after = folder_bytes(Path("my scans"))
    assert before.keys() - after.keys() == lost
    scans = {name for name in after if name.endswith(ending)}
    assert {name: after[name] for name in scans} == {name: before[name] for name in scans}


def test_scans_that_were_saved_again_are_still_known():
    works("gen-scans --model 'my model.onnx' --seed 5 --count 9 --out scans")
    for file in Path("scans").glob("*/*.png"):
        pixels = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
        assert cv2.imwrite(str(file.with_suffix(".tif")), pixels)
        file.unlink()
    works("eval-scans privacy prepared scans --out found")
    suspects = [line["origin"] for line in lines_of(Path("found/suspects.jsonl"))]
    assert {(s["class"], s["index"], s["seed"]) for s in suspects} == {(*c, 5) for c in COPIES}


def test_a_list_about_other_scans_is_refused_and_its_advice_works():
    works("eval-scans privacy prepared 'my model.onnx' --count 8 --out found")
    code, said = type_in("gen-scans --model 'my model.onnx' --exclude found/suspects.jsonl --out o")
    assert code == 1 and said.count("\n") == 1 and not Path("o").exists()
    theirs, ours = re.search(
        r"made with (.*), and this request has (.*); use the same", said
    ).groups()
    assert (theirs, ours) == ("--seed 1000000", "--seed 0")
    works(f"gen-scans --model 'my model.onnx' --exclude found/suspects.jsonl --out o {theirs}")


def test_scans_without_a_manifest_cannot_be_left_out():
    works("gen-scans --model 'my model.onnx' --seed 5 --count 9 --out scans")
    works("prep-scans scans of-scans --size 32 --quiet")
    Path("scans/manifest.jsonl").unlink()
    for source in ("scans", "of-scans"):
        said = works(f"eval-scans privacy prepared {source} --out {source}-found")
        assert "gen-scans cannot leave out 3 suspects: no manifest says which model and" in said
        code, said = type_in(f"gen-scans --exclude {source}-found/suspects.jsonl --out o")
        assert code == 1 and said.count("\n") == 1 and "does not say which model" in said
