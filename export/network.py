"""The generator as it is shipped: BatchNorm folded, uint8 out."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from scangan.training.networks import FIRST, ConditionalBatchNorm, Generator


class ShippedGenerator(nn.Module):
    """A generator in evaluation mode with its normalisation folded away, exactly.

    An unconditional BatchNorm goes into the weights before it. A conditional one becomes a scale
    and a shift looked up by class: ``x * scale[label] + shift[label]``.

    Parameters
    ----------
    generator : Generator
        Trained, with float32 weights.
    """

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.conditional = bool(generator.classes)
        weights = [up.get_parameter("weight") for up in (generator.dense, *generator.ups)]
        for i, (weight, norm) in enumerate(zip(weights, generator.norms, strict=True)):
            scale, shift = _affine(norm)
            folded = weight.detach().double()
            if not self.conditional and i == 0:
                # The dense layer's rows are [channel, y, x], so each channel owns 16 of them.
                scale, shift = (t.repeat_interleave(FIRST * FIRST) for t in (scale, shift))
                folded = folded * scale[:, None]
            elif not self.conditional:
                folded = folded * scale[None, :, None, None]
            self.register_buffer(f"weight{i}", folded.float())
            self.register_buffer(f"scale{i}", scale.float())
            self.register_buffer(f"shift{i}", shift.float())
        self.layers = len(weights)
        self.register_buffer("last_weight", generator.last.get_parameter("weight").detach())
        self.register_buffer("last_bias", generator.last.get_parameter("bias").detach())

    def forward(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """z float32 [N, latent] and label int64 [N] to images uint8 [N, 1, H, W]."""
        x = z
        for i in range(self.layers):
            weight, scale, shift = (
                self.get_buffer(f"{name}{i}") for name in ("weight", "scale", "shift")
            )
            bias = None if self.conditional else shift
            if i == 0:
                x = F.linear(x, weight, bias).unflatten(1, (-1, FIRST, FIRST))
            else:
                x = F.conv_transpose2d(x, weight, bias, stride=2, padding=1)
            if self.conditional:
                assert label is not None  # a conditional generator is exported with labels
                scale, shift = F.embedding(label, scale), F.embedding(label, shift)
                x = x * scale[:, :, None, None] + shift[:, :, None, None]
            x = F.relu(x)
        last, bias = self.get_buffer("last_weight"), self.get_buffer("last_bias")
        image = torch.tanh(F.conv_transpose2d(x, last, bias, stride=2, padding=1))
        return ((image + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)


def _affine(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """Scale and shift that a BatchNorm applies in evaluation: float64 [C], or [K, C] by class."""
    inner = norm.norm if isinstance(norm, ConditionalBatchNorm) else norm
    assert isinstance(inner, nn.BatchNorm2d)
    assert inner.running_mean is not None and inner.running_var is not None
    inverse = (inner.running_var.double() + inner.eps).rsqrt()
    if isinstance(norm, ConditionalBatchNorm):
        weight, bias = norm.scale.weight, norm.shift.weight
    else:
        weight, bias = inner.weight, inner.bias
    scale = weight.detach().double() * inverse
    return scale, bias.detach().double() - inner.running_mean.double() * scale
