"""``scangan bench``: measure how fast a model runs on this machine."""

import json

import click

from scangan.cli import options
from scangan.cli.command import Output, ScanCommand


@click.command("bench", short_help="measure how fast a model runs here", cls=ScanCommand)
@options.model_argument
@options.where_to_run
@options.which_file
@options.as_json
def main(
    model: str,
    threads: int | None,
    device: str,
    precision: str,
    allow_modified: bool,
    as_json: bool,
) -> None:
    """Measure how many scans per second a model makes on this machine.

    The model is a file, or the name of a bundled model. This takes about ten seconds.
    """
    from scangan.runtime.benchmark import measure
    from scangan.runtime.generator import ScanGenerator

    output, rates = Output(as_json=as_json), {}

    def open_for(batch: int | None) -> ScanGenerator:
        return ScanGenerator(
            model,
            batch=batch,
            threads=threads,
            device=device,
            precision=precision,
            allow_modified=allow_modified,
        )

    output.say(open_for(None).description)
    for what, rate in measure(open_for):
        rates[what] = round(rate, 1)
        output.say(f"{what:<24}{rate:10.0f} scans/s")
    if as_json:
        click.echo(json.dumps(rates))
