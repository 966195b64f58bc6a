"""Passes over a generator's graph that change how it computes, and nothing that it computes.

Each takes a graph and the version of its operators, and returns another graph with the same inputs,
outputs and values (but for rounding).
Activations that are worked on channels last stand between a pair of Transposes, which onnxruntime
cancels against those of the neighbours and of its own integer convolutions.
"""

import itertools
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from scangan.export.builder import GraphBuilder, attributes, consumers
from scangan.export.graph import OPSET

CHANNELS_LAST, CHANNELS_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]  # Transpose's perm
# Rows (or columns) of a 4x4 kernel that reach the even, and the odd pixels of the doubled image:
# pixel 2i sums in[i-1] * k[3] and in[i] * k[1], pixel 2i+1 in[i] * k[2] and in[i+1] * k[0].
TAPS = ([3, 1], [2, 0])


def dense_channels_last(graph: onnx.GraphProto, opset: int = OPSET) -> onnx.GraphProto:
    """Let the dense layer write its map channels last: its columns are sorted, nothing is moved.

    Matches a Gemm with constant weights whose output is reshaped to [-1, C, H, W].
    """
    builder, readers = GraphBuilder(graph), consumers(graph)
    maps: dict[str, tuple[int, ...]] = {}  # of each Gemm's output: C, H, W
    for node in graph.node:
        weight = builder.weight(node.input[1]) if node.op_type == "Gemm" else None
        if weight is not None:
            shape = _reshaped_to(builder, readers[node.output[0]])
            if shape is not None:
                maps[node.output[0]] = shape
                _sorted_gemm(builder, node, weight, shape)
                continue
        if node.op_type == "Reshape" and node.input[0] in maps:
            c, h, w = maps[node.input[0]]
            last = builder.add("Reshape", node.input[0], builder.shape(-1, h, w, c))
            builder.add("Transpose", last, output=node.output[0], perm=CHANNELS_FIRST)
            continue
        builder.keep(node)
    return builder.finish()


def _reshaped_to(builder: GraphBuilder, readers: list[onnx.NodeProto]) -> tuple[int, ...] | None:
    if len(readers) != 1 or readers[0].op_type != "Reshape":
        return None
    shape = builder.weight(readers[0].input[1])
    if shape is None or len(shape) != 4 or min(shape[1:]) < 1:
        return None
    return tuple(int(size) for size in shape[1:])


def _sorted_gemm(
    builder: GraphBuilder, node: onnx.NodeProto, weight: NDArray[Any], shape: tuple[int, ...]
) -> None:
    given = attributes(node)
    order = np.arange(np.prod(shape)).reshape(shape).transpose(1, 2, 0).ravel()
    by_row = bool(given.get("transB", 0))
    inputs = [
        node.input[0],
        builder.constant(weight[order] if by_row else weight[:, order], "dense"),
    ]
    if len(node.input) > 2:
        bias = builder.weight(node.input[2])
        assert bias is not None  # a bias that is computed would have to be sorted as well
        inputs.append(builder.constant(bias[order], "dense_bias"))
    builder.add("Gemm", *inputs, output=node.output[0], **given)


def _doubles(node: onnx.NodeProto) -> bool:
    """Whether a node is a transposed convolution that doubles a map: 4x4, stride 2, padding 1."""
    given = attributes(node) if node.op_type == "ConvTranspose" else {}
    return (
        given.get("strides") == [2, 2]
        and given.get("pads") == [1, 1, 1, 1]
        and given.get("kernel_shape", [4, 4]) == [4, 4]
        and given.get("group", 1) == 1
        and given.get("dilations", [1, 1]) == [1, 1]
        and given.get("output_padding", [0, 0]) == [0, 0]
        and given.get("auto_pad", b"NOTSET") == b"NOTSET"
    )


def transposed_conv_to_conv(graph: onnx.GraphProto, opset: int = OPSET) -> onnx.GraphProto:
    """Turn each ConvTranspose(4x4, stride 2, padding 1) into four 2x2 convolutions, interleaved.

    Every output pixel sums 2x2 input pixels; which weights it takes depends on whether its row and
    its column are even or odd. So each of the four phases is a convolution with a quarter of the
    weights. Channels last, two neighbours in a row are a Concat over channels, and two rows are a
    Concat over rows of pixels: no element is moved alone.

    One to a single channel is left alone: that is no faster, in floats, and too coarse in integers.
    The height and the width must be known where the graph is written; see `map_sizes`.
    """
    builder, sizes = GraphBuilder(graph), map_sizes(graph, opset)
    for node in graph.node:
        weight = builder.weight(node.input[1]) if _doubles(node) else None
        if weight is None or weight.shape[1] == 1 or node.input[0] not in sizes:
            builder.keep(node)
            continue
        (h, w), (_, c) = sizes[node.input[0]], weight.shape[:2]
        rows = []
        for y in (0, 1):
            phases = [_phase(builder, node, weight, y, x) for x in (0, 1)]
            row = builder.add("Concat", *phases, axis=3)
            rows.append(builder.add("Reshape", row, builder.shape(-1, h, 1, 2 * w * c)))
        whole = builder.add("Concat", *rows, axis=2)
        doubled = builder.add("Reshape", whole, builder.shape(-1, 2 * h, 2 * w, c))
        builder.add("Transpose", doubled, output=node.output[0], perm=CHANNELS_FIRST)
    return builder.finish()


def _phase(
    builder: GraphBuilder, node: onnx.NodeProto, weight: NDArray[Any], y: int, x: int
) -> str:
    taps = weight[:, :, TAPS[y]][:, :, :, TAPS[x]].transpose(1, 0, 2, 3)
    inputs = [node.input[0], builder.constant(taps, f"{node.input[1]}_{y}{x}"), *node.input[2:]]
    pads = [1 - y, 1 - x, y, x]  # top, left, bottom, right
    phase = builder.add(
        "Conv", *inputs, near=f"{node.output[0]}/phase", kernel_shape=[2, 2], pads=pads
    )
    return builder.add("Transpose", phase, perm=CHANNELS_LAST)


def map_sizes(graph: onnx.GraphProto, opset: int) -> dict[str, tuple[int, int]]:
    """Height and width of every value whose shape inference finds [N, C, H, W].

    What an operator does to shapes, and which attributes it may have, is a matter of its version.
    """
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    inferred = onnx.shape_inference.infer_shapes(model).graph
    sizes = {}
    for value in itertools.chain(inferred.value_info, inferred.input, inferred.output):
        dims = value.type.tensor_type.shape.dim
        if len(dims) == 4 and dims[2].dim_value and dims[3].dim_value:
            sizes[value.name] = (dims[2].dim_value, dims[3].dim_value)
    return sizes
