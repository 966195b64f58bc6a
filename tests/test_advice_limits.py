"""What errors advise where memory, precision, numbers, versions or packages are at an end."""

import errno
import json
import os
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import onnx
import pytest
import torch
from test_advice import GEN, TRAIN, few_scores, here, made, refused, works  # noqa: F401

from scangan.core.terminal import EXTRAS, explain
from scangan.export.fidelity import Fidelity
from scangan.training.step import TrainingStep

TRAINED = f"train-gan prepared --out r --size 16 {TRAIN}"
INT8 = "export-onnx run -o x.onnx --precision int8"


@pytest.fixture
def loses_much(monkeypatch):
    monkeypatch.setattr(Fidelity, "losses", property(lambda self: ["PSNR 3.0 dB"]))


@pytest.mark.parametrize("real", ["", " --real prepared"])
@pytest.mark.parametrize("way", ["fp32", "accept"])
def test_int8_that_loses_too_much(here, loses_much, real, way):  # noqa: F811
    says = refused(INT8 + real)
    assert "int8 loses too much" in says and not Path("x.onnx").exists()
    if way == "accept":
        works(f"{INT8}{real} {re.search(r'(--accept-loss)', says)[1]}")
    else:
        assert "(without --real)" in says
        works(f"export-onnx run -o x.onnx {re.search(r'(--precision fp32)', says)[1]}")
    assert Path("x.onnx").exists()


def limited(monkeypatch, fits):
    """Training that runs out of memory unless `fits` says that the networks' options do."""
    take = TrainingStep.__call__

    def step(self, number):
        if not fits(self.options):
            raise RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate")
        return take(self, number)

    monkeypatch.setattr(TrainingStep, "__call__", step)


def test_a_batch_that_fits(here, monkeypatch):  # noqa: F811
    limited(monkeypatch, lambda options: options.batch <= 8)
    says = refused(f"{TRAINED} --batch 32")
    option, force = re.search(r"(--batch \d+) fits; start over with (--force)", says).groups()
    assert option == "--batch 8"
    works(f"{TRAINED} {option} {force}")


def test_a_width_that_fits(here, monkeypatch):  # noqa: F811
    limited(monkeypatch, lambda options: options.width <= 8)
    line = TRAINED.replace("--width 4", "--width 32")
    says = refused(line)
    while found := re.search(r"try (--width \d+) and start over with (--force)", says):
        line = f"{TRAINED.replace('--width 4', found[1])} {found[2]}"
        if found[1] == "--width 8":
            break
        says = refused(line)
    works(line)


def test_a_size_that_fits(here, monkeypatch):  # noqa: F811
    limited(monkeypatch, lambda options: options.size < 32)
    works("prep-scans scans large --size 32 --quiet")
    says = refused(f"train-gan large --out r --size 32 {TRAIN}")
    assert "prepare them into another folder with a lower --size" in says
    works("prep-scans scans smaller --size 16 --quiet")
    works(f"train-gan smaller --out r2 --size 16 {TRAIN}")


@pytest.mark.parametrize("given", ["--batch 8 --threads 2", ""])
def test_a_pass_that_fits(here, monkeypatch, given):  # noqa: F811
    import scangan.runtime.generator as generator

    open_session = generator.open_session

    class Limited:
        def __init__(self, session):
            self.session = session

        def __getattr__(self, name):
            return getattr(self.session, name)

        def run(self, names, feed):
            if len(feed["z"]) > 4:
                raise RuntimeError("Failed to allocate memory for requested buffer of size 9")
            return self.session.run(names, feed)

    monkeypatch.setattr(generator, "open_session", lambda *a, **k: Limited(open_session(*a, **k)))
    command = f"{GEN.replace('--count 2', '--count 16')} {given}"
    for _ in range(9):
        says = refused(command)
        option = re.search(r"try gen-scans (--batch \d+)", says)[1]
        command = f"{GEN.replace('--count 2', '--count 16')} {option}"
        if option == "--batch 4":
            break
    works(command)


