"""Spectral norm: a layer's weight is divided by its largest singular value (Miyato et al. 2018).

PyTorch's own reads and writes the weight about twelve times for a forward and a backward pass. This one
does so about half as often: it takes the weight as it lies in memory, and computes its own gradient.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrize import register_parametrization

FIRST_STEPS = 15  # of power iteration, for a new layer
SMALLEST = 1e-12


def as_matrix(weight: Tensor) -> Tensor:
    """Lay out a weight [O, I] or [O, I, H, W] as a matrix [O, N], channels last without a copy.

    The columns are in the order (H, W, I), which changes no singular value.
    """
    return weight.movedim(1, -1).flatten(1)


class SpectralNorm(nn.Module):
    """Divide a weight by its largest singular value; each look in training is a step of power iteration.

    Parameters
    ----------
    weight : Tensor
        float [O, ...], 2-D or 4-D.
    """

    _u: Tensor

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.register_buffer("_u", _random(weight))
        for _ in range(FIRST_STEPS):
            self(weight)

    def forward(self, weight: Tensor) -> Tensor:
        """Return the weight, divided by its largest singular value; same shape."""
        with torch.no_grad(), torch.autocast(weight.device.type, enabled=False):
            matrix = as_matrix(weight)
            product = matrix.T @ self._u
            v = F.normalize(product, dim=0, eps=SMALLEST)
            if self.training:
                product = matrix @ v
                norm = product.norm()
                # A weight of zeros has no singular vector; keep the last one.
                self._u = torch.where(norm > SMALLEST, product / norm, self._u)
            sigma = product.norm().clamp_min(SMALLEST)
        divided: Tensor = _Divide.apply(weight, sigma, self._u, v)  # type: ignore[no-untyped-call]
        return divided

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        state.pop(f"{prefix}_v", None)  # older runs have it; it follows from the others
        super()._load_from_state_dict(state, prefix, *rest)


def _random(weight: Tensor) -> Tensor:
    return F.normalize(torch.randn(len(weight), dtype=weight.dtype, device=weight.device), dim=0)


class _Divide(torch.autograd.Function):
    """Divide W by sigma = u' W v, whose gradient is u v'."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, sigma: Tensor, u: Tensor, v: Tensor) -> Tensor:
        divided = weight / sigma
        ctx.save_for_backward(divided, sigma, u, v)
        return divided

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        divided, sigma, u, v = ctx.saved_tensors
        # Of W / sigma: (G - <G, W / sigma> u v') / sigma
        matrix = as_matrix(gradient) / sigma
        along = torch.dot(matrix.flatten(), as_matrix(divided).flatten())
        matrix.addr_(u * -along, v)
        rows, columns, *window = divided.shape
        return matrix.view(rows, *window, columns).movedim(-1, 1), None, None, None


def spectral_norm(layer: nn.Module) -> None:
    """Give a layer's weight a `SpectralNorm`."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    register_parametrization(layer, "weight", SpectralNorm(weight.detach()))
