"""Give all channels the same range, so that eight bits suit them equally well."""

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scangan.export.network import ShippedGenerator

LEAST = 1e-6  # range of a nearly constant channel, relative to the largest


@torch.no_grad()
def match_ranges(
    network: ShippedGenerator, batches: Iterable[dict[str, NDArray[np.generic]]]
) -> ShippedGenerator:
    """Rescale the channels of a network with conditional BatchNorm without changing its output.

    The products ``x`` of such a layer are quantized before ``relu(x * scale + shift)``, with one
    step size for all channels. A channel with small values and a large scale becomes coarse. So each
    channel is brought to the same range, and its weights and the class tables compensate (as in
    Nagel et al. 2019, "Data-free quantization through weight equalization and bias correction").
    Values that the ReLU cuts off in every class are cut off beforehand. They take about half of the
    range, and so need no steps.

    Parameters
    ----------
    network : ShippedGenerator
        Changed in place. Without conditional BatchNorm it stays as it is, as only a ReLU follows
        its products.
    batches : iterable
        Inputs for measuring the range of each channel.
    """
    if network.by_norm and not network.leak:
        for i, (low, high) in _ranges(network, batches).items():
            _rescale(network, i, low, high)
    return network


def _ranges(
    network: ShippedGenerator, batches: Iterable[dict[str, NDArray[np.generic]]]
) -> dict[int, tuple[Tensor, Tensor]]:
    """Return the minimum and maximum of each channel [C], for each layer except the dense one.

    The products of the dense layer are not rounded: they are 32-bit integers until they are floats.
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
    # If all classes scale a channel by a negative factor, negate it.
    sign = torch.where((scale < 0).all(0), -1.0, 1.0)
    low, high = torch.where(sign > 0, low, -high), torch.where(sign > 0, high, -low)
    # The ReLU of every class cuts off values below the threshold. Channels with mixed signs have none.
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
