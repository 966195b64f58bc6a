"""Score a generator during training."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from scangan.artifacts.scores import Scores
from scangan.evaluation.metrics import PER_TICK, RealReference
from scangan.training.networks import Generator, GeneratorBank
from scangan.training.sampling import Draws, step_draws

FOR_ONE_CLASS = 400  # scans of an unconditional model, whose one class holds all variety
BATCH, BATCH_PIXELS = 100, 100 * 128**2  # per pass; more takes memory and is not faster


def to_grey(image: Tensor) -> npt.NDArray[np.uint8]:
    """Convert float [N, 1, H, W] in [-1, 1] to uint8 [N, H, W], rounding half to even."""
    grey = ((image[:, 0].float() + 1.0) * 127.5).round().clamp(0, 255)
    return np.asarray(grey.to(torch.uint8).cpu().numpy())


@torch.no_grad()
def generate(
    model: Generator | GeneratorBank, per_class: int, latent: int, draws: Draws
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Generate `per_class` scans of every class: uint8 [N, H, W] and their labels int64 [N]."""
    device = draws.generator.device
    label = torch.arange(max(model.classes, 1), device=device).repeat_interleave(per_class)
    z = draws.normal(len(label), latent)
    batch = min(BATCH, BATCH_PIXELS // model.size**2)
    parts = [
        to_grey(model(latents, labels))
        for latents, labels in zip(z.split(batch), label.split(batch), strict=True)
    ]
    return np.concatenate(parts), label.cpu().numpy()


def score_generator(
    model: Generator | GeneratorBank,
    reference: RealReference,
    latent: int,
    seed: int,
    device: torch.device,
) -> Scores:
    """Score a generator that is in evaluation mode."""
    return reference.score(*scans_to_score(model, latent, seed, device))


def scans_to_score(
    model: Generator | GeneratorBank, latent: int, seed: int, device: torch.device
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Generate scans of every class to score, from the same latents at every tick (see `generate`)."""
    per_class = PER_TICK if model.classes else FOR_ONE_CLASS
    return generate(model, per_class, latent, step_draws(seed, 0, "score", device))
