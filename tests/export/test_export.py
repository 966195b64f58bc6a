"""One file that is provably the same as the checkpoint."""

import json
import shutil

import click.testing
import numpy as np
import pytest
import torch
from conftest import CLASSES, copy_scans
from few_scores import FEW, score_few
from programs import main_of

from scangan.artifacts.card import ALL
from scangan.artifacts.latents import draw_latents
from scangan.artifacts.modelfile import read_model_file
from scangan.artifacts.records import to_told
from scangan.artifacts.run import Run
from scangan.cli.evaluate_privacy import main as privacy
from scangan.cli.evaluate_utility import main as utility
from scangan.cli.scan_sets import warn_if_trained_on
from scangan.core.errors import ScanganError
from scangan.core.files import only_writer
from scangan.export import ExportError, export_run
from scangan.preprocessing import PrepOptions, prepare
from scangan.runtime import ScanGenerator
from scangan.runtime.info import card_rows
from scangan.training import TrainingError, TrainOptions, train
from scangan.training.checkpoints import Best, load_best, load_generator, save_best
from scangan.training.scoring import to_grey

KINDS = {
    "dcgan": {"arch": "dcgan"},
    "acgan": {
        "arch": "acgan",
        "conditioning": "product",
        "first_map": 8,
        "leak": 0.2,
        "ramp_end": 0.04,
    },
    "per class": {"arch": "dcgan", "per_class": True},
}
SCANS = 16  # of each of two classes


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """Prepare a few real scans of two classes: to learn from them is not what is tested here."""
    source = tmp_path_factory.mktemp("few")
    scans = copy_scans(source / "scans", SCANS)
    return prepare(scans, source / "prepared", PrepOptions(size=32))


@pytest.fixture(scope="module")
def runs(few, tmp_path_factory):
    """A run of each kind, of a single step."""
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        score_few(patch.setattr)
        for kind, choices in KINDS.items():
            options = TrainOptions(size=32, width=4, batch=16, kimg=0.016, **choices)
            out = tmp_path_factory.mktemp("runs") / "run"
            made[kind] = train(few.path, out, options, command="train-gan scans --out run")
            _mature(made[kind])
    return made


def _scored(run):
    return FEW["PER_TICK"] * len(run.classes) if run.classes else FEW["FOR_ONE_CLASS"]


def _mature(run):
    """Give the scans contrast, which a single step does not; the class counts in part."""
    torch.manual_seed(0)
    best = load_best(run)
    for name, tensor in best.state.items():
        if name == "share":
            tensor.fill_(0.3)
        elif tensor.is_floating_point() and "running" not in name:
            tensor.normal_(0.0, 0.5)
    save_best(run, best)


@pytest.fixture(scope="module")
def run(runs):
    return runs["dcgan"]


@pytest.fixture(scope="module", params=KINDS)
def exported(request, runs, tmp_path_factory):
    """A run of each kind, its model file and the card that was returned."""
    run, out = runs[request.param], tmp_path_factory.mktemp("models") / "m.onnx"
    return run, out, export_run(run.path, out, license="MIT", citation="Somebody 2020")


def test_a_trained_run_comes_out_as_scans(exported):
    run, file, card = exported
    generator, _ = load_generator(run)
    with ScanGenerator(file) as scans:
        assert scans.card == card
        for label in range(len(run.classes)) or [None]:
            got = scans.sample(8, label, seed=3)
            z = torch.from_numpy(draw_latents(3, label or 0, range(8), card.latent))
            with torch.no_grad():
                want = to_grey(generator(z, torch.full((8,), label or 0)))
            assert np.abs(got.astype(int) - want).max() <= 1
            assert want.std() > 10  # not blank


def test_the_card_says_how_it_was_made(exported):
    run, _, card = exported
    best = load_best(run)
    conditional = card.architecture == "acgan" or run.options.per_class
    assert card.architecture == run.options.arch
    assert card.classes == (CLASSES[:2] if conditional else ())
    assert card.parity <= 1
    assert "command" not in card.recipe
    assert card.recipe["options"] == run.options.to_dict()
    assert card.recipe["kept"] == best.kind and card.recipe["kept_kimg"] == best.kimg
    assert card.scores == to_told(best.scores) and card.scores["n"] == _scored(run)
    assert {"real_kid", "real_precision", "probe_accuracy"} <= card.scores.keys()
    assert card.license == "MIT" and card.citation == "Somebody 2020"
    counts = dict.fromkeys(CLASSES[:2], SCANS) if conditional else {ALL: 2 * SCANS}
    assert card.dataset_counts == counts
    # By this, real scans are prepared in the same way.
    assert card.preprocessing == run.config.dataset.preprocessing and card.preprocessing
    assert card.dataset_fingerprint == run.config.dataset.fingerprint
    assert card.date == run.config.started and card.date


