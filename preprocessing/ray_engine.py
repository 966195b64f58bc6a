"""Prepare files on a Ray cluster: Ray only hands out files, and this machine writes the dataset."""

import contextlib
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from scangan.core.address import Place
from scangan.core.cluster import Cluster, ClusterError, check_version, connected, result_of, version
from scangan.core.errors import PreprocessingError
from scangan.core.threads import QUEUED, InOrder, in_order
from scangan.preprocessing.all_files import READS_AT_ONCE
from scangan.preprocessing.journal import installed_readers

T = TypeVar("T")
R = TypeVar("R")


@contextlib.contextmanager
def on_cluster(cluster: Cluster, source: Place) -> Iterator[InOrder]:
    """Connect to a cluster.

    Yields
    ------
    callable
        What `in_order` is on one machine, for a function that takes and returns lists. It travels, as
        its arguments and results do, so all of them must be picklable.
    """
    with connected(cluster) as ray:
        yield _Spread(ray, cluster, source)


class _Spread:
    """Applies a function on the workers of a cluster; Ray repeats what a lost worker was given."""

    def __init__(self, ray: ModuleType, cluster: Cluster, source: Place) -> None:
        self.ray = ray
        self.at_once = cluster.actors or max(1, int(ray.cluster_resources().get("CPU", 1)))
        self.told = version(), installed_readers(), source
        self.task = ray.remote(num_cpus=cluster.threads)(_call)

    def __call__(
        self, function: Callable[[T], R], items: Iterable[T], _workers: int
    ) -> Generator[tuple[T, R], None, None]:
        call = self.ray.put(function)  # once, not with each item
        waiting: deque[tuple[T, object]] = deque()
        for item in items:
            waiting.append((item, self.task.remote(*self.told, call, item)))
            if len(waiting) >= QUEUED * self.at_once:
                first, result = waiting.popleft()
                yield first, result_of(self.ray, result)
        while waiting:
            first, result = waiting.popleft()
            yield first, result_of(self.ray, result)


def _call(
    driver: str,
    readers: dict[str, bool],
    source: Place,
    function: Callable[[list[T]], list[R]],
    items: list[T],
) -> list[R]:
    """Apply a function on a worker, if it would do there what it does on the driver."""
    import cv2

    check_version(driver)
    for name, there in installed_readers().items():
        if there != readers[name]:
            raise ClusterError(
                f"{name} is installed {'on a worker' if there else 'on this machine'}, but not "
                f"{'on this machine' if there else 'on a worker'}; install the same everywhere"
            )
    if isinstance(source, Path) and not source.is_dir():
        raise PreprocessingError(
            f"a worker does not see {source}; put it on a disk that all machines share, or in a store"
        )
    cv2.setNumThreads(1)  # files already run in parallel
    if isinstance(source, Path):
        return function(items)
    one_by_one = in_order(function, ([item] for item in items), READS_AT_ONCE)
    return [result for _, [result] in one_by_one]
