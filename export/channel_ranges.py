"""Channels of one range, so that eight bits serve them all alike."""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scangan.export.network import ShippedGenerator

LEAST = 1e-6  # range of a channel that is nearly constant, as a share of the largest


@torch.no_grad()
def match_ranges(
    network: ShippedGenerator, batches: Iterable[dict[str, NDArray[np.generic]]]
) -> ShippedGenerator:
    """Rescale the products of a network with conditional BatchNorm; what it computes stays.

    The products ``x`` of such a layer are rounded before ``relu(x * scale + shift)``, with one step
    for all channels, and a channel of small values and a large scale comes out coarse. So each is
    brought to the same range, which its weights and the tables of the classes take up (as in Nagel
    et al. 2019, "Data-free quantization through weight equalization and bias correction"). What
    the ReLU cuts off in every class is cut off before: that is about half of the range, and no step
    is spent on it.

    Parameters
    ----------
    network : ShippedGenerator
        Changed in place. One without conditional BatchNorm stays: a ReLU alone follows its products.
    batches : iterable
        Inputs that show the range of each channel.
    """
    if network.by_norm and not network.leak:
        for i, (low, high) in _ranges(network, batches).items():
            _rescale(network, i, low, high)
    return network


def _ranges(
    network: ShippedGenerator, batches: Iterable[dict[str, NDArray[np.generic]]]
) -> dict[int, tuple[Tensor, Tensor]]:
    """Least and largest value of each channel [C], for each layer but the dense one.

    That one's products are not rounded: they stay integers of 32 bits until they are floats.
    """
    found: dict[int, tuple[Tensor, Tensor]] = {}
    for batch in batches:
        z, label = torch.from_numpy(batch["z"]), torch.from_numpy(batch["label"])
        x = network.entry(z, label)
        for i in range(network.layers):
            x = network.product(i, x)
            if i > 0:
                low, high = x.amin((0, 2, 3)), x.amax((0, 2, 3))
                before = found.get(i, (low, high))
                found[i] = torch.minimum(low, before[0]), torch.maximum(high, before[1])
            x = network.activation(i, x, label)
    return found


def _rescale(network: ShippedGenerator, i: int, low: Tensor, high: Tensor) -> None:
    weight, scale, shift = (
        network.get_buffer(f"{name}{i}") for name in ("weight", "scale", "shift")
    )
    # A channel that all classes take the other way round is turned over.
    sign = torch.where((scale < 0).all(0), -1.0, 1.0)
    low, high = torch.where(sign > 0, low, -high), torch.where(sign > 0, high, -low)
    # Below it, no class lets anything through; there is none where signs differ.
    scale *= sign
    threshold = torch.where((scale > 0).all(0), (-shift / scale).amin(0), low)
    threshold = torch.maximum(threshold, low)
    size = high - threshold
    size = size.clamp(min=LEAST * float(size.max()))
    weight *= (sign / size)[:, None, None]
    network.register_buffer(f"bias{i}", -threshold / size)
    scale *= size
    shift += scale * (threshold / size)
    network.cut.add(i)
