"""``make-phantoms``: simulated thyroid scans, to try things out without any data."""

from pathlib import Path

import click

from scangan.cli import options
from scangan.cli.command import Output, ScanCommand
from scangan.core.terminal import progress


@click.command(
    "make-phantoms", short_help="simulate scans to try things out", cls=ScanCommand, resumes=True
)
@click.argument("out", type=options.any_path, metavar="OUT")
@click.option(
    "--count",
    type=click.IntRange(4, 1_000_000),
    default=600,
    show_default=True,
    help="number of scans, divided among the classes in a clinic's proportions",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="random seed",
)
@options.quiet
@options.as_json
def main(out: Path, count: int, seed: int, quiet: bool, as_json: bool) -> None:
    """Simulate planar thyroid scintigraphy: scans of 64 x 64 pixels and 16 bits in four classes.

    \b
    make-phantoms phantoms
    make-phantoms phantoms-test --seed 1

    Each scan is drawn from published ranges, and truth.jsonl says what it was drawn with: uptake,
    volume, nodule and counts. It shows no patient.
    """
    from scangan.preprocessing.phantom import phantom_counts, write_phantoms

    output, counts = Output(quiet, as_json), phantom_counts(count)
    total = sum(counts.values())
    with progress("simulating", total, "scans", quiet=output.silent) as advance:
        made = write_phantoms(out, counts, seed, advance)
    of_each = ", ".join(f"{number} {name}" for name, number in counts.items())
    before = "" if made else ", already there"
    told = {"out": str(out), "counts": counts, "made": total if made else 0}
    output.end(told, f"{total} simulated scans ({of_each}){before}: {out}")
