"""``scangan strip``: draw the scans between two scans or classes."""

from pathlib import Path

import click

from scangan.cli import options
from scangan.cli.command import Output, ScanCommand, was_given

STEPS = 8


@click.command(
    "strip",
    short_help="draw the scans between two scans or classes",
    cls=ScanCommand,
    sections={
        "Which scans": ("model", "classes", "steps"),
        "Sampling": ("seed", "start", "truncation", "paired"),
        "Output": ("out", "force"),
        "Running the model": ("threads", "device", "precision", "allow_modified"),
    },
)
@click.argument("ends", metavar="A:B")
@options.model
@options.classes
@click.option("--steps", type=int, help=f"number of scans, 2 to 64  [default: {STEPS}]")
@options.drawing
@click.option(
    "--out", type=options.any_path, metavar="FILE", help="PNG to write  [default: named after A:B]"
)
@options.replace_file
@options.where_to_run
@options.which_file
@options.quiet
@options.as_json
def main(
    ends: str,
    model: str,
    classes: tuple[str, ...],
    steps: int | None,
    seed: int,
    start: int,
    truncation: float,
    paired: bool,
    out: Path | None,
    force: bool,
    threads: int | None,
    device: str,
    precision: str,
    allow_modified: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Draw the scans between A and B: two indexes, or two classes.

    \b
    scangan strip 3:17 --model mine.onnx --class no_tumor
    scangan strip glioma_tumor:no_tumor

    Between two indexes, each class gets a row. Between two classes, both rows use the same latents,
    so only the class differs.
    """
    from scangan.artifacts.latents import Draw
    from scangan.artifacts.scan_folder import refuse_inside_scans
    from scangan.cli.default_out import strip_file
    from scangan.core.files import write_bytes
    from scangan.core.png import encode_png
    from scangan.core.sheet import NOTICE
    from scangan.runtime.generator import ScanGenerator
    from scangan.runtime.interpolate import read_ends, strip

    generator = ScanGenerator(
        model, threads=threads, device=device, precision=precision, allow_modified=allow_modified
    )
    between = read_ends(ends, generator.classes)
    if isinstance(between[0], str) and classes:
        raise click.UsageError("--class cannot be used with a strip between classes")
    if isinstance(between[0], str) and paired:
        raise click.UsageError("a strip between classes is always paired; leave out --paired")
    if isinstance(between[0], int) and was_given("start"):
        raise click.UsageError("--start cannot be used with a strip between indexes")
    draw, numbers = Draw(seed, truncation, paired), generator.class_numbers(classes)
    count = STEPS if steps is None else steps
    image = strip(generator, between, numbers, draw, count, start)
    if out is None:
        out = strip_file(
            model,
            generator.classes,
            between,
            numbers if classes else (),
            draw,
            start=start,
            precision=precision,
            steps=count if count != STEPS else None,
        )
    if out.suffix.lower() != ".png" or out.is_dir():
        raise click.UsageError(f"a strip is a PNG picture; give --out a name like x.png, not {out}")
    refuse_inside_scans(out)
    if out.exists() and not force:
        raise click.UsageError(f"{out} exists; choose another --out, or --force to replace it")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(out, encode_png(image, {"Comment": NOTICE}))
    told = {"out": str(out), "steps": count}
    Output(quiet, as_json).end(told, f"a strip of {count} synthetic scans: {out}")
