"""On a Ray cluster, scans are those of one machine, whoever is killed."""

import os
import signal
import subprocess
import sys
import time
import weakref
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from clusters import processes_of
from programs import main_of
from stores import bytes_of, content_of

from scangan.artifacts.request import Part, Request, Span
from scangan.artifacts.scan_folder import Plan
from scangan.core import store
from scangan.core.address import to_address
from scangan.core.cluster import Cluster, ClusterError
from scangan.core.errors import StoreError
from scangan.runtime import ScanGenerator, ray_engine
from scangan.runtime.output import write_scans
from scangan.runtime.ray_engine import actors_of, on_cluster
from scangan.runtime.writing import missing_ranges

pytest.importorskip("ray")


@pytest.fixture(scope="module")
def generator(tiny_acgan):
    with ScanGenerator(tiny_acgan, batch=4, threads=1) as made:
        yield made


def request(count, kind, shard_size=10):
    return Request(spans=(Span(0, 0, count), Span(2, 3, 9)), format=kind, shard_size=shard_size)


@pytest.mark.parametrize("kind", ["png", "tar"])
def test_the_files_are_those_of_one_machine(kind, cluster, generator, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_engine, "SCANS_A_TASK", 7)
    work, counted = on_cluster(generator, Cluster(cluster, actors=2)), []
    write_scans(generator, request(40, kind), tmp_path / "here")
    made = write_scans(
        generator, request(40, kind), tmp_path / "out", work=work, advance=counted.append
    )
    assert made == sum(counted) == 49 and bytes_of(tmp_path / "out") == bytes_of(tmp_path / "here")
    scans = sorted(name for name in bytes_of(tmp_path / "out") if name.endswith((".png", ".tar")))
    (tmp_path / "out" / scans[1]).unlink()
    made = write_scans(generator, request(40, kind), tmp_path / "out", work=work)
    assert made == (1 if kind == "png" else 10)
    assert bytes_of(tmp_path / "out") == bytes_of(tmp_path / "here")
    with pytest.MonkeyPatch.context() as patch:  # nothing is missing: no cluster is asked
        patch.setattr(ray_engine, "connected", None)
        assert write_scans(generator, request(40, kind), tmp_path / "out", work=work) == 0


