"""Run commands in processes of their own, and measure what they take."""

import os
import subprocess
import sys

# A process begins with the peak of the one that it was forked from: a small one asks.
PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)
"""


# As an installed scangan runs: from bytecode, which the warm-up leaves.
ENV = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}


def run(*argv):
    """Run a command."""
    subprocess.run([*map(str, argv)], check=True, stdout=subprocess.DEVNULL, env=ENV)


def peak_memory(*argv):
    """Run a command; its peak of memory in MB."""
    argv = [sys.executable, "-c", PEAK, *map(str, argv)]
    return int(subprocess.run(argv, check=True, capture_output=True, text=True, env=ENV).stdout)


def cpu_of_children():
    """CPU time of the processes that ended, in seconds: a timer for benchmarks that run commands."""
    spent = os.times()
    return spent.children_user + spent.children_system
