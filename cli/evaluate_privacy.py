"""``eval-scans privacy``: look for training scans in a synthetic set."""

from functools import partial
from pathlib import Path

import click

from scangan.cli import options
from scangan.cli.command import Output, ScanCommand
from scangan.core.counted import counted
from scangan.core.errors import EvaluationError
from scangan.core.terminal import progress


@click.command(
    "privacy",
    short_help="look for training scans in a synthetic set",
    cls=ScanCommand,
    resumes=True,
    sections={
        "Real scans": ("holdout", "run_path"),
        "Evaluation": ("extractor", "count", "max_copies", "seed"),
        "Output": ("out", "quiet", "as_json"),
        "Running": ("threads", "cache"),
    },
)
@click.argument("train")
@click.argument("synthetic")
@click.option(
    "--holdout",
    metavar="REAL",
    help="real scans of other subjects that the model was not trained on",
)
@click.option(
    "--run",
    "run_path",
    type=options.any_path,
    metavar="RUN",
    help="run of train-gan: attack its discriminator, and use the scans that it held back",
)
@options.extractor
@click.option(
    "--max-copies",
    type=click.IntRange(0),
    metavar="N",
    help="exit with 1 if more than N synthetic scans are suspect; some can be by chance, see the result",
)
@click.option("--seed", default=0, show_default=True, help="random seed")
@options.evaluating
def main(
    train: str,
    synthetic: str,
    out: Path,
    holdout: str | None,
    run_path: Path | None,
    extractor: str,
    count: int,
    max_copies: int | None,
    seed: int,
    threads: int | None,
    cache: Path | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Look for scans of TRAIN, the scans that a generator was trained on, in SYNTHETIC.

    \b
    eval-scans privacy dataset scans --out privacy --holdout test
    eval-scans privacy run/dataset model.onnx --out privacy --run run

    Each is a prepared dataset or a folder of scans; SYNTHETIC may also be a model. With --run, TRAIN is
    the prepared dataset of the run.

    Writes result.json, suspects.jsonl and suspects.png, which shows real scans: treat them as you
    treat the real scans. "gen-scans --exclude" leaves the suspects out.
    """
    from scangan.cli.evaluation_folder import evaluation_folder
    from scangan.cli.scan_sets import (
        how_to_leave_out,
        learnt_from,
        of_run,
        open_pair,
        open_scans,
        open_synthetic,
    )
    from scangan.evaluation.file_names import PICTURE
    from scangan.evaluation.judge_privacy import PrivacyOptions, privacy
    from scangan.evaluation.privacy_files import write_privacy
    from scangan.evaluation.privacy_text import privacy_lines

    output = Output(quiet, as_json)
    chosen = PrivacyOptions(extractor=extractor, seed=seed, threads=threads, cache=cache)
    if holdout is not None and learnt_from(synthetic, holdout):
        raise EvaluationError(
            f"{synthetic} was trained on scans of {holdout}, so they are no hold-out; give them as TRAIN, and "
            f"others with --holdout"
        )
    with evaluation_folder(out, "privacy", train, synthetic, holdout, say=output.say):
        discriminator = None
        notes: list[str] = []
        if run_path is None:
            real, ours = open_pair(train, synthetic, count=count, threads=threads)
            held = None
        else:
            real, held, discriminator, notes = of_run(train, run_path)
            ours = open_synthetic(synthetic, like=real, count=count, threads=threads)
            if held is None and holdout is None:
                notes.append("the run held back no scan")
        if holdout is not None:
            held = open_scans(holdout, like=real, threads=threads)
        track = partial(progress, quiet=output.silent)
        result = privacy(real, ours, held, chosen, discriminator, track, tuple(notes))
        write_privacy(out, result, real, ours)
        for line in privacy_lines(result):
            output.say(line)
        copies = len(result.suspects)
        if copies:
            output.say(how_to_leave_out(result, synthetic, count, out))
        told = {"out": str(out), "scans": len(ours), "suspects": copies}
        output.end(
            told, f"{counted(copies, 'suspect')} of {len(ours)}: {out} (look at {out / PICTURE})"
        )
        if max_copies is not None and copies > max_copies:
            raise EvaluationError(
                f"{counted(copies, 'suspect')}, but --max-copies allows {max_copies} (by chance, there are "
                f"up to {result.suspects_by_chance}); look at {out / PICTURE}"
            )
