"""``gen-scans``: a model file to labelled synthetic scans."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scangan.core.counted import counted
from scangan.core.terminal import ScanCommand, progress, say, was_given

if TYPE_CHECKING:
    from scangan.artifacts.request import Part, Request, Span
    from scangan.runtime.generator import ScanGenerator

COUNT, STRIP = 16, 8
# What the modes take, apart from --quiet, --json and --debug; scans are made with the rest.
MODEL = {"model", "precision", "allow_modified"}
MODES = {
    "merge": {"folders", "out"},
    "doctor": set(),
    "info": MODEL,
    "benchmark": {*MODEL, "threads", "device"},
    "interpolate": {
        *(*MODEL, "threads", "device", "classes", "count", "seed", "start", "truncation"),
        *("paired", "out", "force"),
    },
}


@click.command(
    "gen-scans",
    cls=ScanCommand,
    epilog="Exits with 0 if all scans are there, 1 if something failed, 2 if an option is wrong, "
    "130 if it was stopped. Type the same command again to continue.",
)
@click.argument("folders", nargs=-1, type=click.Path(path_type=Path), metavar="")
@click.option(
    "--model",
    default="brain-mri-64",
    show_default=True,
    metavar="FILE|NAME",
    help="model file, or the name of a bundled model",
)
@click.option(
    "--class",
    "classes",
    multiple=True,
    metavar="ID|NAME",
    help="class to generate; repeatable  [default: all]",
)
@click.option("--count", type=int, help=f"how many scans of each class  [default: {COUNT}]")
@click.option(
    "--balance",
    type=click.Path(path_type=Path),
    metavar="DATASET",
    help="top smaller classes up to the size of the largest; a prepared dataset counts exactly, a "
    "folder by file format, damaged files and masks too",
)
@click.option(
    "--target", type=int, metavar="N", help="with --balance: top classes up to N scans instead"
)
@click.option("--seed", default=0, show_default=True, help="a different seed makes different scans")
@click.option("--start", default=0, show_default=True, help="index of the first scan")
@click.option(
    "--truncation",
    default=1.0,
    show_default=True,
    metavar="PSI",
    help="below 1: more typical scans, but less varied",
)
@click.option("--paired", is_flag=True, help="use the same latents for every class")
@click.option(
    "--interpolate",
    metavar="A:B",
    help="make a picture of --count steps from A to B, two indexes or two classes",
)
@click.option(
    "--format",
    "kind",
    default="png",
    show_default=True,
    metavar="png|tar|npz|dicom",
    help="one file for each scan (png, dicom), or many in one file (tar for WebDataset, npz for numpy)",
)
@click.option(
    "--shard-size", type=int, metavar="N", help="scans in each tar or npz file  [default: 1000]"
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="folder to write to  [default: named after the request]",
)
@click.option("--no-sheet", is_flag=True, help="do not make a contact sheet")
@click.option(
    "--force", is_flag=True, help="make the scans again, and replace those of another request"
)
@click.option("--shard", metavar="i/n", help="make only part i of n, counted from 0")
@click.option("--merge", is_flag=True, help="join the parts: gen-scans --merge FOLDER... --out ALL")
@click.option(
    "--batch",
    type=int,
    help="scans in each pass; does not change the result  [default: fits the size]",
)
@click.option(
    "--threads",
    type=int,
    help="threads to use; does not change the result  [default: all that are allowed]",
)
@click.option(
    "--device", default="auto", show_default=True, metavar="auto|cpu|cuda|NAME", help="where to run"
)
@click.option(
    "--precision",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "fp32", "fp16", "int8"]),
    help="which of the model's files to use",
)
@click.option(
    "--allow-modified",
    is_flag=True,
    help="run a model even if another tool has changed it since its export",
)
@click.option("--info", is_flag=True, help="print the model's card and exit")
@click.option("--doctor", is_flag=True, help="print what is installed and what works, and exit")
@click.option("--benchmark", is_flag=True, help="measure how fast the model runs here, and exit")
@click.option("--quiet", is_flag=True, help="print nothing but errors")
@click.option("--json", "as_json", is_flag=True, help="print one JSON object, for scripts")
def main(folders: tuple[Path, ...], **given: Any) -> None:
    """Generate labelled synthetic scans from a model file.

    \b
    gen-scans                                     some of every class, bundled model
    gen-scans --model acgan.onnx --class 2        some of one class
    gen-scans --class glioma_tumor --count 500 --seed 1 --out more
    gen-scans --balance scans --out scans-more    top up the smaller classes
    gen-scans --count 100000 --format tar --shard 3/8 --out big

    The same model, seed, class and index make the same scan, whatever the batch, threads, shard or
    count.
    """
    if folders and not given["merge"]:
        raise click.UsageError(f"{folders[0]} is not an option; folders go with --merge")
    _refuse_unused(given)
    if given["merge"]:
        _merge(folders, given)
    elif given["doctor"]:
        _doctor(as_json=given["as_json"])
    elif given["info"]:
        _info(given)
    elif given["benchmark"]:
        _benchmark(given)
    elif given["interpolate"] is not None:
        _interpolate(given)
    else:
        _generate(given)


def _refuse_unused(given: dict[str, Any]) -> None:
    """Options that are given and have no effect are a mistake."""
    modes = [mode for mode in MODES if given[mode]]
    for option in click.get_current_context().command.params if modes else []:
        name = option.name or ""
        if was_given(name) and name not in {
            *MODES[modes[0]],
            modes[0],
            "quiet",
            "as_json",
            "debug",
        }:
            raise click.UsageError(f"{option.opts[0]} does not go with --{modes[0]}")


def _generate(given: dict[str, Any]) -> None:
    from scangan.artifacts.request import SHARD_SIZE, SHARDED, Part, Request
    from scangan.artifacts.scan_folder import SHEET
    from scangan.runtime.output import write_scans

    if given["shard_size"] is not None and given["kind"] not in SHARDED:
        raise click.UsageError(f"--shard-size goes with --format {' or '.join(SHARDED)}")
    part = Part() if given["shard"] is None else Part.parse(given["shard"])
    generator = _open(given, given["batch"])
    request = Request(
        spans=_spans(generator, given),
        draw=_draw(given),
        format=given["kind"],
        shard_size=SHARD_SIZE if given["shard_size"] is None else given["shard_size"],
    )
    out = given["out"] or _default_out(generator, request, given)
    dataset = given["balance"]
    if dataset is not None and out.resolve().is_relative_to(dataset.resolve()):
        raise click.UsageError(
            f"{out} lies inside {dataset} and would be read as one of its classes; choose another --out"
        )
    first, last = request.positions(part)
    _tell(given, _how(generator, given))
    began = time.perf_counter()
    with progress("generating", last - first, "scans", quiet=_silent(given)) as advance:
        made = write_scans(
            generator,
            request,
            out,
            part=part,
            force=given["force"],
            sheet=not given["no_sheet"],
            advance=advance,
        )
    seconds = time.perf_counter() - began
    said = {
        "out": str(out),
        "scans": last - first,
        "made": made,
        "seconds": round(seconds, 3),
        "classes": {_name(generator, s) or "": s.count for s in request.spans},
        "format": request.format,
        "seed": request.draw.seed,
        "model": str(generator.file.path),
        "model_sha256": generator.sha256,
        "device": generator.device.name,
        "threads": generator.threads,
    }
    look = f" (look at {out / SHEET})" if (out / SHEET).exists() else ""
    _end(given, said, f"{_made_words(generator, request, part, made)}: {out}{look}")


def _merge(folders: tuple[Path, ...], given: dict[str, Any]) -> None:
    if not folders:
        raise click.UsageError("--merge takes the folders of the parts")
    if given["out"] is None and len(set(folders)) > 1:
        raise click.UsageError("to merge several folders: --out FOLDER")
    from scangan.artifacts.scan_folder import Plan
    from scangan.runtime.merge import merge

    out = given["out"] or folders[0]
    total = Plan.read(folders[0]).request.total
    with progress("joining", total, "scans", quiet=_silent(given)) as advance:
        merge(folders, out, advance)
    _end(
        given,
        {"out": str(out), "scans": total},
        f"{counted(total, 'synthetic scan')}, all there once: {out}",
    )


def _doctor(*, as_json: bool) -> None:
    from scangan.runtime.doctor import doctor

    facts = doctor()
    if as_json:
        click.echo(json.dumps(dict(facts)))
        return
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        say(f"{name:<{width}}  {value}")


def _info(given: dict[str, Any]) -> None:
    from scangan.core.devices import CPU, Device
    from scangan.runtime.cardtable import card_table
    from scangan.runtime.catalog import open_model

    file = open_model(
        given["model"],
        Device("cpu", CPU),
        given["precision"],
        allow_modified=given["allow_modified"],
    )
    if given["as_json"]:
        click.echo(json.dumps(json.loads(file.card.to_json())))  # ASCII, for any pipe
        return
    for line in card_table(file).splitlines():
        say(line)


def _benchmark(given: dict[str, Any]) -> None:
    from scangan.runtime.speed import measure

    _tell(given, _how(_open(given, None), given))
    rates = {}
    for what, rate in measure(lambda batch: _open(given, batch)):
        rates[what] = round(rate, 1)
        _tell(given, f"{what:<24}{rate:10.0f} images/s")
    if given["as_json"]:
        click.echo(json.dumps(rates))


def _interpolate(given: dict[str, Any]) -> None:
    from scangan.core.files import write_bytes
    from scangan.core.png import encode_png
    from scangan.core.sheet import NOTICE
    from scangan.runtime.interpolate import ends, strip
    from scangan.runtime.output import refuse_inside_scans

    generator, path = _open(given, None), given["interpolate"]
    between = ends(path, generator.classes)
    if isinstance(between[0], str) and given["classes"]:
        raise click.UsageError("--class does not go with a strip between classes")
    if isinstance(between[0], int) and was_given("start"):
        raise click.UsageError("--start does not go with a strip between indexes")
    steps = STRIP if given["count"] is None else given["count"]
    numbers = _numbers(generator, given)
    image = strip(generator, path, numbers, _draw(given), steps, given["start"])
    out = given["out"] or _default_strip(generator, between, numbers, steps, given)
    if out.suffix.lower() != ".png" or out.is_dir():
        raise click.UsageError(
            f"a strip is a picture, --out {out} is not a name for one; like x.png"
        )
    refuse_inside_scans(out)
    if out.exists() and not given["force"]:
        raise click.UsageError(f"{out} is there already; choose another --out, or --force")
    out.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(out, encode_png(image, {"Comment": NOTICE}))
    _end(given, {"out": str(out), "steps": steps}, f"a strip of {steps} synthetic scans: {out}")


def _open(given: dict[str, Any], batch: int | None) -> "ScanGenerator":
    from scangan.runtime.generator import ScanGenerator

    names = ("threads", "device", "precision", "allow_modified")
    return ScanGenerator(given["model"], batch=batch, **{name: given[name] for name in names})


def _draw(given: dict[str, Any]) -> Any:
    from scangan.artifacts.latents import Draw

    return Draw(given["seed"], given["truncation"], given["paired"])


def _numbers(generator: "ScanGenerator", given: dict[str, Any]) -> tuple[int | None, ...]:
    """Class numbers that are asked for, all by default; None for a model without classes."""
    wanted = (generator.card.class_number(c, given["model"]) for c in given["classes"])
    return tuple(dict.fromkeys(wanted)) or tuple(range(len(generator.classes))) or (None,)


def _spans(generator: "ScanGenerator", given: dict[str, Any]) -> "tuple[Span, ...]":
    from scangan.artifacts.request import Span

    start, numbers = given["start"], _numbers(generator, given)
    if given["balance"] is None:
        if given["target"] is not None:
            raise click.UsageError("--target goes with --balance DATASET")
        count = COUNT if given["count"] is None else given["count"]
        return tuple(Span(number, start, count) for number in numbers)
    if given["count"] is not None:
        raise click.UsageError("--balance counts by itself; leave out --count")
    from scangan.runtime.balance import missing

    asked = [n for n in numbers if n is not None] if given["classes"] else []
    lacking = missing(
        given["balance"],
        generator.classes,
        asked,
        given["target"],
        note=lambda line: _tell(given, line),
    )
    return tuple(Span(number, start, count) for number, count in lacking.items())


def _default_out(generator: "ScanGenerator", request: "Request", given: dict[str, Any]) -> Path:
    """Name a folder after the request, so that two of one model never meet in one folder."""
    from scangan.artifacts.scan_folder import folder_names

    parts = [Path(given["model"]).stem]
    if given["classes"]:
        folders = folder_names(generator.classes)
        classes = "+".join(folders[s.number] for s in request.spans if s.number is not None)
        numbers = "+".join(str(s.number) for s in request.spans)
        parts.append(classes if len(classes.encode()) < 120 else f"classes{numbers[:60]}")
    parts.append(f"seed{request.draw.seed}")
    if given["balance"] is None:
        parts.append(f"n{request.spans[0].count}")
    else:
        parts.append(f"balance-{given['balance'].resolve().name}-{given['target'] or 'largest'}")
    parts += _drawn(given)
    parts += [request.format] if request.format != "png" else []
    parts += [f"by{request.shard_size}"] if given["shard_size"] is not None else []
    return Path("-".join(parts))


def _default_strip(
    generator: "ScanGenerator",
    between: tuple[object, object],
    numbers: tuple[int | None, ...],
    steps: int,
    given: dict[str, Any],
) -> Path:
    """Name a picture after the strip, in the same way."""
    from scangan.artifacts.scan_folder import folder_names

    folders = folder_names(generator.classes)
    names = dict(zip(generator.classes, folders, strict=True))
    a, b = (names.get(str(end), str(end)) for end in between)
    parts = [Path(given["model"]).stem, f"strip-{a}-{b}"]
    if given["classes"]:
        parts.append("+".join(folders[n] for n in numbers if n is not None))
    parts += [f"seed{given['seed']}", *_drawn(given)]
    parts += [f"n{steps}"] if steps != STRIP else []
    return Path("-".join(parts) + ".png")


def _drawn(given: dict[str, Any]) -> list[str]:
    """How latents are drawn and in what they run, where that is not as by default."""
    parts = [f"from{given['start']}"] if given["start"] else []
    parts += [f"psi{given['truncation']:g}"] if given["truncation"] != 1.0 else []
    parts += ["paired"] if given["paired"] else []
    return parts + ([given["precision"]] if given["precision"] != "auto" else [])


def _how(generator: "ScanGenerator", given: dict[str, Any]) -> str:
    """What was chosen where nobody asked for it."""
    why = f" ({generator.device.why})" if generator.device.why else ""
    threads = counted(generator.threads, "thread")
    everything = ""
    if generator.classes and not (given["classes"] or given["balance"] or given["benchmark"]):
        everything = f"; no --class, so all {len(generator.classes)}"
    return f"{generator.file.path.name} on {generator.device.name}{why}, {threads}{everything}"


def _name(generator: "ScanGenerator", span: "Span") -> str | None:
    return None if span.number is None else generator.classes[span.number]


def _made_words(generator: "ScanGenerator", request: "Request", part: "Part", made: int) -> str:
    first, last = request.positions(part)
    names = [name for span in request.spans if (name := _name(generator, span))]
    if len({span.count for span in request.spans}) > 1:
        names = [f"{s.count} {_name(generator, s)}" for s in request.spans]
    of = f" of {', '.join(names)}" if names else ""
    which = f" (part {part.i}/{part.n})" if part.n > 1 else ""
    there = last - first - made
    before = f", {counted(there, 'was', 'were')} there" if there else ""
    return f"{counted(last - first, 'synthetic scan')}{of}{which}{before}"


def _silent(given: dict[str, Any]) -> bool:
    return bool(given["quiet"] or given["as_json"])


def _tell(given: dict[str, Any], line: str) -> None:
    if not _silent(given):
        say(line)


def _end(given: dict[str, Any], said: dict[str, Any], line: str) -> None:
    if given["as_json"]:
        click.echo(json.dumps(said))
    else:
        _tell(given, line)
