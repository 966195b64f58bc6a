"""The command ``eval-scans privacy``."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import copy_scans
from scans_once import scans_once

from scangan.cli import scan_sets
from scangan.cli.evaluate_privacy import main
from scangan.evaluation.planted import LEVELS
from scangan.evaluation.scan_set import ScanSet
from scangan.preprocessing import PrepOptions, prepare


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    folder = tmp_path_factory.mktemp("train")
    return prepare(copy_scans(folder / "scans", 40), folder / "train", PrepOptions(size=32)).path


@pytest.fixture(scope="module", autouse=True)
def _once():
    """See each scan once."""
    with scans_once():
        yield


@pytest.fixture(autouse=True)
def _scan_sets(monkeypatch, tmp_path):
    """SYNTHETIC is a file of arrays here; the cache is of this test."""

    opened = scan_sets.open_scans

    def open_scans(path, *, like=None, count=0, threads=None):
        if not path.endswith(".npy"):
            return opened(path, like=like)
        images = np.load(path)
        return ScanSet(images, np.arange(len(images)) % 2, like.classes, path)

    def open_pair(real, synthetic, *, count, threads=None):
        first = opened(real)
        return first, open_scans(synthetic, like=first)

    for change in list(LEVELS)[1:]:  # exact copies are enough here
        monkeypatch.delitem(LEVELS, change)
    monkeypatch.setattr(scan_sets, "open_scans", open_scans)
    monkeypatch.setattr(scan_sets, "open_pair", open_pair)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def synthetic(train, tmp_path):
    """Noise, and three copies of training scans."""
    scans = ScanSet.of_dataset(train).images
    noise = np.random.default_rng(0).integers(0, 256, (25, 32, 32), dtype=np.uint8)
    np.save(tmp_path / "synthetic.npy", np.concatenate([noise, scans[:3]]))
    return tmp_path / "synthetic.npy"


def run(*args):
    done = CliRunner().invoke(main, [str(arg) for arg in args])
    return done.exit_code, done.stdout, done.stderr


def test_the_help_lists_every_option():
    code, out, _ = run("--help")
    assert code == 0 and all(name in out for option in main.params for name in option.opts[:1])


def test_it_writes_what_it_found_and_says_it(train, synthetic, tmp_path):
    code, out, err = run(train, synthetic, "--out", tmp_path / "out")
    assert code == 0, err
    assert len((tmp_path / "out" / "suspects.jsonl").read_text().splitlines()) == 3
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["threshold"]["calibrated_on"] == "train"
    lines = out.splitlines()
    assert lines[0].startswith("planted copies found: exact 40/40")
    assert any("membership inference was not tested" in line for line in lines)
    assert any("3 of 28 synthetic scans" in line and "proves nothing" in line for line in lines)
    assert lines[-1].startswith(f"3 suspects of 28: {tmp_path / 'out'}")
    assert (tmp_path / "out" / "suspects.png").is_file()


def test_more_copies_than_allowed_fail_in_one_line(train, synthetic, tmp_path):
    allowed = run(train, synthetic, "--out", tmp_path / "out", "--max-copies", 3, "--quiet")
    assert allowed == (0, "", "")
    code, out, err = run(train, synthetic, "--out", tmp_path / "out", "--max-copies", 2, "--json")
    assert code == 1
    assert json.loads(out) == {"out": str(tmp_path / "out"), "scans": 28, "suspects": 3}
    assert err.count("\n") == 1 and "3 suspects, but --max-copies allows 2" in err


def test_a_hold_out_is_attacked(train, synthetic, tmp_path):
    other = prepare(
        copy_scans(tmp_path / "more", 30, ("no_tumor", "pituitary_tumor")),
        tmp_path / "holdout",
        PrepOptions(size=32),
    ).path
    code, out, err = run(train, synthetic, "--out", tmp_path / "out", "--holdout", other)
    assert code == 0, err
    assert "have too few scans of the same classes" in out
    assert "nearer than the hold-out's first percentile, in pixels" in out


def test_with_a_run_its_discriminator_and_the_scans_it_held_back_are_used(
    synthetic, tmp_path, prepared
):
    from training_runs import start_run

    made, _ = start_run(tmp_path / "run", prepared, held_back=0.4)
    code, out, err = run(prepared.path, synthetic, "--out", tmp_path / "out", "--run", made.path)
    assert code == 0, err
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    held = made.held_back(len(prepared.labels))
    assert sum(result["holdout"]["counts"].values()) == held.sum()
    assert set(result["membership"]) == {"features", "pixels", "discriminator", "blind"}
    assert result["membership"]["discriminator"]["members"] == (~held).sum()
    assert "membership by the discriminator: AUC" in out


def test_a_folder_that_is_not_a_run_is_refused_in_one_line(train, synthetic, tmp_path):
    code, out, err = run(train, synthetic, "--out", tmp_path / "out", "--run", tmp_path / "none")
    assert code == 1 and out == "" and err.count("\n") == 1 and "is not a run" in err
    assert not (tmp_path / "out").exists()
