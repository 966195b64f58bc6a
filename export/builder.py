"""Rewrite a graph: walk its nodes in order and write a new one."""

from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, helper, numpy_helper


class GraphBuilder:
    """Builds a new graph with the inputs and outputs of an old one, and reads its weights.

    Parameters
    ----------
    old : GraphProto
        Source of inputs, outputs and weights; it is not changed.
    """

    def __init__(self, old: onnx.GraphProto) -> None:
        self.old = old
        self._weights = {tensor.name: tensor for tensor in old.initializer}
        self._taken = {name for node in old.node for name in node.output} | set(self._weights)
        self._taken |= {value.name for value in old.input}
        self._nodes: list[NodeProto] = []

    def weight(self, name: str) -> NDArray[Any] | None:
        """Return the weight of that name; None if it is computed, an input, or omitted ("")."""
        tensor = self._weights.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def constant(self, array: NDArray[Any] | np.generic, near: str) -> str:
        """Add an array under a name that starts with `near`; return the name."""
        name = self._free(near)
        self._weights[name] = numpy_helper.from_array(np.asarray(array), name)
        return name

    def shape(self, *sizes: int) -> str:
        """Add a shape for Reshape, with -1 for the rest; return its name."""
        return self.constant(np.array(sizes, np.int64), "shape")

    def add(
        self, op: str, *inputs: str, output: str = "", near: str = "", **attributes: Any
    ) -> str:
        """Add a node with one output, named `output` or after `near`; return that name."""
        name = output or self._free(near or op.lower())
        self._nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def keep(self, node: NodeProto) -> None:
        """Add a node unchanged."""
        self._nodes.append(node)

    def finish(self) -> onnx.GraphProto:
        """Return the new graph without unused nodes and weights."""
        used = {value.name for value in self.old.output}
        nodes: list[NodeProto] = []
        for node in reversed(self._nodes):
            if used.intersection(node.output):
                used.update(node.input)
                nodes.append(node)
        weights = [tensor for name, tensor in self._weights.items() if name in used]
        return helper.make_graph(
            nodes[::-1], self.old.name, self.old.input, self.old.output, weights
        )

    def _free(self, near: str) -> str:
        number = 0
        while f"{near}_{number}" in self._taken:
            number += 1
        self._taken.add(f"{near}_{number}")
        return f"{near}_{number}"


def attributes(node: NodeProto) -> dict[str, Any]:
    """Return a node's attributes by name."""
    return {each.name: helper.get_attribute_value(each) for each in node.attribute}


def consumers(graph: onnx.GraphProto) -> dict[str, list[NodeProto]]:
    """Return the nodes that read each value."""
    found: dict[str, list[NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            found.setdefault(name, []).append(node)
    return found
