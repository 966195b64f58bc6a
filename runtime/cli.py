"""``gen-scans``: a model file to labelled synthetic scans."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from scangan.runtime.console import ScanCommand, progress_bar, say

if TYPE_CHECKING:
    from scangan.runtime.generator import ScanGenerator
    from scangan.runtime.output import Request


@click.command("gen-scans", cls=ScanCommand)
@click.option(
    "--model",
    default="brain-mri-64",
    show_default=True,
    metavar="FILE|NAME",
    help="model file, or a bundled model",
)
@click.option(
    "--class",
    "classes",
    multiple=True,
    metavar="ID|NAME",
    help="class to make, repeatable  [default: all]",
)
@click.option("--count", default=16, show_default=True, help="scans of each class")
@click.option("--seed", default=0, show_default=True, help="another seed, other scans")
@click.option("--batch", default=32, show_default=True, help="scans a pass; changes no byte")
@click.option(
    "--threads", type=int, help="threads; changes no byte  [default: all that are allowed]"
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="folder to write  [default: named after the request]",
)
@click.option(
    "--allow-modified", is_flag=True, help="run a model that another tool changed after its export"
)
@click.option("--info", is_flag=True, help="print the model's card and leave")
@click.option("--quiet", is_flag=True, help="no progress bar")
def main(
    model: str,
    classes: tuple[str, ...],
    count: int,
    seed: int,
    batch: int,
    threads: int | None,
    out: Path | None,
    allow_modified: bool,
    info: bool,
    quiet: bool,
) -> None:
    """Generate labelled synthetic scans from a model file.

    \b
    gen-scans                                     some of every class, bundled model
    gen-scans --model acgan.onnx --class 2        some of one class
    gen-scans --class glioma_tumor --count 500 --seed 1 --out more

    The same model, seed, class and index make the same scan, whatever the batch, threads or count.
    """
    if info:
        from scangan.runtime.cardtable import card_table
        from scangan.runtime.generator import find_model
        from scangan.runtime.modelfile import read_model_file

        file = read_model_file(find_model(model), allow_modified=allow_modified)
        click.echo(card_table(file))
        return
    from scangan.runtime.generator import ScanGenerator
    from scangan.runtime.output import Request, write_scans

    generator = ScanGenerator(model, batch=batch, threads=threads, allow_modified=allow_modified)
    numbers = tuple(dict.fromkeys(generator.card.class_number(c, model) for c in classes))
    if not numbers:
        numbers = tuple(range(len(generator.classes)))
    request = Request(classes=numbers, count=count, seed=seed)
    out = out or _default_out(model, generator, request, all_classes=not classes)
    total = count * max(1, len(numbers))
    with progress_bar("scans", quiet=quiet) as bar:
        task = bar.add_task("generating", total=total, note="")
        made = write_scans(generator, request, out, lambda n: bar.advance(task, n))
    names = ", ".join(generator.classes[n] for n in numbers)
    of = f" of {names}" if names else ""
    say(f"{made} synthetic scans{of}: {out} (look at {out / 'sheet.png'})")


def _default_out(
    model: str, generator: "ScanGenerator", request: "Request", *, all_classes: bool
) -> Path:
    """Name a folder after the request, so that two of one model never meet in one folder."""
    from scangan.runtime.output import folder_name

    parts = [Path(model).stem]
    if request.classes and not all_classes:
        parts.append("+".join(folder_name(generator, n) for n in request.classes))
    return Path("-".join([*parts, f"seed{request.seed}", f"n{request.count}"]))
