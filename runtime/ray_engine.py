"""Make scans on a Ray cluster: Ray only hands out positions, and names and bytes stay ours.

Each actor holds one onnxruntime session. If an actor or a machine is lost, Ray hands its positions
out again, and the files that are written twice are the same.
"""

import contextlib
import dataclasses
import hashlib
import os
import socket
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from scangan.artifacts.scan_folder import Plan
from scangan.core.address import Place
from scangan.core.errors import GenerationError, ScanganError, first_line
from scangan.core.quiet import hushed_printing
from scangan.core.terminal import explain
from scangan.core.threads import usable_cpus
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


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Where to run, and on how many actors.

    Parameters
    ----------
    address : str, optional
        Of a running cluster, as Ray takes it: ``auto`` or ``HOST:PORT``. By default, one is started
        on this machine, and stopped at the end.
    actors : int, optional
        How many processes make scans; by default, as many as the cluster has room for.
    threads : int, optional
        Of each actor; by default 1.
    """

    address: str | None = None
    actors: int | None = None
    threads: int = 1


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
            with _connected(cluster) as ray:
                for count in _spread(ray, cluster, generator, plan, out, tasks):
                    advance(count)
        return missing

    return work


@contextlib.contextmanager
def _connected(cluster: Cluster) -> Iterator[ModuleType]:
    """Connect to a cluster, or start one; disconnect at the end."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent
    if cluster.address and _has_token():
        # Ray does so by itself only for clusters that it starts.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    import ray

    here = cluster.address is None
    try:
        if cluster.address and cluster.address != "auto":
            _knock(cluster.address)
        ray.init(
            address=cluster.address or "local",
            num_cpus=usable_cpus() if here else None,
            include_dashboard=False if here else None,
            log_to_driver=False,
            logging_level="ERROR",
        )
    except (OSError, RuntimeError, ValueError) as error:
        raise GenerationError(
            f"no Ray cluster answers{f' at {cluster.address}' if cluster.address else ' here'}; give "
            f"--address HOST:PORT of one that runs, or start one: ray start --head"
        ) from error
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    try:
        with hushed_printing():  # Ray tells of actors that it starts again
            yield ray
    finally:
        ray.shutdown()


def _has_token() -> bool:
    """Return whether there is a token for clusters that ask for one, where Ray looks for it."""
    named = any(name in os.environ for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    return named or (Path.home() / ".ray/auth_token").is_file()


def _knock(address: str) -> None:
    """Raise `OSError` or `ValueError` if nothing listens there: Ray would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10):
        pass


def _spread(
    ray: ModuleType,
    cluster: Cluster,
    generator: ScanGenerator,
    plan: Plan,
    out: Place,
    tasks: list[range],
) -> Iterator[int]:
    """Hand out tasks; yield the number of scans of each that is done."""
    threads = cluster.threads
    actors = cluster.actors or max(1, int(ray.cluster_resources().get("CPU", 1)) // threads)
    model = ray.put((generator.file.path.name, generator.file.data))
    rows = [{"first": task.start, "last": task.stop} for task in tasks]
    done = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        _Writer,
        fn_constructor_args=(
            model,
            hashlib.sha256(generator.file.data).hexdigest(),
            version("scangan"),
            plan,
            out,
            generator.batch,
            threads,
        ),
        batch_size=1,
        num_cpus=threads,
        compute=ray.data.ActorPoolStrategy(size=min(actors, len(tasks))),
    )
    try:
        for row in done.iter_rows():
            if row["why"]:
                raise GenerationError(row["why"])
            yield int(row["count"])
    except ray.exceptions.RayError as error:
        raise GenerationError(
            f"the Ray cluster failed ({first_line(error)}); run the same command again to continue"
        ) from error


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
    ) -> None:
        self.plan, self.out, self.why = plan, out, ""
        if (own := version("scangan")) != driver:
            self.why = f"a worker has scangan {own}, and this machine {driver}; install the same everywhere"
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
                    file, batch=batch, threads=threads, allow_modified=True
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
