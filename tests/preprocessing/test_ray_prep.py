"""On a Ray cluster, a dataset is that of one machine, whoever is killed."""

import os
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from clusters import processes_of
from conftest import BRAIN, copy_scans, folder_bytes
from programs import main_of

from scangan.core import store
from scangan.core.cluster import Cluster, ClusterError
from scangan.core.errors import PreprocessingError
from scangan.preprocessing import PrepOptions, prepare, prepare_split, ray_engine
from scangan.preprocessing.find_scans import SourceOptions

pytest.importorskip("ray")


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Real scans, 16-bit ones that share a window, a copy, and files that are refused."""
    folder = copy_scans(tmp_path_factory.mktemp("scans"), 20)
    for number in range(9):
        deep = np.random.default_rng(number).integers(0, 3000, (40, 40)).astype(np.uint16)
        assert cv2.imwrite(str(folder / f"glioma_tumor/deep{number}.png"), deep)
    copied = (folder / "glioma_tumor/deep3.png").read_bytes()
    (folder / "meningioma_tumor/copy.png").write_bytes(copied)
    (folder / "meningioma_tumor/damaged.png").write_bytes(copied[:300])
    return folder


@pytest.mark.parametrize("options", [{}, {"duplicates": "drop"}], ids=str)
def test_the_dataset_is_that_of_one_machine(options, cluster, scans, tmp_path):
    here = prepare(scans, tmp_path / "here", PrepOptions(**options))
    there = prepare(scans, tmp_path / "there", PrepOptions(**options), cluster=Cluster(cluster))
    assert folder_bytes(tmp_path / "there") == folder_bytes(tmp_path / "here")
    assert there.fingerprint == here.fingerprint and there.info.window is not None


def test_from_a_store(cluster, bucket, scans, tmp_path):
    for file in scans.glob("*/*"):
        store.put(bucket / "scans" / file.relative_to(scans).as_posix(), file.read_bytes())
    fractions = (0.7, 0.3)
    here = prepare_split(scans, tmp_path / "here", fractions)
    there = prepare_split(bucket / "scans", tmp_path / "there", fractions, cluster=Cluster(cluster))
    assert {name: part.fingerprint for name, part in there.items()} == {
        name: part.fingerprint for name, part in here.items()
    }


def test_what_is_wrong_with_a_worker_is_told(cluster, scans, tmp_path, monkeypatch):
    def refused(error, match):
        with pytest.raises(error, match=match):
            prepare(scans, tmp_path / "out", cluster=Cluster(cluster))
        assert not (tmp_path / "out/dataset.json").exists()

    with monkeypatch.context() as patch:
        patch.setattr(ray_engine, "version", lambda: "0.0.9")
        refused(ClusterError, r"a worker has scangan \S+, and this machine 0\.0\.9; install")
    with monkeypatch.context() as patch:
        readers = {"pydicom": True, "gdcm": False}
        patch.setattr(ray_engine, "installed_readers", lambda: readers)
        refused(ClusterError, "gdcm is installed on a worker, but not on this machine; install")
    with monkeypatch.context() as patch:
        patch.setattr("scangan.preprocessing.pipeline._Run._spreading", _elsewhere(cluster))
        refused(PreprocessingError, "a worker does not see .*nowhere; put it on a disk that all")


def _elsewhere(cluster):
    return lambda run: ray_engine.on_cluster(Cluster(cluster), run.preparer.source / "nowhere")


def test_options_that_need_it(scans, tmp_path, monkeypatch):
    words = [str(scans), str(tmp_path / "out")]
    told = CliRunner().invoke(main_of("prep-scans"), [*words, "--address", "auto"])
    assert told.exit_code == 2 and "--address needs --engine ray" in told.output
    monkeypatch.setitem(sys.modules, "ray", None)
    told = CliRunner().invoke(main_of("prep-scans"), [*words, "--engine", "ray"])
    assert told.exit_code == 1 and "ray is not installed; type: pip install" in told.output


def _started(source, out, cluster):
    code = "import sys; from scangan.cli.programs import prep_scans; sys.exit(prep_scans())"
    words = [str(source), str(out), "--engine", "ray", "--address", cluster, "--class-level", "2"]
    return subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


@pytest.mark.skipif("SCANGAN_SCALE" not in os.environ, reason="make check-scale runs it")
def test_a_worker_and_the_driver_are_killed(cluster, tmp_path):
    many, out = tmp_path / "many", tmp_path / "out"
    for copy in range(40):
        (many / str(copy)).parent.mkdir(exist_ok=True)
        (many / str(copy)).symlink_to(BRAIN)
    journal = out / ".part/journal.jsonl"

    def lines():
        return journal.read_bytes().count(b"\n") if journal.exists() else 0

    def wait_for(driver, count):
        until = time.monotonic() + 60
        while lines() < count and driver.poll() is None and time.monotonic() < until:
            time.sleep(0.05)
        assert driver.poll() is None, driver.stdout.read()
        assert lines() >= count

    with _started(many, out, cluster) as driver:
        wait_for(driver, 500)
        workers = processes_of("ray::_call")
        assert workers
        for worker in workers:
            worker.kill()
        wait_for(driver, 2000)
        driver.send_signal(signal.SIGKILL)
    with _started(many, out, cluster) as driver:
        said = driver.stdout.read().decode()
    assert driver.returncode == 0 and "9600 scans prepared" in said and "raylet" not in said, said
    prepare(many, tmp_path / "here", sources=SourceOptions(class_level=2))
    assert folder_bytes(out) == folder_bytes(tmp_path / "here")
