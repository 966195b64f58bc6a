"""``train-gan``: a prepared dataset or a folder of scans to a run."""

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from scangan.runtime.console import INTERRUPTED, ScanCommand, say


@click.command("train-gan", cls=ScanCommand)
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    metavar="RUN",
    help="folder of the run; the same command again resumes it",
)
@click.option(
    "--arch",
    type=click.Choice(["dcgan", "acgan"]),
    default="acgan",
    show_default=True,
    help="unconditional, or conditional on the class",
)
@click.option(
    "--size", default=64, show_default=True, help="side of the scans in pixels: 32, 64 or 128"
)
@click.option(
    "--kimg",
    default=400.0,
    show_default=True,
    help="length of the run, in thousands of real scans shown",
)
@click.option("--batch", default=64, show_default=True, help="scans a step")
@click.option("--seed", default=0, show_default=True, help="everything random follows from it")
@click.option(
    "--tick",
    type=float,
    metavar="KIMG",
    help="score and save so often  [default: 10, at most a quarter of --kimg]",
)
@click.option(
    "--width", default=32, show_default=True, help="channels of the feature maps next to the image"
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="where to train",
)
@click.option("--quiet", is_flag=True, help="no progress bar")
def main(source: Path, out: Path, device: str, quiet: bool, **options: Any) -> None:
    """Train a GAN on SOURCE: a prepared dataset, or a folder of scans with a folder per class."""
    from scangan.training.loop import Stopped
    from scangan.training.options import TrainOptions
    from scangan.training.start import train

    checked = TrainOptions(**options)
    command = shlex.join(["train-gan", *sys.argv[1:]])
    try:
        run = train(source, out, checked, device=device, command=command, report=say, quiet=quiet)
    except Stopped as stopped:
        say(f"train-gan: {stopped}", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    best = run.load_best()
    agreement = best.scores["mean_agreement"]
    agrees = "" if agreement is None else f", class agreement {agreement:.0%}"
    say(
        f"best generator ({best.kind}) at {best.kimg:.1f} kimg, "
        f"KID x1000 {best.scores['kid'] * 1000:.1f}{agrees}: {run.path / 'best.safetensors'}\n"
        f"pictures: {run.path / 'samples'}; next: export-onnx {out} -o {out.name}.onnx"
    )