def test_synthetic_scans_that_it_was_trained_on_are_not_called_real(runs, tmp_path):
    for kind, names in (("acgan", CLASSES[:2]), ("dcgan", (ALL,))):
        copied = shutil.copytree(runs[kind].path, tmp_path / kind)
        config = json.loads((copied / "config.json").read_text())
        config["dataset"]["synthetic"] = {CLASSES[0]: 3, CLASSES[1]: 0}
        (copied / "config.json").write_text(json.dumps(config))
        file = tmp_path / f"{kind}.onnx"
        card = export_run(copied, file)
        assert card.recipe["synthetic_scans"] == dict(zip(names, (3, 0)))
        rows = dict(card_rows(read_model_file(file)))
        if kind == "acgan":
            assert f"({SCANS} scans, 3 of them synthetic, " in rows["class 0"]
            assert f"({SCANS} real scans, " in rows["class 1"]


def test_the_batch_changes_no_byte(exported):
    run, file, _ = exported
    made = []
    for batch in (1, 4, 32):
        with ScanGenerator(file, batch=batch) as scans:
            made.append([scans.sample(9, name, seed=3) for name in run.classes or [None]])
    assert np.array_equal(made[0], made[1]) and np.array_equal(made[0], made[2])


def test_a_card_holds_no_hash_of_a_scan(exported):
    run, file, _ = exported
    data = file.read_bytes()
    items = [json.loads(line) for line in (run.path / "items.jsonl").open()]
    assert not any(item["sha256"].encode() in data for item in items)
    assert not any(item["file"].encode() in data for item in items)


def test_a_licence_that_is_lost_with_a_replaced_file_is_named(run, tmp_path):
    argv = [str(run.path), "-o", str(tmp_path / "m.onnx")]

    def called(*more):
        done = click.testing.CliRunner().invoke(main_of("export-onnx"), [*argv, *more])
        assert done.exit_code == 0, done.output
        return [line for line in done.output.splitlines() if line.startswith("warning")]

    assert called("--license", "CC BY 4.0", "--citation", "Mine") == []
    assert called("--license", "MIT", "--citation", "Mine") == []
    assert called("--citation", "Mine") == [
        "warning: the file that this replaced had the license 'MIT'; add --license to keep it"
    ]


def test_a_replaced_file_is_said_to_be_replaced(run, tmp_path):
    argv = [str(run.path), "-o", str(tmp_path / "m.onnx")]
    ends = [
        click.testing.CliRunner().invoke(main_of("export-onnx"), argv).output.splitlines()[-1]
        for _ in range(2)
    ]
    assert ["(replaced)" in end for end in ends] == [False, True]


def test_a_model_that_is_judged_by_its_training_scans_gives_a_warning(few, run, tmp_path):
    model, others = tmp_path / "m.onnx", tmp_path / "others"
    export_run(run.path, model)
    prepare(copy_scans(tmp_path / "scans", SCANS - 1), others, PrepOptions(size=32))
    said, notes = [], []
    for real in (few.path, others, tmp_path / "scans"):
        notes += warn_if_trained_on(str(real), str(model), said.append)
    notes += warn_if_trained_on(str(few.path), str(tmp_path / "scans"), said.append)  # not a model
    assert len(said) == 1 and f"was trained on scans of {few.path}" in said[0]
    (note,) = notes  # is shared, so it names no folder
    assert note.startswith("the generator was trained on these real scans, so its figures")
    # A quarter of them cannot serve as test scans either.
    args = [str(few.path), str(tmp_path / "m.onnx"), "--out", str(tmp_path / "out")]
    refused = click.testing.CliRunner().invoke(utility, args)
    assert refused.exit_code == 1 and refused.stderr.count("\n") == 1
    assert f"was trained on scans of {few.path}, so a quarter" in refused.stderr
    # Nor are they a hold-out: with the sets in the wrong order, every attack would fail.
    args = [str(others), str(model), "--holdout", str(few.path), "--out", str(tmp_path / "out")]
    refused = click.testing.CliRunner().invoke(privacy, args)
    assert refused.exit_code == 1 and f"trained on scans of {few.path}, so they" in refused.stderr
    assert not (tmp_path / "out").exists()


