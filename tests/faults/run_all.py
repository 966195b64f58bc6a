"""Try all faults on all commands, and write the table: ``python -m faults.run_all [TABLE.md]``."""

import os
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from conftest import export_random
from exports import FOLDER as EXPORTS
from faults.commands import COMMANDS, make_templates
from faults.kinds import KINDS
from faults.shim import build, why_not
from faults.trial import Bench

SEED = "SCANGAN_FAULT_SEED"


def main():
    """Try, print, write; exit code 1 if anything was wrong."""
    reason = why_not()
    if reason:
        sys.exit(f"nothing tried: {reason}")
    seed = os.environ.get(SEED, str(time.time_ns()))
    only = os.environ.get("SCANGAN_FAULT_ONLY", "")  # part of "command | kind"
    most = int(os.environ.get("SCANGAN_FAULT_MOST", "20"))  # points a cell
    print(f"to draw the same points again: {SEED}={seed}", flush=True)
    started = time.monotonic()
    # In memory, if that can be: the commands wait for the disk at every file that they finish.
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="faults-", dir=place) as name:
        folder = Path(name).resolve()
        (folder / "exports").mkdir()
        os.environ[EXPORTS] = str(folder / "exports")  # which conftest.py sets for pytest
        shim = build(folder)
        model = export_random(folder / "tiny.onnx", ("cat", "dog", "2"))
        (folder / "templates").mkdir()
        cells = [(c, k) for c in COMMANDS for k in KINDS if only in f"{c.title} | {k.title}"]
        benches = []
        for number in range(os.cpu_count() or 1):
            (folder / f"worker{number}").mkdir()
            benches.append(Bench(folder / f"worker{number}", shim, folder / "templates"))
        light, heavy = benches[0].zygotes
        needs_run = any(command.heavy for command, _ in cells)
        make_templates(folder / "templates", model, light, heavy if needs_run else None)

        def work(number):
            found = []
            for command, kind in cells[number :: len(benches)]:
                points = benches[number].points(command, kind, min(most, kind.points), seed)
                for turn, point in enumerate(points):
                    found.append(benches[number].try_out(command, kind, point, turn))
                    if found[-1].wrong:
                        print(found[-1], flush=True)
                took = time.monotonic() - started
                print(
                    f"{took:5.0f} s {command.title} | {kind.title}: {len(points)} tried", flush=True
                )
            return found

        with ThreadPoolExecutor(len(benches)) as pool:
            verdicts = [v for found in pool.map(work, range(len(benches))) for v in found]
        for bench in benches:
            bench.close()
    text = table(verdicts, seed, time.monotonic() - started)
    print(text)
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(text)
    sys.exit(any(v.wrong for v in verdicts))


def table(verdicts, seed, seconds):
    """Lay out command x fault: points tried / work lost / wrong."""
    lines = [
        "# Faults on purpose",
        "",
        f"Made by `SCANGAN_FAULT_SEED={seed} make check-faults`. A cell: points tried / lost / wrong. "
        "After each fault the same command runs again. Lost: it refuses, truly and in one line, so "
        "that you have to delete the output. Wrong: other bytes, a half-written file that looks "
        "whole, a traceback, a hang, or words that are not true.",
        "",
        "| fault | " + " | ".join(c.title for c in COMMANDS) + " |",
        "| --- |" + " ---: |" * len(COMMANDS),
    ]
    for kind in KINDS:
        row = []
        for command in COMMANDS:
            of_cell = [v for v in verdicts if (v.command, v.kind) == (command.title, kind.title)]
            lost, wrong = sum(bool(v.refused) for v in of_cell), sum(bool(v.wrong) for v in of_cell)
            row.append(f"{len(of_cell)} / {lost} / {wrong}")
        lines.append(f"| {kind.title} | " + " | ".join(row) + " |")
    wrong = sum(bool(v.wrong) for v in verdicts)
    lines += ["", f"{len(verdicts)} points, {wrong} wrong, in {seconds / 60:.0f} minutes."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
