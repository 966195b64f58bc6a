"""A Ray cluster: how it is found, started and left."""

import _thread
import contextlib
import dataclasses
import importlib.metadata
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from scangan.core.errors import FAILED, ScanganError, first_line
from scangan.core.quiet import hushed_printing
from scangan.core.terminal import say
from scangan.core.threads import usable_cpus

PAUSE = 3  # seconds between two knocks
MISSED = 12  # after so many without an answer, the cluster is gone
LEFT = 10  # seconds that the main thread then has


class ClusterError(ScanganError):
    """A Ray cluster does not answer, fails, or has another scangan."""


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Where to run, and on how many actors.

    Parameters
    ----------
    address : str, optional
        Address of a running cluster, ``auto`` or ``HOST:PORT``. By default, a cluster is started on
        this machine, and stopped at the end.
    actors : int, optional
        How many processes work at once; by default, as many as the cluster has room for.
    threads : int, optional
        Number of threads of each actor.
    """

    address: str | None = None
    actors: int | None = None
    threads: int = 1


@contextlib.contextmanager
def connected(cluster: Cluster) -> Iterator[ModuleType]:
    """Connect to a cluster, or start one; disconnect at the end.

    Yields
    ------
    module
        ``ray``, connected.

    Raises
    ------
    ClusterError
        No cluster answers, or it is gone.
    """
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
        raise ClusterError(
            f"no Ray cluster answers{f' at {cluster.address}' if cluster.address else ' here'}; give "
            f"--address HOST:PORT of one that runs, or start one: ray start --head"
        ) from error
    watch = _Watch(ray.get_runtime_context().gcs_address)
    try:
        with hushed_printing():  # Ray tells of actors that it starts again
            yield ray
    except KeyboardInterrupt:
        if watch.gone:
            raise ClusterError(watch.said) from None
        raise
    finally:
        watch.end.set()
        if not watch.gone:  # else Ray would wait for it, and then end this process without a word
            ray.shutdown()


class _Watch:
    """Interrupts the main thread when a cluster is gone. Ray would end the process after a minute, silently."""

    def __init__(self, address: str) -> None:
        self.address, self.gone, self.end = address, False, threading.Event()
        self.said = f"the Ray cluster at {address} is gone; start it and run the same command again to continue"
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        missed, answered = 0, False
        while missed < MISSED:
            try:
                _knock(self.address)
                missed, answered = 0, True
            except OSError:
                missed += answered  # a client of a cluster elsewhere may not reach this port at all
            if self.end.wait(PAUSE):
                return
        self.gone = True
        _thread.interrupt_main()
        if not self.end.wait(LEFT):  # the main thread waits inside Ray
            say(self.said, err=True)
            os._exit(FAILED)


def _has_token() -> bool:
    """Return whether there is a token for clusters that ask for one, where Ray looks for it."""
    named = any(name in os.environ for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    return named or (Path.home() / ".ray/auth_token").is_file()


def _knock(address: str) -> None:
    """Raise `OSError` or `ValueError` if nothing listens there: Ray would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10):
        pass


def result_of(ray: ModuleType, reference: Any) -> Any:
    """Return what a task or an actor's method returned on a worker; raise what it raised there.

    Raises
    ------
    ClusterError
        The cluster failed.
    """
    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        raise ClusterError(
            f"the Ray cluster failed ({first_line(error)}); run the same command again to continue"
        ) from error


def version() -> str:
    """Return the version of scangan on this machine."""
    return importlib.metadata.version("scangan")


def check_version(driver: str) -> None:
    """Raise `ClusterError` on a worker whose scangan differs from the driver's."""
    if (own := version()) != driver:
        raise ClusterError(
            f"a worker has scangan {own}, and this machine {driver}; install the same everywhere"
        )
