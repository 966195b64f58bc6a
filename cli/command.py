"""Shared by all commands: one-line errors, exit codes, ``--debug`` and grouped help."""

import contextlib
import errno
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import click

from scangan.core.errors import FAILED, USAGE
from scangan.core.quiet import errors, hush_libraries
from scangan.core.terminal import explain, say

INTERRUPTED = 130  # the exit code that shells report after Ctrl-C
SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 120}


class OneLineErrors(click.Command):
    """A click command that reports a wrong option in one line."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Parse the command line; print a usage error as one line and exit."""
        try:
            return super().make_context(info_name, args, parent, **extra)
        except click.exceptions.NoArgsIsHelpError:
            raise
        except click.UsageError as error:
            if error.ctx is None:  # then click has not said of which command
                error.ctx = click.Context(self, info_name=info_name, parent=parent)
            say_usage(error)
        except OSError as error:  # --help written to a full disk
            if error.errno == errno.EPIPE:
                raise
            say(f"{self.name}: {explain(error)}", err=True)
            raise click.exceptions.Exit(FAILED) from None


class ScanCommand(OneLineErrors):
    """A click command that reports each failure in one line, with exit code 2 for usage and 1 otherwise.

    Every command gets ``--debug``, which shows the traceback instead. It also shows what libraries
    print; a program hides that otherwise.

    Parameters
    ----------
    sections : mapping, optional
        Headings in the help, and the parameter names below each. The others come last.
    resumes : bool
        Whether the same command again goes on where it was stopped.
    """

    is_program = False  # set by `run_and_leave`: the command owns the process and its descriptors

    def __init__(
        self,
        *args: Any,
        sections: Mapping[str, tuple[str, ...]] | None = None,
        resumes: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.resumes = resumes
        self.sections = dict(sections or {})
        self.context_settings = SETTINGS | dict(self.context_settings)
        help_text = "show the traceback of an error, and what libraries print"
        self.params.append(click.Option(["--debug"], is_flag=True, help=help_text))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options in sections."""
        options = [p for p in self.get_params(ctx) if isinstance(p, click.Option)]
        rows = {p.name: row for p in options if (row := p.get_help_record(ctx))}
        named = {name for names in self.sections.values() for name in names}
        rest = "Other options" if self.sections else "Options"
        sections = self.sections | {rest: tuple(name for name in rows if name not in named)}
        for heading, names in sections.items():
            with formatter.section(heading):
                formatter.write_dl([rows[name] for name in names])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; print a failure as one line and exit."""
        debug = ctx.params.pop("debug", False)
        with contextlib.suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGTERM, _interrupt)
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                signal.signal(signal.SIGINT, _interrupt)
        if self.is_program and not debug:
            hush_libraries()
        try:
            Path.cwd()
        except FileNotFoundError:
            _end(ctx, "the current folder was deleted; change to another one first", FAILED)
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            say_usage(error)
        except click.exceptions.Exit:
            raise
        except click.ClickException as error:
            _end(ctx, error.format_message(), error.exit_code)
        except KeyboardInterrupt as stop:
            _end(ctx, str(stop) or self._stopped(ctx), INTERRUPTED)
        except Exception as error:
            if debug:
                raise
            if isinstance(error, BrokenPipeError):  # the reader closed the pipe, like `head`
                ctx.exit(FAILED)
            _end(ctx, explain(error), getattr(error, "exit_code", FAILED))

    def _stopped(self, ctx: click.Context) -> str:
        if not self.resumes:
            return "stopped"
        if ctx.params.get("force"):  # which would delete what is done
            return "stopped; run it again without --force to continue"
        return "stopped; run the same command again to continue"


def say_usage(error: click.UsageError) -> NoReturn:
    """Print what is wrong with a command's options, and exit with 2."""
    name = called(error.ctx) if error.ctx else "scangan"
    say(f"{name}: {error.format_message()} (see {name} --help)", err=True)
    raise click.exceptions.Exit(USAGE) from None


def run_and_leave(command: click.Command) -> NoReturn:
    """Run a command as a program, then exit without unloading libraries.

    By then all files are closed and all our threads have ended. Unloading onnxruntime and numpy
    takes half as long as importing them. Threads of torch's process groups may even abort the process
    if they outlive the interpreter. The system frees the memory anyway.
    """
    code: object = None
    ScanCommand.is_program = True
    try:
        command(prog_name=command.name)
    except SystemExit as end:
        code = end.code
    number = code if isinstance(code, int) else int(code is not None)
    for stream in (sys.stdout, sys.stderr, errors()):
        try:
            if stream is not None:  # as in a daemon
                stream.flush()
        except OSError:  # the reader closed the pipe, or the disk is full
            number = number or FAILED
    os._exit(number)


def called(ctx: click.Context) -> str:
    """Return the name a command was called by: ``gen-scans`` or ``scangan generate``."""
    return ctx.command_path if ctx.parent else str(ctx.command.name)


def typed() -> str:
    """Return the running command line, to record how something was made."""
    import shlex

    ctx = click.get_current_context()
    return shlex.join([str(ctx.find_root().command.name), *sys.argv[1:]])


def was_given(name: str) -> bool:
    """Return whether the user typed an option of the running command."""
    source = click.get_current_context().get_parameter_source(name)
    return source == click.core.ParameterSource.COMMANDLINE


class Output(NamedTuple):
    """What a command prints: lines for people, one JSON object for scripts, or only errors."""

    quiet: bool = False
    as_json: bool = False

    @property
    def silent(self) -> bool:
        """Whether to hide lines and progress."""
        return self.quiet or self.as_json

    def say(self, line: str) -> None:
        """Print a line for people."""
        if not self.silent:
            say(line)

    def end(self, told: Mapping[str, object], line: str) -> None:
        """Print the last line, or the same facts as JSON."""
        if self.as_json:
            click.echo(json.dumps(told))
        else:
            self.say(line)


def _interrupt(_number: int, _frame: object) -> NoReturn:
    """Stop once; ignore further signals so that a second Ctrl-C does not cut the cleanup short."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def _end(ctx: click.Context, message: str, code: int) -> NoReturn:
    say(f"{called(ctx)}: {message}", err=True)
    ctx.exit(code)
