"""Scores of a run's last discriminator, and the scans that a run was trained on."""

import dataclasses

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from training_runs import SMALL, save, start_run

from scangan.artifacts.run import Run
from scangan.core.errors import EvaluationError, TrainingError
from scangan.evaluation.membership import attack
from scangan.evaluation.run_subsets import subsets_of_run
from scangan.evaluation.scan_set import ScanSet
from scangan.training import TrainOptions
from scangan.training.discriminator_scores import discriminator_scores
from scangan.training.step import make_step
from scangan.training.train_gan import run_config, run_items, training_scans

FAMILIES = {
    "stable": {},
    "classic": {
        "spectral_norm": False, "minibatch_std": False, "batch_norm": True, "pool": "flatten",
        "loss": "bce", "dropout": 0.3, "head": "auxiliary",
    },
    "without classes": {"arch": "dcgan", "head": "projection"},
    "ramped": {"ramp_start": 0.008, "ramp_end": 0.05},
}  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_are_those_of_the_last_discriminator_scan_by_scan(family, prepared, tmp_path):
    run, network = start_run(tmp_path / "run", prepared, **FAMILIES[family])
    images, labels = np.array(prepared.images[:130]), prepared.labels[:130]
    score = discriminator_scores(run, prepared.classes)[0]
    found = score(images, labels)
    assert found.dtype == np.float64 and found.shape == (130,) and np.ptp(found) > 0
    for n in (0, 62, 63, 64, 129):
        pixels = torch.from_numpy(images[n : n + 1]).float()[:, None] / 127.5 - 1
        with torch.no_grad():
            alone, _ = network(pixels, torch.from_numpy(labels[n : n + 1]))
        assert found[n] == pytest.approx(float(alone[0]), abs=1e-4)
    # Neither the other scans nor their number matter.
    for count in (1, 2, 4, 64):
        assert np.allclose(score(images[:count], labels[:count]), found[:count], atol=1e-4)
    assert score(images[:0], labels[:0]).shape == (0,)


def test_classes_are_told_by_their_names(prepared, tmp_path):
    run, _ = start_run(tmp_path / "run", prepared)
    images, labels = np.array(prepared.images[:40]), prepared.labels[:40]
    found = discriminator_scores(run, prepared.classes)[0](images, labels)
    other = prepared.classes[::-1]
    renumbered = len(other) - 1 - labels
    assert np.allclose(discriminator_scores(run, other)[0](images, renumbered), found)
    with pytest.raises(TrainingError, match="was not trained on heart"):
        discriminator_scores(run, ("heart",))


def test_a_discriminator_per_class_scores_its_own(prepared, tmp_path):
    options = TrainOptions(**SMALL | {"per_class": True, "arch": "dcgan", "head": "projection"})
    run = Run(tmp_path / "run")
    config = run_config(prepared, options, ("", ""), torch.device("cpu"))
    run.start(config, run_items(prepared, options))
    networks = []
    single = dataclasses.replace(options, per_class=False)
    for k, _ in enumerate(prepared.classes):
        of_class = Run(run.path / "classes" / str(k))
        of_class.start(replace(config, options=single), run_items(prepared, options))
        scans = training_scans(prepared, options, run).of_class(k)
        step = make_step(dataclasses.replace(single, seed=k), scans, torch.device("cpu"))
        save(of_class, step)
        networks.append(step.discriminator.eval())
    images, labels = np.array(prepared.images[::20]), prepared.labels[::20]
    found = discriminator_scores(run, prepared.classes)[0](images, labels)
    assert set(labels) == {0, 1, 2, 3}
    for image, label, value in zip(images, labels, found):
        pixels = torch.from_numpy(image[None, None]).float() / 127.5 - 1
        with torch.no_grad():
            assert value == pytest.approx(float(networks[label](pixels)[0][0]), abs=1e-4)


