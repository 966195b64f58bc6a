"""Feature maps of the bundled EfficientNet-Lite0 in torch, so that gradients pass through to a scan."""

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

from scangan.evaluation.features import DEFAULT, NETWORKS

SIDE = 64  # scans are resized to it; twice as many pixels a side would take four times as long
CHANNELS = (24, 40, 112)  # of the maps of strides 4, 8 and 16
NEXT = (3, 5, 11)  # the blocks that follow them


class FrozenFeatures(nn.Module):
    """The first blocks of the network that scores scans in training, as the bundled file has them.

    Its weights get no gradients and are in no state.
    """

    def __init__(self) -> None:
        super().__init__()
        graph = onnx.load(NETWORKS[DEFAULT].path).graph
        values = {each.name: numpy_helper.to_array(each) for each in graph.initializer}
        # Weights are stored as float16, and cast.
        cast = {n.output[0]: n.input[0] for n in graph.node if n.op_type == "Cast"}
        used = [n for n in graph.node if n.op_type != "Cast"]
        ends = {f"network._blocks.{block}._expand_conv.weight" for block in NEXT}
        self._mean, self._scale = (
            float(values[cast.get(node.input[1], node.input[1])]) for node in used[:2]
        )
        self._input = used[2].output[0]  # three channels
        self._nodes: list[tuple[str, list[str], str]] = []
        self._taps: list[str] = []
        self._convolutions: dict[str, tuple[int, int, list[int]]] = {}
        for node in used[3:]:
            kind, inputs, output = node.op_type, list(node.input), node.output[0]
            if kind == "Conv":
                if inputs[1] in ends:
                    self._taps.append(inputs[0])
                    if len(self._taps) == len(ends):
                        return
                told = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
                top, left, bottom, right = told["pads"]
                self._convolutions[output] = (
                    told["strides"][0], told["group"], [left, right, top, bottom],
                )  # fmt: skip
                for name, part in zip(inputs[1:], ("weight", "bias"), strict=True):
                    tensor = torch.tensor(values[cast.get(name, name)], dtype=torch.float32)
                    self.register_buffer(f"{output}_{part}", tensor, persistent=False)
            self._nodes.append((kind, inputs, output))

    def forward(self, scans: Tensor) -> tuple[Tensor, ...]:
        """Map scans, float [N, 1, H, W] in [-1, 1], to [N, 24, 16, 16], [N, 40, 8, 8] and [N, 112, 4, 4]."""
        if scans.shape[-1] != SIDE:
            scans = F.interpolate(scans, (SIDE, SIDE), mode="bilinear", antialias=True)
        grey = ((scans + 1) * 127.5 - self._mean) / self._scale
        known = {self._input: grey.expand(-1, 3, -1, -1)}
        for kind, inputs, output in self._nodes:
            x = known[inputs[0]]
            if kind == "Conv":
                known[output] = self._convolve(x, output)
            elif kind == "Clip":
                known[output] = F.relu6(x)
            else:
                known[output] = x + known[inputs[1]]
        return tuple(known[name] for name in self._taps)

    def _convolve(self, x: Tensor, name: str) -> Tensor:
        stride, groups, pads = self._convolutions[name]
        if pads[0] != pads[1]:
            x, padding = F.pad(x, pads), 0
        else:
            padding = pads[0]
        weight, bias = getattr(self, f"{name}_weight"), getattr(self, f"{name}_bias")
        return F.conv2d(x, weight, bias, stride, padding, groups=groups)
