"""A Ray cluster for tests, on this machine."""

import contextlib
import socket
import subprocess
import sys
import time

import psutil
import pytest

from scangan.core.cluster import _knock


@contextlib.contextmanager
def cluster_of_two(home):
    """Start a cluster of two processors, which asks for a token in `home`; yield its address."""
    ray = [sys.executable, "-m", "ray.scripts.scripts"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    words = [*ray, "start", "--head", "--port", port, "--num-cpus", "2", "--include-dashboard=false",
             "--disable-usage-stats", "--block"]  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(home))
        patch.delenv("RAY_AUTH_MODE", raising=False)
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        with subprocess.Popen(words, **quiet) as head:
            until = time.monotonic() + 60
            while time.monotonic() < until:
                try:
                    _knock(f"127.0.0.1:{port}")
                    break
                except OSError:
                    time.sleep(0.2)
            yield f"127.0.0.1:{port}"
            head.terminate()


def processes_of(title):
    """Return the processes of a cluster whose title starts like that, such as ``ray::MapWorker``."""
    processes = (each for each in psutil.process_iter(["cmdline"]) if each.info["cmdline"])
    return [each for each in processes if each.info["cmdline"][0].startswith(title)]
