"""``eval-scans quality``: compare synthetic scans with real ones."""

from functools import partial
from pathlib import Path

import click

from scangan.cli import options
from scangan.cli.command import Output, ScanCommand
from scangan.core.terminal import progress

SECTIONS = {
    "Comparison": ("count", "extractors", "repeats", "seed", "strict"),
    "Output": ("out", "quiet", "as_json"),
    "Running": ("threads", "cache"),
}


@click.command(
    "quality",
    short_help="do they look like real scans, and are they as varied?",
    cls=ScanCommand,
    resumes=True,
    sections=SECTIONS,
)
@click.argument("real")
@click.argument("synthetic")
@options.extractors
@click.option(
    "--repeats", default=20, show_default=True, help="random splits into halves, 5 to 1000"
)
@click.option("--seed", default=0, show_default=True, help="random seed")
@click.option("--strict", is_flag=True, help="refuse sets of different size or preparation")
@options.evaluating
def main(
    real: str,
    synthetic: str,
    out: Path,
    count: int,
    extractors: tuple[str, ...],
    repeats: int,
    seed: int,
    strict: bool,
    threads: int | None,
    cache: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Compare SYNTHETIC with REAL, overall and per class.

    Each is a prepared dataset or a folder of scans; SYNTHETIC may also be a model file, or the name of
    a bundled model. Use real scans that the generator was not trained on.

    Every figure stands beside that of real scans against other real scans, with a 95% interval.
    """
    from scangan.artifacts.records import to_told, write_record
    from scangan.cli.evaluation_folder import evaluation_folder
    from scangan.cli.scan_sets import open_pair, warn_if_trained_on
    from scangan.evaluation.features import installed
    from scangan.evaluation.file_names import RESULT
    from scangan.evaluation.judge_quality import QualityOptions, quality
    from scangan.evaluation.quality_text import quality_lines

    output = Output(quiet, as_json)
    chosen = QualityOptions(extractors or installed(), repeats, seed, strict, threads, cache)
    with evaluation_folder(out, "quality", real, synthetic, say=output.say):
        notes = warn_if_trained_on(real, synthetic, output.say)
        one, other = open_pair(real, synthetic, count=count, threads=threads)
        result = quality(one, other, chosen, partial(progress, quiet=output.silent), notes)
        write_record(out / RESULT, result)
        for line in quality_lines(result):
            output.say(line)
        output.say("")
        output.end(to_told(result), f"all figures, including those of each class: {out / RESULT}")
