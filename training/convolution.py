"""Convolutions that learn faster on the CPU.

Where maps are small, oneDNN takes up to six times as long for the gradient of a kernel as one matrix
product over all windows does. At batches of 16, that gradient was a quarter of a training step.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.grad import conv2d_input

MOST_WINDOWS = 1024  # in a batch; laying out more of them costs more than it saves


class Conv2d(nn.Conv2d):
    """A convolution with a square kernel, stride and padding."""

    def __init__(
        self,
        before: int,
        after: int,
        side: int,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
    ) -> None:
        super().__init__(before, after, side, stride, padding, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map x [N, C, H, W] to [N, D, H', W']."""
        stride, padding = self.stride[0], int(self.padding[0])
        if not (_may_pay(x) and _places(x) <= MOST_WINDOWS * stride**2):
            return super().forward(x)
        inputs = _cast(x, self.weight, self.bias)
        y: Tensor = _Convolution.apply(*inputs, stride, padding)  # type: ignore[no-untyped-call]
        return y


class ConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution without bias, with a square kernel, stride and padding."""

    def __init__(
        self, before: int, after: int, side: int, stride: int = 1, padding: int = 0
    ) -> None:
        super().__init__(before, after, side, stride, padding, bias=False)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Map x [N, C, H, W] to [N, D, H', W']."""
        if output_size is not None or not (_may_pay(x) and _places(x) <= MOST_WINDOWS):
            return super().forward(x, output_size)
        inputs, stride, padding = _cast(x, self.weight), self.stride[0], int(self.padding[0])
        y: Tensor = _Transposed.apply(*inputs, stride, padding)  # type: ignore[no-untyped-call]
        return y


def _may_pay(x: Tensor) -> bool:
    """Whether this is training in bfloat16 on the CPU; in float32 both are about equally fast."""
    return x.device.type == "cpu" and torch.is_autocast_enabled("cpu") and torch.is_grad_enabled()


def _places(x: Tensor) -> int:
    return x.shape[0] * x.shape[2] * x.shape[3]


def _cast(*tensors: Tensor | None) -> list[Tensor | None]:
    """Cast as autocast does for a convolution; inside a function of ours, it would not be undone."""
    dtype = torch.get_autocast_dtype("cpu")
    return [None if tensor is None else tensor.to(dtype) for tensor in tensors]


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int
    ) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, bias, stride, padding)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias, *_ = ctx.needs_input_grad
        to_x = conv2d_input(x.shape, weight, gradient, ctx.stride, ctx.padding) if of_x else None
        to_bias = gradient.sum((0, 2, 3)) if of_bias else None
        to_weight = None
        if of_weight:
            to_weight = _of_kernel(x, gradient, weight.shape[2], ctx.stride, ctx.padding)
        return to_x, to_weight, to_bias, None, None


class _Transposed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv_transpose2d(x, weight, None, stride, padding)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        # The gradient of a transposed convolution is the convolution.
        to_x = F.conv2d(gradient, weight, None, ctx.stride, ctx.padding)
        to_weight = _of_kernel(gradient, x, weight.shape[2], ctx.stride, ctx.padding)
        return to_x, to_weight, None, None


def _of_kernel(wide: Tensor, narrow: Tensor, side: int, stride: int, padding: int) -> Tensor:
    """Sum narrow [N, A, h, w] times the windows of wide [N, B, H, W] over all places: [A, B, side, side]."""
    n, a, height, width = narrow.shape
    padded = F.pad(wide, (padding,) * 4).permute(0, 2, 3, 1).contiguous()
    image, row, column, one = padded.stride()
    windows = padded.as_strided(
        (n, height, width, side, side, wide.shape[1]),
        (image, stride * row, stride * column, row, column, one),
    )
    # Both channels last, so that the kernel is as it lies in memory.
    product = narrow.permute(0, 2, 3, 1).reshape(-1, a).T @ windows.reshape(n * height * width, -1)
    return product.view(a, side, side, -1).permute(0, 3, 1, 2)
