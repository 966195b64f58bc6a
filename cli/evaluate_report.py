"""``eval-scans report``: answer all questions in one HTML page."""

import datetime
import os
import shlex
from functools import partial
from pathlib import Path, PurePath

import click

from scangan.cli import options
from scangan.cli.command import Output, ScanCommand, typed, was_given
from scangan.core.terminal import progress

OPTIONS_OF_UTILITY = {
    "classifiers": "--classifier",
    "seeds": "--seeds",
    "fractions": "--real-fractions",
}


@click.command(
    "report",
    short_help="answer all questions in one page",
    cls=ScanCommand,
    resumes=True,
    sections={
        "Real scans": ("train", "run_path", "drop_leaks", "no_real_images"),
        "Evaluation": ("count", "extractors", "classifiers", "seeds", "fractions"),
        "Output": ("out", "write_model", "quiet", "as_json"),
        "Running": ("threads", "cache"),
    },
)
@click.argument("real")
@click.argument("synthetic")
@click.option(
    "--train",
    metavar="REAL",
    help="scans that the generator was trained on: also evaluate utility and privacy",
)
@click.option(
    "--run",
    "run_path",
    type=options.any_path,
    metavar="RUN",
    help="run that trained the generator: also attack its discriminator; needs --train, the run's "
    "prepared dataset",
)
@click.option(
    "--drop-leaks",
    is_flag=True,
    help="leave out scans of REAL whose file or subject the run was trained on, instead of refusing; "
    "needs --run",
)
@click.option(
    "--no-real-images", is_flag=True, help="show no real scan, and no name of a real file or folder"
)
@click.option(
    "--write-model",
    type=options.any_path,
    metavar="FILE",
    help="also write a copy of the model with the figures of quality in its card",
)
@options.extractors
@options.classifiers
@options.evaluating
def main(
    real: str,
    synthetic: str,
    out: Path,
    train: str | None,
    run_path: Path | None,
    drop_leaks: bool,
    no_real_images: bool,
    write_model: Path | None,
    count: int,
    extractors: tuple[str, ...],
    classifiers: tuple[str, ...],
    seeds: int,
    fractions: tuple[float, ...],
    threads: int | None,
    cache: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Evaluate SYNTHETIC against REAL, and write one page that opens from disk.

    \b
    eval-scans report dataset/test model.onnx --train dataset/train --out report

    REAL must be scans that the generator was not trained on. Without --train, only quality is
    evaluated. What was evaluated before is read from the cache.

    Writes report.html, report.md for a paper, its plots, result.json and suspects.jsonl. The page
    shows real scans unless you give --no-real-images.
    """
    from scangan.artifacts.run import Run
    from scangan.cli.evaluation_folder import evaluation_folder
    from scangan.cli.scan_sets import (
        how_to_leave_out,
        model_of,
        of_run,
        open_pair,
        open_scans,
        warn_if_trained_on,
    )
    from scangan.evaluation.features import installed
    from scangan.evaluation.file_names import HTML
    from scangan.evaluation.judge_privacy import PrivacyOptions
    from scangan.evaluation.judge_quality import QualityOptions
    from scangan.evaluation.judge_utility import UtilityOptions
    from scangan.evaluation.judgement import JudgeOptions, judge_all
    from scangan.evaluation.leaks import without_trained_on
    from scangan.evaluation.report.anonymous import anonymous
    from scangan.evaluation.report.write import Provenance, check_folder, write_report

    if run_path and not train:
        raise click.UsageError(f"give the prepared dataset that {run_path} was trained on: --train")
    if drop_leaks and not run_path:
        raise click.UsageError("--drop-leaks needs --run, the run that trained the generator")
    for name in ("classifiers", "seeds", "fractions"):
        if not train and was_given(name):
            raise click.UsageError(
                f"{OPTIONS_OF_UTILITY[name]} needs --train, real scans that classifiers learn from"
            )
    check_folder(out, real_images=not no_real_images)
    model = model_of(synthetic)
    if write_model and not model:
        raise click.UsageError(f"--write-model needs a model to copy; {synthetic} is not one")
    if write_model and model:
        from scangan.export.judged import check_copy, write_judged

        check_copy(model, write_model)
    output = Output(quiet, as_json)
    chosen = JudgeOptions(
        QualityOptions(extractors or installed(), threads=threads, cache=cache),
        UtilityOptions(
            classifiers, seeds, fractions, drop_leaks=True, threads=threads, cache=cache
        ),
        PrivacyOptions(threads=threads, cache=cache),
    )
    with evaluation_folder(out, "report", real, synthetic, train, say=output.say):
        known = warn_if_trained_on(real, synthetic, output.say)
        test, made = open_pair(real, synthetic, count=count, threads=threads)
        trained, discriminator = None, None
        privacy_notes: list[str] = []
        if run_path:
            trained, _, discriminator, privacy_notes = of_run(train or "", run_path)
        elif train:
            trained = open_scans(train, like=test, threads=threads)
        utility_notes = known
        if run_path or not known:
            run = Run(run_path) if run_path else None
            test, checked = without_trained_on(run, test, drop=drop_leaks)
            utility_notes += checked
        if run_path:  # privacy tests on the same scans
            privacy_notes += utility_notes
        command = typed()
        if no_real_images:
            test, made, trained = anonymous(test, made, trained)
            command = _without_paths(
                command,
                real=real,
                train=train,
                run=run_path,
                out=out,
                cache=cache,
                model=write_model,
            )
        found = judge_all(
            test,
            made,
            trained,
            chosen,
            discriminator=discriminator,
            quality_notes=known,
            utility_notes=utility_notes,
            privacy_notes=tuple(privacy_notes),
            track=partial(progress, quiet=output.silent),
        )
        provenance = Provenance(command, model, datetime.datetime.now().date().isoformat())
        result = write_report(
            out,
            found,
            test,
            made,
            trained,
            provenance=provenance,
            real_images=not no_real_images,
            cache=cache,
        )
        if write_model and model:
            write_judged(model, found.quality, write_model)
            output.say(f"a copy of the model with these figures in its card: {write_model}")
        for question, sentence in result.verdict.items():
            output.say(f"{question}: {sentence}")
        if found.privacy and found.privacy.suspects:
            output.say(how_to_leave_out(found.privacy, synthetic, count, out))
        shown = "no real scan" if no_real_images else "real scans: treat it as you treat them"
        output.end(
            {"out": str(out), "verdict": result.verdict}, f"report: {out / HTML} (shows {shown})"
        )


def _without_paths(command: str, **paths: str | Path | None) -> str:
    """Replace paths, which may name a patient, by what they are, and take the folders off others."""
    told = {_normal(path): name.upper() for name, path in paths.items() if path}

    def hidden(word: str) -> str:
        option, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
        if not value:
            return word
        file, colon, tensor = value.partition(".onnx:")
        return option + equals + told.get(_normal(value), PurePath(file).name + colon + tensor)

    words = shlex.split(command)
    verbs = len(click.get_current_context().command_path.split())  # "report" may be a folder, too
    return shlex.join([*words[:verbs], *map(hidden, words[verbs:])])


def _normal(path: str | Path) -> str:
    """Spell a path in one way, however it was typed."""
    return os.path.realpath(path)
