"""``scangan merge``: join the parts of a request in one folder."""

import click

from scangan.cli import options
from scangan.cli.command import Output, ScanCommand
from scangan.core.address import Place
from scangan.core.counted import counted
from scangan.core.terminal import progress


@click.command(
    "merge", short_help="join scans that were generated in parts", cls=ScanCommand, resumes=True
)
@click.argument("folders", nargs=-1, required=True, type=options.any_place, metavar="FOLDER...")
@click.option(
    "--out", type=options.any_place, help="folder to join them in  [default: FOLDER, if only one]"
)
@options.quiet
@options.as_json
def main(folders: tuple[Place, ...], out: Place | None, quiet: bool, as_json: bool) -> None:
    """Join the parts that "generate --shard" made.

    \b
    scangan merge big                    the parts share a folder
    scangan merge big-* --out big        each part has its own folder

    First checks that every part and every scan is there exactly once. The result is byte for byte
    what one command would have made.
    """
    from scangan.artifacts.scan_folder import Plan
    from scangan.runtime.merge import merge

    if out is None and len(set(folders)) > 1:
        raise click.UsageError("several folders need --out FOLDER")
    output, out = Output(quiet, as_json), out or folders[0]
    total = Plan.read(folders[0]).request.total
    with progress("joining", total, "scans", quiet=output.silent) as advance:
        merge(folders, out, advance)
    output.end(
        {"out": str(out), "scans": total},
        f"{counted(total, 'synthetic scan')}, none missing or doubled: {out}",
    )
