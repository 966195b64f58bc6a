"""A run on a disk that fails, or whose files are cut short while they are read."""

import errno
import json
from pathlib import Path

import pytest
import torch

from scangan.artifacts.scores import KeptScores
from scangan.training import Run, TrainingError
from scangan.training.checkpoints import (
    Best,
    Checkpoint,
    load_best,
    load_checkpoint,
    save_best,
    save_checkpoint,
)
from scangan.training.early_stopping import EarlyStopping

SCORES = KeptScores(
    n=8, kid=0.25, class_kid={"a": 0.25}, agreement={}, variety={"a": 0.9}, mean_class_kid=0.25,
    mean_agreement=None, real_kid=0.01,
)  # fmt: skip


@pytest.fixture
def run(tmp_path):
    """A run's files, without a training."""
    run = Run(tmp_path / "run")
    run.path.mkdir()
    save_best(run, Best({"a.weight": torch.arange(6.0).reshape(2, 3)}, "ema", 1.5, SCORES))
    networks, sums = {"a": torch.ones(2)}, torch.zeros(3)
    stopping = EarlyStopping(0.25, 1.0)
    save_checkpoint(
        run, Checkpoint(step=5, networks=networks, progress=stopping, sums=sums, summed=2)
    )
    return run


def test_the_kept_generator_comes_back_as_it_was(run):
    best = load_best(run)
    assert torch.equal(best.state["a.weight"], torch.arange(6.0).reshape(2, 3))
    assert (best.kind, best.kimg, best.scores) == ("ema", 1.5, SCORES)


@pytest.mark.parametrize("size", [0, 4, 8, 40, -1])
def test_a_kept_generator_that_is_cut_short_is_damaged(run, size):
    file = run.path / "best.safetensors"
    data = file.read_bytes()
    file.write_bytes(data[:size])
    with pytest.raises(TrainingError, match="is damaged"):
        load_best(run)


def test_a_checkpoint_comes_back_as_it_was(run):
    saved = load_checkpoint(run, torch.device("cpu"))
    assert (saved.format_version, saved.step, saved.summed) == (3, 5, 2)
    assert saved.progress == EarlyStopping(0.25, 1.0)
    assert torch.equal(saved.networks["a"], torch.ones(2)) and not saved.sums.any()


@pytest.mark.parametrize("file", ["last.pt", "best.safetensors", "metrics.jsonl", "config.json"])
def test_a_disk_that_fails_is_named_and_no_run_is_to_be_deleted(run, monkeypatch, file):
    (run.path / "metrics.jsonl").write_text("{}\n")
    (run.path / "config.json").write_text(json.dumps({"format_version": 3}))

    def fails(self, *args, **kwargs):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "read_bytes", fails)
    monkeypatch.setattr(Path, "read_text", fails)
    read = {
        "last.pt": lambda: load_checkpoint(run, torch.device("cpu")),
        "best.safetensors": lambda: load_best(run),
        "metrics.jsonl": run.read_metrics,
        "config.json": lambda: run.config,
    }[file]
    with pytest.raises(OSError) as error:
        read()
    assert error.value.filename == str(run.path / file)


@pytest.mark.parametrize(
    ("change", "says"),
    [({"started": 7}, "$.started"), ({"colour": 1}, "`colour`"), ({"dataset": {}}, "`classes`"),
     ({"options": {"colour": 1}}, "no option 'colour'")],
)  # fmt: skip
def test_what_is_wrong_with_a_config_is_named(change, says, tmp_path):
    dataset = {"classes": ["a"], "counts": {"a": 1}, "fingerprint": "f", "preprocessing": {}}
    told = {"format_version": 3, "options": {}, "dataset": dataset, "versions": {}, "started": ""}
    (tmp_path / "config.json").write_text(json.dumps(told))
    assert Run(tmp_path).config.dataset.classes == ("a",)
    (tmp_path / "config.json").write_text(json.dumps(told | change))
    with pytest.raises(TrainingError, match=r"config\.json is damaged \(.*\); restore it") as error:
        _ = Run(tmp_path).config
    assert says in str(error.value) and "\n" not in str(error.value)
