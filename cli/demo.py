"""``scangan demo``: make a page that shows what a model makes, in any browser."""

from pathlib import Path

import click

from scangan.cli import options
from scangan.cli.command import Output, ScanCommand


@click.command(
    "demo",
    short_help="make a page that shows what a model makes",
    cls=ScanCommand,
    sections={
        "Output": ("out", "force"),
        "Which file of the model": ("precision", "allow_modified"),
    },
)
@options.model_argument
@click.option(
    "-o",
    "--out",
    type=options.any_path,
    metavar="FILE",
    help="HTML file to write  [default: named after MODEL]",
)
@click.option("--force", is_flag=True, help="replace the file if it exists")
@options.which_file
@options.quiet
@options.as_json
def main(
    model: str,
    out: Path | None,
    force: bool,
    precision: str,
    allow_modified: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Make one HTML file that shows what MODEL makes: open it in any browser, without a network.

    \b
    scangan demo brain-mri-64 -o brain.html

    The page holds the model and makes its scans itself. MODEL is a file, or the name of a bundled
    model.
    """
    from scangan.artifacts.scan_folder import refuse_inside_scans
    from scangan.core.devices import CPU, Device
    from scangan.runtime.catalog import bundled_models, open_model
    from scangan.runtime.demo import write_demo

    file = open_model(model, Device("cpu", CPU), precision, allow_modified=allow_modified)
    name = model if model in bundled_models() else file.path.stem
    out = out or Path(f"{name}.html")
    if out.suffix.lower() not in (".html", ".htm") or out.is_dir():
        raise click.UsageError(f"a page is an HTML file; give --out a name like x.html, not {out}")
    refuse_inside_scans(out)
    if out.exists() and not force:
        raise click.UsageError(f"{out} exists; choose another --out, or --force to replace it")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_demo(file, name, out)
    size = out.stat().st_size
    told = {"out": str(out), "bytes": size}
    Output(quiet, as_json).end(told, f"a page of {size / 1e6:.1f} MB; open it in a browser: {out}")
