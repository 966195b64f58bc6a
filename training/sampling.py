"""Which scans a step sees. A function of (seed, step) alone, so that resuming is exact."""

from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

Purpose = Literal["scans", "latents", "augment", "samples", "score", "statistics"]
_STREAMS = get_args(Purpose)  # the place in this list is part of what a seed means: only append


def step_rng(seed: int, step: int, purpose: Purpose, device: torch.device) -> torch.Generator:
    """Make the generator of random numbers for one purpose in one step."""
    state = np.random.SeedSequence([seed, step, _STREAMS.index(purpose)]).generate_state(
        1, np.uint64
    )
    return torch.Generator(device).manual_seed(int(state[0]))


class Sampler:
    """Draws scans with replacement; class-balanced for a conditional model.

    Parameters
    ----------
    images : Tensor
        uint8 [N, H, W], on the training device.
    labels : Tensor
        int64 [N], on the same device.
    classes : int
        Number of classes to balance; 0 draws scans alike, whatever their class.
    """

    def __init__(self, images: Tensor, labels: Tensor, classes: int) -> None:
        self.images, self.labels, self.classes = images, labels, classes
        if classes:
            order = torch.argsort(labels, stable=True)
            counts = torch.bincount(labels, minlength=classes)
            self._order, self._counts = order, counts
            self._starts = counts.cumsum(0) - counts

    def draw(self, n: int, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw n scans: float [n, 1, H, W] in [-1, 1], and their labels int64 [n]."""
        device = self.images.device
        u = torch.rand(n, generator=rng, device=device, dtype=torch.float64)
        if self.classes:
            label = torch.randint(0, self.classes, (n,), generator=rng, device=device)
            within = (u * self._counts[label]).long()
            chosen = self._order[self._starts[label] + within]
        else:
            chosen = (u * len(self.images)).long()
            label = self.labels[chosen]
        return self.images[chosen][:, None].float() / 127.5 - 1.0, label
