"""Layers of our own against PyTorch's: spectral norm, and convolutions with a faster gradient."""

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm as pytorch_spectral_norm

from scangan.training import convolution
from scangan.training.convolution import Conv2d, ConvTranspose2d
from scangan.training.discriminator import Discriminator
from scangan.training.spectral_norm import spectral_norm

LAYERS = {
    "convolution": lambda: nn.Conv2d(5, 7, 3),
    "linear": lambda: nn.Linear(6, 4),
    "one output": lambda: nn.Linear(6, 1),
    "embedding": lambda: nn.Embedding(3, 9),
}


def _two_alike(make):
    torch.manual_seed(0)
    first, second = make().double(), make().double()
    second.load_state_dict(first.state_dict())
    return first, second


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("name", LAYERS)
def test_spectral_norm_is_pytorchs(name, layout):
    theirs, ours = _two_alike(LAYERS[name])
    pytorch_spectral_norm(theirs)
    spectral_norm(ours)
    if name == "convolution":
        ours.to(memory_format=layout)
    for _ in range(300):  # both vectors start at random
        weights = theirs.weight, ours.weight
    torch.testing.assert_close(*weights)
    gradient = torch.randn_like(weights[0])
    for weight in weights:
        weight.backward(gradient)
    torch.testing.assert_close(
        *(layer.parametrizations.weight.original.grad for layer in (theirs, ours))
    )
    torch.testing.assert_close(theirs.eval().weight, ours.eval().weight)


def test_spectral_norm_changes_nothing_of_its_own_in_evaluation():
    layer = nn.Linear(6, 4)
    spectral_norm(layer)
    nn.init.normal_(layer.parametrizations.weight.original)
    before = {name: tensor.clone() for name, tensor in layer.eval().state_dict().items()}
    _ = layer.weight
    assert all(torch.equal(before[name], tensor) for name, tensor in layer.state_dict().items())
    layer.train()
    _ = layer.weight
    vector = "parametrizations.weight.0._u"
    assert not torch.equal(before[vector], layer.state_dict()[vector])


def test_a_weight_of_zeros_stays_zeros():
    layer = nn.Linear(6, 4)
    nn.init.zeros_(layer.weight)
    spectral_norm(layer)
    layer.weight.sum().backward()
    assert not layer.weight.any()
    original = layer.parametrizations.weight.original
    assert original.grad.isfinite().all()
    # What it learns later is divided as ever.
    nn.init.normal_(original)
    for _ in range(50):
        weight = layer.weight
    assert torch.linalg.matrix_norm(weight, 2).item() == pytest.approx(1, rel=1e-3)


def test_a_discriminator_with_pytorchs_spectral_norm_is_read():
    """Older runs have one vector more for each layer."""
    torch.manual_seed(0)
    discriminator = Discriminator(size=16, width=4, classes=3).eval()
    state = discriminator.state_dict()
    kernels = [name for name in state if name.endswith("0._u")]
    assert kernels
    other = Discriminator(size=16, width=4, classes=3).eval()
    other.load_state_dict(state | {name[:-1] + "v": torch.zeros(1) for name in kernels})
    x, label = torch.randn(4, 1, 16, 16), torch.tensor([0, 1, 2, 0])
    assert torch.equal(discriminator(x, label)[0], other(x, label)[0])


def _gradients(layer, x, *, fast, monkeypatch):
    """The output, and the gradients of input and weights, in bfloat16 with or without our own gradient."""
    monkeypatch.setattr(convolution, "MOST_WINDOWS", 10**6 if fast else -1)
    layer.zero_grad()
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    assert fast == (type(y.grad_fn).__name__ in ("_ConvolutionBackward", "_TransposedBackward"))
    y.float().pow(2).sum().backward()
    return [y.float(), x.grad, *(parameter.grad for parameter in layer.parameters())]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    "make",
    [
        lambda: Conv2d(3, 5, 3, 1, 1), lambda: Conv2d(3, 5, 4, 2, 1), lambda: Conv2d(3, 5, 1),
        lambda: Conv2d(3, 5, 4, 2, 1, bias=False), lambda: ConvTranspose2d(3, 5, 4, 2, 1),
    ],
    ids=["3x3", "4x4, stride 2", "1x1", "no bias", "transposed"],
)  # fmt: skip
def test_a_convolutions_own_gradient_is_pytorchs(make, layout, monkeypatch):
    torch.manual_seed(0)
    layer = make().to(memory_format=layout)
    x = torch.randn(2, 3, 8, 10).to(memory_format=layout)
    ours = _gradients(layer, x, fast=True, monkeypatch=monkeypatch)
    theirs = _gradients(layer, x, fast=False, monkeypatch=monkeypatch)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=0.02, atol=0.02 * other.abs().max().item())


def test_without_bfloat16_or_gradients_convolutions_are_pytorchs():
    layer, x = Conv2d(3, 5, 3, 1, 1), torch.randn(1, 3, 8, 8)
    assert type(layer(x).grad_fn).__name__ == "ConvolutionBackward0"
    with torch.autocast("cpu", torch.bfloat16):
        assert type(layer(x).grad_fn).__name__ == "_ConvolutionBackward"
        with torch.no_grad():
            assert layer(x).grad_fn is None
        assert (
            type(Conv2d(3, 5, 3, 1, 1)(x.repeat(20, 1, 1, 1)).grad_fn).__name__
            == "ConvolutionBackward0"
        )


def test_a_kernel_that_does_not_learn_gets_no_gradient():
    layer, x = Conv2d(3, 5, 3, 1, 1).requires_grad_(False), torch.randn(1, 3, 8, 8).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        layer(x).float().sum().backward()
    assert x.grad is not None and layer.weight.grad is None


def test_a_spectral_norm_is_computed_once_a_pass(monkeypatch):
    layer = Conv2d(3, 5, 3, 1, 1)
    spectral_norm(layer)
    norm, looks = layer.parametrizations.weight[0], []
    monkeypatch.setattr(norm, "forward", lambda weight: looks.append(1) or weight)
    layer(torch.randn(1, 3, 8, 8))
    with torch.autocast("cpu", torch.bfloat16):
        layer(torch.randn(1, 3, 8, 8))
    assert len(looks) == 2
