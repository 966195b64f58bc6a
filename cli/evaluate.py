"""``scangan evaluate``, or ``eval-scans``: judge synthetic scans against real ones."""

import click

from scangan.cli.command import SETTINGS
from scangan.cli.front_door import Verbs

VERBS = {"Questions": ("quality", "utility", "privacy"), "All of them": ("report",)}


@click.command(
    "eval-scans",
    cls=Verbs,
    verbs=VERBS,
    module="scangan.cli.evaluate_{}",
    short_help="judge synthetic scans against real ones",
    context_settings=SETTINGS,
)
def main() -> None:
    """Judge synthetic scans against real ones.

    \b
    eval-scans quality dataset/test model.onnx --out quality
    eval-scans utility dataset/train model.onnx --test dataset/test --out utility
    eval-scans privacy dataset/train model.onnx --holdout dataset/test --out privacy
    eval-scans report dataset/test model.onnx --train dataset/train --out report

    Each set is a prepared dataset, a folder of scans, or (for synthetic scans) a model file.
    """
