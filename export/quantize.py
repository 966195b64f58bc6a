"""Quantize a generator's convolutions and dense layers: uint8 activations and int8 weights."""

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto

from scangan.core.errors import ExportError
from scangan.core.session import open_session
from scangan.export.builder import GraphBuilder, attributes, consumers

# Seven bits: CPUs without VNNI add two 8-bit products in 16 bits, which overflows with 8-bit weights.
# With seven bits, the same file is correct on every CPU, and just as fast.
MOST_WEIGHT = 63
MOST_BIAS = 2**30  # in steps; half the range of 32 bits, as the sum needs room too
LEVELS = 255
MOVES = {"Transpose", "Reshape", "Concat"}  # work on integers as well as floats
HEADROOM = 1.1  # range of a scale, relative to the range of calibration values
LARGEST = 1e18  # value whose square is still a float32


@dataclasses.dataclass(frozen=True)
class Scale:
    """The meaning of a uint8 ``q`` as a float: ``(q - zero) * step``."""

    step: float
    zero: int


def layers(graph: onnx.GraphProto) -> dict[str, list[str]]:
    """Return the layers that `quantize` can convert: names, with the outputs of their convolutions."""
    weights = {tensor.name for tensor in graph.initializer}
    found: dict[str, list[str]] = {}
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm") and node.input[1] in weights:
            name = node.output[0]  # a part of a layer is called layer/part
            found.setdefault(name.split("/")[0], []).append(name)
    return found


def _outputs(graph: onnx.GraphProto) -> list[str]:
    return [name for names in layers(graph).values() for name in names]


def quantize(
    graph: onnx.GraphProto, scales: Mapping[str, Scale], keep: Iterable[str] = ()
) -> onnx.GraphProto:
    """Convert layers to integers.

    Parameters
    ----------
    graph : GraphProto
        A float graph with Conv and Gemm.
    scales : mapping
        The scale of each value that `to_calibrate` lists.
    keep : names
        Outputs of convolutions to leave in float, as listed by `layers`.

    Returns
    -------
    GraphProto
        A graph with the same inputs and outputs.
    """
    return _Lowering(graph, scales, frozenset(keep)).graph()


def to_calibrate(graph: onnx.GraphProto) -> list[str]:
    """Return the names of the values whose scales `quantize` needs."""
    ends, turned = _Ends(graph), set(_outputs(graph))
    nodes = [node for node in graph.node if node.output[0] in turned]
    return list(dict.fromkeys(ends.of(name) for n in nodes for name in (n.input[0], n.output[0])))


def calibrate(
    model: onnx.ModelProto, names: list[str], batches: Iterable[dict[str, NDArray[np.generic]]]
) -> dict[str, Scale]:
    """Choose scales from the values of a float model for `batches` of its inputs.

    Raises
    ------
    ExportError
        Values overflow, so no scale fits.
    """
    observed = onnx.ModelProto()
    observed.CopyFrom(model)
    inputs = {value.name for value in model.graph.input}
    computed = [name for name in names if name not in inputs]
    for name in computed:
        observed.graph.output.append(onnx.ValueInfoProto(name=name))
    session = open_session(observed.SerializeToString())
    low, high = dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)
    for batch in batches:
        values = dict(zip(computed, session.run(computed, batch), strict=True)) | batch
        for name in names:
            # numpy's min and max propagate NaN; Python's would skip it
            low[name] = float(np.minimum(low[name], values[name].min()))
            high[name] = float(np.maximum(high[name], values[name].max()))
    for name in names:
        if not max(-low[name], high[name]) <= LARGEST:  # also true for NaN
            raise ExportError(
                f"calibration failed: values of {name} overflow, so the generator has diverged; "
                f"train another one, or use --precision fp32"
            )
    return {name: choose_scale(low[name], high[name]) for name in names}


def choose_scale(low: float, high: float) -> Scale:
    """Return the scale for values from `low` (0 or less) to `high` (0 or more).

    It reaches a tenth further. Clipping would cost a rare scan with larger values 2 to 7 dB of PSNR,
    while the larger step costs all scans half a dB.
    """
    step = float(np.float32((high - low) * HEADROOM / LEVELS)) or 1.0
    return Scale(step, round(-low * HEADROOM / step))


