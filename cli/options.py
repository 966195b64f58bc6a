"""Options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from scangan.artifacts.card import PRECISIONS
from scangan.cli import complete
from scangan.core.address import is_address, to_address
from scangan.runtime import DEFAULT_MODEL

F = TypeVar("F", bound=Callable[..., Any])


def _all(*options: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


model = click.option(
    "--model",
    default=DEFAULT_MODEL,
    show_default=True,
    metavar="FILE|NAME",
    shell_complete=complete.models,
    help="model file, or the name of a bundled model",
)
model_argument = click.argument(
    "model", default=DEFAULT_MODEL, metavar="[FILE|NAME]", shell_complete=complete.models
)
which_file = _all(
    click.option(
        "--precision",
        default="auto",
        show_default=True,
        type=click.Choice(["auto", *PRECISIONS]),
        help="which of the model's files to use",
    ),
    click.option(
        "--allow-modified", is_flag=True, help="run a model even if it was changed after its export"
    ),
)
where_to_run = _all(
    click.option(
        "--threads",
        type=int,
        help="number of threads; does not change the result  [default: all available]",
    ),
    click.option(
        "--device",
        default="auto",
        show_default=True,
        metavar="auto|cpu|cuda|NAME",
        help="device to run on",
    ),
)
drawing = _all(
    click.option("--seed", default=0, show_default=True, help="random seed"),
    click.option("--start", default=0, show_default=True, help="index of the first scan"),
    click.option(
        "--truncation",
        default=1.0,
        show_default=True,
        metavar="PSI",
        help="below 1: more typical but less varied scans",
    ),
    click.option("--paired", is_flag=True, help="use the same latents for every class"),
)
classes = click.option(
    "--class",
    "classes",
    multiple=True,
    metavar="ID|NAME",
    shell_complete=complete.classes,
    help="class to generate: its number, its name or how its name begins; repeatable  [default: all]",
)
on_cluster = _all(
    click.option(
        "--engine",
        type=click.Choice(["ray"]),
        help="spread the work over a Ray cluster; does not change the result",
    ),
    click.option(
        "--address",
        metavar="auto|HOST:PORT",
        help="with --engine: the cluster  [default: start one on this machine]",
    ),
)
replace_file = click.option("--force", is_flag=True, help="replace the file if it exists")
quiet = click.option("--quiet", is_flag=True, help="print only errors")
as_json = click.option("--json", "as_json", is_flag=True, help="print one JSON object, for scripts")


class _AnyPath(click.Path):
    """A path, which need not exist; an empty one is what an unset variable of a shell leaves."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("the path is empty; give a folder or a file", param, ctx)
        if isinstance(value, str) and is_address(value):
            self.fail(
                "an object-store address cannot be used here; give a path on a disk", param, ctx
            )
        return super().convert(value, param, ctx)


class _AnyPlace(_AnyPath):
    """A path, or the address of a folder in an object store."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and is_address(value):
            try:
                return to_address(value)
            except ValueError as error:
                self.fail(str(error), param, ctx)
        return super().convert(value, param, ctx)


any_path = _AnyPath(path_type=Path)
any_place = _AnyPlace(path_type=Path)
evaluating = _all(
    click.option("--out", type=any_path, required=True, help="folder to write to"),
    click.option(
        "--count",
        default=400,
        show_default=True,
        type=click.IntRange(1),
        help="scans of each class to generate, if SYNTHETIC is a model",
    ),
    click.option("--threads", type=int, help="number of threads  [default: all available]"),
    click.option(
        "--cache",
        type=any_path,
        metavar="FOLDER",
        help="where to keep features and results for the next time  [default: your cache folder]",
    ),
    quiet,
    as_json,
)
extractor = click.option(
    "--extractor",
    default="efficientnet-lite0",
    show_default=True,
    metavar="NAME|FILE.onnx",
    help="network that turns scans into features",
)
extractors = click.option(
    "--extractor",
    "extractors",
    multiple=True,
    metavar="NAME|FILE.onnx",
    help="network to compare with: efficientnet-lite0, dinov2-s, resnet-nsfw, or a file that maps "
    "images to features; repeatable  [default: efficientnet-lite0, and the others if installed]",
)


def _fractions(
    _ctx: click.Context, _parameter: click.Parameter, text: str | None
) -> tuple[float, ...]:
    try:
        return tuple(map(float, text.split(","))) if text else ()
    except ValueError as error:
        raise click.BadParameter("give numbers with commas, such as 0.1,0.25,0.5,1") from error


classifiers = _all(
    click.option(
        "--classifier",
        "classifiers",
        multiple=True,
        default=("probe",),
        show_default=True,
        metavar="NAME",
        help="probe, cnn, vgg16, resnet152v2 or mobilenetv2; repeatable",
    ),
    click.option(
        "--seeds", default=3, show_default=True, help="how many times to train each, 1 to 20"
    ),
    click.option(
        "--real-fractions",
        "fractions",
        callback=_fractions,
        metavar="A,B,...",
        help="draw a learning curve with these shares of the real scans, such as 0.1,0.25,0.5,1",
    ),
)
