"""The moving average of the generator, and BatchNorm statistics that are its own."""

import copy

import torch
from torch import Tensor, nn

from scangan.training.networks import Generator
from scangan.training.parallel import BatchNorm

BATCHES = 16  # of latents, from which BatchNorm statistics are re-estimated


def ema_decay(half_life_kimg: float, seen: int, batch: int, warmup: float = 0.05) -> float:
    """Decay of one step; the half-life is at most the share `warmup` of what was seen.

    The warm-up of StyleGAN2-ADA (Karras et al. 2020).
    """
    half_life = min(half_life_kimg * 1000, max(seen, batch) * warmup)
    return float(0.5 ** (batch / max(half_life, 1e-8)))


@torch.no_grad()
def update_ema(ema: nn.Module, model: nn.Module, decay: float) -> None:
    """Move the average's parameters towards the model's; buffers are re-estimated instead."""
    averaged: list[Tensor] = list(ema.parameters())
    current: list[Tensor] = list(model.parameters())
    torch._foreach_lerp_(averaged, current, 1.0 - decay)


@torch.no_grad()
def with_own_statistics(
    ema: Generator, latents: list[Tensor], labels: list[Tensor] | None
) -> Generator:
    """Copy a generator and re-estimate its BatchNorm statistics on its own activations.

    The statistics that the raw generator gathered belong to other weights; averaged weights under
    them score worse than raw ones.

    Parameters
    ----------
    ema : Generator
        Averaged weights.
    latents, labels : list of Tensor
        Batches of z [N, latent] and labels int64 [N].

    Returns
    -------
    Generator
        In evaluation mode.
    """
    model = copy.deepcopy(ema).train()
    for module in model.modules():
        if isinstance(module, BatchNorm):
            module.reset_running_stats()
            module.momentum = None  # a plain mean over the batches
    for i, z in enumerate(latents):
        model(z, labels[i] if labels else None)
    for module in model.modules():
        if isinstance(module, BatchNorm):
            module.momentum = 0.1
    return model.eval()
