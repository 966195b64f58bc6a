"""``prep-scans``: a folder of scans to a prepared dataset."""

import dataclasses
from pathlib import Path
from typing import Any

import click

from scangan.core.errors import FAILED
from scangan.core.terminal import ScanCommand, say


@click.command("prep-scans", cls=ScanCommand)
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--size", default=64, show_default=True, help="side of the prepared scans, 16 to 1024 pixels"
)
@click.option(
    "--fit",
    default="pad",
    show_default=True,
    metavar="pad|crop|stretch",
    help="what becomes of a scan that is not square: black borders, its middle, or squeezed",
)
@click.option(
    "--window",
    default="auto",
    show_default=True,
    metavar="auto|dataset|image|dicom|LO,HI",
    help="how more than 8 bits come to 8: by percentiles over all scans or of each one, by the file's "
    "own window, or from LO (black) to HI (white); auto: the file's own, else over all scans",
)
@click.option(
    "--equalize",
    default="none",
    show_default=True,
    metavar="none|global|clahe",
    help="histogram equalisation, at the depth of the scan",
)
@click.option("--clip", default=2.0, show_default=True, help="CLAHE: contrast limit, from 1")
@click.option("--tiles", default=8, show_default=True, help="CLAHE: tiles along each side, 1 to 64")
@click.option(
    "--pixel-spacing",
    type=float,
    metavar="MM",
    help="resample to MM millimetres per pixel (DICOM, NIfTI)",
)
@click.option(
    "--ignore-spacing",
    is_flag=True,
    help="leave pixels that are not square as they are; by default they are made square",
)
@click.option(
    "--axis",
    default="axial",
    show_default=True,
    metavar="axial|coronal|sagittal",
    help="slices to take from a NIfTI volume",
)
@click.option(
    "--slices", metavar="A:B", help="which slices: 10:90, or 0.2:0.8 of the volume  [default: all]"
)
@click.option("--volume", type=int, metavar="N", help="which volume of a 4-D NIfTI file, from 0")
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    metavar="FILE.csv",
    help="take classes from a table, not from folders",
)
@click.option(
    "--columns", default="file,class,subject", show_default=True, help="headings in that table"
)
@click.option(
    "--multi-label",
    default="error",
    show_default=True,
    metavar="error|first|join",
    help="several labels of one file (A|B): refuse it, take A, or make a class A+B",
)
@click.option(
    "--class-level",
    type=int,
    metavar="N",
    help="level of the class folders: 1 for those in SOURCE, 2 below those; 0: all is one class  "
    "[default: found]",
)
@click.option("--subjects", metavar="REGEX", help="find the subject (patient) in a file's path")
@click.option(
    "--include",
    multiple=True,
    metavar="PATTERN",
    help="take only files that match, masks and localizers too: '*_t1.nii.gz'; repeatable",
)
@click.option(
    "--exclude", multiple=True, metavar="PATTERN", help="leave out files that match; repeatable"
)
@click.option(
    "--duplicates",
    default="keep",
    show_default=True,
    metavar="keep|drop",
    help="files with the same bytes as another",
)
@click.option(
    "--split", metavar="A,B[,C]", help="divide into train,(val,)test by subject, as 0.8,0.1,0.1"
)
@click.option(
    "--allow-synthetic",
    is_flag=True,
    help="with --split: let synthetic scans into val and test too",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    metavar="N",
    help="files at once  [default: the cores]",
)
@click.option("--strict", is_flag=True, help="exit with 1 if anything was refused")
@click.option("--quiet", is_flag=True, help="no progress bar")
def main(source: Path, out: Path, **given: Any) -> None:
    """Prepare the scans in SOURCE (a folder per class) as a dataset in OUT.

    Reads PNG, JPEG, TIFF, BMP, DICOM and NIfTI. What can't be used is named in OUT/rejects.jsonl.
    """
    from scangan.artifacts.split import parse_split
    from scangan.preprocessing.memory import keep_freed_memory
    from scangan.preprocessing.options import PrepOptions
    from scangan.preprocessing.pipeline import prepare, prepare_split, read_summary
    from scangan.preprocessing.report import report
    from scangan.preprocessing.sources import SourceOptions

    keep_freed_memory()
    split, strict = given.pop("split"), given.pop("strict")
    allow_synthetic = given.pop("allow_synthetic")
    if allow_synthetic and split is None:
        raise click.UsageError("--allow-synthetic goes with --split")
    common = {"workers": given.pop("workers"), "quiet": given.pop("quiet")}
    common["sources"] = SourceOptions(
        **{field.name: given.pop(field.name) for field in dataclasses.fields(SourceOptions)}
    )
    options = PrepOptions(**given)
    if split is None:
        prepare(source, out, options, **common)
    else:
        fractions = parse_split(split)
        prepare_split(source, out, fractions, options, allow_synthetic=allow_synthetic, **common)
    summary = read_summary(out)
    for line in report(summary, out):
        say(line)
    if strict and summary["rejected"]:
        say(f"prep-scans: {summary['rejected']} refused, and --strict was given", err=True)
        click.get_current_context().exit(FAILED)
