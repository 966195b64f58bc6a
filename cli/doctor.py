"""``scangan doctor``: print what is installed and what works."""

import json

import click

from scangan.cli import options
from scangan.cli.command import ScanCommand
from scangan.core.terminal import say


@click.command("doctor", short_help="print what is installed and what works", cls=ScanCommand)
@options.as_json
def main(as_json: bool) -> None:
    """Print what is installed and what works on this machine."""
    from scangan.runtime.doctor import doctor

    facts = doctor()
    if as_json:
        click.echo(json.dumps(dict(facts)))
        return
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        say(f"{name:<{width}}  {value}")
