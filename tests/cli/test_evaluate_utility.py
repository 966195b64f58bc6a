"""The command ``eval-scans utility``."""

import json

import pytest
from click.testing import CliRunner
from conftest import copy_scans
from training_runs import start_run

from scangan.cli.evaluate_utility import main
from scangan.preprocessing import PrepOptions, prepare


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Training scans, prepared, and a folder of other scans and a few of the same."""
    folder = tmp_path_factory.mktemp("utility")
    prepare(copy_scans(folder / "scans", 25), folder / "train", PrepOptions(size=64))
    copy_scans(folder / "test", 30, start=20)
    return folder


def _run(folder, out, *args):
    given = [folder / "train", "brain-mri-64", "--test", folder / "test", "--count", 20]
    given += ["--out", out, "--seeds", 1, "--cache", folder / "cache", *args]
    return CliRunner().invoke(main, [*map(str, given)])


@pytest.mark.parametrize("run_given", [False, True])
def test_scans_that_were_trained_on_are_refused_or_left_out(folder, tmp_path, run_given):
    args = []
    if run_given:
        dataset = prepare(folder / "scans", folder / "train", PrepOptions(size=64))
        run, _ = start_run(tmp_path / "run", dataset, size=64, held_back=0.0)
        args = ["--run", run.path]
    refused = _run(folder, tmp_path / "out", *args)
    assert refused.exit_code == 1 and refused.stderr.count("\n") == 1
    assert (
        "--drop-leaks" in refused.stderr and ("trained on 10 of 60" in refused.stderr) == run_given
    )
    assert not (tmp_path / "out").exists()

    done = _run(folder, tmp_path / "out", *args, "--drop-leaks")
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "out/result.json").read_text())
    assert sum(found["test"]["counts"].values()) == 50
    assert any(note.startswith("left out 10 ") for note in found["notes"])
