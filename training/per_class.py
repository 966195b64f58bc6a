"""Train one unconditional GAN per class, and join them into one conditional generator."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from msgspec.structs import replace

from scangan.artifacts.run import Run
from scangan.artifacts.run_records import RunConfig, Tick
from scangan.artifacts.scores import KeptScores, Scores, mean
from scangan.artifacts.train_options import TrainOptions
from scangan.training.checkpoints import Best, load_generator, save_best
from scangan.training.context import Context
from scangan.training.data import TrainingScans
from scangan.training.loop import train_session
from scangan.training.measure_tick import Measurer
from scangan.training.networks import GeneratorBank
from scangan.training.scoring import score_generator
from scangan.training.step import LOSSES


def train_each_class(context: Context, scans: TrainingScans) -> None:
    """Train a run per class in ``classes/``, one by one, and join their best generators.

    The joined generator is saved as the run's ``best.safetensors`` and scored like any other.
    """
    run, rank, trained = context.run, context.rank, False
    options = dataclasses.replace(context.options, per_class=False)
    runs = [Run(run.path / "classes" / str(k)) for k in range(len(scans.classes))]
    for number, (name, of_class) in enumerate(zip(scans.classes, runs, strict=True)):
        context.say(f"class {number + 1} of {len(runs)}: {name}")
        if rank.first:
            items = [item for item in run.read_items() if item.class_name == name]
            of_class.start(_config_of_one(run.config, options, name), items, run.trained_before())
        rank.agree(None)
        title = f"{context.title}, {name}"
        inner = dataclasses.replace(context, run=of_class, options=options, title=title)
        trained |= train_session(inner, scans.of_class(number), last=of_class is runs[-1])
    if rank.first and (trained or not run.report.exists()):  # the report is written last
        _join(runs, Measurer(context, scans), context.title)


def _config_of_one(config: RunConfig, options: TrainOptions, name: str) -> RunConfig:
    of_all = config.dataset
    counts = {name: of_all.counts[name]}
    synthetic = {name: of_all.synthetic[name]} if of_all.synthetic else {}
    dataset = replace(of_all, classes=(name,), counts=counts, synthetic=synthetic)
    return replace(config, options=options, dataset=dataset)


def _join(runs: list[Run], measurer: Measurer, title: str) -> None:
    run, options = measurer.run, measurer.options
    loaded = [load_generator(of_class) for of_class in runs]
    bank = GeneratorBank([model for model, _ in loaded]).eval()  # type: ignore[misc]
    cpu = torch.device("cpu")
    scores = score_generator(bank, measurer.reference, options.latent, options.seed, cpu)
    kimg = max(best.kimg for _, best in loaded)
    kept = KeptScores.of(scores, measurer.real_scores)
    save_best(run, Best(bank.state_dict(), "per class", kimg, kept))
    measurer.lines = joined_lines([of_class.read_metrics() for of_class in runs])
    measurer.draw_report(  # no tick of the curves has this score: each class has its own best tick
        f"{title}: {measurer.lines[-1].kimg:.4g} kimg per class; best of each class "
        f"combined: KID x1000 {scores.mean_class_kid * 1000:.0f}"
    )


def joined_lines(classes: Sequence[Sequence[Tick]]) -> list[Tick]:
    """Join the ``metrics.jsonl`` of single-class generators tick by tick.

    Scores by class are listed together; all other numbers are means. A class that stopped early
    keeps its last values.
    """
    ticks = max(len(lines) for lines in classes)
    return [_joined([lines[min(i, len(lines) - 1)] for lines in classes]) for i in range(ticks)]


def _joined(lines: Sequence[Tick]) -> Tick:
    means: dict[str, Any] = {
        name: float(np.mean([getattr(line, name) for line in lines]))
        for name in (*LOSSES, "augment_p", "images_per_second")
    }
    return Tick(
        step=max(line.step for line in lines),
        kimg=max(line.kimg for line in lines),
        raw=_side_by_side([line.raw for line in lines]),
        ema=_side_by_side([line.ema for line in lines]),
        auc_training=_together(line.auc_training for line in lines),
        auc_synthetic=_together(line.auc_synthetic for line in lines),
        **means,
    )


def _side_by_side(scores: Sequence[Scores]) -> Scores:
    joined: dict[str, Any] = {
        name: _together(getattr(each, name) for each in scores)
        for name in ("class_kid", "agreement", "variety", "near_pairs", "precision", "recall")
    }
    for name in ("kid", "mean_class_kid", "mean_agreement", "mean_precision", "mean_recall"):
        joined[name] = mean(getattr(each, name) for each in scores)
    return Scores(n=sum(each.n for each in scores), **joined)


def _together(of_classes: Iterable[dict[str, float]]) -> dict[str, float]:
    return {name: value for each in of_classes for name, value in each.items()}
