"""Measure the speed of a model: inference alone, PNG encoding alone, and the whole command."""

import itertools
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from scangan.artifacts.latents import Draw
from scangan.artifacts.request import Request, Span
from scangan.core.png import encode_png
from scangan.core.sheet import NOTICE
from scangan.core.threads import in_order
from scangan.runtime.generator import Images, ScanGenerator
from scangan.runtime.output import write_scans

SECONDS = 1.5  # per measurement, roughly
BATCHES = (1, 8)  # besides the model's default


def measure(
    open_generator: Callable[[int | None], ScanGenerator],
) -> Iterator[tuple[str, float]]:
    """Measure images per second on all threads.

    Parameters
    ----------
    open_generator : callable
        Opens the model for a batch size; None stands for the default size.

    Yields
    ------
    (str, float)
        What was measured, and images per second.
    """
    draw, best = Draw(), (0.0, 1)
    usual = open_generator(None)
    number = 0 if usual.classes else None
    for batch in sorted({*BATCHES, usual.batch}):
        generator = open_generator(batch)
        spans = (Span(number, i * batch, batch) for i in range(1 << 60))
        generator.make([Span(number, 0, batch)], draw)  # warm up
        work = partial(_make, generator, draw)
        rate = _rate(in_order(work, spans, generator.threads))
        best = max(best, (rate, batch))
        yield f"inference, batch {batch}", rate
    generator = open_generator(best[1])
    images = generator.sample(64, number)
    numbered = itertools.count()

    def encode(some: Images) -> list[bytes]:
        return [
            encode_png(i, {"Comment": NOTICE, "scangan": f"{next(numbered):150}"}) for i in some
        ]

    repeated = (images[i : i + 8] for i in itertools.cycle(range(0, 64, 8)))
    encoded = in_order(encode, repeated, generator.threads)
    yield "encoding PNG", _rate(encoded)
    for kind in ("png", "tar", "npz"):  # written to a temporary folder
        count = max(64, int(best[0] * SECONDS))
        request = Request(spans=(Span(number, 0, count),), format=kind)
        folder = Path(tempfile.mkdtemp(prefix="gen-scans-"))
        try:
            began = time.perf_counter()
            write_scans(generator, request, folder / "out", sheet=False)
            yield f"all, as {kind}, batch {best[1]}", count / (time.perf_counter() - began)
        finally:
            shutil.rmtree(folder)


def _make(generator: ScanGenerator, draw: Draw, span: Span) -> Images:
    return generator.make([span], draw)


def _rate(results: Iterator[tuple[object, object]]) -> float:
    """Measure images per second over about `SECONDS`."""
    done, began = 0, time.perf_counter()
    for _, result in results:
        done += len(result)  # type: ignore[arg-type]
        if time.perf_counter() - began > SECONDS:
            break
    return done / (time.perf_counter() - began)
