"""Faults on purpose, in short: a point or two of each kind and command; `make check-faults` tries all.

Every cell runs a command under a fault, and then the same command again. Where points are drawn,
SCANGAN_FAULT_SEED in the output of a failure repeats them.
"""

import itertools
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from faults.commands import COMMANDS, Command, make_templates
from faults.kinds import KINDS, choose
from faults.shim import build, why_not
from faults.trial import Bench

SEED = os.environ.get("SCANGAN_FAULT_SEED", str(time.time_ns()))
LIGHT_ONES = [command for command in COMMANDS if not command.heavy]
HEAVY_ONES = [command for command in COMMANDS if command.heavy]
# A run takes seconds: of these commands each kind meets one, and a draw says which.
SAMPLED = ["disk full", "SIGKILL", "EIO on write"]

pytestmark = pytest.mark.skipif(bool(why_not()), reason=str(why_not()))


def _heavy_cells():
    rng = random.Random(SEED)
    return [(rng.choice(HEAVY_ONES).title, kind) for kind in SAMPLED]


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory, tiny_acgan):
    """Try all cells, the light commands beside the heavy ones; verdicts by command and kind."""
    print(f"to draw the same points again: SCANGAN_FAULT_SEED={SEED}")
    folder = tmp_path_factory.mktemp("faults").resolve()
    shim = build(folder)
    benches = [Bench(folder / name, shim, folder / f"{name}-in") for name in ("light", "heavy")]

    def try_all(bench, cells):
        bench.folder.mkdir()
        bench.templates.mkdir()
        light, heavy = bench.zygotes
        make_templates(bench.templates, tiny_acgan, light, heavy if bench is benches[1] else None)
        found = {}
        for command, kind in cells:
            points = bench.points(command, kind, 1, SEED)
            found[command.title, kind.title] = [bench.try_out(command, kind, p, 0) for p in points]
        bench.close()
        return found

    heavy = [(c, k) for c in HEAVY_ONES for k in KINDS if (c.title, k.title) in _heavy_cells()]
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(try_all, benches, [list(itertools.product(LIGHT_ONES, KINDS)), heavy])
        return {cell: tried for part in found for cell, tried in part.items()}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind.title for kind in KINDS])
@pytest.mark.parametrize("command", [command.title for command in LIGHT_ONES])
def test_after_a_fault_the_same_command_ends_with_the_same_bytes(verdicts, command, kind):
    assert not [str(verdict) for verdict in verdicts[command, kind] if verdict.wrong], SEED


@pytest.mark.slow
def test_after_a_fault_a_run_and_an_export_end_with_the_same_bytes(verdicts):
    for cell in _heavy_cells():
        assert verdicts[cell]
        assert not [str(verdict) for verdict in verdicts[cell] if verdict.wrong], SEED


@pytest.mark.parametrize(
    "kind", ["disk full", "EIO on read", "EIO on write", "input is cut short", "SIGKILL"]
)
def test_a_careless_command_is_found_out(tmp_path, kind):
    careless = Command("careless", ("careless",), "model", "done")
    (tmp_path / "templates/model").mkdir(parents=True)
    (tmp_path / "templates/model/a").write_bytes(bytes(1000))
    (tmp_path / "templates/model/b").write_bytes(bytes(1000))
    bench = Bench(tmp_path, build(tmp_path), tmp_path / "templates")
    (kind,) = (each for each in KINDS if each.title == kind)
    points = bench.points(careless, kind, 6, "1")
    wrong = [bench.try_out(careless, kind, point, 0).wrong for point in points]
    bench.close()
    assert any(wrong)


def test_points_are_spread_from_the_first_call_to_the_last():
    assert choose(100, 5, None) == [1, 26, 50, 75, 100]
    assert choose(3, 20, None) == [1, 2, 3]
    assert choose(9, 1, None) == [5]
    assert choose(50, 4, random.Random("1")) == choose(50, 4, random.Random("1"))
