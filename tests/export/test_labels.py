"""A label that is not a class fails inside the graph: every kind of generator, in every precision."""

import dataclasses
import functools
import itertools

import numpy as np
import onnx
import onnxruntime
import pytest
from random_generators import LATENT, random_bank, random_generator

from scangan.artifacts.card import PRECISIONS
from scangan.artifacts.modelfile import OPERATORS, graph_sha256
from scangan.core.threads import usable_cpus
from scangan.export.exporter import write_model
from scangan.export.graph import OPSET, to_graphs, to_model
from scangan.export.labels import refuse_other_labels
from scangan.export.precision import build
from scangan.runtime import GenerationError, ModelCard, ScanGenerator

pytestmark = pytest.mark.usefixtures("export_once")

CLASSES = ("cat", "dog", "2")
K = len(CLASSES)
# Those that test_graph.py exports, too
KINDS = {
    "acgan": {"classes": K, "first_map": 8},
    "acgan by product": {"classes": K, "conditioning": "product", "leak": 0.2, "first_map": 8},
    "dcgan with classes": {"classes": 0, "leak": 0.2},
}
NO_CLASSES = [-1, -K, -K - 1, K, K + 5, 2**40, -(2**63)]
LEVELS = (
    onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
)


def _of_kind(kind):
    return (random_bank if kind == "dcgan with classes" else random_generator)(**KINDS[kind])


@functools.cache  # torch.export takes its seconds
def _graph(kind, opset=OPSET):
    (graph,) = to_graphs(_of_kind(kind), LATENT, opset)
    return graph


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A model file of each kind and precision."""
    folder, made = tmp_path_factory.mktemp("models"), {}
    for kind, precision in itertools.product(KINDS, PRECISIONS):
        model = build(_of_kind(kind), LATENT, precision).model
        card = ModelCard(
            architecture=kind.split()[0],
            latent=LATENT,
            classes=CLASSES,
            size=32,
            precision=precision,
            graph_sha256=graph_sha256(model.SerializeToString()),
        )
        made[kind, precision] = folder / f"{kind}-{precision}.onnx".replace(" ", "-")
        write_model(model, card, made[kind, precision])
    return made


def _run(session, label):
    """What the README says to type."""
    z = np.random.default_rng(0).normal(size=(len(label), LATENT)).astype(np.float32)
    return session.run(["image"], {"z": z, "label": np.array(label, np.int64)})[0][:, 0]


def _batches():
    for label in NO_CLASSES:
        yield [label]
        yield [label] * 4
        yield [0, 1, label, 2]
    yield [-1, K, -K, K + 5]  # none of them is a class
    yield [K, 0]  # one is: a size of 1 must not be spread over both


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_other_label_runs_in_plain_onnxruntime(files, kind, precision):
    session = onnxruntime.InferenceSession(files[kind, precision])
    for label in _batches():
        with pytest.raises(Exception, match="label_must_be_0_to_2"):
            _run(session, label)
    assert len({_run(session, [k]).tobytes() for k in range(K)}) == K


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_other_counts_of_labels_and_latents(files, kind, precision):
    """One label, or one latent, is spread over the others; see docs/model-format.md."""
    session = onnxruntime.InferenceSession(files[kind, precision])
    z = np.random.default_rng(0).normal(size=(3, LATENT)).astype(np.float32)

    def run(z, *label):
        return session.run(["image"], {"z": z, "label": np.array(label, np.int64)})[0]

    for label in ([0, 1], [0, 1, 2, 0], []):
        with pytest.raises(Exception, match="ONNXRuntimeError"):
            run(z, *label)
    if kind == "dcgan with classes":
        for latents, label in ((z, [1]), (z[:1], [0, 2, 1])):
            with pytest.raises(Exception, match="as_many_labels_as_latents"):
                run(latents, *label)
    else:
        np.testing.assert_array_equal(run(z, 1), run(z, 1, 1, 1))
        np.testing.assert_array_equal(run(z[:1], 0, 2, 1), run(z[[0, 0, 0]], 0, 2, 1))


@pytest.mark.parametrize("level", LEVELS, ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_no_optimisation_leaves_the_check_out(files, kind, level):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    session = onnxruntime.InferenceSession(files[kind, "fp32"], options)
    for label in _batches():
        with pytest.raises(Exception, match="label_must_be_0_to_2"):
            _run(session, label)


@pytest.mark.skipif(usable_cpus() == 1, reason="on one thread, OpenVINO hides that a run failed")
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("kind", KINDS)
def test_openvino_refuses_them_too(files, kind, precision):
    openvino = pytest.importorskip("openvino")
    compiled = openvino.Core().compile_model(files[kind, precision], "CPU")

    def run(label):
        z = np.zeros((len(label), LATENT), np.float32)
        return compiled({"z": z, "label": np.array(label)})[0]

    assert run([0, 2, 1]).shape == (3, 1, 32, 32)
    for label in ([-1], [K], [0, -1, 1], [K, K, K], [0, K]):
        with pytest.raises(Exception, match="label_must_be_0_to_2"):
            run(label)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_scan_generator_says_which_there_are(files, kind, precision):
    generator = ScanGenerator(files[kind, precision], threads=1)
    for label in (-1, -K, K, K + 5, "-1", "3"):
        with pytest.raises(GenerationError, match="0 cat, 1 dog, 2 2"):
            generator.sample(1, label=label)
    more = dataclasses.replace(generator.card, classes=(*CLASSES, "more"))
    generator.file = dataclasses.replace(
        generator.file, card=more
    )  # its own check is out of the way
    with pytest.raises(GenerationError, match="label_must_be_0_to_2"):
        generator.sample(1, label="more")


@pytest.mark.parametrize("kind", ["acgan", "acgan by product"])
def test_the_check_changes_no_byte_whatever_the_batch(kind):
    graph = _graph(kind)
    without = onnxruntime.InferenceSession(to_model(graph).SerializeToString())
    with_it = onnxruntime.InferenceSession(
        to_model(refuse_other_labels(graph, K)).SerializeToString()
    )
    for n in (0, 1, 2, 7, 32):
        label = [i % K for i in range(n)]
        assert np.array_equal(_run(with_it, label), _run(without, label))
    assert _run(without, [-1]).shape == _run(without, [K - 1]).shape  # what it is there for


def test_a_model_of_one_class():
    (graph,) = to_graphs(random_generator(classes=1), LATENT)
    session = onnxruntime.InferenceSession(
        to_model(refuse_other_labels(graph, 1)).SerializeToString()
    )
    assert _run(session, [0, 0]).shape == (2, 32, 32)
    for label in ([1], [-1], [0, 1]):
        with pytest.raises(Exception, match="label_must_be_0'"):
            _run(session, label)


@pytest.mark.parametrize("opset", [18, 21])
def test_every_version_of_the_operators_has_what_it_needs(opset):
    model = to_model(refuse_other_labels(_graph("acgan", opset), K), opset)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    with pytest.raises(Exception, match="label_must_be_0_to_2"):
        _run(session, [K])
    assert {node.op_type for node in model.graph.node} <= OPERATORS


def test_the_graph_that_was_given_stays():
    graph = _graph("acgan")
    before = onnx.GraphProto.FromString(graph.SerializeToString())
    refuse_other_labels(graph, K)
    assert graph == before
