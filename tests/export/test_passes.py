"""Each pass alone: the same values, whatever the shapes."""

import itertools

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from scangan.core.session import open_session
from scangan.export.builder import GraphBuilder
from scangan.export.graph import to_model
from scangan.export.half import to_float16
from scangan.export.passes import dense_channels_last, transposed_conv_to_conv
from scangan.export.quantize import (
    Scale,
    calibrate,
    choose_scale,
    layers,
    quantize,
    quantize_weight,
    to_calibrate,
)


def _graph(nodes, weights, inputs, output):
    return helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(output[0], TensorProto.FLOAT, output[1])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )


def _run(graph, **inputs):
    return open_session(to_model(graph).SerializeToString(), threads=1).run(None, inputs)[0]


def _kinds(graph):
    return [node.op_type for node in graph.node]


def _up(rng, a, b, h, w, *, bias=True, **attributes):
    """A transposed convolution of a map [a, h, w] alone."""
    given = {"kernel_shape": [4, 4], "strides": [2, 2], "pads": [1, 1, 1, 1]} | attributes
    weights = {"weight": rng.normal(size=(a, b, *given["kernel_shape"])).astype(np.float32)}
    if bias:
        weights["bias"] = rng.normal(size=b).astype(np.float32)
    node = helper.make_node("ConvTranspose", ["x", *weights], ["y"], **given)
    return _graph([node], weights, {"x": ["n", a, h, w]}, ("y", ["n", b, None, None]))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("a", "b", "h", "w"), [(1, 2, 1, 1), (3, 5, 4, 4), (8, 4, 7, 3), (2, 16, 16, 16), (5, 3, 2, 9)]
)
def test_four_convolutions_are_a_transposed_one(a, b, h, w, bias):
    rng = np.random.default_rng(a + h)
    graph = _up(rng, a, b, h, w, bias=bias)
    rewritten = transposed_conv_to_conv(graph)
    assert _kinds(rewritten).count("Conv") == 4 and "ConvTranspose" not in _kinds(rewritten)
    for n in (1, 3):
        x = rng.normal(size=(n, a, h, w)).astype(np.float32)
        want = _run(graph, x=x)
        got = _run(rewritten, x=x)
        assert got.shape == (n, b, 2 * h, 2 * w)
        assert np.abs(got - want).max() < 1e-5 * a


def test_it_is_what_the_standard_says():
    from onnx.reference import ReferenceEvaluator

    rng = np.random.default_rng(0)
    graph = _up(rng, 3, 2, 4, 5)
    x = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
    want = ReferenceEvaluator(to_model(graph)).run(None, {"x": x})[0]
    got = ReferenceEvaluator(to_model(transposed_conv_to_conv(graph))).run(None, {"x": x})[0]
    assert np.abs(got - want).max() < 1e-5


@pytest.mark.parametrize(
    "attributes",
    [
        {"strides": [1, 1]},
        {"pads": [0, 0, 0, 0]},
        {"kernel_shape": [3, 3]},
        {"output_padding": [1, 1]},
        {"dilations": [2, 2]},
    ],
    ids=str,
)
def test_another_transposed_convolution_is_left_as_it_is(attributes):
    graph = _up(np.random.default_rng(0), 3, 2, 4, 4, **attributes)
    assert _kinds(transposed_conv_to_conv(graph)) == ["ConvTranspose"]


@pytest.mark.parametrize("opset", [20, 21])
def test_sizes_are_known_behind_operators_of_a_later_version(opset):
    """Gelu is an operator from version 20 on; under 18 nothing is known of what comes after it."""
    graph = _up(np.random.default_rng(0), 3, 2, 4, 4)
    (up,) = graph.node
    gelu = helper.make_node("Gelu", [up.input[0]], ["soft"])
    up.input[0] = "soft"
    del graph.node[:]
    graph.node.extend([gelu, up])
    assert "ConvTranspose" not in _kinds(transposed_conv_to_conv(graph, opset))