def test_a_failed_export_leaves_what_was_there(run, tmp_path, monkeypatch):
    target = tmp_path / "m.onnx"
    target.write_bytes(b"an older model")
    monkeypatch.setattr("scangan.export.exporter.measure_parity", lambda *_: 2)
    with pytest.raises(ExportError, match="by 2 grey levels"):
        export_run(run.path, target)
    assert target.read_bytes() == b"an older model"
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]


def test_a_better_generator_that_is_saved_meanwhile_is_not_in_the_card(run, tmp_path):
    run = Run(shutil.copytree(run.path, tmp_path / "run"))
    before = load_best(run)

    def saves(_line):
        state = {name: tensor + 0.1 for name, tensor in before.state.items()}
        save_best(run, Best(state, before.kind, before.kimg + 1, before.scores))

    card = export_run(run.path, tmp_path / "m.onnx", say=saves)
    assert load_best(run).kimg > before.kimg == card.recipe["kept_kimg"]


def test_two_exports_to_one_file_do_not_mix(run, tmp_path):
    lock = only_writer(tmp_path / ".m.onnx.lock", own_folder=False)
    with lock, pytest.raises(ScanganError, match="being written"):
        export_run(run.path, tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()
    export_run(run.path, tmp_path / "m.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_a_run_without_a_checkpoint(run, tmp_path):
    young = tmp_path / "young"
    young.mkdir()
    shutil.copy(run.path / "config.json", young)
    with pytest.raises(TrainingError, match="no checkpoint yet"):
        export_run(young, tmp_path / "m.onnx")
    shutil.copy(run.path / "metrics.jsonl", young)  # it had one
    with pytest.raises(
        TrainingError, match=r"best.safetensors is missing; restore it, or start over"
    ):
        export_run(young, tmp_path / "m.onnx")
    config = json.loads((young / "config.json").read_text())
    config["options"]["per_class"] = True
    (young / "config.json").write_text(json.dumps(config))
    with pytest.raises(TrainingError, match=r"not trained all of its classes yet.* to continue$"):
        export_run(young, tmp_path / "m.onnx")
    (young / "classes/1").mkdir(parents=True)
    (young / "classes/1/best.safetensors").touch()
    with pytest.raises(TrainingError, match=r"or give a class .*young.classes.1$"):
        export_run(young, tmp_path / "m.onnx")


def test_a_run_of_a_newer_version(run, tmp_path):
    newer = shutil.copytree(run.path, tmp_path / "newer")
    config = json.loads((newer / "config.json").read_text())
    (newer / "config.json").write_text(json.dumps(config | {"format_version": 99}))
    with pytest.raises(TrainingError, match="newer scangan"):
        export_run(newer / "best.safetensors", tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()


@pytest.mark.parametrize(
    ("out", "says"),
    [
        ("nowhere/m.onnx", "does not exist"),
        (f"{__file__}/m.onnx", "is a file"),
        (".", "is a folder"),
    ],
)
def test_a_target_that_cannot_be(run, tmp_path, out, says):
    with pytest.raises(ExportError, match=says):
        export_run(run.path, tmp_path / out)


def test_no_run_at_all_is_one_line(tmp_path):
    argv = [str(tmp_path / "nothing"), "-o", str(tmp_path / "m.onnx")]
    done = click.testing.CliRunner().invoke(main_of("export-onnx"), argv)
    assert done.exit_code == 1
    assert "is not a run; make one: train-gan" in done.stderr and done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_checkpoint_is_named(run, tmp_path):
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
    from safetensors.torch import load_file

    broken = Run(shutil.copytree(run.path, tmp_path / "broken"))
    tensors = load_file(broken.path / "best.safetensors")
    tensors["last.weight"].view(-1)[0] = float("nan")
    best = load_best(broken)
    save_best(broken, Best(tensors, best.kind, best.kimg, best.scores))
    with pytest.raises(TrainingError, match="infinite weights"):
        export_run(broken.path, tmp_path / "m.onnx")


@pytest.mark.parametrize("config", ["[]", "{}", "null", "{", '{"format_version": 99}'])
def test_a_damaged_config_is_one_line(run, tmp_path, config):
    broken = shutil.copytree(run.path, tmp_path / "broken")
    (broken / "config.json").write_text(config)
    with pytest.raises(TrainingError, match="damaged"):
        export_run(broken, tmp_path / "m.onnx")
