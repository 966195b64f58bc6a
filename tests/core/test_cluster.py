"""A Ray cluster that is gone is told of, where Ray would end the process without a word."""

import os
import subprocess
import sys
import time

import psutil
import pytest
from clusters import cluster_of_two
from conftest import BRAIN

pytest.importorskip("ray")
AS = "from scangan.cli.programs import {0}; {0}()"


def _prepares(source, out):
    for number in range(60):
        (source / str(number)).parent.mkdir(exist_ok=True)
        (source / str(number)).symlink_to(BRAIN)
    return "prep_scans", [source, out, "--class-level", 2]


def _generates(source, out):
    return "gen_scans", ["--count", 60_000, "--format", "tar", "--out", out]


def _begun(out):
    journal = out / ".part/journal.jsonl"
    return list(out.glob("*.tar")) or (journal.exists() and journal.stat().st_size > 100_000)


@pytest.mark.skipif("SCANGAN_SCALE" not in os.environ, reason="make check-scale runs it")
@pytest.mark.parametrize("work", [_prepares, _generates])
def test_a_cluster_that_is_gone(work, tmp_path):
    out = tmp_path / "out"
    name, words = work(tmp_path / "many", out)
    with cluster_of_two(tmp_path) as address:
        heads = psutil.Process().children()
        argv = [sys.executable, "-c", AS.format(name), *words, "--quiet"]
        argv += ["--engine", "ray", "--address", address]
        with subprocess.Popen(
            list(map(str, argv)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as driver:
            while not _begun(out):
                assert driver.poll() is None, driver.stdout.read()
                time.sleep(0.1)
            for head in heads:
                for process in (head, *head.children(recursive=True)):
                    process.kill()
            said = driver.communicate(timeout=90)[0].strip()
    assert driver.returncode == 1 and "\n" not in said
    assert "is gone; start it and run the same command again to continue" in said
