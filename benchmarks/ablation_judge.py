"""Judge a run of the ablation by networks that had no part in it, and by what a classifier learns.

Its scans are compared with as many real ones of each class in two feature spaces that trained nothing
here; a small network learns from them and is tested on the scans that the run held back.
"""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from scangan.artifacts.run import Run
from scangan.core.errors import EvaluationError
from scangan.core.files import write_json
from scangan.evaluation.judge_privacy import PrivacyOptions, privacy
from scangan.evaluation.judge_quality import QualityOptions, quality
from scangan.evaluation.judge_utility import UtilityOptions, utility
from scangan.evaluation.privacy_result import BLIND
from scangan.evaluation.run_subsets import subsets_of_run
from scangan.evaluation.scan_set import ScanSet
from scangan.training.checkpoints import load_best, load_generator
from scangan.training.discriminator_scores import discriminator_scores
from scangan.training.sampling import Draws
from scangan.training.scoring import generate

SPACES = {"dinov2-s": "DINOv2-S", "resnet-nsfw": "ResNet"}
COMPARED, LEARNT = 150, 500  # scans of each class
LATENTS = 20_261_128  # seed of latents that no checkpoint was picked on
SEEDS = 2
FIGURES = (
    *(
        f"{name}, {space}"
        for space in SPACES.values()
        for name in ("FID", "told from real", "recall", "least agreement", "near-equal pairs")
    ),
    "TSTR", "real + synthetic, gain", "membership AUC",
)  # fmt: skip


def _file(run: Run, keep: float) -> Path:
    return run.path / ("judged.json" if keep == 1 else f"judged-{keep:g}.json")


def read_judged(run: Run, keep: float = 1.0) -> list[float] | None:
    """Read the figures of a run's best generator, in the order of `FIGURES`; None if they are not there."""
    file = _file(run, keep)
    if not file.exists():
        return None
    told = json.loads(file.read_text())
    if told["kimg"] != load_best(run).kimg:
        return None
    return [told["figures"][name] for name in FIGURES]


def judge(run: Run, scans: Path, keep: float = 1.0) -> None:
    """Judge a run, and write ``judged.json`` into its folder; nothing if that is there.

    With ``keep``, only this share of the scans of each class is judged: those that the run's discriminator
    scores highest. As many are judged either way.
    """
    if read_judged(run, keep):
        return
    train, held, _ = subsets_of_run(scans, run)
    if held is None:
        raise EvaluationError(f"{run.path} held back no scan; a classifier cannot be tested")
    model, best = load_generator(run)
    draws = Draws(torch.Generator().manual_seed(LATENTS))
    images, labels = generate(model, round(LEARNT / keep), run.options.latent, draws)
    if keep < 1:
        images, labels = _highest(run, images, labels)
    synthetic = ScanSet(images, labels, run.classes, "synthetic")
    compared = np.flatnonzero(np.arange(len(labels)) % LEARNT < COMPARED)
    real = ScanSet.of_dataset(scans)
    some = [real.of_class(k) for k in range(len(real.classes))]
    rng = np.random.default_rng(0)
    some = np.concatenate([rng.permutation(each)[:COMPARED] for each in some])
    options = QualityOptions(extractors=tuple(SPACES), threads=1)
    spaces = quality(real.take(np.sort(some)), synthetic.take(compared), options).spaces
    how = UtilityOptions(("cnn",), seeds=SEEDS, drop_leaks=True, threads=1)
    learnt = utility(train, synthetic, held, how)
    diets = {diet.diet: diet for diet in learnt.diets}
    found = privacy(train, synthetic.take(compared), held, PrivacyOptions(threads=1))
    values = []
    for space in (spaces[name] for name in SPACES):
        figures = {name: f.overall.value for name, f in space.figures.items() if f.overall}
        agreement = min(each.value for each in space.figures["agreement"].classes.values())
        near = max(each.value for each in space.figures["near_pairs"].classes.values())
        shares = figures["two_sample"], figures["recall"], agreement, near
        values += [figures["fid"], *(100 * share for share in shares)]
    tstr, both = diets["synthetic"], diets["real + synthetic"]
    values += [100 * tstr.metrics["balanced_accuracy"].value, 100 * both.difference.value]
    values.append(100 * max(a.auc for name, a in found.membership.items() if name != BLIND))
    figures = dict(zip(FIGURES, values, strict=True))
    write_json(_file(run, keep), {"kimg": best.kimg, "figures": figures})


def _highest(
    run: Run, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Keep the scans of each class that the run's discriminator scores highest, in their order."""
    score, _ = discriminator_scores(run, run.classes)
    order = np.lexsort([-score(images, labels), labels])
    rank = np.empty(len(order), np.intp)
    rank[order] = np.arange(len(order)) % (len(order) // len(run.classes))
    kept = rank < LEARNT
    return images[kept], labels[kept]
