"""The generators: DCGAN's and conditional versions. Images are float [N, 1, H, W] in [-1, 1]."""

import itertools
import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scangan.training.convolution import ConvTranspose2d
from scangan.training.parallel import BatchNorm

if TYPE_CHECKING:
    from scangan.artifacts.train_options import TrainOptions

MOST = 16  # limits a map to so many times the width; 512 px would need 64 times


def channels(size: int, width: int, first: int = 4) -> list[int]:
    """Return the channels of the maps of side `first`, ..., size / 4, size / 2; the last has `width`."""
    count = int(math.log2(size // first))
    return [width * min(2**i, MOST) for i in reversed(range(count))]


class ConditionalBatchNorm(nn.Module):
    """BatchNorm with a scale and shift for each class (Dumoulin et al. 2017)."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.norm = BatchNorm(features, affine=False)
        self.scale = nn.Embedding(classes, features)
        self.shift = nn.Embedding(classes, features)
        nn.init.ones_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, x: Tensor, label: Tensor, share: Tensor | None = None) -> Tensor:
        """Normalise x [N, C, H, W] for label int64 [N]; `share` is the strength of conditioning."""
        x = self.norm(x)
        # In the precision of x: under autocast, a float32 scale would make all that follows float32.
        scale, shift = (
            F.embedding(label, blend(t.weight, share)).to(x.dtype)[:, :, None, None]
            for t in (self.scale, self.shift)
        )
        return x * scale + shift


def blend(table: Tensor, share: Tensor | None) -> Tensor:
    """Shrink the rows of a table [K, D] towards their mean: `share` 0 gives the mean, 1 or None the rows.

    This turns an unconditional network into a conditional one step by step (Shahbazi et al. 2022).
    """
    if share is None:
        return table
    mean = table.mean(0, keepdim=True)
    return mean + share * (table - mean)


class Generator(nn.Module):
    """DCGAN's generator (Radford et al. 2016): transposed convolutions double a small map.

    Parameters
    ----------
    size : int
        Side of the images in pixels, a power of two from 16.
    width : int
        Channels before the last layer. Each halving of the side doubles them, up to 16 times.
    latent : int
        Length of `z`.
    classes : int
        0 for an unconditional generator.
    first_map : {4, 8}
        Side of the first map.
    conditioning : {"norm", "product"}
        The class sets the scale and shift of every BatchNorm, or is an embedding that multiplies
        `z` (as in Keras's ACGAN).
    leak : float
        Slope of LeakyReLU; 0 for ReLU.
    ramped : bool
        Whether conditioning can be partial; `share` is its strength.
    """

    share: Tensor

    def __init__(
        self,
        *,
        size: int,
        width: int,
        latent: int,
        classes: int,
        first_map: int = 4,
        conditioning: str = "norm",
        leak: float = 0.0,
        ramped: bool = False,
    ) -> None:
        super().__init__()
        widths = channels(size, width, first_map)
        self.classes, self.first_map, self.leak, self.ramped = classes, first_map, leak, ramped
        self.size = size
        self.by_norm = bool(classes) and conditioning == "norm"
        self.by_product = bool(classes) and conditioning == "product"
        self.dense = nn.Linear(latent, widths[0] * first_map**2, bias=False)
        self.norms = nn.ModuleList(
            ConditionalBatchNorm(c, classes) if self.by_norm else BatchNorm(c) for c in widths
        )
        self.ups = nn.ModuleList(
            ConvTranspose2d(a, b, 4, 2, 1) for a, b in itertools.pairwise(widths)
        )
        self.last = nn.ConvTranspose2d(widths[-1], 1, 4, 2, 1)
        self.apply(dcgan_weights)
        if self.by_product:
            self.embedding = nn.Embedding(classes, latent)
        if ramped:
            self.register_buffer("share", torch.ones(()))

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Map z [N, latent] and label int64 [N] to images [N, 1, size, size] in [-1, 1]."""
        share = self.share if self.ramped else None
        if self.by_product:
            assert label is not None  # for the type checker; the loop always gives labels here
            z = z * F.embedding(label, blend(self.embedding.weight, share))
        x = self.dense(z).unflatten(1, (-1, self.first_map, self.first_map))
        x = x.contiguous(
            memory_format=torch.channels_last
        )  # else the first norm keeps the wrong one
        for i, norm in enumerate(self.norms):
            if i > 0:
                x = self.ups[i - 1](x)
            x = norm(x, label, share) if self.by_norm else norm(x)
            x = F.leaky_relu(x, self.leak, inplace=True) if self.leak else F.relu(x, inplace=True)
        return torch.tanh(self.last(x))


class GeneratorBank(nn.Module):
    """One unconditional generator per class, combined into one conditional generator.

    Parameters
    ----------
    generators : list of Generator
        In the order of the classes.
    """

    def __init__(self, generators: list[Generator]) -> None:
        super().__init__()
        self.generators = nn.ModuleList(generators)
        self.classes, self.size = len(generators), generators[0].size

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        """Map z [N, latent] and label int64 [N] to images [N, 1, size, size] in [-1, 1]."""
        order = [(label == k).nonzero()[:, 0] for k in range(self.classes)]
        parts = [g(z[of_class]) for g, of_class in zip(self.generators, order, strict=True)]
        # Generate class by class, then restore the order of the labels.
        return torch.cat(parts)[torch.argsort(torch.cat(order))]


def dcgan_weights(module: nn.Module) -> None:
    """Initialise weights as in DCGAN: N(0, 0.02), and N(1, 0.02) for the scales of BatchNorm."""
    if isinstance(module, nn.ConvTranspose2d | nn.Conv2d | nn.Linear):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, BatchNorm) and module.affine:
        nn.init.normal_(module.weight, 1.0, 0.02)


def make_generator(options: "TrainOptions", classes: int) -> Generator:
    """Make the generator for `options`, with random weights; `classes` 0: unconditional."""
    return Generator(
        size=options.size,
        width=options.width,
        latent=options.latent,
        classes=classes,
        first_map=options.first_map,
        conditioning=options.conditioning,
        leak=options.leak,
        ramped=bool(classes) and options.ramp_end > 0,
    )
