"""Passes over a generator's graph that change how it computes, but not the result.

Each takes a graph and its operator set version, and returns another graph with the same inputs,
outputs and values (except for rounding).
Channels-last operations stand between a pair of Transposes. onnxruntime cancels these against the
Transposes of neighbours and of its own integer convolutions.
"""

import itertools
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from scangan.export.builder import GraphBuilder, attributes, consumers
from scangan.export.graph import OPSET

CHANNELS_LAST, CHANNELS_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]  # Transpose's perm
# Rows (or columns) of a 4x4 kernel that reach the even and the odd pixels of the doubled image:
# pixel 2i sums in[i-1] * k[3] and in[i] * k[1], pixel 2i+1 in[i] * k[2] and in[i+1] * k[0].
TAPS = ([3, 1], [2, 0])


def dense_channels_last(graph: onnx.GraphProto, _opset: int = OPSET) -> onnx.GraphProto:
    """Make the dense layer write its map channels last, at no cost, by sorting its columns.

    Matches a Gemm with constant weights whose output is reshaped to [-1, C, H, W].
    """
    builder, readers = GraphBuilder(graph), consumers(graph)
    maps: dict[str, tuple[int, ...]] = {}  # C, H, W of each Gemm's output
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
        assert bias is not None  # a computed bias would need sorting too
        inputs.append(builder.constant(bias[order], "dense_bias"))
    builder.add("Gemm", *inputs, output=node.output[0], **given)


def _doubles(node: onnx.NodeProto) -> bool:
    """Whether a node is a transposed convolution that doubles a map (4x4, stride 2, padding 1)."""
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
    """Replace each ConvTranspose(4x4, stride 2, padding 1) with four interleaved 2x2 convolutions.

    Every output pixel sums 2x2 input pixels, with weights that depend on whether its row and column
    are even or odd. So each of the four phases is a convolution with a quarter of the weights.
    Channels last, pixels are interleaved within a row by a Concat over channels, and rows by a
    Concat over rows. No element moves alone.

    A layer with a single output channel stays as it is: four convolutions are not faster in floats,
    and too coarse in integers. Height and width must be known in advance; see `map_sizes`.
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
    """Return the height and width of every value with an inferred shape [N, C, H, W].

    Shape inference needs `opset`, as operators and their attributes differ between versions.
    """
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    inferred = onnx.shape_inference.infer_shapes(model).graph
    sizes = {}
    for value in itertools.chain(inferred.value_info, inferred.input, inferred.output):
        dims = value.type.tensor_type.shape.dim
        if len(dims) == 4 and dims[2].dim_value and dims[3].dim_value:
            sizes[value.name] = (dims[2].dim_value, dims[3].dim_value)
    return sizes
