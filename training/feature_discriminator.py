"""Discriminators that look at scans through a frozen network (Projected GAN, Sauer et al. 2021)."""

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scangan.training.frozen_features import CHANNELS, FrozenFeatures
from scangan.training.networks import dcgan_weights
from scangan.training.spectral_norm import spectral_norm

if TYPE_CHECKING:
    from scangan.artifacts.train_options import TrainOptions

MIXED = (64, 128, 256)  # channels of the maps of 16, 8 and 4 pixels after mixing
JUDGED = 64  # channels of what a discriminator makes of a whole map
# Sauer et al. train theirs so, whatever the generator's rate.
RATE, BETAS = 2e-4, (0.0, 0.99)
ALONE_KIMG = 5.0  # kimg in which they learn before the generator listens to them


class FeatureDiscriminator(nn.Module):
    """Three small discriminators, each of which sees the maps of one stride.

    The maps are mixed by random convolutions that are never trained, first over channels and then, from
    the smallest map up, over scales. Otherwise the discriminators would look at a part of the features
    alone.

    Parameters
    ----------
    classes : int
        Number of classes; 0: unconditional.

    Only `judges` is trained.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = FrozenFeatures()
        pairs = list(zip(CHANNELS, MIXED, strict=True))
        self.channels = nn.ModuleList(nn.Conv2d(before, after, 1) for before, after in pairs)
        small, middle, large = reversed(MIXED)
        self.scales = nn.ModuleList([nn.Conv2d(small, middle, 1), nn.Conv2d(middle, large, 1)])
        for layer in (*self.channels, *self.scales):
            nn.init.kaiming_normal_(layer.weight)
            layer.requires_grad_(False)
        self.judges = nn.ModuleList(
            _Judge(channels, halvings, classes)
            for halvings, channels in zip((2, 1, 0), MIXED, strict=True)
        )

    def forward(self, x: Tensor, label: Tensor | None = None) -> Tensor:
        """Judge images, float [N, 1, H, W] in [-1, 1]: float [N, 3], larger means more real."""
        large, middle, small = (
            mix(each) for mix, each in zip(self.channels, self.features(x), strict=True)
        )
        to_middle, to_large = self.scales
        middle = middle + to_middle(F.interpolate(small, scale_factor=2))
        large = large + to_large(F.interpolate(middle, scale_factor=2))
        maps = zip(self.judges, (large, middle, small), strict=True)
        return torch.stack([judge(each, label) for judge, each in maps], 1)


class _Judge(nn.Module):
    """Halves a map until it is 4x4, and judges it with a projection head (Miyato and Koyama 2018)."""

    def __init__(self, channels: int, halvings: int, classes: int) -> None:
        super().__init__()
        widths = [channels * 2**i for i in range(halvings + 1)]
        steps = [nn.Conv2d(a, 2 * a, 4, 2, 1) for a in widths[:-1]]
        steps = steps or [nn.Conv2d(channels, channels, 3, 1, 1)]
        self.steps = nn.ModuleList(steps)
        self.whole = nn.Conv2d(widths[-1], JUDGED, 4)
        self.real = nn.Linear(JUDGED, 1)
        for layer in (*self.steps, self.whole, self.real):
            dcgan_weights(layer)
            spectral_norm(layer)
        self.of_class = nn.Embedding(classes, JUDGED) if classes else None

    def forward(self, x: Tensor, label: Tensor | None) -> Tensor:
        for step in self.steps:
            x = F.leaky_relu(step(x), 0.2)
        features: Tensor = self.whole(x)[:, :, 0, 0]
        realness: Tensor = self.real(features)[:, 0]
        if self.of_class is None:
            return realness
        of_class: Tensor = (features * self.of_class(label)).sum(1)
        return realness + of_class / math.sqrt(JUDGED)


def make_feature_discriminator(
    options: "TrainOptions", classes: int
) -> FeatureDiscriminator | None:
    """Make the discriminators for `options`, with random weights; None if it has none."""
    return FeatureDiscriminator(classes) if options.feature_weight else None
