"""``scangan demo``: make a page that shows what a model makes, in any browser."""

from pathlib import Path

import click

from scangan.cli import options
from scangan.cli.command import Output, ScanCommand, was_given


@click.command(
    "demo",
    short_help="make a page that shows what a model makes",
    cls=ScanCommand,
    sections={
        "Blind reader study": ("study", "count"),
        "Output": ("out", "force"),
        "Which file of the model": ("precision", "allow_modified"),
    },
)
@options.model_argument
@click.option(
    "-o",
    "--out",
    type=options.any_path,
    metavar="FILE",
    help="HTML file to write  [default: named after the model]",
)
@options.replace_file
@click.option(
    "--study",
    type=options.any_path,
    metavar="REAL",
    help="make a blind reader study instead, with the real scans of this prepared dataset",
)
@click.option(
    "--count", type=int, default=60, show_default=True, help="scans in the study; half are real"
)
@options.which_file
@options.quiet
@options.as_json
def main(
    model: str,
    out: Path | None,
    force: bool,
    study: Path | None,
    count: int,
    precision: str,
    allow_modified: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Make one HTML file that shows what a model makes: open it in any browser, without a network.

    \b
    scangan demo brain-mri-64 -o brain.html

    The page holds the model and makes its scans itself. The model is a file, or the name of a bundled
    model.

    \b
    scangan demo brain-mri-64 --study test -o study.html

    This page shows real and synthetic scans in random order, asks a reader which is which, and saves
    the answers for "scangan study". The truth is only in the key file, which is written beside the page.
    """
    from scangan.artifacts.dataset import load_dataset
    from scangan.artifacts.scan_folder import refuse_inside_scans
    from scangan.core.devices import CPU, Device
    from scangan.core.printable import printable
    from scangan.runtime.catalog import bundled_models, open_model
    from scangan.runtime.demo import write_demo
    from scangan.runtime.generator import ScanGenerator
    from scangan.runtime.study import doubts, write_study

    if not model:
        raise click.UsageError("the name of the model is empty; give a file, or a bundled model")
    name = model if model in bundled_models() else printable(Path(model).stem)
    if study is None and was_given("count"):
        raise click.UsageError("--count says how many scans a study has; add --study REAL")
    out = out or Path(f"{name}-study.html" if study else f"{name}.html")
    key = out.with_suffix(".key.json")
    if out.suffix.lower() not in (".html", ".htm") or out.is_dir():
        raise click.UsageError(f"a page is an HTML file; give --out a name like x.html, not {out}")
    refuse_inside_scans(out)
    if study and key.exists():  # first, as --force would not help
        raise click.UsageError(
            f"{key} exists, the only record of a study's answers; choose another --out"
        )
    if out.exists() and not force:
        raise click.UsageError(f"{out} exists; choose another --out, or --force to replace it")
    output = Output(quiet, as_json)
    if study:
        real = load_dataset(study)
        with ScanGenerator(model, precision=precision, allow_modified=allow_modified) as generator:
            for doubt in doubts(generator, real):
                output.say(f"warning: {doubt}")
            write_study(generator, real, name, count, out, key)
        output.say(f"keep {key} to yourself: it knows the answers")
        told = {"out": str(out), "key": str(key), "scans": count}
        output.end(told, f"a study of {count} scans; it shows real patients: {out}")
        return
    file = open_model(model, Device("cpu", CPU), precision, allow_modified=allow_modified)
    write_demo(file, name, out)
    size = out.stat().st_size
    told = {"out": str(out), "bytes": size}
    output.end(told, f"a page of {size / 1e6:.1f} MB; open it in a browser: {out}")
