"""Faults on purpose, in short: a point or two of each kind and command; `make check-faults` tries all.

Every cell runs a command under a fault, and then the same command again. SCANGAN_FAULT_SEED draws other
points.
"""

import os
import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from faults.commands import COMMANDS, Command, make_templates
from faults.kinds import KINDS, choose
from faults.shim import build, why_not
from faults.trial import Bench

# The same points on each run; `make check-faults` draws others.
SEED = os.environ.get("SCANGAN_FAULT_SEED", "1")
# Each command meets so many kinds, which are drawn; most take a second or more a run.
DRAWN = {"prep-scans": 6, "prep-scans --split": 2, "train-gan": 1, "export-onnx": 1}
OTHERS = 7

pytestmark = pytest.mark.skipif(bool(why_not()), reason=str(why_not()))


def _cells():
    """Commands and kinds that are tried."""
    rng = random.Random(SEED)
    for command in COMMANDS:
        yield command, rng.sample(KINDS, DRAWN.get(command.title, OTHERS))


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory, tiny_acgan):
    """Try all cells, those that need torch beside the others; verdicts by command."""
    print(f"to draw the same points again: SCANGAN_FAULT_SEED={SEED}")
    folder = tmp_path_factory.mktemp("faults").resolve()
    shim = build(folder)

    def try_all(heavy):
        place = folder / ("heavy" if heavy else "light")
        bench = Bench(place, shim, place / "templates")
        bench.templates.mkdir(parents=True)
        ours = bench.zygotes[heavy]  # the other one is not even started
        make_templates(bench.templates, tiny_acgan, ours, ours if heavy else None)
        found = {}
        for command, kinds in _cells():
            if command.heavy == heavy:
                found[command.title] = [
                    bench.try_out(command, kind, point, 0)
                    for kind in kinds
                    for point in bench.points(command, kind, 1, SEED)
                ]
        bench.close()
        return found

    with ThreadPoolExecutor(2) as pool:
        light, heavy = pool.map(try_all, (False, True))
        return light | heavy


@pytest.mark.slow
@pytest.mark.parametrize("command", [command.title for command in COMMANDS])
def test_after_a_fault_the_same_command_ends_with_the_same_bytes(verdicts, command):
    assert verdicts[command]
    assert not [str(verdict) for verdict in verdicts[command] if verdict.wrong], SEED


def test_a_careless_command_is_found_out(tmp_path):
    careless = Command("careless", ("careless",), "model", "done")
    (tmp_path / "templates/model").mkdir(parents=True)
    (tmp_path / "templates/model/a").write_bytes(bytes(1000))
    (tmp_path / "templates/model/b").write_bytes(bytes(1000))
    bench = Bench(tmp_path, build(tmp_path), tmp_path / "templates")
    # It is held up by nothing, and asks for neither the time nor /tmp: other kinds need not find it.
    harmful = {
        "disk full", "EIO on read", "EIO on write", "input changes", "input is cut short", "SIGKILL",
        "SIGTERM",
    }  # fmt: skip
    found = {
        kind.title
        for kind in KINDS
        if kind.title in harmful
        and any(
            bench.try_out(careless, kind, point, 0).wrong
            for point in bench.points(careless, kind, 4, "1")
        )
    }
    bench.close()
    assert found == harmful


def test_points_are_spread_from_the_first_call_to_the_last():
    assert choose(101, 5, None) == [1, 26, 51, 76, 101]
    assert choose(3, 20, None) == [1, 2, 3]
    assert choose(9, 1, None) == [5]
    assert choose(50, 4, random.Random("1")) == choose(50, 4, random.Random("1"))
