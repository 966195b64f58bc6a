"""The same generator in float32, in float16 and in integers."""

import dataclasses
import json
import shutil
import warnings

import numpy as np
import onnx
import pytest
import torch
from conftest import CLASSES, copy_scans
from few_scores import score_few

from scangan.artifacts.card import KEY, _dump, _sha256
from scangan.artifacts.modelfile import read_model_file
from scangan.export import ExportError, export_run
from scangan.export.fidelity import Comparison, Fidelity
from scangan.export.precision import MOST_PSNR, build, build_int8, latent_batches, make_images, psnr
from scangan.export.verify import verify
from scangan.preprocessing import PrepOptions, prepare
from scangan.runtime import GenerationError, ScanGenerator
from scangan.training import Run, TrainOptions, train
from scangan.training.checkpoints import load_best, load_generator, save_best
from scangan.training.networks import make_generator

SCANS = 16  # of each of two classes
COMPARED = 96  # scans of an int8 file

pytestmark = pytest.mark.usefixtures("export_once", "few_compared")


@pytest.fixture(scope="module")
def few_compared():
    """Compare few scans: how many is not what is tested here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scangan.export.fidelity.COUNT", COMPARED)
        patch.setattr("scangan.export.verify.COUNT", COMPARED)
        yield


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """A few real scans of two classes."""
    source = tmp_path_factory.mktemp("real")
    scans = copy_scans(source / "scans", SCANS)
    return prepare(scans, source / "prepared", PrepOptions(size=32))


@pytest.fixture(scope="module")
def run(real, tmp_path_factory):
    """A run of a few steps, its weights drawn out to give the scans contrast."""
    with pytest.MonkeyPatch.context() as patch:
        score_few(patch.setattr, whole=True)  # the kept generator is to be the one that it was
        options = TrainOptions(size=32, width=8, batch=16, kimg=0.032, tick=0.032)
        run = train(real.path, tmp_path_factory.mktemp("runs") / "run", options)
    best = load_best(run)
    for name, tensor in best.state.items():
        if name in ("dense.weight", "last.weight") or name.startswith("ups"):
            tensor.mul_(4.0)
    save_best(run, best)
    return run


@pytest.fixture(scope="module")
def diverged(run, tmp_path_factory):
    """The same run with weights that overflow."""
    diverged = Run(shutil.copytree(run.path, tmp_path_factory.mktemp("runs") / "diverged"))
    best = load_best(diverged)
    best.state["dense.weight"].mul_(1e30)
    save_best(diverged, best)
    return diverged


@pytest.fixture(scope="module")
def files(run, tmp_path_factory, export_once, few_compared):
    """The model file of each precision, and what was said while it was made."""
    folder, made = tmp_path_factory.mktemp("files"), {}
    for precision in ("fp32", "fp16", "int8"):
        said = []
        out = folder / f"{precision}.onnx"
        # Barely trained, and scored on a few scans: whether that is a loss is tested elsewhere.
        export_run(run.path, out, precision=precision, accept_loss=True, say=said.append)
        made[precision] = out, said
    return made


def _sample(file):
    with ScanGenerator(file) as generator:
        return np.concatenate([generator.sample(20, name) for name in generator.classes])


def test_every_precision_makes_the_same_scans(files):
    want = _sample(files["fp32"][0])
    assert want.std() > 5  # of no use if all scans were alike
    assert np.abs(_sample(files["fp16"][0]).astype(int) - want).max() <= 1
    ratios = psnr(_sample(files["int8"][0]), want)
    assert ratios.mean() > 35 and ratios.min() > 30


def test_sizes(files):
    size = {name: file.stat().st_size for name, (file, _) in files.items()}
    assert size["fp16"] < 0.6 * size["fp32"] and size["int8"] < 0.6 * size["fp32"]


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_batch_and_threads_change_no_byte(files, precision):
    file, want = files[precision][0], _sample(files[precision][0])
    for batch, threads in ((1, 1), (7, 2)):
        with ScanGenerator(file, batch=batch, threads=threads) as generator:
            got = np.concatenate([generator.sample(20, name) for name in generator.classes])
        assert np.array_equal(got, want)


def test_the_order_of_work_is_told(files):
    steps = [line.split(" " * 4)[0] for line in files["int8"][1]]
    assert steps[:4] == [
        "fold_batchnorm, match_ranges", "dense_channels_last", "transposed_conv_to_conv", "quantize",
    ]  # fmt: skip
    assert any("PSNR" in line and "KID" in line for line in files["int8"][1])


def test_the_card_says_what_was_lost(files):
    card = read_model_file(files["int8"][0]).card
    assert card.precision == "int8" and card.fidelity["n"] == COMPARED
    assert card.fidelity["mean_psnr"] > 30 and card.fidelity["float_layers"] == []
    assert len(card.fidelity["kid"]) == len(card.fidelity["agreement"]) == 2
    assert read_model_file(files["fp16"][0]).card.fidelity == {}


def _fidelity(**changes):
    told = {"n": 9, "mean_psnr": 40.0, "worst_psnr": 33.0, "kid": (0.2, 0.209)}
    return Fidelity(**told | {"agreement": (0.7, 0.67)} | changes)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"mean_psnr": 34.9}, "PSNR 34.9 dB"),
        ({"worst_psnr": 29.9}, "29.9 at worst"),
        ({"kid": (0.2, 0.211)}, "KID 0.2000 -> 0.2110 (at most 0.0100 apart)"),
        ({"kid": (0.001, 0.0016)}, "KID"),
        ({"agreement": (0.7, 0.66)}, "class agreement"),
    ],
)
def test_what_is_a_loss(changes, says):
    assert _fidelity().losses == [] and _fidelity(kid=(0.001, 0.0014), agreement=None).losses == []
    (loss,) = _fidelity(**changes).losses
    assert says in loss


def test_a_loss_is_refused_after_more_layers_were_left_in_float(run, tmp_path, monkeypatch):
    said, out = [], tmp_path / "m.onnx"
    monkeypatch.setattr(Comparison, "of", lambda *_: _fidelity(kid=(0.2, 0.3)))
    with pytest.raises(ExportError, match=r"KID 0\.2000 -> 0\.3000 .*nothing was written"):
        export_run(run.path, out, precision="int8", say=said.append)
    generator, _ = load_generator(run)
    tried = [built.float_layers for built in build_int8(generator, 100)]
    assert [len(layers) for layers in tried] == list(
        range(len(tried[0]), len(tried[0]) + len(tried))
    )
    assert len(tried) > 1 and sum("quantize" in line for line in said) == len(tried)
    assert any("in float" in line for line in said) and list(tmp_path.iterdir()) == []
    card = export_run(run.path, out, precision="int8", accept_loss=True)
    assert card.fidelity["kid"] == [0.2, 0.3]


def test_at_most_half_of_the_layers_stay_in_float(run, monkeypatch):
    """With more it is no integer model, and gains nothing."""
    monkeypatch.setattr("scangan.export.precision.WANTED_MEAN", 98.0)
    generator, _ = load_generator(run)
    (built,) = build_int8(generator, 100)
    assert len(built.float_layers) == (1 + len(generator.ups)) // 2  # dense, and each but the last


def test_a_channel_that_is_nearly_dead_costs_nothing():
    """Its bias would be more steps of its tiny weights than 32 bits hold."""
    torch.manual_seed(0)
    generator = make_generator(TrainOptions(size=32, width=8, arch="dcgan"), 0).eval()
    for layer in (generator.dense, *generator.ups, generator.last):
        layer.weight.data.mul_(4.0)
    before = build(generator, 100, "int8")
    for norm in generator.norms:
        norm.weight.data[0], norm.bias.data[0] = 1e-7, 0.5
    with warnings.catch_warnings(action="error"):
        built = build(generator, 100, "int8")
    assert built.float_layers == before.float_layers
    batches = list(latent_batches(2, 64, 100, 0))
    pictures = [make_images(each.model, batches) for each in (built, build(generator, 100))]
    assert psnr(*pictures).mean() > 35


def test_what_the_exporter_does_not_write(run, tmp_path):
    with pytest.raises(ExportError, match=r"precision 'fp8' .*fp32, fp16, int8"):
        export_run(run.path, tmp_path / "m.onnx", precision="fp8")
    with pytest.raises(ExportError, match=r"opset 17 .*18 to 21"):
        export_run(run.path, tmp_path / "m.onnx", opset=17)
    assert list(tmp_path.iterdir()) == []


def test_a_calibration_that_fails_leaves_nothing(diverged, tmp_path):
    with pytest.raises(ExportError, match=r"calibration failed: values of .* overflow"):
        export_run(diverged.path, tmp_path / "m.onnx", precision="int8", accept_loss=True)
    assert list(tmp_path.iterdir()) == []


def test_scans_that_are_gone_are_asked_for(run, real, tmp_path):
    moved = shutil.copytree(run.path, tmp_path / "moved")
    config = json.loads((moved / "config.json").read_text())
    config["dataset"]["path"] = str(tmp_path / "nowhere")
    (moved / "config.json").write_text(json.dumps(config))
    with pytest.raises(ExportError, match="--real DATASET, or --accept-loss"):
        export_run(moved, tmp_path / "m.onnx", precision="int8")
    card = export_run(
        moved, tmp_path / "m.onnx", precision="int8", real=real.path, accept_loss=True
    )
    assert "kid" in card.fidelity
    card = export_run(moved, tmp_path / "m.onnx", precision="int8", accept_loss=True)
    assert "kid" not in card.fidelity and card.fidelity["mean_psnr"] > 30
    assert "in int8: PSNR" in verify(tmp_path / "m.onnx", moved)


def test_real_scans_of_another_size_or_of_other_classes(run, some_scans, tmp_path):
    small = prepare(some_scans, tmp_path / "small", PrepOptions(size=16))
    with pytest.raises(ExportError, match=r"prepared at 16 pixels, .*32"):
        export_run(run.path, tmp_path / "m.onnx", precision="int8", real=small.path)
    (some_scans / CLASSES[0]).rename(some_scans / "other")
    other = prepare(some_scans, tmp_path / "other", PrepOptions(size=32))
    with pytest.raises(ExportError, match="other classes"):
        export_run(run.path, tmp_path / "m.onnx", precision="int8", real=other.path)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_whole_file_is_verified(run, files, precision):
    assert "is the generator of" in verify(files[precision][0], run.path)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_flipped_byte_is_found(run, files, precision, tmp_path):
    data, file = files[precision][0].read_bytes(), tmp_path / "m.onnx"
    card = data.index(KEY.encode() + b"\x12")
    for place in (len(data) // 3, card + 40, len(data) - 60):
        file.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises((GenerationError, ExportError), match=r"changed|damaged|truncated"):
            verify(file, run.path)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_other_weights_and_another_run_are_found(run, diverged, files, precision, tmp_path):
    with pytest.raises(ExportError, match="makes different scans than"):
        verify(files[precision][0], diverged.path)
    other = shutil.copytree(run.path, tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    config["options"]["seed"] += 1
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(ExportError, match="differs in recipe"):
        verify(files[precision][0], other)


def test_a_card_without_a_seal_is_found(run, files, tmp_path, monkeypatch):
    bare = tmp_path / "bare.onnx"
    card = read_model_file(files["fp32"][0]).card
    monkeypatch.setattr(
        type(card), "to_json", lambda self: json.dumps(vars(self) | {"classes": self.classes})
    )
    export_run(run.path, bare)
    monkeypatch.undo()
    assert read_model_file(bare).card.size == 32  # as the first releases wrote them
    with pytest.raises(ExportError, match="card has no seal"):
        verify(bare, run.path)


def test_a_card_from_before_a_field_was_added_is_verified(run, files, tmp_path):
    old, model = tmp_path / "old.onnx", onnx.load(files["fp32"][0])
    (entry,) = (each for each in model.metadata_props if each.key == KEY)
    fields = json.loads(entry.value)
    del fields["card_sha256"], fields["judged"]
    entry.value = _dump(fields | {"card_sha256": _sha256(fields)})
    old.write_bytes(model.SerializeToString())
    assert "is the generator of" in verify(old, run.path)


def test_a_run_that_was_trained_further_is_the_same_run(run, files, tmp_path):
    longer = shutil.copytree(run.path, tmp_path / "longer")
    config = json.loads((longer / "config.json").read_text())
    config["options"]["kimg"] += 1
    (longer / "config.json").write_text(json.dumps(config))
    assert "is the generator of" in verify(files["fp32"][0], longer)
    best = load_best(Run(longer))
    save_best(Run(longer), dataclasses.replace(best, kimg=best.kimg + 1))
    with pytest.raises(ExportError, match=r"earlier state .* kept another generator since"):
        verify(files["fp32"][0], longer)


def test_a_changed_graph_runs_only_when_asked_for(files, tmp_path, command):
    model, file = onnx.load(files["fp32"][0]), tmp_path / "m.onnx"
    model.graph.name = "rewritten"
    file.write_bytes(model.SerializeToString())
    argv = ("--model", file, "--count", 2, "--out", tmp_path / "out")
    done = command("generate", *argv)
    assert done.returncode == 1 and "--allow-modified" in done.stderr
    assert command("generate", *argv, "--allow-modified").returncode == 0
    assert np.array_equal(
        ScanGenerator(file, allow_modified=True).sample(3, 0),
        ScanGenerator(files["fp32"][0]).sample(3, 0),
    )


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("best.safetensors", None),
        ("discriminator.safetensors", "not a checkpoint of a run"),
        ("last.pt", "may contain code"),
        ("model.pth", "may contain code"),
    ],
)
def test_a_checkpoint_that_is_named_as_a_file(run, tmp_path, name, says):
    folder = shutil.copytree(run.path, tmp_path / "run")
    (folder / "model.pth").write_bytes(b"\x80\x04.")
    shutil.copy(folder / "best.safetensors", folder / "discriminator.safetensors")
    if says is None:
        assert export_run(folder / name, tmp_path / "m.onnx").size == 32
        return
    with pytest.raises(ExportError, match=says):
        export_run(folder / name, tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["run", "-o", "m.onnx", "--real", "x"], "--real needs --precision int8"),
        (["run", "-o", "m.onnx", "--accept-loss"], "--accept-loss needs --precision int8"),
        (
            ["--verify", "m", "--against", "r", "--opset", 19],
            "--opset cannot be used with --verify",
        ),
    ],
)
def test_an_option_without_effect_is_a_usage_error(command, argv, says):
    done = command("export", *argv)
    assert done.returncode == 2 and says in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("argv", [[], ["run"], ["--verify", "m.onnx"], ["--against", "run"]])
def test_half_a_request_is_a_usage_error(command, argv):
    done = command("export", *argv)
    assert done.returncode == 2 and "export-onnx" in done.stderr


def test_latents_of_a_comparison_take_the_classes_in_turn():
    batches = list(latent_batches(3, 70, 5, 3))
    assert np.array_equal(np.concatenate([b["label"] for b in batches]), np.arange(70) % 3)
    z = np.concatenate([b["z"] for b in batches])
    assert z.shape == (70, 5) and len(np.unique(z[:, 0])) == 70
    assert [set(b) for b in latent_batches(3, 40, 5, 0)] == [{"z"}] * 2


def test_psnr_is_as_defined():
    want = np.zeros((3, 4, 4), np.uint8)
    got = want.copy()
    got[1], got[2, 0, 0] = 1, 4
    assert psnr(got, want).tolist() == pytest.approx([MOST_PSNR, 48.1308, 48.1308], abs=1e-3)
