"""``scangan generate``, or ``gen-scans``: generate labelled synthetic scans from a model file."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scangan.cli import options
from scangan.cli.command import Output, ScanCommand
from scangan.core.address import Place
from scangan.core.counted import counted
from scangan.core.terminal import progress

if TYPE_CHECKING:
    from scangan.artifacts.request import Part, Request
    from scangan.runtime.generator import ScanGenerator

COUNT = 16
SECTIONS = {
    "Which scans": ("model", "classes", "count", "balance", "target", "exclude"),
    "Sampling": ("seed", "start", "truncation", "paired"),
    "Output": ("kind", "shard_size", "out", "no_sheet", "force"),
    "Parallel jobs": ("shard", "engine", "address", "actors"),
    "Running the model": ("batch", "threads", "device", "precision", "allow_modified"),
}


@click.command(
    "gen-scans",
    short_help="generate labelled synthetic scans from a model file",
    cls=ScanCommand,
    resumes=True,
    sections=SECTIONS,
    epilog="Exit codes: 0 all scans are there, 1 something failed, 2 an option is wrong, 130 stopped. "
    "Run the same command again to continue, without --force.",
)
@options.model
@options.classes
@click.option("--count", type=int, help=f"how many scans of each class  [default: {COUNT}]")
@click.option(
    "--balance",
    type=options.any_place,
    metavar="DATASET",
    help="top smaller classes up to the size of the largest; in a plain folder, damaged files and masks "
    "count too",
)
@click.option(
    "--target", type=int, metavar="N", help="with --balance: top classes up to N scans instead"
)
@click.option(
    "--exclude",
    type=options.any_path,
    metavar="FILE",
    multiple=True,
    help="leave out the scans listed in suspects.jsonl of eval-scans privacy; no others replace them; "
    "repeatable",
)
@options.drawing
@click.option(
    "--format",
    "kind",
    default="png",
    show_default=True,
    metavar="png|tar|npz|dicom",
    help="one file per scan (png, dicom), or many scans per file (tar for WebDataset, npz for numpy)",
)
@click.option(
    "--shard-size", type=int, metavar="N", help="scans per tar or npz file  [default: 1000]"
)
@click.option(
    "--out",
    type=options.any_place,
    metavar="PATH|ADDRESS",
    help="folder to write to, or the address of one in a store (s3://BUCKET/FOLDER)  [default: named "
    "after the request]",
)
@click.option("--no-sheet", is_flag=True, help="do not make a contact sheet")
@click.option(
    "--force", is_flag=True, help="make the scans again, replacing those of another request"
)
@click.option(
    "--shard",
    metavar="i/n",
    help='make only part i of n, counted from 0; join with "scangan merge"',
)
@options.on_cluster
@click.option(
    "--actors",
    type=click.IntRange(1),
    help="with --engine: how many processes, each with --threads threads (1 unless given)  "
    "[default: as many as fit]",
)
@click.option(
    "--batch",
    type=int,
    help="scans per pass; does not change the result  [default: chosen by image size]",
)
@options.where_to_run
@options.which_file
@options.quiet
@options.as_json
def main(
    model: str,
    classes: tuple[str, ...],
    count: int | None,
    balance: Place | None,
    target: int | None,
    exclude: tuple[Path, ...],
    seed: int,
    start: int,
    truncation: float,
    paired: bool,
    kind: str,
    shard_size: int | None,
    out: Place | None,
    no_sheet: bool,
    force: bool,
    shard: str | None,
    engine: str | None,
    address: str | None,
    actors: int | None,
    batch: int | None,
    threads: int | None,
    device: str,
    precision: str,
    allow_modified: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Generate labelled synthetic scans from a model file.

    \b
    gen-scans                                     16 of every class, bundled model
    gen-scans --model acgan.onnx --class 2        16 of one class
    gen-scans --class glioma_tumor --count 500 --seed 1 --out more
    gen-scans --balance scans --out scans-more    top up the smaller classes
    gen-scans --count 100000 --format tar --shard 3/8 --out big
    gen-scans --seed 1000000 --count 400 --exclude private/suspects.jsonl

    On one kind of processor, the same model, seed, class and index always make the same bytes,
    whatever the batch, threads, part or count.
    """
    from scangan.artifacts.latents import Draw
    from scangan.artifacts.request import SHARD_SIZE, SHARDED, Part, Request, Span
    from scangan.artifacts.scan_folder import SHEET
    from scangan.cli.default_out import scans_folder
    from scangan.core.files import is_there
    from scangan.runtime.generator import ScanGenerator
    from scangan.runtime.output import write_scans

    if shard_size is not None and kind not in SHARDED:
        raise click.UsageError(f"--shard-size needs --format {' or '.join(SHARDED)}")
    if engine is None and (address is not None or actors is not None):
        raise click.UsageError("--address and --actors need --engine ray")
    if target is not None and balance is None:
        raise click.UsageError("--target needs --balance DATASET")
    if count is not None and balance is not None:
        raise click.UsageError("--balance works out the count itself; leave out --count")
    output = Output(quiet, as_json)
    part = Part() if shard is None else Part.parse(shard)
    if engine is not None:
        threads = threads or 1
    generator = ScanGenerator(
        model,
        batch=batch,
        threads=threads,
        device=device,
        precision=precision,
        allow_modified=allow_modified,
    )
    numbers = generator.class_numbers(classes)
    counts: dict[int | None, int] = {}
    topped_up = None
    if balance is None:
        counts = dict.fromkeys(numbers, COUNT if count is None else count)
    else:
        from scangan.runtime.balance import missing

        asked = [n for n in numbers if n is not None] if classes else []
        counts.update(missing(balance, generator.classes, asked, target, say=output.say).items())
        topped_up = f"{balance.resolve().name}-{target or 'largest'}"
    request = Request(
        spans=tuple(Span(number, start, count) for number, count in counts.items()),
        draw=Draw(seed, truncation, paired),
        format=kind,
        shard_size=SHARD_SIZE if shard_size is None else shard_size,
    )
    if exclude:
        from scangan.runtime.exclude import without_suspects

        for file in exclude:
            request = without_suspects(request, generator.file, file, say=output.say)
    if out is None:
        out = scans_folder(
            model,
            generator.classes,
            request,
            chosen=bool(classes),
            precision=precision,
            topped_up=topped_up,
            shard_size=shard_size,
        )
    if balance is not None and out.resolve().is_relative_to(balance.resolve()):
        raise click.UsageError(
            f"{out} is inside {balance} and would be read as one of its classes; choose another --out"
        )
    all_of_them = generator.classes and not (classes or balance)
    everything = f"; no --class given, so all {len(generator.classes)}" if all_of_them else ""
    each = "" if engine is None else " an actor"
    output.say(f"{generator.description}{each}{everything}")
    work = None
    if engine is not None:
        from scangan.core.cluster import Cluster
        from scangan.runtime.ray_engine import on_cluster

        work = on_cluster(generator, Cluster(address, actors, generator.threads))
    first, last = request.positions(part)
    began = time.perf_counter()
    with progress("generating", last - first, "scans", quiet=output.silent) as advance:
        made = write_scans(
            generator,
            request,
            out,
            part=part,
            force=force,
            sheet=not no_sheet,
            work=work,
            advance=advance,
        )
    seconds = time.perf_counter() - began
    in_part = _counts(generator, request, part)
    told = _facts(generator, request, in_part)
    told["left_out"] = sum(len(span.left_out) for span in request.spans)
    told |= {"out": str(out), "made": made, "seconds": round(seconds, 3)}
    look = f" (look at {out / SHEET})" if is_there(out / SHEET) else ""
    if first == last:
        size = f" files of {counted(request.unit, 'scan')}" if request.unit > 1 else " files"
        output.say(f"part {part.i}/{part.n} has no scans: there are fewer {kind}{size} than parts")
    if kind != "npz":
        for name, folder in _renamed(generator, request):
            output.say(
                f"the folder of {name} is named {folder}, as not every system or reader takes that name"
            )
    output.end(told, f"{_summary(in_part, part, made)}: {out}{look}")


