"""Lets ``train-gan`` score few scans at a tick, by their pixels, and draw no figure: a tiny run does little else.

Run it in place of ``python -m scangan.cli train`` where a process of its own is the point.
"""

import hashlib
import os
import re
from pathlib import Path

import cv2
import numpy as np

FEW = {"PER_TICK": 8, "FOR_ONE_CLASS": 16}
SPEED = re.compile(r"images_per_second=[^,)]*")  # no figure shows it


def score_few(change=setattr, *, whole=False):
    """Set, or let a monkeypatch set, what training scores.

    A `whole` report is all the same drawn, and made with the features of the bundled network.
    """
    import scangan.evaluation.metrics
    import scangan.training.measure_tick
    import scangan.training.scoring

    for name, count in FEW.items():
        change(scangan.training.scoring, name, count)
    if not whole:
        change(scangan.training.measure_tick, "draw_report", describe_report)
        change(scangan.evaluation.metrics, "FeatureExtractor", lambda: features_of_pixels)


def features_of_pixels(images):
    """In place of the bundled network's features, which take 5 ms a scan: its pixels, shrunk."""
    small = [cv2.resize(image, (8, 8), interpolation=cv2.INTER_AREA) for image in images]
    return np.array(small, np.float32).reshape(len(small), -1) / 255


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
    score_few(whole="WHOLE_REPORTS" in os.environ)
    from scangan.cli.programs import train_gan

    train_gan()
