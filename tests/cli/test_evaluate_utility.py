"""The command ``eval-scans utility``."""

import json

import pytest
from click.testing import CliRunner
from conftest import copy_scans
from msgspec.structs import replace
from training_runs import start_run

from scangan.artifacts.records import write_records
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


def test_without_a_test_set_a_run_is_tested_on_what_it_held_back(folder, tmp_path):
    dataset = prepare(folder / "scans", folder / "train", PrepOptions(size=64))
    run, _ = start_run(tmp_path / "run", dataset, size=64, held_back=0.4)
    given = [dataset.path, "brain-mri-64", "--run", run.path, "--count", 20, "--seeds", 1]
    given += ["--cache", folder / "cache"]
    done = CliRunner().invoke(main, [*map(str, given), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "out/result.json").read_text())
    held = run.held_back(len(dataset.items))
    shown = {name: int(held[dataset.labels == k].sum()) for k, name in enumerate(dataset.classes)}
    assert found["test"]["counts"] == shown
    assert sum(found["train"]["counts"].values()) == int((~held).sum())
    assert any("they trained nothing, but picked the checkpoint" in note for note in found["notes"])

    run, _ = start_run(tmp_path / "none", dataset, size=64, held_back=0.0)
    given[3] = run.path
    refused = CliRunner().invoke(main, [*map(str, given), "--out", str(tmp_path / "other")])
    assert (
        refused.exit_code == 1 and "held back no scan; give scans of every class" in refused.stderr
    )
    assert not (tmp_path / "other").exists()

    few = prepare(copy_scans(tmp_path / "few", 25), tmp_path / "fewer", PrepOptions(size=64))
    rare = few.classes[0]
    run, _ = start_run(tmp_path / "rare", few, size=64, held_back=0.4)
    items = [
        replace(item, held_back=item.held_back and item.class_name != rare)
        for item in run.read_items()
    ]
    write_records(run.path / "items.jsonl", items)
    given[0], given[3] = few.path, run.path
    refused = CliRunner().invoke(main, [*map(str, given), "--out", str(tmp_path / "other")])
    assert refused.exit_code == 1 and f"held back no scan of {rare}; give" in refused.stderr
