"""``scangan study``: say how well readers told synthetic scans from real ones."""

from pathlib import Path

import click

from scangan.cli import options
from scangan.cli.command import Output, ScanCommand


@click.command("study", short_help="evaluate a blind reader study", cls=ScanCommand)
@click.argument("results", nargs=-1, required=True, type=options.any_path, metavar="RESULT.json...")
@click.option(
    "--key",
    type=options.any_path,
    required=True,
    metavar="FILE",
    help="the key that was written beside the study's page",
)
@options.quiet
@options.as_json
def main(results: tuple[Path, ...], key: Path, quiet: bool, as_json: bool) -> None:
    """Say how well readers told synthetic scans from real ones.

    \b
    scangan demo brain-mri-64 --study test -o study.html
    scangan study study-*.json --key study.key.json

    RESULT.json is what the page of a study saves for a reader. Accuracy is the share of right answers
    among those that are not "unsure"; 50% is guessing.
    """
    from scangan.artifacts.reader_study import read_key, read_result
    from scangan.artifacts.records import to_told
    from scangan.core.errors import EvaluationError
    from scangan.evaluation.reader_study import judge_study
    from scangan.evaluation.reader_study_text import study_lines

    told = read_key(key)
    found = [read_result(path, told) for path in results]
    for n, (path, result) in enumerate(zip(results, found, strict=True)):
        if result in found[:n]:
            first = results[found.index(result)]
            raise EvaluationError(f"{path} and {first} are the same results; give each once")
    figures = judge_study(told, found)
    output = Output(quiet, as_json)
    for line in study_lines(figures):
        output.say(line)
    output.say("")
    output.end(to_told(figures), figures.paragraph)
