"""Make scans on a Ray cluster: Ray only hands out positions, and names and bytes stay ours.

Each actor holds one onnxruntime session. If an actor or a machine is lost, Ray starts the actor again
and repeats its task, and the files that are written twice are the same. This is not Ray Data: when a
loop over its rows ends early, its threads go on, and Ray then ends the process without a word.
"""

import itertools
import tempfile
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import ModuleType

from scangan.artifacts.scan_folder import Plan
from scangan.core.address import Place
from scangan.core.cluster import Cluster, ClusterError, check_version, connected, result_of, version
from scangan.core.devices import CPU
from scangan.runtime.generator import ScanGenerator
from scangan.runtime.writing import (
    Advance,
    Begin,
    Work,
    make_folders,
    missing_ranges,
    write_positions,
)

SCANS_A_TASK = 1000  # with a file for each scan


def on_cluster(generator: ScanGenerator, cluster: Cluster) -> Work:
    """Return what writes the scans at some positions, as `write_positions` does, but on a cluster."""

    def work(plan: Plan, out: Place, positions: range, advance: Advance, begin: Begin) -> int:
        out = out.resolve()  # actors have other working directories
        tasks = list(missing_ranges(out, plan, positions, SCANS_A_TASK))
        missing = sum(map(len, tasks))
        advance(len(positions) - missing)
        if tasks:
            with connected(cluster) as ray:
                begin()
                make_folders(out, plan)
                for count in _spread(ray, cluster, generator, plan, out, tasks):
                    advance(count)
        return missing

    return work


def _spread(
    ray: ModuleType,
    cluster: Cluster,
    generator: ScanGenerator,
    plan: Plan,
    out: Place,
    tasks: list[range],
) -> Iterator[int]:
    """Hand out tasks; yield the number of scans of each that is done."""
    on_gpu = generator.device.provider != CPU
    actors, gpus = actors_of(cluster, ray.cluster_resources(), on_gpu=on_gpu)
    start = ray.remote(
        num_cpus=cluster.threads, num_gpus=gpus, max_restarts=-1, max_task_retries=-1
    )(_Writer)
    model = ray.put((generator.file.path.name, generator.file.data))
    told = version(), model, generator.batch, cluster.threads, generator.device.name
    waiting = iter(tasks)
    running = {}
    for task in itertools.islice(waiting, actors):
        actor = start.remote(*told, plan, out)
        running[actor.write.remote(task)] = actor, task
    while running:
        done = ray.wait(list(running))[0][0]
        actor, task = running.pop(done)
        result_of(ray, done)
        yield len(task)
        following = next(waiting, None)
        if following is not None:
            running[actor.write.remote(following)] = actor, following
        del actor  # without work, Ray stops it: one that was lost may need its place


def actors_of(
    cluster: Cluster, resources: Mapping[str, float], *, on_gpu: bool
) -> tuple[int, float]:
    """Return how many actors to start, and which share of a GPU each gets.

    The driver's device decides for all, since scans of a GPU may differ from those of a CPU by a grey level.

    Raises
    ------
    ClusterError
        The driver has a GPU, but the cluster has none.
    """
    if not on_gpu:
        return cluster.actors or max(1, int(resources.get("CPU", 1)) // cluster.threads), 0.0
    gpus = resources.get("GPU", 0.0)
    if gpus < 1:
        raise ClusterError("the cluster has no GPU, but this machine does; add --device cpu")
    actors = cluster.actors or int(gpus)
    return actors, min(1.0, gpus / actors)


class _Writer:
    """An actor: writes the scans at the positions that it is given."""

    def __init__(
        self,
        driver: str,
        model: tuple[str, bytes],
        batch: int,
        threads: int,
        device: str,
        plan: Plan,
        out: Place,
    ) -> None:
        self.driver, self.model, self.plan, self.out = driver, model, plan, out
        self.batch, self.threads, self.device = batch, threads, device

    @cached_property
    def generator(self) -> ScanGenerator:
        """Made by the first task, since Ray passes on what a task raises, but not what a constructor does."""
        check_version(self.driver)
        name, data = self.model
        with tempfile.TemporaryDirectory(prefix="scangan-") as folder:
            file = Path(folder) / name
            file.write_bytes(data)
            # Whether it was changed after its export is for the driver to judge, which took it.
            return ScanGenerator(
                file,
                batch=self.batch,
                threads=self.threads,
                device=self.device,
                allow_modified=True,
            )

    def write(self, positions: range) -> None:
        """Write the scans at these positions."""
        # Listing a store for each task would take longer the more it holds.
        write_positions(self.generator, self.plan, self.out, positions, look=False)
