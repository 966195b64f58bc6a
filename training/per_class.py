"""One unconditional GAN for each class, and all of them as one conditional generator."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from scangan.runtime.files import read_jsonl, write_bytes
from scangan.runtime.png import encode_png
from scangan.runtime.sheet import NOTICE, contact_sheet
from scangan.training.data import TrainingScans
from scangan.training.loop import train_session
from scangan.training.measuring import GRID, Measurer
from scangan.training.networks import GeneratorBank
from scangan.training.options import TrainOptions
from scangan.training.parallel import Shard
from scangan.training.run import Best, Run
from scangan.training.sampling import step_draws
from scangan.training.scoring import generate, score_generator


def train_each_class(
    run: Run,
    options: TrainOptions,
    scans: TrainingScans,
    device: torch.device,
    shard: Shard,
    report: Callable[[str], None],
    quiet: bool,
) -> None:
    """Train a run in ``classes/`` for each class, one after the other, and join their best.

    The joined generator becomes the ``best.safetensors`` of `run`, scored as any conditional one.
    """
    trained = False
    parts = [Run(run.path / "classes" / str(k)) for k in range(len(scans.classes))]
    for number, (name, part) in enumerate(zip(scans.classes, parts, strict=True)):
        report(f"class {number + 1} of {len(parts)}: {name}")
        of_one = dataclasses.replace(options, per_class=False)
        if shard.first:
            items = [i for i in read_jsonl(run.path / "items.jsonl") if i["class"] == name]
            part.start(_config_of_one(run.config, of_one, name), items)
        shard.agree(None)
        of_class = scans.of_class(number)
        trained |= train_session(part, of_one, of_class, 0, device, report, shard, quiet)
    if shard.first and (trained or not (run.path / "best.safetensors").exists()):
        _join(parts, Measurer(run, options, scans, True, report))


def _config_of_one(config: dict[str, Any], options: TrainOptions, name: str) -> dict[str, Any]:
    dataset = config["dataset"] | {
        "classes": [name],
        "counts": {name: config["dataset"]["counts"][name]},
    }
    return config | {"options": options.to_dict(), "dataset": dataset}


def _join(parts: list[Run], measurer: Measurer) -> None:
    run, options, scans = measurer.run, measurer.options, measurer.scans
    loaded = [part.load_generator() for part in parts]
    bank = GeneratorBank([model for model, _ in loaded]).eval()  # type: ignore[misc]
    cpu = torch.device("cpu")
    scores = score_generator(bank, measurer.reference, options.latent, options.seed, cpu).to_dict()
    scores |= measurer.real_scores
    kimg = max(best.kimg for _, best in loaded)
    run.save_best(Best(bank.state_dict(), "per class", kimg, scores))
    draws = step_draws(options.seed, 0, "samples", cpu)
    images, labels = generate(bank, GRID, options.latent, draws)
    rows = [(name, np.asarray(images[labels == k])) for k, name in enumerate(scans.classes)]
    sheet = contact_sheet(rows, "synthetic, one generator a class")
    write_bytes(run.path / "samples" / "joined.png", encode_png(sheet, {"Comment": NOTICE}))
