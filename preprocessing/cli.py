"""``prep-scans``: a folder of scans to a prepared dataset."""

from pathlib import Path

import click

from scangan.runtime.console import ScanCommand


@click.command("prep-scans", cls=ScanCommand)
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--size", default=64, show_default=True, help="side of the prepared scans, 16 to 1024 pixels"
)
@click.option(
    "--equalize",
    type=click.Choice(["none", "global"]),
    default="none",
    show_default=True,
    help="histogram equalisation",
)
@click.option("--quiet", is_flag=True, help="no progress bar")
def main(source: Path, out: Path, size: int, equalize: str, quiet: bool) -> None:
    """Prepare the scans in SOURCE (a folder per class) as a dataset in OUT."""
    from scangan.preprocessing.options import PrepOptions
    from scangan.preprocessing.pipeline import prepare, summary

    options = PrepOptions(size=size, equalize=equalize)  # type: ignore[arg-type]
    dataset = prepare(source, out, options, quiet=quiet)
    for name, count in dataset.counts.items():
        click.echo(f"  {name:<24} {count:>6}")
    for name in dataset.info["empty_classes"]:
        click.echo(f"  {name:<24} {0:>6}")
    click.echo(f"{summary(dataset)}: {out}")
