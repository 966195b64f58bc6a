"""``eval-scans privacy``: look for training scans in a synthetic set."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from scangan.cli import options
from scangan.cli.command import Output, ScanCommand
from scangan.core.counted import counted
from scangan.core.errors import EvaluationError
from scangan.core.terminal import progress

if TYPE_CHECKING:
    from scangan.evaluation.privacy_result import Attack, PrivacyResult

COUNT = 400  # scans to generate from a model file
ATTACKS = {
    "features": "by distance in feature space",
    "pixels": "by similarity to synthetic scans",
    "discriminator": "by the discriminator",
    "blind": "by a classifier that knows no synthetic scan",
}


@click.command(
    "privacy",
    short_help="look for training scans in a synthetic set",
    cls=ScanCommand,
    sections={
        "Real scans": ("holdout", "run_path"),
        "Evaluation": ("extractor", "count", "max_copies", "seed", "threads"),
        "Output": ("out", "quiet", "as_json"),
    },
)
@click.argument("train", type=options.out_path)
@click.argument("synthetic")
@click.option(
    "--out", type=options.out_path, metavar="DIR", required=True, help="folder to write to"
)
@click.option(
    "--holdout",
    type=options.out_path,
    metavar="REAL",
    help="real scans of other subjects that the model was not trained on",
)
@click.option(
    "--run",
    "run_path",
    type=options.out_path,
    metavar="RUN",
    help="run of train-gan: attack its discriminator, and use the scans that it held back",
)
@click.option(
    "--extractor",
    default="efficientnet-lite0",
    show_default=True,
    metavar="NAME|FILE.onnx",
    help="network of the feature space",
)
@click.option(
    "--count",
    default=COUNT,
    show_default=True,
    type=click.IntRange(20),
    help="scans to generate, if SYNTHETIC is a model file",
)
@click.option(
    "--max-copies",
    type=click.IntRange(0),
    metavar="N",
    help="exit with 1 if more than N synthetic scans are suspect",
)
@click.option("--seed", default=0, show_default=True, help="random seed")
@click.option("--threads", type=int, help="number of threads  [default: all available]")
@options.quiet
@options.as_json
def main(
    train: Path,
    synthetic: str,
    out: Path,
    holdout: Path | None,
    run_path: Path | None,
    extractor: str,
    count: int,
    max_copies: int | None,
    seed: int,
    threads: int | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Look for scans of TRAIN, a prepared dataset, in SYNTHETIC.

    \b
    eval-scans privacy dataset scans --out privacy --holdout test
    eval-scans privacy run/dataset model.onnx --out privacy --run run

    Writes result.json, suspects.jsonl and suspects.png, which shows real scans: treat them as you
    treat the real scans.
    """
    from scangan.cli.scan_sets import open_scans
    from scangan.evaluation.judge_privacy import PrivacyOptions, privacy, work
    from scangan.evaluation.privacy_files import PICTURE, write_privacy
    from scangan.evaluation.scan_set import ScanSet

    output = Output(quiet, as_json)
    chosen = PrivacyOptions(extractor=extractor, seed=seed, threads=threads)
    discriminator = None
    notes: list[str] = []
    if run_path is None:
        real, held = ScanSet.of_dataset(train), None
    else:
        from scangan.artifacts.run import Run
        from scangan.evaluation.run_parts import parts_of_run
        from scangan.training.discriminator_scores import discriminator_scores

        run = Run(run_path)
        real, held, notes = parts_of_run(train, run)
        discriminator = discriminator_scores(run, real.classes)
    if holdout is not None:
        held = ScanSet.of_dataset(holdout)
    ours = open_scans(synthetic, like=real, count=count)
    for note in notes:
        output.say(note)
    with progress(
        "comparing", work(real, ours, held, chosen), "scans", quiet=output.silent
    ) as advance:
        result = privacy(real, ours, held, chosen, discriminator, advance)
    write_privacy(out, result, real, ours)
    for line in _lines(result):
        output.say(line)
    copies = len(result.suspects)
    told = {"out": str(out), "scans": len(ours), "suspects": copies}
    output.end(
        told, f"{counted(copies, 'suspect')} of {len(ours)}: {out} (look at {out / PICTURE})"
    )
    if max_copies is not None and copies > max_copies:
        raise EvaluationError(
            f"{counted(copies, 'suspect')}, but --max-copies allows {max_copies}; look at "
            f"{out / PICTURE}"
        )


def _lines(result: "PrivacyResult") -> list[str]:
    """Describe a result in a few lines."""
    found = [f"{each.change} {each.found}/{each.planted}" for each in result.sensitivity]
    lines = [f"planted copies found: {', '.join(found)}"]
    lines += [
        f"nearer than the hold-out's first percentile, in {name}: {each.share:.1%} "
        f"({each.low:.1%} to {each.high:.1%}; 1% expected)"
        for name, each in result.nearness.items()
    ]
    lines += [
        f"membership {ATTACKS[name]}: {_attack(each)}" for name, each in result.membership.items()
    ]
    return [*lines, *result.notes, result.verdict]


def _attack(attack: "Attack") -> str:
    return (
        f"AUC {attack.auc:.2f} ({attack.auc_low:.2f} to {attack.auc_high:.2f}), true positives at 1% "
        f"false positives {attack.tpr:.1%} ({attack.tpr_low:.1%} to {attack.tpr_high:.1%})"
    )
