"""A command that does all wrong: it writes in place, goes on after errors, and has no lock.

The faults must find it out; else they would find nothing.
"""

import contextlib
from pathlib import Path

from scangan.cli.command import ScanCommand


def _write(source, target):
    with contextlib.suppress(OSError), target.open("wb", buffering=0) as file:
        data = source.read_bytes()
        for start in range(0, len(data), 64):
            file.write(data[start : start + 64])


def _work():
    out = Path("out")
    out.mkdir(exist_ok=True)
    for source in sorted(path for path in Path("in").rglob("*") if path.is_file()):
        if not (out / source.name).exists():
            _write(source, out / source.name)
    (out / "done").write_text("done")


main = ScanCommand("careless", callback=_work)
