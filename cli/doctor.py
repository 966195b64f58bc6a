"""``scangan doctor``: print what generating needs, and which devices work."""

import json

import click

from scangan.cli import options
from scangan.cli.command import ScanCommand
from scangan.core.terminal import say


@click.command(
    "doctor", short_help="print what generating needs, and which devices work", cls=ScanCommand
)
@options.as_json
def main(as_json: bool) -> None:
    """Print what generating needs, and which devices work on this machine."""
    from scangan.runtime.doctor import doctor

    facts = doctor()
    if as_json:
        click.echo(json.dumps(dict(facts)))
        return
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        say(f"{name:<{width}}  {value}")