def test_one_to_a_single_channel_and_one_of_computed_weights_are_left():
    single = _up(np.random.default_rng(0), 3, 1, 4, 4)
    assert _kinds(transposed_conv_to_conv(single)) == ["ConvTranspose"]
    computed = _up(np.random.default_rng(0), 3, 2, 4, 4)
    computed.node.insert(0, helper.make_node("Relu", ["weight"], ["positive"]))
    computed.node[1].input[1] = "positive"
    assert _kinds(transposed_conv_to_conv(computed)) == ["Relu", "ConvTranspose"]


def _dense(rng, inputs, shape, *, by_row, bias):
    c, h, w = shape
    size = (c * h * w, inputs) if by_row else (inputs, c * h * w)
    weights = {"weight": rng.normal(size=size).astype(np.float32)}
    if bias:
        weights["bias"] = rng.normal(size=c * h * w).astype(np.float32)
    nodes = [
        helper.make_node("Gemm", ["z", *weights], ["flat"], transB=int(by_row)),
        helper.make_node("Reshape", ["flat", "shape"], ["map"]),
    ]
    weights["shape"] = np.array([-1, c, h, w])
    return _graph(nodes, weights, {"z": ["n", inputs]}, ("map", ["n", c, h, w]))


@pytest.mark.parametrize(("by_row", "bias"), list(itertools.product([True, False], repeat=2)))
@pytest.mark.parametrize("shape", [(5, 4, 4), (3, 8, 8), (1, 2, 3)])
def test_a_dense_layer_channels_last_makes_the_same_map(shape, by_row, bias):
    rng = np.random.default_rng(1)
    graph = _dense(rng, 7, shape, by_row=by_row, bias=bias)
    rewritten = dense_channels_last(graph)
    assert _kinds(rewritten) == ["Gemm", "Reshape", "Transpose"]
    z = rng.normal(size=(3, 7)).astype(np.float32)
    assert np.array_equal(_run(rewritten, z=z), _run(graph, z=z))


def test_what_nothing_uses_any_more_is_left_out():
    graph = _up(np.random.default_rng(0), 3, 2, 4, 4)
    graph.node.append(helper.make_node("Relu", ["y"], ["unused"]))
    builder = GraphBuilder(graph)
    builder.constant(np.zeros(3), "unused_weight")
    for node in graph.node:
        builder.keep(node)
    finished = builder.finish()
    assert _kinds(finished) == ["ConvTranspose"]
    assert {t.name for t in finished.initializer} == {"weight", "bias"}


def test_a_weight_keeps_seven_bits_of_its_own_channel():
    rng = np.random.default_rng(2)
    weight = rng.normal(size=(4, 3, 2, 2)).astype(np.float32) * [
        [[[1]]],
        [[[10]]],
        [[[0.01]]],
        [[[0]]],
    ]
    q, steps = quantize_weight(weight.astype(np.float32), 0)
    assert q.dtype == np.int8 and np.abs(q[:3]).max((1, 2, 3)).tolist() == [63, 63, 63]
    back = q * steps[:, None, None, None]
    assert (np.abs(back - weight).max((1, 2, 3)) <= steps / 2 * 1.001).all()


def test_the_largest_products_fit_where_two_are_added_in_16_bits():
    q, _ = quantize_weight(np.random.default_rng(0).normal(size=(64, 99)).astype(np.float32), 0)
    assert 2 * 255 * int(np.abs(q.astype(int)).max()) < 2**15


def test_a_scale_reaches_beyond_what_was_seen():
    scale = choose_scale(-1.0, 3.0)
    least, most = ((q - scale.zero) * scale.step for q in (0, 255))
    assert -1.2 < least < -1.05 and 3.2 < most < 3.4
    assert choose_scale(0.0, 0.0) == Scale(1.0, 0)
    assert choose_scale(0.0, 3.0).zero == 0


