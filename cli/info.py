"""``scangan info``: print the card of a model file."""

import json

import click

from scangan.cli import options
from scangan.cli.command import ScanCommand
from scangan.core.terminal import say


@click.command("info", short_help="print a model's card", cls=ScanCommand)
@options.model_argument
@options.which_file
@options.as_json
def main(model: str, precision: str, allow_modified: bool, as_json: bool) -> None:
    """Print a model's card: classes, size, training data, scores, licence.

    The model is a file, or the name of a bundled model.
    """
    from scangan.core.devices import CPU, Device
    from scangan.runtime.catalog import open_model
    from scangan.runtime.info import card_table

    file = open_model(model, Device("cpu", CPU), precision, allow_modified=allow_modified)
    if as_json:
        click.echo(json.dumps(json.loads(file.card.to_json())))  # ASCII, which any pipe takes
        return
    for line in card_table(file).splitlines():
        say(line)
