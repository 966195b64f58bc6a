"""``export-onnx``: export a run as a model file."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scangan.artifacts.card import PRECISIONS
from scangan.cli import options
from scangan.cli.command import ScanCommand, was_given
from scangan.core.counted import counted
from scangan.core.errors import ScanganError
from scangan.core.printable import to_type
from scangan.core.terminal import say

if TYPE_CHECKING:
    from scangan.artifacts.card import ModelCard

EXPORTING = ("precision", "opset", "real", "accept_loss", "license", "citation")


@click.command(
    "export-onnx",
    short_help="export a run's best generator as one file",
    cls=ScanCommand,
    sections={
        "Model file": ("out", "precision", "opset", "license", "citation"),
        "Checking int8": ("real", "accept_loss"),
        "Verifying a model file": ("verify", "against"),
    },
)
@click.argument("run", type=options.any_path, required=False)
@click.option(
    "-o",
    "--out",
    type=options.any_path,
    metavar="FILE",
    help="model file to write, .onnx",
)
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="fp32",
    show_default=True,
    help="int8 is about a quarter of the size and 2 to 4.5 times as fast on a CPU; fp16 is for GPUs",
)
@click.option(
    "--opset",
    type=click.IntRange(18, 21),
    default=18,
    show_default=True,
    help="version of the ONNX operators",
)
@click.option(
    "--real",
    type=options.any_path,
    metavar="DATASET",
    help="prepared dataset to check int8 against  [default: the run's]",
)
@click.option(
    "--accept-loss", is_flag=True, help="write the int8 file even if it loses too much quality"
)
@click.option(
    "--verify",
    type=options.any_path,
    metavar="FILE",
    help="check that a model file is intact and comes from the run in --against",
)
@click.option(
    "--against",
    type=options.any_path,
    metavar="RUN",
    help="run that --verify compares with",
)
@click.option("--license", default="", help="licence of the training scans, for the card")
@click.option("--citation", default="", help="how to cite the training scans, for the card")
def main(
    run: Path | None,
    out: Path | None,
    precision: str,
    opset: int,
    real: Path | None,
    accept_loss: bool,
    verify: Path | None,
    against: Path | None,
    license: str,
    citation: str,
) -> None:
    """Export the best generator of RUN (a run's folder) as one self-contained model file.

    \b
    export-onnx runs/a -o a.onnx
    export-onnx runs/a -o a-int8.onnx --precision int8
    export-onnx --verify a.onnx --against runs/a
    """
    if verify is not None or against is not None:
        for name in filter(was_given, EXPORTING):
            raise click.UsageError(f"--{name.replace('_', '-')} cannot be used with --verify")
        if verify is None or against is None or run is not None or out is not None:
            raise click.UsageError("to verify: export-onnx --verify FILE --against RUN")
        from scangan.export.verify import verify as verify_file

        say(verify_file(verify, against))
        return
    if run is None or out is None:
        missing = "RUN" if run is None else "-o FILE"
        raise click.UsageError(f"{missing} is missing; to export: export-onnx RUN -o FILE")
    if precision != "int8" and (real is not None or accept_loss):
        raise click.UsageError(f"{'--real' if real else '--accept-loss'} needs --precision int8")
    from scangan.artifacts.modelfile import check_target
    from scangan.artifacts.run import open_run

    open_run(run)  # a wrong path is told before torch is imported, which takes seconds
    check_target(out)

    from scangan.export.exporter import PARITY_COUNT, export_run

    there, before = out.exists(), _card_of(out)
    card = export_run(
        run,
        out,
        precision=precision,
        opset=opset,
        real=real,
        accept_loss=accept_loss,
        license=license,
        citation=citation,
        say=say,
    )
    for field in ("license", "citation"):
        lost = getattr(before, field, "")
        if lost and not getattr(card, field):
            say(
                f"warning: the file that this replaced had the {field} {lost!r}; add --{field} to keep it"
            )
    compared = PARITY_COUNT * max(1, len(card.classes))
    say(
        f"parity: differs from torch by at most {card.parity} of 255 grey levels over {counted(compared, 'scan')}"
    )
    classes = ", ".join(f"{i} {name}" for i, name in enumerate(card.classes)) or "none"
    say(f"{card.architecture} {card.size}x{card.size} {card.precision}, classes: {classes}")
    replaced = " (replaced)" if there else ""
    say(
        f"{out.stat().st_size / 1e6:.1f} MB: {out}{replaced}; next: gen-scans --model {to_type(out)}"
    )


def _card_of(file: Path) -> "ModelCard | None":
    """Read the card of a model file that is about to be replaced; None if there is none."""
    from scangan.artifacts.modelfile import read_model_file

    with contextlib.suppress(ScanganError):
        return read_model_file(file).card
    return None
