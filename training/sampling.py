"""Random draws of a training step. They depend only on (seed, step), so resuming is exact."""

from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from scangan.training.parallel import ALONE, Rank

Purpose = Literal[
    "scans",
    "latents",
    "augment",
    "samples",
    "score",
    "statistics",
    "flips",
    "noise",
    "dropout",
    "mirror",
]
_STREAMS = get_args(Purpose)  # positions are part of the meaning of a seed: only append


class Draws:
    """Random numbers for one purpose in one step.

    Each process draws the numbers for the whole batch and takes its own share, so the numbers do not
    depend on how many processes there are.

    Parameters
    ----------
    generator : torch.Generator
        Source of randomness, on the training device.
    rank : Rank
        Whose share to take.
    """

    def __init__(self, generator: torch.Generator, rank: Rank = ALONE) -> None:
        self.generator, self.rank = generator, rank

    def uniform(self, n: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Draw [n, *shape], uniform in [0, 1)."""
        whole = self._whole(n, shape)
        u = torch.rand(whole, generator=self.generator, device=self.generator.device, dtype=dtype)
        return self.rank.own(u)

    def normal(self, n: int, *shape: int) -> Tensor:
        """Draw float32 [n, *shape], standard normal."""
        whole = self._whole(n, shape)
        return self.rank.own(
            torch.randn(whole, generator=self.generator, device=self.generator.device)
        )

    def integers(self, low: int, high: int, n: int, *shape: int) -> Tensor:
        """Draw int64 [n, *shape], uniform from `low` to `high` - 1."""
        whole = self._whole(n, shape)
        return self.rank.own(
            torch.randint(low, high, whole, generator=self.generator, device=self.generator.device)
        )

    def _whole(self, n: int, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (n * self.rank.world, *shape)


def step_draws(
    seed: int, step: int, purpose: Purpose, device: torch.device, rank: Rank = ALONE
) -> Draws:
    """Make the random numbers for one purpose in one step."""
    state = np.random.SeedSequence([seed, step, _STREAMS.index(purpose)]).generate_state(
        1, np.uint64
    )
    return Draws(torch.Generator(device).manual_seed(int(state[0])), rank)


class Sampler:
    """Draws scans with replacement, with equal probability for every class or every scan.

    Parameters
    ----------
    images : Tensor
        uint8 [N, H, W], on the training device.
    labels : Tensor
        int64 [N], on the same device.
    classes : int
        Number of classes to balance; 0 draws every scan equally often.
    """

    def __init__(self, images: Tensor, labels: Tensor, classes: int) -> None:
        self.images, self.labels, self.classes = images, labels, classes
        if classes:
            order = torch.argsort(labels, stable=True)
            counts = torch.bincount(labels, minlength=classes)
            self._order, self._counts = order, counts
            self._starts = counts.cumsum(0) - counts

    def draw(self, n: int, draws: Draws) -> tuple[Tensor, Tensor]:
        """Draw n scans: float [n, 1, H, W] in [-1, 1], and their labels int64 [n]."""
        u = draws.uniform(n, dtype=torch.float64)
        if self.classes:
            label = draws.integers(0, self.classes, n)
            within = (u * self._counts[label]).long()
            chosen = self._order[self._starts[label] + within]
        else:
            chosen = (u * len(self.images)).long()
            label = self.labels[chosen]
        return self.images[chosen][:, None].float() / 127.5 - 1.0, label