def _name(generator: "ScanGenerator", number: int | None) -> str:
    return "" if number is None else generator.classes[number]


def _renamed(generator: "ScanGenerator", request: "Request") -> Iterator[tuple[str, str]]:
    """Yield the classes whose folders have other names, and the folders."""
    from scangan.artifacts.scan_folder import folder_names

    folders = folder_names(generator.classes)
    for number in (span.number for span in request.spans if span.number is not None):
        if folders[number] != generator.classes[number]:
            yield generator.classes[number], folders[number]


def _counts(generator: "ScanGenerator", request: "Request", part: "Part") -> dict[str, int]:
    """Count the scans of each class in a part; a class of the request may have none there."""
    counts = dict.fromkeys((_name(generator, span.number) for span in request.spans), 0)
    for span in request.between(*request.positions(part), most=1 << 62):
        counts[_name(generator, span.number)] += span.count
    return counts


def _facts(
    generator: "ScanGenerator", request: "Request", counts: dict[str, int]
) -> dict[str, object]:
    return {
        "scans": sum(counts.values()),
        "classes": counts,
        "format": request.format,
        "seed": request.draw.seed,
        "model": str(generator.file.path),
        "model_sha256": generator.sha256,
        "device": generator.device.name,
        "threads": generator.threads,
    }


def _summary(counts: dict[str, int], part: "Part", made: int) -> str:
    total = sum(counts.values())
    names = [name for name, count in counts.items() if name and (count or part.n == 1)]
    of = f" of {', '.join(names)}" if names else ""
    if len({counts[name] for name in names}) > 1:
        of = f" ({', '.join(f'{counts[name]} {name}' for name in names)})"
    which = f" (part {part.i}/{part.n})" if part.n > 1 else ""
    before = f", {total - made} already there" if total > made else ""
    return f"{counted(total, 'synthetic scan')}{of}{which}{before}"
