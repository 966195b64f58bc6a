"""``eval-scans quality``, as a user types it."""

import json

import pytest
from click.testing import CliRunner
from conftest import copy_scans

from scangan.cli.evaluate import main
from scangan.preprocessing import PrepOptions, prepare

FEW = ["--extractor", "efficientnet-lite0", "--repeats", "20", "--quiet"]


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Two sets that were prepared in different ways."""
    folder = tmp_path_factory.mktemp("sets")
    scans = copy_scans(folder / "scans", 12)
    others = copy_scans(folder / "others", 12, start=12)
    prepare(scans, folder / "plain", PrepOptions(size=32))
    prepare(others, folder / "clahe", PrepOptions(size=32, equalize="clahe"))
    return folder


def _run(sets, out, *more):
    given = ["quality", sets / "plain", sets / "clahe", "--out", out, "--cache", sets / "cache"]
    return CliRunner().invoke(main, [*map(str, given), *FEW, *map(str, more)])


def test_sets_that_were_prepared_differently_are_noted_or_refused(sets, tmp_path):
    done = _run(sets, tmp_path / "noted", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert told == json.loads((tmp_path / "noted/result.json").read_text())
    assert any("equalize" in note for note in told["notes"])
    refused = _run(sets, tmp_path / "refused", "--strict")
    assert refused.exit_code == 1 and refused.stderr.count("\n") == 1
    assert "equalize" in refused.stderr and not (tmp_path / "refused").exists()


def test_the_seed_draws_other_halves_and_the_same_one_the_same(sets, tmp_path):
    of = {
        name: json.loads(_run(sets, tmp_path / name, "--json", "--seed", seed).stdout)["spaces"]
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    }
    assert of["a"] == of["b"] != of["c"]