@pytest.mark.parametrize(("rate", "way"), [(4e-4, "--force"), (1e-9, "another --out")])
def test_losses_that_became_nan(here, monkeypatch, rate, way):  # noqa: F811
    take = TrainingStep.__call__
    calm = []

    def step(self, number):
        losses = take(self, number)
        return losses if calm else losses * torch.nan

    monkeypatch.setattr(TrainingStep, "__call__", step)
    rates = f" --set lr_g={rate} --set lr_d={rate}"
    says = refused(TRAINED + rates)
    assert "the losses became NaN" in says and way in says
    lower = re.search(r"\((--set lr_g=\S+ --set lr_d=\S+)\)", says)[1]
    calm.append(True)
    works(f"{TRAINED} {lower} --force" if way == "--force" else
          f"{TRAINED.replace('--out r', '--out r2')} {lower}")  # fmt: skip


def later(file):
    told = json.loads(Path(file).read_text())
    Path(file).write_text(json.dumps(told | {"format_version": 99}))


def later_state():
    state = torch.load("run/last.pt", weights_only=True)
    torch.save(state | {"format_version": 99}, "run/last.pt")


def later_model():
    from scangan.artifacts.card import KEY, _dump, _sha256

    model = onnx.load("m.onnx")
    for each in model.metadata_props:
        if each.key == KEY:
            fields = json.loads(each.value) | {"format_version": 99}
            fields.pop("card_sha256")
            each.value = _dump(fields | {"card_sha256": _sha256(fields)})
    Path("m.onnx").write_bytes(model.SerializeToString())


def later_split():
    works(SPLIT)
    later("parts/split.json")


def later_parts():
    for i in (0, 1):
        works(f"{GEN} --shard {i}/2")
    later("o/request.json")


SPLIT = "prep-scans scans parts --size 16 --split 0.5,0.5 --quiet"
DATASET = (
    "scangan.artifacts.dataset.FORMAT_VERSION",
    "scangan.preprocessing.pipeline.FORMAT_VERSION",
)
RUN = ("scangan.artifacts.run.FORMAT_VERSION", "scangan.training.checkpoints.FORMAT_VERSION")
PLAN = ("scangan.artifacts.scan_folder.FORMAT_VERSION",)
MORE = f"train-gan prepared --out run --size 16 {TRAIN.replace('0.1', '0.2')}"
# What is of a later version, the command that reads it, and what an update changes.
NEWER = {
    "dataset, trained": (lambda: later("prepared/dataset.json"), TRAINED, DATASET),
    "dataset, balanced": (lambda: later("prepared/dataset.json"),
                          "gen-scans --model m.onnx --out o --balance prepared --target 12", DATASET),
    "dataset, prepared again": (lambda: later("prepared/dataset.json"),
                                "prep-scans scans prepared --size 16 --quiet", DATASET),
    "dataset, for int8": (lambda: later("prepared/dataset.json"),
                          f"{INT8} --accept-loss --real prepared", DATASET),
    "split": (later_split, SPLIT, DATASET),
    "run, trained": (lambda: later("run/config.json"), MORE, RUN),
    "run, exported": (lambda: later("run/config.json"), "export-onnx run -o x.onnx", RUN),
    "run, verified": (lambda: later("run/config.json"),
                      "export-onnx --verify m.onnx --against run", RUN),
    "state of a run": (later_state, MORE, RUN),
    "model": (later_model, GEN, ("scangan.artifacts.card.FORMAT_VERSION",)),
    "model, shown": (later_model, "scangan info m.onnx",
                     ("scangan.artifacts.card.FORMAT_VERSION",)),
    "request": (lambda: [works(GEN), later("o/request.json")], GEN, PLAN),
    "request of parts": (later_parts, "scangan merge o", PLAN),
}  # fmt: skip


@pytest.mark.parametrize("name", NEWER)
def test_a_newer_format_asks_for_an_update_which_helps(name, here, monkeypatch):  # noqa: F811
    situation, command, versions = NEWER[name]
    situation()
    says = refused(command)
    assert "was made by a newer scangan; update scangan" in says
    assert "damaged" not in says and "delete" not in says
    for version in versions:
        monkeypatch.setattr(version, 99)
    if name == "state of a run":
        later("run/config.json")  # as the newer one had written
    works(command)


def test_a_request_of_a_newer_format_lets_another_folder_be_chosen(here):  # noqa: F811
    works(GEN)
    later("o/request.json")
    assert refused(GEN).endswith("update scangan, or choose another folder")
    works(GEN.replace("--out o", "--out o2"))


PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]


