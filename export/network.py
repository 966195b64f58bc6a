"""The generator as exported: BatchNorm folded, conditioning strength applied, uint8 output."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scangan.training.networks import ConditionalBatchNorm, Generator, blend


class ShippedGenerator(nn.Module):
    """A generator in evaluation mode with its BatchNorm folded exactly.

    Plain BatchNorm is folded into the weights before it. Conditional BatchNorm becomes a scale and a
    shift looked up by class: ``x * scale[label] + shift[label]``. The class tables are blended once,
    with the generator's `share`.

    Parameters
    ----------
    generator : Generator
        A trained generator with float32 weights.
    """

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.by_norm, self.by_product = generator.by_norm, generator.by_product
        self.first_map, self.leak = generator.first_map, generator.leak
        self.classes = generator.classes
        share = generator.share if generator.ramped else None
        weights = [up.get_parameter("weight") for up in (generator.dense, *generator.ups)]
        self.layers = len(weights)
        self.cut: set[int] = set()  # layers whose product is clipped at zero; see `match_ranges`
        for i, (weight, norm) in enumerate(zip(weights, generator.norms, strict=True)):
            folded = weight.detach().double()
            scale, shift = _affine(norm, share)
            if not self.by_norm:
                if i == 0:
                    # The rows of the dense layer are [channel, y, x], so each channel is one whole map.
                    places = self.first_map**2
                    scale, shift = (t.repeat_interleave(places) for t in (scale, shift))
                # The weights of a transposed convolution are [in, out, y, x].
                folded = folded * (scale[:, None] if i == 0 else scale[:, None, None])
            self.register_buffer(f"weight{i}", folded.float())
            if self.by_norm:
                self.register_buffer(f"scale{i}", scale.float())
                self.register_buffer(f"shift{i}", shift.float())
            else:
                self.register_buffer(f"bias{i}", shift.float())
        if self.by_product:
            table = blend(generator.embedding.weight.detach().double(), share)
            self.register_buffer("embedding", table.float())
        self.register_buffer("last_weight", generator.last.get_parameter("weight").detach())
        self.register_buffer("last_bias", generator.last.get_parameter("bias").detach())

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Map z float32 [N, latent] and label int64 [N] to images uint8 [N, 1, H, W]."""
        x = self.entry(z, label)
        for i in range(self.layers):
            x = self.activation(i, self.product(i, x), label)
        last, bias = self.get_buffer("last_weight"), self.get_buffer("last_bias")
        image = torch.tanh(F.conv_transpose2d(x, last, bias, stride=2, padding=1))
        return ((image + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)

    def entry(self, z: Tensor, label: Tensor | None) -> Tensor:
        """Return the input of the dense layer: float32 [N, latent]."""
        if not self.by_product:
            return z
        assert label is not None  # the export always gives labels here
        return z * F.embedding(label, self.get_buffer("embedding"))

    def product(self, i: int, x: Tensor) -> Tensor:
        """Multiply the input of layer i by its weights: float32 [N, C, H, W]."""
        weight = self.get_buffer(f"weight{i}")
        bias = getattr(self, f"bias{i}", None)  # folded from the norm, or added by `match_ranges`
        if i == 0:
            maps: Tensor = F.linear(x, weight, bias).unflatten(
                1, (-1, self.first_map, self.first_map)
            )
            return maps
        return F.conv_transpose2d(x, weight, bias, stride=2, padding=1)

    def activation(self, i: int, x: Tensor, label: Tensor | None) -> Tensor:
        """Apply what follows the product of layer i."""
        if self.by_norm:
            assert label is not None
            if i in self.cut:
                x = F.relu(x)
            scale, shift = (
                F.embedding(label, self.get_buffer(f"{name}{i}"))[:, :, None, None]
                for name in ("scale", "shift")
            )
            x = x * scale + shift
        return F.leaky_relu(x, self.leak) if self.leak else F.relu(x)


def _affine(norm: nn.Module, share: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return a BatchNorm's scale and shift in evaluation: float64 [C], or [K, C] by class."""
    inner = norm.norm if isinstance(norm, ConditionalBatchNorm) else norm
    assert isinstance(inner, nn.BatchNorm2d)
    assert inner.running_mean is not None and inner.running_var is not None
    inverse = (inner.running_var.double() + inner.eps).rsqrt()
    if isinstance(norm, ConditionalBatchNorm):
        weight, bias = (
            blend(table.weight.detach().double(), share) for table in (norm.scale, norm.shift)
        )
    else:
        weight, bias = inner.weight.detach().double(), inner.bias.detach().double()
    scale = weight * inverse
    return scale, bias - inner.running_mean.double() * scale
