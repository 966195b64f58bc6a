"""The discriminators: strided convolutions with up to two heads. Images are float [N, 1, H, W]."""

import itertools
import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scangan.training.convolution import Conv2d
from scangan.training.networks import blend, channels, dcgan_weights
from scangan.training.parallel import BatchNorm
from scangan.training.spectral_norm import spectral_norm

if TYPE_CHECKING:
    from scangan.artifacts.train_options import TrainOptions

AUX_SCALE = 8.0  # inverse temperature of the normalised classifier


class Discriminator(nn.Module):
    """DCGAN's discriminator, classic (BatchNorm, dropout) or stable (spectral norm, minibatch std).

    Spectral norm: Miyato et al. 2018. Minibatch standard deviation: Karras et al. 2018.
    It uses the class in its heads: projection (Miyato and Koyama 2018), and an auxiliary classifier
    (Odena et al. 2017), plain or on L2-normalised features and class weights (ReACGAN, Kang et al.
    2021). With projection alone, glioma and meningioma look the same for the same latent.

    Parameters
    ----------
    size, width : int
        As in the generator.
    classes : int
        0 for an unconditional discriminator, whose only output is realness.
    spectral, deviation, batch_norm : bool
        Spectral norm on every layer except the classifier; minibatch standard deviation, followed
        by one more convolution; BatchNorm after every strided convolution except the first.
    dropout : float
        Share of activations to drop after every strided convolution.
    pool : {"sum", "flatten"}
        How the heads get the last map: summed over positions, or flattened.
    head : str
        One of `train_options.HEADS`.
    residual : bool
        Use a `ResidualDown` for each map instead of one strided convolution.
    ramped : bool
        Whether conditioning can be partial; `share` is its strength.
    """

    share: Tensor

    def __init__(
        self,
        *,
        size: int,
        width: int,
        classes: int,
        spectral: bool = True,
        deviation: bool = True,
        batch_norm: bool = False,
        dropout: float = 0.0,
        pool: str = "sum",
        head: str = "projection+auxiliary-normalized",
        residual: bool = False,
        ramped: bool = False,
    ) -> None:
        super().__init__()
        widths = [1, *reversed(channels(size, width))]
        deep = widths[-1]
        self.classes, self.dropout, self.pool = classes, dropout, pool
        self.ramped = ramped
        self.residual = residual
        self.downs = nn.ModuleList(
            ResidualDown(a, b, active=i > 0)
            if residual
            else Conv2d(a, b, 4, 2, 1, bias=i == 0 or not batch_norm)
            for i, (a, b) in enumerate(itertools.pairwise(widths))
        )
        self.norms = nn.ModuleList(
            BatchNorm(c) if batch_norm and i > 0 else nn.Identity()
            for i, c in enumerate(widths[1:])
        )
        self.mix = Conv2d(deep + 1, deep, 3, 1, 1) if deviation else None
        features = deep if pool == "sum" else deep * 4 * 4
        heads = head.split("+") if classes else []
        self.real = nn.Linear(features, 1)
        self.projection = nn.Embedding(classes, features) if "projection" in heads else None
        self.normalized = "auxiliary-normalized" in heads
        classifies = self.normalized or "auxiliary" in heads
        self.aux = nn.Linear(features, classes, not self.normalized) if classifies else None
        self.apply(dcgan_weights)
        if spectral:
            for layer in self.modules():
                if isinstance(layer, nn.Conv2d) or layer in (self.real, self.projection):
                    spectral_norm(layer)
        if ramped:
            self.register_buffer("share", torch.ones(()))

    def forward(
        self, x: Tensor, label: Tensor | None = None, rng: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Judge images.

        Parameters
        ----------
        x : Tensor
            float [N, 1, size, size].
        label : Tensor, optional
            int64 [N]; required if conditional.
        rng : torch.Generator, optional
            Source of randomness for dropout in training.

        Returns
        -------
        realness : Tensor
            float32 [N]; larger means more real.
        logits : Tensor or None
            Class logits, float32 [N, K]; None without an auxiliary classifier.
        """
        for down, norm in zip(self.downs, self.norms, strict=True):
            x = norm(down(x))
            if not self.residual:
                x = F.leaky_relu(x, 0.2, inplace=True)
            if self.dropout and self.training:
                # Not F.dropout: a resumed run could not restore its random state.
                kept = torch.rand(x.shape, generator=rng, device=x.device) >= self.dropout
                x = x * kept / (1 - self.dropout)
        if self.residual:
            x = F.leaky_relu(x, 0.2)
        if self.mix is not None:
            x = self.mix(torch.cat([x, minibatch_deviation(x)], 1))
            x = F.leaky_relu(x, 0.2, inplace=True)
        # A sum, as in SNGAN: with spectral norm, a mean leaves D too weak to teach G anything.
        features = x.float().sum((2, 3)) if self.pool == "sum" else x.float().flatten(1)
        with torch.autocast(x.device.type, enabled=False):
            return self._judge(features, label)

    def _judge(self, features: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor | None]:
        realness, logits = self.real(features)[:, 0], None
        if self.projection is not None:
            assert label is not None  # for the type checker; the loop always gives labels here
            table = blend(self.projection.weight, self.share if self.ramped else None)
            realness = realness + (features * F.embedding(label, table)).sum(1)
        if self.aux is not None and self.normalized:
            logits = AUX_SCALE * F.normalize(features) @ F.normalize(self.aux.weight).T
        elif self.aux is not None:
            logits = self.aux(features)
        return realness, logits


class ResidualDown(nn.Module):
    """SNGAN's residual block, which halves a map (Miyato et al. 2018, figure 9).

    Parameters
    ----------
    before, after : int
        Number of channels.
    active : bool
        Apply LeakyReLU before the first convolution; False if the input is an image.
    """

    def __init__(self, before: int, after: int, active: bool) -> None:
        super().__init__()
        self.active = active
        self.first = Conv2d(before, after, 3, 1, 1)
        self.second = Conv2d(after, after, 3, 1, 1)
        self.past = Conv2d(before, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, before, H, W] to [N, after, H / 2, W / 2]."""
        y = self.first(F.leaky_relu(x, 0.2) if self.active else x)
        y = F.avg_pool2d(self.second(F.leaky_relu(y, 0.2, inplace=True)), 2)
        # A 1x1 convolution commutes with the mean; pooling first makes it four times cheaper.
        passed: Tensor = self.past(F.avg_pool2d(x, 2))
        return y + passed


def minibatch_deviation(x: Tensor, group: int = 4) -> Tensor:
    """Compute the mean standard deviation over groups, as one more channel [N, 1, H, W].

    Groups are neighbours in the batch, so a batch of real scans followed by fake ones never mixes
    the two (N and the number of real scans are multiples of `group`, or N is smaller).
    """
    n, _, height, width = x.shape
    size = math.gcd(n, group)
    grouped = x.float().reshape(n // size, size, -1)
    centred = grouped - grouped.mean(1, keepdim=True)
    # Not .var(): over a dimension of 4, it takes a tenth of the whole step on the CPU.
    deviation = (centred.square().mean(1) + 1e-8).sqrt().mean(1)
    channel = deviation.repeat_interleave(size).to(x.dtype)
    return channel[:, None, None, None].expand(n, 1, height, width)


def make_discriminator(options: "TrainOptions", classes: int) -> Discriminator:
    """Make the discriminator for `options`, with random weights; `classes` 0: unconditional."""
    return Discriminator(
        size=options.size,
        width=options.width,
        classes=classes,
        spectral=options.spectral_norm,
        deviation=options.minibatch_std,
        batch_norm=options.batch_norm,
        dropout=options.dropout,
        pool=options.pool,
        head=options.head,
        residual=options.residual,
        ramped=bool(classes) and options.ramp_end > 0,
    )
