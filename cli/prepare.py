"""``prep-scans``: prepare a folder of scans as a dataset."""

import dataclasses
from pathlib import Path
from typing import Any

import click

from scangan.cli import options
from scangan.cli.command import Output, ScanCommand, called
from scangan.core.counted import counted
from scangan.core.errors import FAILED
from scangan.core.terminal import say

SECTIONS = {
    "Which scans": ("include", "exclude", "axis", "slices", "volume", "duplicates"),
    "Classes and subjects": ("labels", "columns", "multi_label", "class_level", "subjects"),
    "Shape": ("size", "fit", "pixel_spacing", "ignore_spacing"),
    "Grey levels": ("window", "equalize", "clip", "tiles"),
    "Train and test": ("split", "allow_synthetic"),
    "Running": ("workers", "engine", "address", "strict"),
}


@click.command(
    "prep-scans",
    short_help="prepare a folder of scans as a dataset",
    cls=ScanCommand,
    resumes=True,
    sections=SECTIONS,
)
@click.argument("source", type=options.any_place)
@click.argument("out", type=options.any_path)
@click.option(
    "--size",
    default=64,
    show_default=True,
    help="width and height of the prepared scans in pixels, 16 to 1024",
)
@click.option(
    "--fit",
    default="pad",
    show_default=True,
    metavar="pad|crop|stretch",
    help="how to make a scan square: add black borders, keep the centre, or stretch it",
)
@click.option(
    "--window",
    default="auto",
    show_default=True,
    metavar="auto|dataset|image|dicom|LO,HI",
    help="how to map deep images to 8 bits: by percentiles of all scans (dataset) or of each scan "
    "(image), by the file's own window (dicom), or from LO (black) to HI (white); auto uses the file's "
    "own window if it has one, else dataset",
)
@click.option(
    "--equalize",
    default="none",
    show_default=True,
    metavar="none|global|clahe",
    help="equalise the histogram at full bit depth",
)
@click.option("--clip", default=2.0, show_default=True, help="contrast limit of CLAHE, at least 1")
@click.option(
    "--tiles", default=8, show_default=True, help="tiles of CLAHE along each side, 1 to 64"
)
@click.option(
    "--pixel-spacing",
    type=float,
    metavar="MM",
    help="resample to MM millimetres per pixel (DICOM and NIfTI)",
)
@click.option(
    "--ignore-spacing", is_flag=True, help="do not resample non-square pixels to square ones"
)
@click.option(
    "--axis",
    default="axial",
    show_default=True,
    metavar="axial|coronal|sagittal",
    help="orientation of the slices taken from a NIfTI volume",
)
@click.option(
    "--slices",
    metavar="A:B",
    help="slices, frames or pages to take of files that have several: 10:90 by number, or 0.2:0.8 as fractions  "
    "[default: all]",
)
@click.option(
    "--volume", type=int, metavar="N", help="volume to take from a 4-D NIfTI file, counted from 0"
)
@click.option(
    "--labels",
    type=options.any_path,
    metavar="FILE.csv",
    help="read the classes from a CSV file instead of folders",
)
@click.option(
    "--columns", default="file,class,subject", show_default=True, help="column names in that file"
)
@click.option(
    "--multi-label",
    default="error",
    show_default=True,
    metavar="error|first|join",
    help="if a file has several labels (A|B): refuse it, use A, or make a class A+B",
)
@click.option(
    "--class-level",
    type=int,
    metavar="N",
    help="level of the class folders: 1 is directly in SOURCE, 2 one level deeper; 0 puts "
    "everything in one class  [default: detected]",
)
@click.option(
    "--subjects",
    metavar="REGEX",
    help="regular expression that matches the subject (patient) in a file's path",
)
@click.option(
    "--include",
    multiple=True,
    metavar="PATTERN",
    help="take only files that match, such as '*_t1.nii.gz', even masks and localizers; repeatable",
)
@click.option(
    "--exclude", multiple=True, metavar="PATTERN", help="skip files that match; repeatable"
)
@click.option(
    "--duplicates",
    default="keep",
    show_default=True,
    metavar="keep|drop",
    help="whether to keep or drop exact copies of a file",
)
@click.option(
    "--split",
    metavar="A,B[,C]",
    help="split by subject into train and test (0.8,0.2) or train, val and test (0.8,0.1,0.1)",
)
@click.option(
    "--allow-synthetic", is_flag=True, help="with --split: allow synthetic scans in val and test"
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    metavar="N",
    help="number of files to read at once  [default: number of cores; 16 from a store]",
)
@options.on_cluster
@click.option("--strict", is_flag=True, help="exit with 1 if any file was refused")
@options.quiet
def main(
    source: Path,
    out: Path,
    split: str | None,
    allow_synthetic: bool,
    workers: int | None,
    engine: str | None,
    address: str | None,
    strict: bool,
    quiet: bool,
    **fields: Any,
) -> None:
    """Prepare the scans in SOURCE (a folder per class) as a dataset in OUT.

    Reads PNG, JPEG, TIFF, BMP, DICOM and NIfTI. OUT/rejects.jsonl lists the files that can't be used,
    and why.
    """
    from scangan.artifacts.dataset import read_summary
    from scangan.artifacts.split import parse_split
    from scangan.preprocessing.find_scans import SourceOptions
    from scangan.preprocessing.malloc import keep_freed_memory
    from scangan.preprocessing.options import PrepOptions
    from scangan.preprocessing.pipeline import prepare, prepare_split
    from scangan.preprocessing.summary_text import summary_lines

    if engine is None and address is not None:
        raise click.UsageError("--address needs --engine ray")
    cluster = None
    if engine is not None:
        from scangan.core.cluster import Cluster

        cluster = Cluster(address, workers)
    keep_freed_memory()
    if allow_synthetic and split is None:
        raise click.UsageError("--allow-synthetic needs --split")
    names = [field.name for field in dataclasses.fields(SourceOptions)]
    sources = SourceOptions(**{name: fields.pop(name) for name in names})
    how = PrepOptions(**fields)
    if split is None:
        prepare(source, out, how, sources=sources, workers=workers, cluster=cluster, quiet=quiet)
    else:
        prepare_split(
            source, out, parse_split(split), how, sources=sources, workers=workers, cluster=cluster,
            quiet=quiet, allow_synthetic=allow_synthetic,
        )  # fmt: skip
    summary = read_summary(out)
    output = Output(quiet)
    for line in summary_lines(summary, out):
        output.say(line)
    if strict and summary.rejected:
        ctx = click.get_current_context()
        say(
            f"{called(ctx)}: {counted(summary.rejected, 'scan')} refused, and --strict was given",
            err=True,
        )
        ctx.exit(FAILED)
