"""Work on several threads: count usable processors, and return results in order."""

import math
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")
R = TypeVar("R")

QUEUED = 3  # calls queued per worker: enough to keep it busy, few enough to save memory
CGROUP = Path("/sys/fs/cgroup")


class InOrder(Protocol):
    """Applies a function to items in several places at once, and yields (item, result) in order."""

    def __call__(
        self, function: Callable[[T], R], items: Iterable[T], workers: int, /
    ) -> Generator[tuple[T, R], None, None]:
        """Apply `function` to each item, `workers` at once; 0 is the calling thread."""


def usable_cpus() -> int:
    """Count the processors that this process may use, by its affinity and its container's CPU limit."""
    processors = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        processors = len(os.sched_getaffinity(0))
    return max(1, math.ceil(min(processors, _container_share())))


def _container_share() -> float:
    """Return the CPU limit of a container in processors (cgroup v2 or v1); infinite outside one."""
    try:
        quota, period = (CGROUP / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (CGROUP / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (CGROUP / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return math.inf
    try:
        return int(quota) / int(period) if int(quota) > 0 else math.inf
    except (ValueError, ZeroDivisionError):  # "max"
        return math.inf


def in_order(
    function: Callable[[T], R], items: Iterable[T], workers: int
) -> Generator[tuple[T, R], None, None]:
    """Apply `function` to `items` on `workers` threads, yielding (item, result) in order.

    Threads suffice because decoders, kernels and onnxruntime release the GIL. Closing the generator
    early drops queued calls. With 0 workers, `function` runs in the calling thread.
    """
    if workers == 0:
        for item in items:
            yield item, function(item)
        return
    from concurrent.futures import ThreadPoolExecutor  # imported late: small requests don't need it

    waiting: deque[tuple[T, Future[R]]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for item in items:
            waiting.append((item, pool.submit(function, item)))
            if len(waiting) >= QUEUED * workers:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
