"""Runs that start from the networks of others."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import BRAIN, CLASSES, copy_scans
from msgspec.structs import replace
from safetensors.torch import load_file
from training_runs import SMALL, start_run

from scangan.artifacts.run import check_places
from scangan.core.errors import EvaluationError, ExportError
from scangan.evaluation.leaks import without_trained_on
from scangan.evaluation.run_subsets import subsets_of_run
from scangan.evaluation.scan_set import ScanSet
from scangan.export import export_run
from scangan.export.exporter import run_card
from scangan.export.verify import verify
from scangan.preprocessing import PrepOptions, prepare
from scangan.training import Run, TrainingError, TrainOptions, bundled_weights, train
from scangan.training.checkpoints import load_checkpoint
from scangan.training.networks import ConditionalBatchNorm
from scangan.training.sampling import Sampler
from scangan.training.starting_weights import (
    check_fit,
    name_of,
    read_starting_weights,
    read_weights_file,
    start_from,
    write_weights_file,
)
from scangan.training.step import TrainingStep, make_discriminator, make_generator

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def before(prepared, tmp_path_factory):
    """A run after two steps."""
    return start_run(tmp_path_factory.mktemp("before") / "anatomy", prepared)[0]


@pytest.fixture(scope="module")
def weights(before):
    """What a run that starts from it gets."""
    return read_starting_weights(str(before.path))


def new_step(classes, seed=1, **given):
    """The networks of a run that has not begun, with random weights."""
    options = TrainOptions(**SMALL | {"seed": seed} | given)
    torch.manual_seed(seed)
    count = len(classes) if options.arch == "acgan" else 0
    networks = make_generator(options, count), make_discriminator(options, count)
    images = torch.zeros(4, options.size, options.size, dtype=torch.uint8)
    sampler = Sampler(images, torch.zeros(4, dtype=torch.int64), 0)
    return TrainingStep(*networks, sampler, options, CPU)


def parameters(network):
    return dict(network.named_parameters())


def test_a_run_with_the_same_classes_makes_the_same_scans_and_judges_them_alike(before, weights):
    step = new_step(before.classes)
    said = start_from(weights, step, before.classes)
    assert said == (
        "starting from anatomy: 100% of the generator's weights and 100% of the discriminator's "
        "weights; 4 of 4 classes known by name"
    )
    all_saved = load_checkpoint(before, CPU).networks
    for ours, theirs in ((step.generator, "ema"), (step.ema, "ema"), (step.discriminator, None)):
        saved = all_saved[theirs or "discriminator"]
        assert all(torch.equal(t, saved[name]) for name, t in parameters(ours).items())
    z, label = torch.randn(8, SMALL["latent"]), torch.arange(8) % 4
    fresh = new_step(before.classes)
    fresh.discriminator.load_state_dict(all_saved["discriminator"])
    images = step.ema.eval()(z, label)
    ours, theirs = (each.discriminator.eval()(images, label)[0] for each in (step, fresh))
    # Power iteration of the norms went on, so they are the same up to its last steps.
    torch.testing.assert_close(theirs, ours, rtol=0.1, atol=0.1)


def test_known_classes_keep_their_rows_and_new_ones_start_as_the_mean(before, weights):
    classes = ("new", before.classes[2], before.classes[0])
    step = new_step(classes)
    assert start_from(weights, step, classes).endswith("2 of 3 classes known by name")
    saved = load_checkpoint(before, CPU).networks
    for table, name, network in (
        ("norms.1.scale.weight", "ema", step.generator),
        ("projection.parametrizations.weight.original", "discriminator", step.discriminator),
        ("aux.weight", "discriminator", step.discriminator),
    ):
        ours, theirs = parameters(network)[table], saved[name][table]
        assert torch.equal(ours[1:], theirs[[2, 0]])
        torch.testing.assert_close(ours[0], theirs.mean(0))
    weight = parameters(step.discriminator)["projection.parametrizations.weight.original"]
    largest = torch.linalg.svdvals(weight.detach())[0]
    torch.testing.assert_close(
        step.discriminator.eval().projection.weight, weight / largest, rtol=1e-3, atol=1e-5
    )


def test_a_larger_run_takes_all_layers_but_those_next_to_the_image(before, weights):
    step = new_step(before.classes, size=64, width=4)
    with pytest.raises(
        TrainingError, match=r"width 4 at 32 pixels, this run has 4 at 64; choose another"
    ):
        check_fit(weights, step.options)
    fresh = new_step(before.classes, size=64, width=4)
    half = dataclasses.replace(weights, options=dataclasses.replace(weights.options, width=8))
    check_fit(half, step.options)

    wide = new_step(before.classes, size=32, width=8)
    told = dataclasses.replace(
        half, generator=wide.ema.state_dict(), discriminator=wide.discriminator.state_dict()
    )
    said = start_from(told, step, before.classes)
    for part, names in (
        ("generator", {"norms.0": "norms.0", "ups.1": "ups.1", "dense": "dense"}),
        ("discriminator", {"downs.2": "downs.1", "downs.3": "downs.2", "mix": "mix"}),
    ):
        own, random, given = (parameters(getattr(each, part)) for each in (step, fresh, wide))
        for new, old in names.items():
            pairs = [
                (name, name.replace(new, old, 1)) for name in own if name.startswith(f"{new}.")
            ]
            assert pairs
            assert all(torch.equal(own[name], given[was]) for name, was in pairs)
        near = [name for name in own if name.startswith(("last.w", "downs.0", "ups.2"))]
        assert near
        assert all(torch.equal(own[name], random[name]) for name in near)
    assert "100%" not in said


def test_a_run_goes_on_from_its_own_networks(before, prepared, tmp_path, monkeypatch):
    options = TrainOptions(**SMALL | {"tick": 0.02})
    said = []
    start = str(before.path)
    run = train(prepared.path, tmp_path / "run", options, start=start, say=said.append)
    assert any(line.startswith("starting from anatomy: 100%") for line in said)
    told = json.loads((run.path / "config.json").read_text())
    assert told["started_from"]["name"] == "anatomy"
    assert str(before.path.parent) not in json.dumps(told["started_from"])
    card = json.loads(json.dumps(run_card(run).recipe))["started_from"]
    private = "name", "listed"
    assert card == {k: v for k, v in told["started_from"].items() if k not in private}

    # It no longer needs them, and does not start from others.
    longer = dataclasses.replace(options, kimg=0.16)
    monkeypatch.setattr(bundled_weights, "starting_names", lambda: ["brain"])
    gone = str(tmp_path / "elsewhere" / "anatomy")
    said.clear()
    train(prepared.path, run.path, longer, start=gone, say=said.append)
    assert "resuming at 0.1 of 0.16 kimg" in said
    assert Run(run.path).config.started_from.name == "anatomy"
    for other, words in ((None, "anatomy -> nothing"), ("other", "anatomy -> other")):
        with pytest.raises(TrainingError, match=f"--start-from {words}"):
            train(prepared.path, run.path, longer, start=other)
    plain = start_run(tmp_path / "plain", prepared)[0]
    with pytest.raises(TrainingError, match="--start-from nothing -> anatomy"):
        train(prepared.path, plain.path, plain.options, start=start)


def test_what_it_learnt_first_shows_in_the_first_ticks(before, prepared, tmp_path):
    options = TrainOptions(**SMALL | {"kimg": 0.008, "tick": 0.008, "lr_g": 1e-9, "lr_d": 1e-9})
    run = train(prepared.path, tmp_path / "run", options, start=str(before.path))
    ours, theirs = load_file(run.path / "best.safetensors"), load_checkpoint(before, CPU).networks
    for name, tensor in theirs["ema"].items():
        if name.endswith("weight"):
            torch.testing.assert_close(ours[name], tensor, rtol=0, atol=1e-6)


def test_bundled_weights_are_what_was_saved_in_half_precision(weights, tmp_path, monkeypatch):
    monkeypatch.setattr(bundled_weights, "FOLDER", tmp_path)
    write_weights_file(weights, tmp_path / "anatomy.safetensors", torch.float16)
    found = read_starting_weights("anatomy")
    for field in ("options", "classes"):
        assert getattr(found, field) == getattr(weights, field)
    assert weights.told.listed and found.told == replace(weights.told, listed=False)
    for network in ("generator", "discriminator"):
        ours, theirs = getattr(found, network), getattr(weights, network)
        assert ours.keys() == theirs.keys()
        for name, tensor in theirs.items():
            assert torch.equal(
                ours[name], tensor.half().float() if tensor.is_floating_point() else tensor
            )
    (tmp_path / "anatomy.safetensors").write_bytes(b"not one")
    with pytest.raises(TrainingError, match=r"is damaged .*; install scangan again"):
        read_starting_weights("anatomy")


def test_stopped_before_its_first_tick_it_still_starts_from_the_same(before, prepared, tmp_path):
    """Even if the other run was trained on, or is gone."""
    source, out = tmp_path / "anatomy", tmp_path / "run"
    shutil.copytree(before.path, source)
    options = TrainOptions(**SMALL | {"kimg": 0.008, "tick": 0.008})
    whole = train(prepared.path, tmp_path / "whole", options, start=str(source))
    train(prepared.path, out, options, start=str(source))
    (out / "last.pt").unlink()
    (source / "last.pt").unlink()
    train(prepared.path, out, options, start=str(source))
    ours, theirs = (load_file(path / "best.safetensors") for path in (out, whole.path))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    with pytest.raises(TrainingError, match=r"is damaged .*; start over with --force"):
        (out / "last.pt").unlink()
        (out / "start.safetensors").write_bytes(b"not one")
        train(prepared.path, out, options, start=str(source))


def test_scans_held_back_that_the_other_run_was_trained_on_are_counted(before, prepared, tmp_path):
    said = []
    options = TrainOptions(**SMALL | {"kimg": 0.008, "tick": 0.008, "held_back": 0.3})
    run = train(prepared.path, tmp_path / "run", options, start=str(before.path), say=said.append)
    theirs = {(item.sha256, item.frame) for item in before.read_items() if not item.held_back}
    held = [(item.sha256, item.frame) for item in run.read_items() if item.held_back]
    known = sum(scan in theirs for scan in held)
    assert 0 < known <= len(held)
    assert any(
        f"warning: anatomy was trained on {known} of the {len(held)} scans" in s for s in said
    )


def test_names_of_folders_that_nobody_typed_stay_private(before, tmp_path, monkeypatch):
    (tmp_path / "Smith_John").symlink_to(before.path)
    (tmp_path / "latest").symlink_to(tmp_path / "Smith_John")
    assert name_of(str(tmp_path / "latest")) == "latest"
    monkeypatch.chdir(tmp_path)
    assert name_of("latest/../latest/") == "latest"


def test_what_the_other_run_started_from_is_known_too(before, prepared, tmp_path):
    options = TrainOptions(**SMALL | {"kimg": 0.008, "tick": 0.008})
    child = train(prepared.path, tmp_path / "child", options, start=str(before.path))
    grandchild = train(prepared.path, tmp_path / "grandchild", options, start=str(child.path))
    told = grandchild.config.started_from
    assert (told.name, told.started_from.name) == ("child", "anatomy")
    card = run_card(grandchild).recipe["started_from"]
    assert "name" not in card and "name" not in card["started_from"]
    assert card["started_from"]["kimg"] == before_kimg(before)


def test_what_any_run_of_the_line_was_trained_on_is_known(before, prepared, tmp_path):
    """Other scans than those of `before` are trained on; its own must still not be tested on."""
    for name, some in (("new", slice(30, 40)), ("newer", slice(40, 50))):
        folder = tmp_path / f"{name}_scans"
        for of_class in (BRAIN / name for name in CLASSES):
            (folder / of_class.name).mkdir(parents=True)
            for file in sorted(of_class.iterdir())[some]:
                shutil.copy(file, folder / of_class.name)
        prepare(folder, tmp_path / name, PrepOptions(size=32))
    options = TrainOptions(**SMALL | {"kimg": 0.008, "tick": 0.008})
    child = train(tmp_path / "new", tmp_path / "child", options, start=str(before.path))
    last = train(tmp_path / "newer", tmp_path / "last", options, start=str(child.path))
    own = {item.sha256 for item in before.read_items() if not item.held_back}
    assert own <= {item.sha256 for item in last.trained_before()}

    test = ScanSet.of_dataset(prepared.path)
    seen = [each.sha256 in own for each in prepared.items]
    with pytest.raises(EvaluationError, match=r"trained on all scans of .* other scans$"):
        without_trained_on(last, test.take(np.flatnonzero(seen)), drop=True)
    with pytest.raises(
        EvaluationError, match=r"trained on \d+ of \d+ scans .* \(first: .*--drop-leaks"
    ):
        without_trained_on(last, test)
    kept, [note] = without_trained_on(last, test, drop=True)
    others = test.take(np.flatnonzero([not each for each in seen]))
    hashes = {item.sha256 for run in (child, last) for item in run.trained_on()}
    others = others.take(np.flatnonzero([h not in hashes for h in others.hashes]))
    assert kept.hashes == others.hashes and f"left out {len(test) - len(others)} test scans" in note
    assert kept.name.endswith(
        f", without {len(test) - len(others)} that the generator was trained on"
    )
    assert without_trained_on(last, others) == (others, ())


def test_weights_without_a_list_of_scans_are_not_forgotten(before, prepared, tmp_path):
    """What starts from bundled weights, or from a run that did, may have seen any scan."""
    options = TrainOptions(**SMALL | {"kimg": 0.008, "tick": 0.008})
    file = tmp_path / "weights.safetensors"
    write_weights_file(read_starting_weights(str(before.path)), file, torch.float16)
    assert not read_weights_file(file, "").told.listed
    child = train(prepared.path, tmp_path / "child", options, start=str(before.path))
    assert child.config.started_from.listed
    unknown = replace(child.config.started_from, listed=False)
    child._write_config(replace(child.config, started_from=unknown))
    last = train(prepared.path, tmp_path / "last", options, start=str(child.path))
    test = dataclasses.replace(ScanSet.of_dataset(prepared.path), hashes=(), subjects=())
    for run in (child, last):
        assert "nobody checked" in without_trained_on(run, test)[1][0]


def test_each_class_knows_what_the_run_started_from(before, prepared, tmp_path):
    options = TrainOptions(**SMALL | {"kimg": 0.008, "tick": 0.008})
    dcgan = dataclasses.replace(options, arch="dcgan")
    first = train(prepared.path, tmp_path / "first", dcgan)
    both = dataclasses.replace(dcgan, per_class=True)
    run = train(prepared.path, tmp_path / "run", both, start=str(first.path))
    (one, *_) = (Run(run.path / "classes" / str(k)) for k in range(4))
    assert one.trained_before() == run.trained_before() != []


def test_a_model_file_of_a_run_that_started_from_another_is_verified(before, prepared, tmp_path):
    options = TrainOptions(**SMALL | {"kimg": 0.008, "tick": 0.008})
    child = train(prepared.path, tmp_path / "child", options, start=str(before.path))
    last = train(prepared.path, tmp_path / "last", options, start=str(child.path))
    for run in (child, last):
        file = tmp_path / f"{run.path.name}.onnx"
        export_run(run.path, file)
        assert "is the generator of" in verify(file, run.path)
    with pytest.raises(ExportError, match="its card differs in recipe"):
        verify(tmp_path / "child.onnx", last.path)


def test_a_scan_that_the_run_before_saw_was_not_held_back(before, prepared, tmp_path):
    options = TrainOptions(**SMALL | {"kimg": 0.008, "tick": 0.008, "held_back": 0.3})
    run = train(prepared.path, tmp_path / "run", options, start=str(before.path))
    theirs = {(item.sha256, item.frame) for item in before.trained_on()}
    held = {(item.sha256, item.frame) for item in run.read_items() if item.held_back}
    _, left, notes = subsets_of_run(prepared.path, run)
    assert (0 if left is None else len(left)) == len(held - theirs) < len(held)
    assert any("started from other networks" in note for note in notes)


def test_another_run_of_the_same_name_is_not_the_one_it_started_from(before, prepared, tmp_path):
    options = TrainOptions(**SMALL | {"kimg": 0.008, "tick": 0.008})
    run = train(prepared.path, tmp_path / "run", options, start=str(before.path))
    few = prepare(copy_scans(tmp_path / "few", 4), tmp_path / "ds", PrepOptions(size=32))
    other, _ = start_run(tmp_path / "elsewhere" / before.path.name, few)
    with pytest.raises(TrainingError, match="started from another run named anatomy"):
        train(prepared.path, run.path, options, start=str(other.path))
    train(prepared.path, run.path, options, start=str(before.path))


def test_an_empty_name_is_refused(prepared, tmp_path):
    with pytest.raises(TrainingError, match="--start-from is empty; give a run"):
        train(prepared.path, tmp_path / "run", TrainOptions(**SMALL), start="")
    assert not (tmp_path / "run").exists()


def before_kimg(run):
    return load_checkpoint(run, CPU).step * run.options.batch / 1000


def test_a_run_does_not_start_from_what_it_would_delete(before, prepared, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(before.path, out)
    (out / "classes" / "0").mkdir(parents=True)
    files = sorted(out.rglob("*"))
    for start in (out, out / "classes" / "0"):
        with pytest.raises(TrainingError, match=r"is, or is inside, --out .*; choose another"):
            train(prepared.path, out, before.options, start=str(start), force=True)
    assert sorted(path for path in out.rglob("*") if path.name != ".lock") == files


def test_a_dcgan_has_no_layers_of_classes_that_could_differ(weights):
    plain = replace_options(weights, arch="dcgan", head="auxiliary", conditioning="product")
    check_fit(plain, TrainOptions(**SMALL | {"arch": "dcgan"}))
    with pytest.raises(TrainingError, match="head auxiliary"):
        check_fit(replace_options(weights, head="auxiliary"), TrainOptions(**SMALL))


def replace_options(weights, **changes):
    return dataclasses.replace(weights, options=dataclasses.replace(weights.options, **changes))


def test_a_bundled_name_is_not_taken_for_a_folder_of_the_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scans").mkdir()
    check_places(Path("scans"), Path("run"), "run/classes")  # there is no such folder
    with pytest.raises(TrainingError, match="is, or is inside, --out"):
        check_places(Path("scans"), Path("run"), "run")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"latent": 7}, "latent 6, this run has 7; add --latent 6"),
        ({"width": 8}, "width 4 at 32 pixels, this run has 8 at 32; add --width 4"),
        ({"head": "projection"}, "this run has projection; add --set head="),
        ({"minibatch_std": False}, "minibatch_std True, this run has False; add --set minibatch_std=true"),
        ({"arch": "dcgan", "per_class": True}, "add --no-per-class --arch acgan, which needs two or more classes"),
        ({"arch": "dcgan"}, "arch acgan, this run has dcgan; add --arch acgan, which needs two"),
    ],
)  # fmt: skip
def test_networks_with_other_layers_are_refused(weights, given, words):
    with pytest.raises(TrainingError) as refusal:
        check_fit(weights, TrainOptions(**SMALL | given))
    assert words in str(refusal.value)


def test_what_holds_no_networks_to_start_from_is_refused(
    tiny_acgan, prepared, tmp_path, monkeypatch
):
    with pytest.raises(TrainingError, match="a model file has no discriminator; give the run"):
        read_starting_weights(str(tiny_acgan))
    monkeypatch.setattr(bundled_weights, "FOLDER", tmp_path / "none")
    with pytest.raises(
        TrainingError,
        match=r"--start-from brian-mri: there is no such run; give the --out of .*gan$",
    ):
        read_starting_weights("brian-mri")
    monkeypatch.setattr(bundled_weights, "FOLDER", tmp_path)
    (tmp_path / "brain-mri.safetensors").touch()
    with pytest.raises(
        TrainingError, match=r"train-gan, or bundled weights: brain-mri .did you mean brain-mri"
    ):
        read_starting_weights("brian-mri")
    young = start_run(tmp_path / "young", prepared)[0]
    (young.path / "last.pt").unlink()
    with pytest.raises(TrainingError, match="it has no checkpoint yet"):
        read_starting_weights(str(young.path))
    each = start_run(tmp_path / "each", prepared, arch="dcgan")[0]
    told = json.loads((each.path / "config.json").read_text())
    told["options"]["per_class"] = True
    (each.path / "config.json").write_text(json.dumps(told))
    with pytest.raises(
        TrainingError,
        match=r"networks for each class; give one of them, such as --start-from .*each/classes/0$",
    ):
        read_starting_weights(str(each.path))
    torn = start_run(tmp_path / "torn", prepared)[0]
    (torn.path / "last.pt").write_bytes(b"not one")
    with pytest.raises(
        TrainingError, match=r"^--start-from .*last.pt cannot be read .*; give another run$"
    ):
        read_starting_weights(str(torn.path))
    # Nothing was begun, and with --force nothing deleted.
    files = sorted(path.name for path in young.path.iterdir())
    for force in (False, True):
        with pytest.raises(TrainingError):
            train(prepared.path, young.path, young.options, start="nowhere", force=force)
    assert sorted(path.name for path in young.path.iterdir() if path.name != ".lock") == files


def test_a_class_of_its_own_starts_from_an_unconditional_run(tmp_path):
    scans = prepare(copy_scans(tmp_path / "scans", 20), tmp_path / "set", PrepOptions(size=32))
    start = start_run(tmp_path / "plain", scans, arch="dcgan")[0]
    options = TrainOptions(**SMALL | {"arch": "dcgan", "per_class": True, "tick": 0.04})
    said = []
    train(scans.path, tmp_path / "run", options, start=str(start.path), say=said.append)
    assert sum(line.startswith("starting from plain: 100%") for line in said) == 2


def test_conditional_norms_have_the_tables_that_are_looked_for():
    names = {name for name, _ in ConditionalBatchNorm(4, 3).named_parameters()}
    assert names == {"scale.weight", "shift.weight"}
