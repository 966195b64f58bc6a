"""``eval-scans utility``: train classifiers with and without synthetic scans."""

import dataclasses
from functools import partial
from pathlib import Path

import click

from scangan.cli import options
from scangan.cli.command import Output, ScanCommand
from scangan.core.errors import EvaluationError
from scangan.core.terminal import progress

SECTIONS = {
    "Comparison": ("test", "run", "drop_leaks", "count", "classifiers", "seeds", "fractions"),
    "Classifiers": ("extractor", "weights", "steps"),
    "Output": ("out", "quiet", "as_json"),
    "Running": ("threads", "cache"),
}


@click.command(
    "utility",
    short_help="does a classifier gain from them?",
    cls=ScanCommand,
    resumes=True,
    sections=SECTIONS,
)
@click.argument("real")
@click.argument("synthetic")
@click.option(
    "--test",
    metavar="REAL",
    help="real scans to test on  [default: with --run, what it held back of the dataset REAL; else a "
    "quarter of REAL]",
)
@click.option(
    "--run",
    type=options.any_path,
    help="run of the generator: no classifier is tested on scans that the generator was trained on",
)
@options.classifiers
@click.option(
    "--drop-leaks",
    is_flag=True,
    help="leave out test scans that also occur in training (file, subject or image), instead of refusing",
)
@options.extractor
@click.option(
    "--weights",
    type=options.any_path,
    metavar="FILE",
    help="pretrained weights for vgg16, resnet152v2 or mobilenetv2",
)
@click.option("--steps", type=int, help="training steps of a network  [default: its own]")
@options.evaluating
def main(
    real: str,
    synthetic: str,
    out: Path,
    test: str | None,
    run: Path | None,
    count: int,
    drop_leaks: bool,
    classifiers: tuple[str, ...],
    seeds: int,
    fractions: tuple[float, ...],
    extractor: str,
    weights: Path | None,
    steps: int | None,
    threads: int | None,
    cache: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Train classifiers on REAL, on SYNTHETIC and on both, and test them on real scans.

    There are five training sets (diets): real scans, synthetic ones, both, real ones with the smaller
    classes topped up, and real ones with classical augmentation. Synthetic scans must beat the last.

    Use a generator that was trained on REAL and on none of the test scans. A test scan that is a
    near-duplicate of a training scan, or shows the same subject, is refused. Without --test, such
    scans are left out, and each subject stays on one side.
    """
    from scangan.artifacts.dataset import is_prepared
    from scangan.artifacts.records import to_told, write_record
    from scangan.artifacts.run import Run
    from scangan.cli.evaluation_folder import evaluation_folder
    from scangan.cli.scan_sets import (
        learnt_from,
        open_pair,
        open_scans,
        open_synthetic,
        warn_if_trained_on,
    )
    from scangan.evaluation.file_names import RESULT
    from scangan.evaluation.judge_utility import UtilityOptions, utility
    from scangan.evaluation.leaks import without_trained_on
    from scangan.evaluation.run_subsets import trained_and_held_back
    from scangan.evaluation.utility_sets import split_for_test
    from scangan.evaluation.utility_text import utility_lines

    output = Output(quiet, as_json)
    chosen = UtilityOptions(
        classifiers, seeds, fractions, extractor, weights, steps, drop_leaks, threads, cache
    )
    if test is None and run is None and learnt_from(synthetic, real):
        raise EvaluationError(
            f"{synthetic} was trained on scans of {real}, so a quarter of them cannot serve as test scans; give "
            f"others with --test, or the run with --run"
        )
    if test is None:
        chosen = dataclasses.replace(chosen, drop_leaks=True)  # nobody chose that split
    with evaluation_folder(out, "utility", real, synthetic, test, say=output.say):
        known = warn_if_trained_on(test, synthetic, output.say) if test is not None else ()
        if test is None and run is not None and is_prepared(Path(real)):
            train, tested, known = trained_and_held_back(real, Run(run))
            made = open_synthetic(synthetic, like=train, count=count, threads=threads)
        else:
            train, made = open_pair(real, synthetic, count=count, threads=threads)
            if test is None:
                train, tested = split_for_test(train)
            else:
                tested = open_scans(test, like=train, threads=threads)
            if run or not known:
                tested, checked = without_trained_on(
                    Run(run) if run else None, tested, drop=drop_leaks
                )
                known += checked
        track = partial(progress, quiet=output.silent)
        result = utility(train, made, tested, chosen, track, notes=known)
        write_record(out / RESULT, result)
        for line in utility_lines(result):
            output.say(line)
        output.say("")
        output.end(to_told(result), f"all figures, including those of each class: {out / RESULT}")
