"""Lets ``train-gan`` score few scans at a tick and draw no figure: a tiny run does little else.

Run it in place of ``python -m scangan.cli train`` where a process of its own is the point.
"""

import hashlib
import importlib
import os
import re
from pathlib import Path

import numpy as np

FEW = {"PER_TICK": 8, "FOR_ONE_CLASS": 16}
SPEED = re.compile(r"images_per_second=[^,)]*")  # no figure shows it


def score_few(change=setattr, *, draw=False):
    """Set, or let a monkeypatch set, how many scans training scores; `draw` its figure all the same."""
    import scangan.training.measure_tick
    import scangan.training.scoring

    for name, count in FEW.items():
        change(scangan.training.scoring, name, count)
    if not draw:
        change(scangan.training.measure_tick, "draw_report", describe_report)


def describe_report(*shown, **named):
    """In place of the figure's pixels: a line that differs with anything that is to be shown."""
    hashed = hashlib.sha256(_bytes([shown, sorted(named.items())]))
    return f"a figure, not drawn in tests: {hashed.hexdigest()}\n".encode()


def _bytes(shown):
    if isinstance(shown, np.ndarray):
        return repr(shown.shape).encode() + shown.tobytes()
    if isinstance(shown, list | tuple):
        return b"".join(map(_bytes, shown))
    return SPEED.sub("", repr(shown)).encode()


def limit_memory(spare):
    """Allow this process `spare` bytes beside what its libraries take, which differs by version."""
    import resource

    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + spare, taken + spare))


if __name__ == "__main__":
    score_few()
    from scangan.cli.programs import train_gan

    if "SPARE_MEMORY" in os.environ:
        importlib.import_module("scangan.training.train_gan")  # it counts as taken
        limit_memory(int(os.environ["SPARE_MEMORY"]))
    train_gan()
