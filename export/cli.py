"""``export-onnx``: a run to a model file."""

from pathlib import Path

import click

from scangan.runtime.console import ScanCommand, say


@click.command("export-onnx", cls=ScanCommand)
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="FILE",
    help="model file to write, .onnx",
)
@click.option("--license", default="", help="licence of the training scans, for the card")
@click.option("--citation", default="", help="how to cite the training scans, for the card")
def main(run: Path, out: Path, license: str, citation: str) -> None:
    """Export the best generator of RUN as one self-contained model file."""
    from scangan.export.exporter import PARITY_COUNT, export_run

    card = export_run(run, out, license=license, citation=citation)
    compared = PARITY_COUNT * max(1, len(card.classes))
    say(f"parity: at most {card.parity} grey levels from torch over {compared} scans")
    classes = ", ".join(f"{i} {name}" for i, name in enumerate(card.classes)) or "none"
    say(f"{card.architecture} {card.size}x{card.size}, classes: {classes}")
    say(f"{out.stat().st_size / 1e6:.1f} MB: {out}; next: gen-scans --model {out}")