def _network(rng, *, relu=True):
    """Dense, two doublings, a sum over channels: like a generator."""
    weights = {
        "w0": rng.normal(size=(7, 8 * 4)).astype(np.float32),
        "b0": rng.normal(size=8 * 4).astype(np.float32),
        "shape": np.array([-1, 8, 2, 2]),
        "w1": rng.normal(size=(8, 6, 4, 4)).astype(np.float32) * 0.2,
        "b1": rng.normal(size=6).astype(np.float32),
        "w2": rng.normal(size=(6, 1, 4, 4)).astype(np.float32) * 0.2,
    }
    up = {"kernel_shape": [4, 4], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    cut = ("Relu", {}) if relu else ("LeakyRelu", {"alpha": 0.2})
    nodes = [
        helper.make_node("Gemm", ["z", "w0", "b0"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["map"]),
        helper.make_node(cut[0], ["map"], ["cut0"], **cut[1]),
        helper.make_node("ConvTranspose", ["cut0", "w1", "b1"], ["up1"], **up),
        helper.make_node(cut[0], ["up1"], ["cut1"], **cut[1]),
        helper.make_node("ConvTranspose", ["cut1", "w2"], ["y"], **up),
    ]
    return _graph(nodes, weights, {"z": ["n", 7]}, ("y", ["n", 1, 8, 8]))


def _lowered(graph):
    return transposed_conv_to_conv(dense_channels_last(graph))


@pytest.mark.parametrize("relu", [True, False])
def test_integers_come_close_to_floats(relu):
    rng = np.random.default_rng(3)
    graph = _lowered(_network(rng, relu=relu))
    z = rng.normal(size=(200, 7)).astype(np.float32)
    scales = calibrate(to_model(graph), to_calibrate(graph), [{"z": z}])
    want = _run(graph, z=z)
    rounded = quantize(graph, scales)
    kinds = _kinds(rounded)
    assert kinds.count("QLinearConv") == 4 and "MatMulInteger" in kinds and "Conv" not in kinds
    assert ("Relu" in kinds) is False  # a uint8 is not negative
    error = np.sqrt(np.square(_run(rounded, z=z) - want).mean()) / want.std()
    assert 1e-4 < error < 0.03


def test_layers_that_are_kept_stay_in_float():
    rng = np.random.default_rng(4)
    graph = _lowered(_network(rng))
    z = rng.normal(size=(50, 7)).astype(np.float32)
    scales = calibrate(to_model(graph), to_calibrate(graph), [{"z": z}])
    found = layers(graph)
    assert list(found) == ["flat", "up1"] and len(found["up1"]) == 4
    dense = quantize(graph, scales, found["up1"])
    assert _kinds(dense).count("Conv") == 4 and "MatMulInteger" in _kinds(dense)
    convolutions = quantize(graph, scales, found["flat"])
    assert "Gemm" in _kinds(convolutions) and _kinds(convolutions).count("QLinearConv") == 4
    nothing = quantize(graph, scales, [name for names in found.values() for name in names])
    assert np.array_equal(_run(nothing, z=z), _run(graph, z=z))


def test_half_is_half_the_size_and_close():
    rng = np.random.default_rng(5)
    graph = _network(rng)
    z = rng.normal(size=(20, 7)).astype(np.float32)
    graph.node.append(helper.make_node("Cast", ["y"], ["image"], to=TensorProto.UINT8))
    graph.node.insert(-1, helper.make_node("Abs", ["y"], ["positive"]))
    graph.node[-1].input[0] = "positive"
    graph.output[0].CopyFrom(
        helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 1, 8, 8])
    )
    half = to_float16(graph)
    types = {t.name: t.data_type for t in half.initializer}
    assert types["w1"] == TensorProto.FLOAT16 and types["shape"] == TensorProto.INT64
    assert np.abs(_run(half, z=z).astype(int) - _run(graph, z=z)).max() <= 1
    assert onnx.checker.check_model(to_model(half), full_check=True) is None
