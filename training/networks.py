"""The networks: DCGAN's, with a conditional twin. Images are float [N, 1, H, W] in [-1, 1]."""

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

FIRST = 4  # side of the first feature map


def channels(size: int, width: int) -> list[int]:
    """Channels of the feature maps of side 4, 8, ..., size / 2: the last has `width`."""
    count = int(math.log2(size // FIRST))
    return [width * 2**i for i in reversed(range(count))]


class ConditionalBatchNorm(nn.Module):
    """BatchNorm whose scale and shift belong to the class (Dumoulin et al. 2017)."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(features, affine=False)
        self.scale = nn.Embedding(classes, features)
        self.shift = nn.Embedding(classes, features)
        nn.init.ones_(self.scale.weight)
        nn.init.zeros_(self.shift.weight)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        scale, shift = self.scale(label), self.shift(label)
        out: Tensor = self.norm(x) * scale[:, :, None, None] + shift[:, :, None, None]
        return out


class Generator(nn.Module):
    """DCGAN's generator (Radford et al. 2016): 4x4, then doubled by transposed convolutions.

    Parameters
    ----------
    size : int
        Side of the images in pixels, a power of two from 8.
    width : int
        Channels before the last layer; each map of half the side has twice as many.
    latent : int
        Length of `z`.
    classes : int
        0 for an unconditional generator; else every BatchNorm is conditional on the class.
    """

    def __init__(self, *, size: int, width: int, latent: int, classes: int) -> None:
        super().__init__()
        widths = channels(size, width)
        self.classes = classes
        self.dense = nn.Linear(latent, widths[0] * FIRST * FIRST, bias=False)
        self.norms = nn.ModuleList(
            ConditionalBatchNorm(c, classes) if classes else nn.BatchNorm2d(c) for c in widths
        )
        self.ups = nn.ModuleList(
            nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False) for a, b in itertools.pairwise(widths)
        )
        self.last = nn.ConvTranspose2d(widths[-1], 1, 4, 2, 1)
        for module in self.modules():
            if isinstance(module, nn.ConvTranspose2d | nn.Linear):
                nn.init.normal_(module.weight, 0.0, 0.02)

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """z [N, latent] and label int64 [N] to images [N, 1, size, size] in [-1, 1]."""
        x = self.dense(z).unflatten(1, (-1, FIRST, FIRST))
        for i, norm in enumerate(self.norms):
            if i > 0:
                x = self.ups[i - 1](x)
            x = F.relu(norm(x, label) if self.classes else norm(x))
        return torch.tanh(self.last(x))


class Discriminator(nn.Module):
    """Strided convolutions under spectral norm, minibatch standard deviation, up to two heads.

    Spectral norm: Miyato et al. 2018. Minibatch standard deviation: Karras et al. 2018.
    The class enters twice: by projection (Miyato and Koyama 2018), and by an auxiliary classifier
    (Odena et al. 2017) on L2-normalised features and class weights (ReACGAN, Kang et al. 2021),
    without which glioma and meningioma come out alike for the same latent.

    Parameters
    ----------
    size, width : int
        As the generator's.
    classes : int
        0 for an unconditional discriminator.
    """

    AUX_SCALE = 8.0  # inverse temperature of the normalised classifier

    def __init__(self, *, size: int, width: int, classes: int) -> None:
        super().__init__()
        widths = [1, *reversed(channels(size, width))]
        self.downs = nn.ModuleList(
            spectral_norm(nn.Conv2d(a, b, 4, 2, 1)) for a, b in itertools.pairwise(widths)
        )
        deep = widths[-1]
        self.mix = spectral_norm(nn.Conv2d(deep + 1, deep, 3, 1, 1))
        self.real = spectral_norm(nn.Linear(deep, 1))
        self.classes = classes
        if classes:
            self.projection = spectral_norm(nn.Embedding(classes, deep))
            self.aux = nn.Linear(deep, classes, bias=False)

    def forward(self, x: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Images [N, 1, size, size] and labels int64 [N] to (realness [N], class logits [N, K])."""
        for down in self.downs:
            x = F.leaky_relu(down(x), 0.2)
        x = torch.cat([x, minibatch_deviation(x)], 1)
        # A sum, as in SNGAN: under spectral norm a mean leaves D too weak to teach G anything.
        features = F.leaky_relu(self.mix(x), 0.2).float().sum((2, 3))
        realness = self.real(features)[:, 0]
        if not self.classes:
            return realness, None
        assert label is not None  # for the type checker; the loop always gives labels here
        realness = realness + (features * self.projection(label)).sum(1)
        cosine = F.normalize(features) @ F.normalize(self.aux.weight).T
        return realness, self.AUX_SCALE * cosine


def minibatch_deviation(x: Tensor, group: int = 4) -> Tensor:
    """Mean standard deviation over groups of neighbours, as one more channel [N, 1, H, W].

    Groups are neighbours in the batch, so that a batch of real scans followed by fake ones never
    mixes the two (N and the number of real scans are multiples of `group`, or N is smaller).
    """
    n, _, height, width = x.shape
    size = math.gcd(n, group)
    grouped = x.float().reshape(n // size, size, -1)
    centred = grouped - grouped.mean(1, keepdim=True)
    # Not .var(): over a dimension of 4 it takes a tenth of the whole step on the CPU.
    deviation = (centred.square().mean(1) + 1e-8).sqrt().mean(1)
    channel = deviation.repeat_interleave(size).to(x.dtype)
    return channel[:, None, None, None].expand(n, 1, height, width)