class _Ends:
    """Follows values through nodes that only move them or clip them at zero."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self._readers = consumers(graph)

    def of(self, name: str) -> str:
        readers = self._readers.get(name, [])
        passed_on = len(readers) == 1 and readers[0].op_type in {*MOVES, "Relu"}
        return self.of(readers[0].output[0]) if passed_on else name

    def readers(self, name: str) -> list[NodeProto]:
        return self._readers.get(self.of(name), [])


class _Lowering:
    """Converts a float graph to an integer one; keeps each value as float, integer or both."""

    def __init__(
        self, graph: onnx.GraphProto, scales: Mapping[str, Scale], keep: frozenset[str]
    ) -> None:
        self._old, self._scales = graph, scales
        self._builder, self._ends = GraphBuilder(graph), _Ends(graph)
        self._turned = set(_outputs(graph)) - keep
        self._integers: dict[str, tuple[str, Scale]] = {}
        self._only_integer: set[str] = set()
        self._before_relu: dict[str, str] = {}

    def graph(self) -> onnx.GraphProto:
        for node in self._old.node:
            self._lower(node)
        return self._builder.finish()

    def _lower(self, node: NodeProto) -> None:
        name, moved = node.output[0], [x for x in node.input if x in self._integers]
        if name in self._turned:
            (self._conv if node.op_type == "Conv" else self._dense)(node)
        elif node.op_type == "Relu" and moved and self._integers[moved[0]][1].zero == 0:
            self._now(name, *self._integers[moved[0]])  # a uint8 is never negative
        elif node.op_type in MOVES and moved:
            self._move(node)
        else:
            for needed in node.input:
                self._float(needed)
            if node.op_type == "Relu":
                self._before_relu[name] = node.input[0]
            self._builder.keep(node)

    def _now(self, name: str, integer: str, scale: Scale) -> None:
        self._integers[name] = (integer, scale)
        self._only_integer.add(name)

    def _move(self, node: NodeProto) -> None:
        data = node.input if node.op_type == "Concat" else node.input[:1]
        integers = [self._integers[name] for name in data]
        scale = integers[0][1]
        assert all(each == scale for _, each in integers)  # they end up in one value
        names = [name for name, _ in integers] + list(node.input[len(data) :])
        near = f"{node.output[0]}_q"
        self._now(
            node.output[0],
            self._builder.add(node.op_type, *names, near=near, **attributes(node)),
            scale,
        )

    def _float(self, name: str) -> str:
        if name in self._only_integer:
            integer, scale = self._integers[name]
            self._only_integer.remove(name)
            self._builder.add("DequantizeLinear", integer, *self._numbers(scale), output=name)
        return name

    def _integer(self, name: str) -> tuple[str, Scale]:
        if name not in self._integers:
            scale = self._scales[self._ends.of(name)]
            # If the lowest value is zero, rounding to uint8 clips below it anyway.
            source = self._before_relu.get(name, name) if scale.zero == 0 else name
            quantized = self._builder.add(
                "QuantizeLinear", self._float(source), *self._numbers(scale), near=f"{name}_q"
            )
            self._integers[name] = (quantized, scale)
        return self._integers[name]

    def _numbers(self, scale: Scale) -> tuple[str, str]:
        return (
            self._builder.constant(np.float32(scale.step), "step"),
            self._builder.constant(np.uint8(scale.zero), "zero"),
        )

    def _conv(self, node: NodeProto) -> None:
        builder = self._builder
        x, scale = self._integer(node.input[0])
        out = self._scales[self._ends.of(node.output[0])]
        weight = builder.weight(node.input[1])
        bias = builder.weight(node.input[2]) if len(node.input) > 2 else None
        assert weight is not None
        # The bias is a 32-bit count of steps, so a nearly dead channel gets larger steps than its
        # weights need.
        least = np.zeros(len(weight)) if bias is None else np.abs(bias) / (scale.step * MOST_BIAS)
        weight, steps = quantize_weight(weight, 0, least)
        inputs = [
            x, *self._numbers(scale),
            builder.constant(weight, node.input[1]), builder.constant(steps, "steps"),
            builder.constant(np.zeros(len(steps), np.int8), "zeros"), *self._numbers(out),
        ]  # fmt: skip
        if bias is not None:
            in_steps = np.round(bias / (np.float64(scale.step) * steps)).astype(np.int32)
            inputs.append(builder.constant(in_steps, node.input[2]))
        near = f"{node.output[0]}_q"
        result = builder.add("QLinearConv", *inputs, near=near, **attributes(node))
        self._now(node.output[0], result, out)

    def _dense(self, node: NodeProto) -> None:
        """Multiply in integers; apply scale and bias in float, as scales differ between columns."""
        builder, given = self._builder, attributes(node)
        x, scale = self._integer(node.input[0])
        weight = builder.weight(node.input[1])
        assert weight is not None
        columns, steps = quantize_weight(weight.T if given.get("transB", 0) else weight, 1)
        products = builder.add(
            "MatMulInteger",
            x,
            builder.constant(np.ascontiguousarray(columns), node.input[1]),
            builder.constant(np.uint8(scale.zero), "zero"),
        )
        floats = builder.add("Cast", products, to=TensorProto.FLOAT)
        unit = builder.constant((np.float64(scale.step) * steps).astype(np.float32), "steps")
        biased = node.input[2] if len(node.input) > 2 else ""
        name = node.output[0]
        result = builder.add("Mul", floats, unit, output="" if biased else name)
        if biased:
            builder.add("Add", result, biased, output=name)
        if any(reader.output[0] in self._turned for reader in self._ends.readers(name)):
            self._integer(name)
            self._only_integer.discard(name)


def quantize_weight(
    weight: NDArray[np.float32], axis: int, least: NDArray[np.float64] | float = 0.0
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Round weights to 7 bits, symmetric, with one step per index of `axis` (output channel).

    Steps are at least `least`, which is one value or one per channel.
    """
    others = tuple(i for i in range(weight.ndim) if i != axis)
    steps = np.abs(weight).max(axis=others, keepdims=True) / MOST_WEIGHT
    steps = np.maximum(
        steps, np.reshape(least, [-1 if i == axis else 1 for i in range(weight.ndim)])
    )
    steps = np.where(steps > 0, steps, 1.0).astype(np.float32)
    return np.round(weight / steps).astype(np.int8), steps.ravel()
