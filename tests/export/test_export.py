"""One file that is provably the same as the checkpoint."""

import numpy as np
import onnx
import pytest
import torch

from scangan.export import ExportError, export_run
from scangan.export.exporter import measure_parity, to_onnx
from scangan.export.network import ShippedGenerator
from scangan.runtime import ScanGenerator
from scangan.runtime.latents import draw_latents
from scangan.training import TrainingError, TrainOptions, train
from scangan.training.networks import Generator
from scangan.training.scoring import to_grey


def _generator(size, classes):
    torch.manual_seed(1)
    generator = Generator(size=size, width=4, latent=12, classes=classes).eval()
    for name, tensor in generator.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2.0)
        elif tensor.is_floating_point():
            tensor.normal_(1.0 if "scale" in name else 0.0, 0.3)
    return generator


@pytest.mark.parametrize("size", [32, 64, 128])
@pytest.mark.parametrize("classes", [0, 3])
def test_folding_batch_norm_is_exact(size, classes):
    generator = _generator(size, classes)
    z, label = torch.randn(16, 12), torch.arange(16) % max(classes, 1)
    with torch.no_grad():
        want = to_grey(generator(z, label)).astype(int)
        got = ShippedGenerator(generator)(z, label).numpy()[:, 0].astype(int)
    assert np.abs(got - want).max() <= 1
    assert (got != want).mean() < 1e-3
    assert want.std() > 10  # not blank


@pytest.mark.parametrize("classes", [0, 3])
def test_the_graph_has_the_promised_signature(classes):
    model = to_onnx(_generator(32, classes), 12)
    inputs = {i.name: i.type.tensor_type for i in model.graph.input}
    assert set(inputs) == ({"z", "label"} if classes else {"z"})
    assert inputs["z"].elem_type == onnx.TensorProto.FLOAT
    assert inputs["z"].shape.dim[1].dim_value == 12 and inputs["z"].shape.dim[0].dim_param
    if classes:
        assert inputs["label"].elem_type == onnx.TensorProto.INT64
    (output,) = model.graph.output
    assert output.name == "image" and output.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert model.ir_version == 10 and [o.version for o in model.opset_import] == [18]
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}


def test_nothing_of_the_exporting_machine_is_in_the_file():
    data = to_onnx(_generator(32, 3), 12).SerializeToString()
    for word in (b"/home", b"/usr", b".py", b"site-packages", b"pkg.torch"):
        assert word not in data


def test_parity_sees_a_changed_weight():
    generator = _generator(32, 3)
    model = to_onnx(generator, 12).SerializeToString()
    assert measure_parity(model, generator, 12) <= 1
    with torch.no_grad():
        generator.last.bias += 0.1
    assert measure_parity(model, generator, 12) > 1


@pytest.fixture(scope="module", params=["acgan", "dcgan"])
def run(request, prepared, tmp_path_factory):
    options = TrainOptions(arch=request.param, size=32, width=4, batch=16, kimg=0.064)
    out = tmp_path_factory.mktemp("runs") / request.param
    return train(prepared.path, out, options, command="train-gan scans --out run")


def test_a_trained_run_comes_out_as_scans(run, tmp_path):
    card = export_run(run.path, tmp_path / "m.onnx", license="MIT", citation="Somebody 2020")
    generator, best = run.load_generator()
    with ScanGenerator(tmp_path / "m.onnx") as scans:
        assert scans.card == card
        label = 1 if run.classes else None
        got = scans.sample(8, label, seed=3)
    z = torch.from_numpy(draw_latents(3, label or 0, range(8), card.latent))
    with torch.no_grad():
        want = to_grey(generator(z, torch.full((8,), label or 0)))
    assert np.abs(got.astype(int) - want).max() <= 1
    assert card.parity <= 1
    assert card.recipe["command"] == "train-gan scans --out run"
    assert card.scores == best.scores and card.scores["n"] == 400
    assert card.license == "MIT" and card.citation == "Somebody 2020"
    assert card.dataset_counts == dict.fromkeys(run.config["dataset"]["classes"], 60)


def test_a_card_holds_no_hash_of_a_scan(run, tmp_path):
    import json

    export_run(run.path, tmp_path / "m.onnx")
    data = (tmp_path / "m.onnx").read_bytes()
    items = [json.loads(line) for line in (run.path / "items.jsonl").open()]
    assert not any(item["sha256"].encode() in data for item in items)
    assert not any(item["file"].encode() in data for item in items)


def test_a_failed_export_leaves_what_was_there(run, tmp_path, monkeypatch):
    target = tmp_path / "m.onnx"
    target.write_bytes(b"an older model")
    monkeypatch.setattr("scangan.export.exporter.measure_parity", lambda *_: 2)
    with pytest.raises(ExportError, match="by 2 grey levels"):
        export_run(run.path, target)
    assert target.read_bytes() == b"an older model"
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_a_run_without_a_checkpoint(run, tmp_path):
    import shutil

    young = tmp_path / "young"
    young.mkdir()
    shutil.copy(run.path / "config.json", young)
    with pytest.raises(TrainingError, match="no checkpoint yet"):
        export_run(young, tmp_path / "m.onnx")


@pytest.mark.parametrize(
    ("out", "says"), [("nowhere/m.onnx", "does not exist"), (".", "is a folder")]
)
def test_a_target_that_cannot_be(run, tmp_path, out, says):
    with pytest.raises(ExportError, match=says):
        export_run(run.path, tmp_path / out)


def test_no_run_at_all_is_one_line(tmp_path, command):
    done = command("export", tmp_path / "nothing", "-o", tmp_path / "m.onnx")
    assert done.returncode == 1
    assert "is no run; make one: train-gan" in done.stderr and done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_checkpoint_is_named(run, tmp_path):
    import shutil

    broken = shutil.copytree(run.path, tmp_path / "broken")
    data = (broken / "best.safetensors").read_bytes()
    (broken / "best.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(TrainingError, match="damaged"):
        export_run(broken, tmp_path / "m.onnx")


@pytest.mark.parametrize("name", ["scan.jpg", "best.safetensors", "model"])
def test_a_file_that_is_no_model_file_is_not_replaced(run, tmp_path, name):
    (tmp_path / name).write_bytes(b"years of work")
    with pytest.raises(ExportError, match=r"must end in \.onnx"):
        export_run(run.path, tmp_path / name)
    assert (tmp_path / name).read_bytes() == b"years of work"


def test_infinite_weights_are_not_shipped(run, tmp_path):
    import shutil

    from safetensors.torch import load_file

    from scangan.training.run import Best, Run

    broken = Run(shutil.copytree(run.path, tmp_path / "broken"))
    tensors = load_file(broken.path / "best.safetensors")
    tensors["last.weight"].view(-1)[0] = float("nan")
    best = broken.load_best()
    broken.save_best(Best(tensors, best.kind, best.kimg, best.scores))
    with pytest.raises(TrainingError, match="infinite weights"):
        export_run(broken.path, tmp_path / "m.onnx")


@pytest.mark.parametrize("config", ["[]", "{}", "null", "{", '{"format_version": 99}'])
def test_a_damaged_config_is_one_line(run, tmp_path, config):
    import shutil

    broken = shutil.copytree(run.path, tmp_path / "broken")
    (broken / "config.json").write_text(config)
    with pytest.raises(TrainingError, match="damaged"):
        export_run(broken, tmp_path / "m.onnx")
