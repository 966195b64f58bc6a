"""``scangan``: one command, which imports each verb when you call it."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

from scangan.cli.command import SETTINGS, OneLineErrors, say_usage

# Each verb is a file in this folder.
VERBS = {
    "From scans to synthetic scans": ("prepare", "train", "export", "generate"),
    "Generated scans": ("evaluate", "study", "merge", "strip"),
    "Models and this machine": ("info", "demo", "bench", "doctor"),
    "Without scans of your own": ("phantoms",),
}


class Verbs(OneLineErrors, click.Group):
    """A group of commands, each in a file of its own that is imported when it is called.

    Parameters
    ----------
    verbs : mapping
        Headings in the help, and the verbs below each.
    module : str
        The module of a verb, which has its command as ``main``; ``{}`` stands for the verb.
    """

    def __init__(
        self, *args: Any, verbs: Mapping[str, tuple[str, ...]], module: str, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.verbs, self.module = verbs, module

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the verbs, in the order of the help."""
        return [verb for verbs in self.verbs.values() for verb in verbs]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import a verb's command; None if there is no such verb."""
        if name not in self.list_commands(ctx):
            return None
        command: click.Command = import_module(self.module.format(name)).main
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs in sections."""
        width = max(map(len, self.list_commands(ctx)))
        for heading, verbs in self.verbs.items():
            commands = {verb: self.get_command(ctx, verb) for verb in verbs}
            with formatter.section(heading):
                formatter.write_dl(
                    [
                        (verb.ljust(width), command.get_short_help_str(formatter.width))
                        for verb, command in commands.items()
                        if command
                    ]
                )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb; an unknown one is an error that lists them all."""
        verbs = self.list_commands(ctx)
        if args[0] not in verbs and not args[0].startswith("-"):
            ctx.fail(f"no command {args[0]!r}; choose from: {', '.join(verbs)}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; print a usage error as one line and exit."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            say_usage(error)


@click.command(
    "scangan", cls=Verbs, verbs=VERBS, module="scangan.cli.{}", context_settings=SETTINGS
)
@click.version_option(package_name="scangan", message="scangan %(version)s")
def main() -> None:
    """Train a small GAN on your own scans, and generate labelled synthetic scans anywhere.

    \b
    scangan prepare scans dataset
    scangan train dataset --out run
    scangan export run -o model.onnx
    scangan generate --model model.onnx --class 2

    \b
    Also programs: prep-scans, train-gan, export-onnx, gen-scans, eval-scans, make-phantoms.
    "scangan COMMAND --help" lists a command's options.
    """