def _started(model, cluster, out, count):
    code = "import sys; from scangan.cli.programs import gen_scans; sys.exit(gen_scans())"
    shards = ["--format", "tar", "--shard-size", str(count // 30)]
    words = ["--model", str(model), "--count", str(count), "--out", str(out), "--batch", "4", *shards,
             "--engine", "ray", "--address", cluster]  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def _wait_for(driver, condition):
    until = time.monotonic() + 60
    while not condition() and driver.poll() is None and time.monotonic() < until:
        time.sleep(0.1)
    assert condition(), driver.poll() is None or driver.stdout.read()


@pytest.mark.skipif("SCANGAN_SCALE" not in os.environ, reason="make check-scale runs it")
def test_an_actor_and_the_driver_are_killed(cluster, bucket, generator, tiny_acgan, tmp_path):
    out, count = bucket / "scans", -(-int(os.environ["SCANGAN_SCALE"]) // 3)  # of each class
    with _started(tiny_acgan, cluster, out, count) as driver:
        _wait_for(driver, lambda: sum(1 for _ in store.below(out)) > 30)
        processes_of("ray::_Writer")[0].kill()
        _wait_for(driver, lambda: sum(1 for _ in store.below(out)) > 60)
        driver.send_signal(signal.SIGKILL)
    assert "manifest.jsonl" not in content_of(out)
    with _started(tiny_acgan, cluster, out, count) as driver:
        said = driver.stdout.read().decode()
    assert driver.returncode == 0 and f"{3 * count} synthetic scans" in said, said
    assert "raylet" not in said and "already there" in said
    merged = CliRunner().invoke(main_of("scangan"), ["merge", str(out)])
    assert f"{3 * count} synthetic scans, none missing or doubled" in merged.output
    spans = tuple(Span(k, 0, count) for k in range(3))
    whole = Request(spans=spans, format="tar", shard_size=count // 30)
    write_scans(generator, whole, tmp_path / "here")
    assert content_of(out) == bytes_of(tmp_path / "here")


def test_another_version_is_refused_by_name(cluster, generator, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_engine, "version", lambda: "0.0.9")
    with pytest.raises(
        ClusterError, match=r"a worker has scangan \S+, and this machine 0\.0\.9; install"
    ):
        work = on_cluster(generator, Cluster(cluster, actors=1))
        write_scans(generator, request(10, "tar"), tmp_path / "out", work=work)
    assert not (tmp_path / "out/manifest.jsonl").exists()


def test_what_fails_on_a_worker_is_told(cluster, bucket, generator):
    work = on_cluster(generator, Cluster(cluster, actors=1))
    with pytest.MonkeyPatch.context() as patch:  # of the driver alone
        patch.setattr(ray_engine, "missing_ranges", lambda *_: [range(0, 10)])
        with pytest.raises(StoreError, match=r"s3://nowhere: this bucket does not exist; create"):
            plan = Plan.of(generator.sha256, generator.classes, request(10, "tar"))
            work(plan, to_address("s3://nowhere/x"), range(10), lambda _: None, lambda: None)


class _Actor:
    write = SimpleNamespace(remote=staticmethod(lambda task: task))


class _Ray:
    """Stands in for Ray: the task that was handed out last is done first."""

    def __init__(self):
        self.alive, self.seen = weakref.WeakSet(), []

    def remote(self, **_):
        return lambda _: SimpleNamespace(remote=self._start)

    def _start(self, *_):
        self.alive.add(actor := _Actor())
        return actor

    def wait(self, tasks):
        self.seen.append((len(tasks), len(self.alive)))
        return tasks[-1:], tasks[:-1]

    put = get = staticmethod(lambda given: given)
    cluster_resources = staticmethod(dict)


def test_an_actor_without_work_gives_up_its_place(generator):
    ray, tasks = _Ray(), [range(k, k + 1) for k in range(5)]
    made = ray_engine._spread(ray, Cluster(actors=3), generator, None, None, tasks)
    assert sum(made) == 5
    assert ray.seen == [(3, 3), (3, 3), (3, 3), (2, 2), (1, 1)]


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere.invalid:6379", "auto", "x"])
def test_a_cluster_that_is_not_there(address, generator, tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if address == "auto":  # where none was started
        monkeypatch.setattr("ray.init", lambda **_: (_ for _ in ()).throw(ConnectionError("none")))
    work = on_cluster(generator, Cluster(address))
    with pytest.raises(ClusterError, match=f"no Ray cluster answers at {address}; give --address"):
        write_scans(generator, request(10, "tar"), tmp_path / "out", work=work)


def test_the_drivers_device_decides_for_all_actors():
    resources = {"CPU": 16.0, "GPU": 2.0}
    assert actors_of(Cluster(threads=3), resources, on_gpu=False) == (5, 0)
    assert actors_of(Cluster(), resources, on_gpu=True) == (2, 1)
    assert actors_of(Cluster(actors=8), resources, on_gpu=True) == (8, 0.25)
    assert actors_of(Cluster(actors=1), resources, on_gpu=True) == (1, 1)
    with pytest.raises(ClusterError, match="no GPU, but this machine does; add --device cpu"):
        actors_of(Cluster(), {"CPU": 4.0}, on_gpu=True)


def test_options_that_need_it(tiny_acgan, tmp_path, monkeypatch):
    def typed(*words):
        words = ["--model", tiny_acgan, "--out", tmp_path / "out", *words]
        return CliRunner().invoke(main_of("gen-scans"), [str(word) for word in words])

    for words in (("--actors", 2), ("--address", "auto")):
        told = typed(*words)
        assert told.exit_code == 2 and "need --engine ray" in told.output
    monkeypatch.setitem(sys.modules, "ray", None)
    told = typed("--engine", "ray")
    assert told.exit_code == 1 and "ray is not installed; type: pip install" in told.output
    assert typed().exit_code == 0  # and it is not asked for


@pytest.mark.parametrize("sharded", [False, True])
def test_missing_ranges_cover_what_is_missing(sharded, generator, tmp_path):
    kind = "tar" if sharded else "png"
    asked = request(41, kind)
    write_scans(generator, asked, tmp_path)
    plan = Plan.read(tmp_path)
    everything = range(*asked.positions(Part()))
    assert list(missing_ranges(tmp_path, plan, everything, 7)) == []
    files = list(plan.files(0, 50))
    for name in (files[k] for k in ((0, 2) if sharded else (0, 1, 2, 20, *range(30, 50)))):
        (tmp_path / name).unlink()
    found = list(missing_ranges(tmp_path, plan, everything, 7))
    if sharded:
        assert found == [range(0, 10), range(20, 30)]
    else:
        assert found == [range(0, 3), range(20, 21), range(30, 37), range(37, 44), range(44, 50)]


# The last one: after a cluster of its own, a process cannot use another's actors.
@pytest.mark.skipif("SCANGAN_SCALE" not in os.environ, reason="make check-scale runs it")
def test_without_an_address_it_starts_its_own(cluster, generator, tmp_path):
    write_scans(generator, request(20, "tar"), tmp_path / "here")
    work = on_cluster(generator, Cluster(actors=1))
    write_scans(generator, request(20, "tar"), tmp_path / "out", work=work)
    assert bytes_of(tmp_path / "out") == bytes_of(tmp_path / "here")