def brought_by(extra):
    """The distributions that an extra names, those of the extras in it too."""
    found = set()
    for line in PROJECT["optional-dependencies"][extra]:
        inner = re.match(r"scangan\[(.+)\]", line)
        if inner:
            found |= {each for name in inner[1].split(",") for each in brought_by(name)}
        else:
            found.add(re.match(r"[\w-]+", line)[0].lower())
    return found


def extras_in(says):
    (extras,) = re.findall(r'pip install (?:-c constraints\.txt )?"scangan\[([\w,]+)\]"', says)
    return extras.split(",")


def absent(monkeypatch, module):
    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)


@pytest.mark.parametrize("module", EXTRAS)
def test_a_missing_package_is_brought_by_the_extra_that_is_named(module, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    says = explain(ModuleNotFoundError(name=f"{module}.inner"))
    assert module in says and "-c" not in says.split()  # no such file here
    distributions = {name.lower() for name in packages_distributions().get(module, [module])}
    assert distributions & {each for extra in extras_in(says) for each in brought_by(extra)}
    assert "cpu" not in extras_in(says)  # it may be the other one that is installed
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "cpu" in extras_in(explain(ModuleNotFoundError(name=module)))
    Path("constraints.txt").touch()
    assert "-c constraints.txt" in explain(ModuleNotFoundError(name=module))


def test_onnxruntime_itself(monkeypatch):
    from scangan.core.devices import import_onnxruntime
    from scangan.runtime import GenerationError

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(GenerationError) as error:
        import_onnxruntime()
    assert re.findall(r'"scangan\[(\w+)\]"', str(error.value)) == ["cpu", "gpu"]
    assert "onnxruntime" in brought_by("cpu") and "onnxruntime-gpu" in brought_by("gpu")


@pytest.mark.parametrize("module", ["pydicom", "gdcm"])
def test_what_reads_dicom(module, monkeypatch):
    from scangan.core.errors import Rejected
    from scangan.preprocessing.reading.compressed import _missing
    from scangan.preprocessing.reading.dicom import read_dicom
    from scangan.preprocessing.reading.wanted import Wanted

    if module == "pydicom":
        monkeypatch.setitem(sys.modules, "pydicom", None)
        with pytest.raises(Rejected) as error:
            next(iter(read_dicom(b"", Wanted())))
        says = str(error.value)
    else:
        says = _missing("JPEG-LS")
    distributions = {name.lower() for name in packages_distributions()[module]}
    assert distributions & {each for extra in extras_in(says) for each in brought_by(extra)}


@pytest.mark.parametrize("module", ["nibabel", "simplejpeg"])
def test_a_reader_that_is_missing_is_no_damage_of_a_file(module, tmp_path, monkeypatch):
    import nibabel
    import numpy as np
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 255, (24, 24, 3), np.uint8)
    Path("scans/cat").mkdir(parents=True)
    if module == "nibabel":
        nibabel.Nifti1Image(pixels, np.eye(4)).to_filename("scans/cat/1.nii")
    else:
        Image.fromarray(pixels).save("scans/cat/1.jpg")
    absent(monkeypatch, module)
    for name in [n for n in sys.modules if n.startswith("scangan.preprocessing.reading.")]:
        monkeypatch.delitem(sys.modules, name)
    says = refused("prep-scans scans p --size 16 --quiet --workers 1")
    assert f"{module} is not installed" in says and extras_in(says) == ["prep"]
    assert not Path("p/rejects.jsonl").exists()


def test_what_the_system_refuses_comes_with_advice():
    for number in errno.errorcode:
        says = explain(OSError(number, "words of Python", "out/scans.npz"))
        assert says.startswith(f"out/scans.npz: {os.strerror(number).lower()}; ")


def test_a_run_that_did_fit_goes_on(here, monkeypatch):  # noqa: F811
    works(f"{TRAINED} --batch 8 --kimg 0.032 --tick 0.016")
    with monkeypatch.context() as patch:
        limited(patch, lambda options: options.batch <= 4)
        says = refused(f"{TRAINED} --batch 8 --kimg 0.064 --tick 0.016")
    assert says.endswith(
        "out of memory; close other programs and run the same command again to continue, or start a run "
        "with --batch 4 in another --out"
    )
    works(f"{TRAINED} --batch 8 --kimg 0.064 --tick 0.016")
