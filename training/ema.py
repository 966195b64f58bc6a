"""The moving average of the generator, with its own BatchNorm statistics."""

import copy

import torch
from torch import Tensor, nn

from scangan.training.networks import Generator
from scangan.training.parallel import BatchNorm

BATCHES = 16  # batches of latents for re-estimating BatchNorm statistics


def ema_decay(half_life_kimg: float, seen: int, batch: int, warmup: float = 0.05) -> float:
    """Return the decay of one step; the half-life is at most `warmup` times the scans seen.

    The warm-up is that of StyleGAN2-ADA (Karras et al. 2020).
    """
    half_life = min(half_life_kimg * 1000, max(seen, batch) * warmup)
    return float(0.5 ** (batch / max(half_life, 1e-8)))


@torch.no_grad()
def update_ema(ema: nn.Module, model: nn.Module, decay: float) -> None:
    """Move the average's parameters towards the model's. Buffers are re-estimated instead."""
    averaged: list[Tensor] = list(ema.parameters())
    current: list[Tensor] = list(model.parameters())
    torch._foreach_lerp_(averaged, current, 1.0 - decay)


@torch.no_grad()
def with_own_statistics(
    ema: Generator, latents: list[Tensor], labels: list[Tensor] | None
) -> Generator:
    """Copy a generator and re-estimate its BatchNorm statistics on its own activations.

    The statistics of the raw generator belong to other weights. With them, the averaged generator
    scores worse than the raw one.

    Parameters
    ----------
    ema : Generator
        Averaged weights.
    latents, labels : list of Tensor
        Batches of z [N, latent] and labels int64 [N].

    Returns
    -------
    Generator
        The copy, in evaluation mode.
    """
    model = copy.deepcopy(ema).train()
    for module in model.modules():
        if isinstance(module, BatchNorm):
            module.reset_running_stats()
            module.momentum = None  # plain mean over the batches
    for i, z in enumerate(latents):
        model(z, labels[i] if labels else None)
    for module in model.modules():
        if isinstance(module, BatchNorm):
            module.momentum = 0.1
    return model.eval()
