"""``train-gan``: train a GAN on a prepared dataset or a folder of scans."""

from pathlib import Path
from typing import Any

import click

from scangan.cli import complete, options
from scangan.cli.command import INTERRUPTED, Output, ScanCommand, called, typed
from scangan.core.address import Place
from scangan.core.printable import to_type
from scangan.core.terminal import say


def _list_recipes(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from scangan.training.recipe import describe_recipes

        for line in describe_recipes():
            say(line)
        context.exit()


def _list_options(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        from scangan.artifacts.train_options import describe_options

        for line in describe_options():
            say(line)
        context.exit()


SECTIONS = {
    "Run": ("out", "start_from", "force", "device"),
    "Recipe": ("recipe", "list_recipes", "assignments", "list_options"),
    "Model": ("arch", "per_class", "size", "width", "latent"),
    "Training": ("kimg", "batch", "mirror", "seed", "tick", "patience"),
}


@click.command(
    "train-gan",
    short_help="train a GAN on a prepared dataset",
    cls=ScanCommand,
    sections=SECTIONS,
    resumes=True,
)
@click.argument("source", type=options.any_place)
@click.option(
    "--out",
    type=options.any_path,
    required=True,
    metavar="RUN",
    help="folder of the run; run the same command again to resume",
)
@click.option(
    "--recipe",
    default="stable",
    show_default=True,
    metavar="NAME|FILE",
    shell_complete=complete.recipes,
    help="named set of training options; the options below override it",
)
@click.option(
    "--list-recipes",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_list_recipes,
    help="list the recipes and exit",
)
@click.option(
    "--list-options",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_list_options,
    help="list everything that --set can change and exit",
)
@click.option(
    "--set",
    "assignments",
    multiple=True,
    metavar="KEY=VALUE",
    shell_complete=complete.assignments,
    help="change any option of the recipe; repeatable",
)
@click.option(
    "--arch",
    type=click.Choice(["dcgan", "acgan"]),
    help="acgan generates the class that you ask for; dcgan has no classes  [default: acgan]",
)
@click.option(
    "--per-class/--no-per-class",
    default=None,
    help="train one DCGAN per class; the export joins them",
)
@click.option(
    "--size",
    type=int,
    help="width and height of the scans in pixels: 16, 32, ... 512  [default: 64]",
)
@click.option(
    "--kimg",
    type=float,
    help="length of the run in thousands of real scans shown; you can raise it later unless the learning "
    "rates decay  [default: 400]",
)
@click.option("--batch", type=int, help="scans per step  [default: 16]")
@click.option(
    "--width", type=int, help="channels of the feature maps closest to the image  [default: 32]"
)
@click.option("--latent", type=int, help="length of the latent z  [default: 100]")
@click.option(
    "--mirror",
    is_flag=True,
    default=None,
    help="show half of the real scans mirrored; only if left and right are interchangeable",
)
@click.option("--seed", type=int, help="random seed  [default: 0]")
@click.option(
    "--tick",
    type=float,
    metavar="KIMG",
    help="score and save every KIMG, and at least four times in a run  [default: 20]",
)
@click.option(
    "--patience",
    type=float,
    metavar="KIMG",
    help="stop if nothing improves for KIMG; 0 never stops early  [default: 200]",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="device to train on",
)
@click.option(
    "--start-from",
    metavar="RUN|NAME",
    shell_complete=complete.starts,
    help="start from the networks of another run, or from bundled ones (such as brain-mri-64), instead of random "
    "weights; their classes may differ",
)
@click.option("--force", is_flag=True, help="delete the run in --out and start again")
@options.quiet
def main(
    source: Place,
    out: Path,
    recipe: str,
    assignments: tuple[str, ...],
    device: str,
    start_from: str | None,
    force: bool,
    quiet: bool,
    **flags: Any,
) -> None:
    """Train a GAN on SOURCE: a prepared dataset, or scans in a folder per class."""
    from scangan.artifacts.run import Run, check_places
    from scangan.artifacts.train_options import parse_assignment

    check_places(source, out, start_from)  # before torch is imported, which takes seconds
    from scangan.training import Stopped
    from scangan.training.checkpoints import load_best
    from scangan.training.memory_use import peak_memory
    from scangan.training.recipe import bundled_name, check_effects, options_from
    from scangan.training.train_gan import train

    overrides = {key: value for key, value in flags.items() if value is not None}
    for key, value in map(parse_assignment, assignments):
        if key in overrides and overrides[key] != value:
            raise click.UsageError(f"{key} is given twice, with different values; leave one out")
        overrides[key] = value
    chosen, output = options_from(recipe, overrides), Output(quiet)
    if force or not Run(out).started:  # one that was begun may go on
        check_effects(chosen, overrides)
    try:
        run = train(
            source,
            out,
            chosen,
            device=device,
            force=force,
            command=typed(),
            recipe=bundled_name(recipe),
            say=output.say,
            quiet=quiet,
            start=start_from,
        )
    except Stopped as stopped:
        say(f"{called(click.get_current_context())}: {stopped}", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    best = load_best(run)
    if best.scores:
        agreement = best.scores.mean_agreement
        agrees = "" if agreement is None else f", class agreement {agreement:.0%}"
        output.say(
            f"best generator ({best.kind}) at {best.kimg:.1f} kimg, "
            f"KID x1000 {best.scores.mean_class_kid * 1000:.0f}{agrees}: "
            f"{run.path / 'best.safetensors'}"
        )
    memory = peak_memory()
    if memory:
        output.say(f"peak memory: {memory}")
    path, file = to_type(out), to_type(f"{out.resolve().name}.onnx")
    output.say(f"look at {run.report}; next: export-onnx {path} -o {file}")
