"""A run on a disk that fails, or whose files are cut short while they are read."""

import errno
import json
from pathlib import Path

import pytest
import torch

from scangan.training import Run, TrainingError
from scangan.training.run import Best


@pytest.fixture
def run(tmp_path):
    """A run's files, without a training."""
    run = Run(tmp_path / "run")
    run.path.mkdir()
    run.save_best(Best({"a.weight": torch.arange(6.0).reshape(2, 3)}, "ema", 1.5, {"kid": 0.25}))
    run.save_state({"format_version": 3, "step": 5})
    return run


def test_the_kept_generator_comes_back_as_it_was(run):
    best = run.load_best()
    assert torch.equal(best.state["a.weight"], torch.arange(6.0).reshape(2, 3))
    assert (best.kind, best.kimg, best.scores) == ("ema", 1.5, {"kid": 0.25})


@pytest.mark.parametrize("size", [0, 4, 8, 40, -1])
def test_a_kept_generator_that_is_cut_short_is_damaged(run, size):
    file = run.path / "best.safetensors"
    data = file.read_bytes()
    file.write_bytes(data[:size])
    with pytest.raises(TrainingError, match="is damaged"):
        run.load_best()


@pytest.mark.parametrize("file", ["last.pt", "best.safetensors", "metrics.jsonl", "config.json"])
def test_a_disk_that_fails_is_named_and_no_run_is_to_be_deleted(run, monkeypatch, file):
    (run.path / "metrics.jsonl").write_text("{}\n")
    (run.path / "config.json").write_text(json.dumps({"format_version": 3}))

    def fails(self, *args, **kwargs):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "read_bytes", fails)
    monkeypatch.setattr(Path, "read_text", fails)
    read = {
        "last.pt": lambda: run.load_state(torch.device("cpu")),
        "best.safetensors": run.load_best,
        "metrics.jsonl": run.read_metrics,
        "config.json": lambda: run.config,
    }[file]
    with pytest.raises(OSError) as error:
        read()
    assert error.value.filename == str(run.path / file)
