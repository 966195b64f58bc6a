"""Make scans on a Ray cluster: Ray only hands out positions, and names and bytes stay ours.

Each actor holds one onnxruntime session. If an actor or a machine is lost, Ray hands its positions
out again, and the files that are written twice are the same.
"""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from scangan.artifacts.scan_folder import Plan
from scangan.core.address import Place
from scangan.core.cluster import Cluster, ClusterError, check_version, connected, lost, version
from scangan.core.devices import CPU
from scangan.core.errors import GenerationError, ScanganError
from scangan.core.terminal import explain
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
Rows = dict[str, npt.NDArray[Any]]


def on_cluster(generator: ScanGenerator, cluster: Cluster) -> Work:
    """Return what writes the scans at some positions, as `write_positions` does, but on a cluster."""

    def work(plan: Plan, out: Place, positions: range, advance: Advance, begin: Begin) -> int:
        out = out.resolve()  # actors have other working directories
        tasks = list(missing_ranges(out, plan, positions, SCANS_A_TASK))
        missing = sum(map(len, tasks))
        advance(len(positions) - missing)
        if tasks:
            begin()
            make_folders(out, plan)
            with connected(cluster) as ray:
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
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    on_gpu = generator.device.provider != CPU
    actors, gpus = actors_of(cluster, ray.cluster_resources(), on_gpu=on_gpu)
    model = ray.put((generator.file.path.name, generator.file.data))
    rows = [{"first": task.start, "last": task.stop} for task in tasks]
    done = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        _Writer,
        fn_constructor_args=(
            model,
            hashlib.sha256(generator.file.data).hexdigest(),
            version(),
            plan,
            out,
            generator.batch,
            cluster.threads,
            generator.device.name,
        ),
        batch_size=1,
        num_cpus=cluster.threads,
        num_gpus=gpus,
        compute=ray.data.ActorPoolStrategy(size=min(actors, len(tasks))),
    )
    try:
        for row in done.iter_rows():
            if row["why"]:
                raise GenerationError(row["why"])
            yield int(row["count"])
    except ray.exceptions.RayError as error:
        raise lost(error) from error


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
        raise ClusterError("the cluster has no GPU, and this machine has; add --device cpu")
    actors = cluster.actors or int(gpus)
    return actors, min(1.0, gpus / actors)


class _Writer:
    """An actor: writes the scans at the positions that it is given.

    What fails is told in a row, since Ray starts an actor that raises again and loses its words.
    """

    def __init__(
        self,
        model: Any,
        sha256: str,
        driver: str,
        plan: Plan,
        out: Place,
        batch: int,
        threads: int,
        device: str,
    ) -> None:
        self.plan, self.out, self.why = plan, out, ""
        try:
            check_version(driver)
        except ScanganError as error:
            self.why = explain(error)
            return
        import ray

        name, data = ray.get(model)
        if hashlib.sha256(data).hexdigest() != sha256:
            self.why = "a worker got another model file; run the same command again"
            return
        try:
            with tempfile.TemporaryDirectory(prefix="scangan-") as folder:
                file = Path(folder) / name
                file.write_bytes(data)
                # Whether it was changed after its export is for the driver to judge, which took it.
                self.generator = ScanGenerator(
                    file, batch=batch, threads=threads, device=device, allow_modified=True
                )
        except (ScanganError, OSError) as error:
            self.why = explain(error)

    def __call__(self, rows: Rows) -> Rows:
        """Write the scans from `first` to `last` - 1; say how many, and why not."""
        counts = rows["last"] - rows["first"]
        try:
            for first, last in zip(rows["first"].tolist(), rows["last"].tolist(), strict=True):
                if not self.why:
                    # Listing a store for each task would take longer the more it holds.
                    write_positions(
                        self.generator, self.plan, self.out, range(first, last), look=False
                    )
        except (ScanganError, OSError) as error:
            return {"count": counts, "why": np.full(len(counts), explain(error))}
        return {"count": counts, "why": np.full(len(counts), self.why)}