def test_a_discriminator_that_knows_its_scans_by_heart_gives_them_away(prepared, tmp_path):
    options = TrainOptions(**SMALL | FAMILIES["classic"] | {"dropout": 0.0, "held_back": 0.3})
    run = Run(tmp_path / "run")
    config = run_config(prepared, options, ("", ""), torch.device("cpu"))
    run.start(config, run_items(prepared, options))
    step = make_step(options, training_scans(prepared, options, run), torch.device("cpu"))
    held = run.held_back(len(prepared.labels))
    pixels = torch.from_numpy(np.array(prepared.images)).float()[:, None] / 127.5 - 1
    labels, trained = torch.from_numpy(prepared.labels), torch.from_numpy(~held).float()
    optimizer = torch.optim.Adam(step.discriminator.parameters(), 5e-3)
    for _ in range(80):
        realness, _ = step.discriminator(pixels, labels)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(realness, trained)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    save(run, step)
    found = discriminator_scores(run, prepared.classes)[0](
        np.array(prepared.images), prepared.labels
    )
    parts = [[each[~held], each[held]] for each in (found, prepared.groups, prepared.labels)]
    assert attack(*parts, 100).auc_low > 0.9


def test_what_cannot_be_scored_is_refused(prepared, tmp_path):
    run, _ = start_run(tmp_path / "run", prepared)
    score = discriminator_scores(run, prepared.classes)[0]
    with pytest.raises(TrainingError, match="trained at 32 pixels; these scans have 64"):
        score(np.zeros((2, 64, 64), np.uint8), np.zeros(2, np.int64))
    saved = torch.load(run.path / "last.pt", weights_only=True)
    del saved["networks"]["discriminator"]
    torch.save(saved, run.path / "last.pt")
    with pytest.raises(TrainingError, match=r"last\.pt does not match its config"):
        discriminator_scores(run, prepared.classes)
    (run.path / "last.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(TrainingError, match="cannot be read"):
        discriminator_scores(run, prepared.classes)
    (run.path / "last.pt").unlink()
    with pytest.raises(TrainingError, match="has no checkpoint yet"):
        discriminator_scores(run, prepared.classes)


def test_a_run_tells_which_scans_it_was_trained_on(prepared, tmp_path):
    run, _ = start_run(tmp_path / "run", prepared, steps=0)
    held = run.held_back(len(prepared.labels))
    train, back, notes = subsets_of_run(prepared.path, run)
    assert notes == []
    assert np.array_equal(train.images, prepared.images[~held])
    assert np.array_equal(back.images, prepared.images[held])
    assert not set(train.groups) & set(back.groups)
    assert train.sources[0] == prepared.items[int(np.flatnonzero(~held)[0])].file


def test_scans_that_the_run_does_not_know_are_left_out(prepared, tmp_path, monkeypatch):
    run, _ = start_run(tmp_path / "run", prepared, steps=0)
    items = run.read_items()
    run.start(run.config, items[:-7])
    train, back, notes = subsets_of_run(prepared.path, run)
    assert len(train) + len(back) == len(prepared.labels) - 7
    assert notes == ["left out 7 real scans that the run does not know"]
    # A copy of a held-back scan that was trained on is a training scan.
    held = next(item for item in items if item.held_back)
    run.start(run.config, [*items, replace(held, held_back=False)])
    again, back_again, _ = subsets_of_run(prepared.path, run)
    name = held.file
    assert name in again.sources and name not in back_again.sources
    run.start(run.config, [replace(item, held_back=False) for item in items])
    assert subsets_of_run(prepared.path, run)[1:] == (None, [])
    run.start(run.config, items)
    scans = ScanSet.of_dataset(prepared.path)
    made_up = dataclasses.replace(scans, synthetic=~run.held_back(len(items)))
    with monkeypatch.context() as patch:
        patch.setattr(ScanSet, "of_dataset", lambda path: made_up)
        with pytest.raises(EvaluationError, match="was trained on no real scan of"):
            subsets_of_run(prepared.path, run)
    run.start(run.config, [replace(item, sha256="0" * 64) for item in items])
    with pytest.raises(EvaluationError, match="was trained on no real scan of"):
        subsets_of_run(prepared.path, run)
