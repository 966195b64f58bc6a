"""Convert a generator to an ONNX graph with the signature of docs/model-format.md."""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version

import onnx
import torch
from onnx import TensorProto, helper

from scangan.export.labels import refuse_other_labels
from scangan.export.network import ShippedGenerator
from scangan.training.networks import Generator, GeneratorBank

OPSET, IR_VERSION = 18, 10  # read by onnxruntime 1.18 and later
OPSETS = range(18, 22)
AS_MANY = "as_many_labels_as_latents"  # a node's name, which appears in onnxruntime's error


def to_onnx(
    generator: Generator | GeneratorBank, latent: int, opset: int = OPSET
) -> onnx.ModelProto:
    """Convert a generator, or one per class, to a float32 ONNX model as torch writes it.

    Parameters
    ----------
    generator : Generator or GeneratorBank
        In evaluation mode, on the CPU.
    latent : int
        Length of `z`.
    opset : int
        ONNX operator set version.

    Returns
    -------
    ModelProto
        The model, without a card.
    """
    return to_model(join_parts(to_graphs(generator, latent, opset), generator), opset)


def to_graphs(
    generator: Generator | GeneratorBank,
    latent: int,
    opset: int = OPSET,
    change: Callable[[ShippedGenerator], ShippedGenerator] = lambda network: network,
) -> list[onnx.GraphProto]:
    """Return the graph of a generator, or one per class. Folds BatchNorm, then applies `change`."""
    parts = generator.generators if isinstance(generator, GeneratorBank) else [generator]
    networks = [ShippedGenerator(part).eval() for part in parts]  # type: ignore[arg-type]
    return [_export(change(network), latent, opset) for network in networks]


def join_parts(
    graphs: list[onnx.GraphProto], generator: Generator | GeneratorBank
) -> onnx.GraphProto:
    """Join the graphs from `to_graphs` into one that refuses labels that are not classes."""
    joined = join_classes(graphs) if isinstance(generator, GeneratorBank) else graphs[0]
    return refuse_other_labels(joined, generator.classes) if generator.classes else joined


def _export(network: ShippedGenerator, latent: int, opset: int) -> onnx.GraphProto:
    # Two samples, as torch.export would treat a batch of one as a constant.
    examples: dict[str, torch.Tensor] = {"z": torch.zeros(2, latent)}
    if network.classes:
        examples["label"] = torch.zeros(2, dtype=torch.int64)
    batch = torch.export.Dim("n")
    with _silence():
        program = torch.onnx.export(
            network,
            (),
            kwargs=examples,
            input_names=list(examples),
            output_names=["image"],
            dynamic_shapes={name: {0: batch} for name in examples},
            opset_version=opset,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    return program.model_proto.graph


def join_classes(graphs: list[onnx.GraphProto]) -> onnx.GraphProto:
    """Join unconditional graphs, one per class, into a conditional one.

    The latents are sorted by class and split. Every graph makes the scans of its class, if any, and
    these are put back in the order of the labels. So a scan costs one evaluation, however many
    classes there are.

    A Split into one part with the length of the labels fails if there are more or fewer latents.
    Otherwise, surplus latents would be ignored silently.
    """
    numbers = range(len(graphs))
    classes = helper.make_tensor("classes", TensorProto.INT64, [len(graphs)], list(numbers))
    first, last = (helper.make_tensor(f"axis{i}", TensorProto.INT64, [1], [i]) for i in (0, 1))
    parts, images = [f"{k}/z" for k in numbers], [f"{k}/image" for k in numbers]
    named = [onnx.compose.add_prefix_graph(graph, f"{k}/") for k, graph in enumerate(graphs)]
    nodes = [
        # Positions of the latents in the batch, class by class
        helper.make_node("Shape", ["label"], ["n"]),
        helper.make_node("TopK", ["label", "n"], ["sorted", "order"], largest=0),
        # Number of scans per class
        helper.make_node("Unsqueeze", ["label", "axis1"], ["column"]),
        helper.make_node("Equal", ["column", "classes"], ["of_class"]),
        helper.make_node("Cast", ["of_class"], ["ones"], to=TensorProto.INT64),
        helper.make_node("ReduceSum", ["ones", "axis0"], ["counts"], keepdims=0),
        # Run each class through its own generator
        helper.make_node("Split", ["z", "n"], ["all_z"], name=AS_MANY),
        helper.make_node("Gather", ["all_z", "order"], ["by_class"]),
        helper.make_node("Split", ["by_class", "counts"], parts),
        *(node for graph in named for node in graph.node),
        helper.make_node("Concat", images, ["images"], axis=0),
        # The inverse of a permutation sorts it
        helper.make_node("TopK", ["order", "n"], ["places", "back"], largest=0),
        helper.make_node("Gather", ["images", "back"], ["image"]),
    ]
    label = helper.make_tensor_value_info("label", TensorProto.INT64, ["n"])
    weights = [tensor for graph in named for tensor in graph.initializer]
    return helper.make_graph(
        nodes,
        "generator",
        [*graphs[0].input, label],
        list(graphs[0].output),
        [classes, first, last, *weights],
    )


def to_model(graph: onnx.GraphProto, opset: int = OPSET) -> onnx.ModelProto:
    """Pin versions, and drop the exporter's notes (source lines, local paths)."""
    graph.name = "generator"
    graph.ClearField("value_info")
    graph.ClearField("metadata_props")
    for part in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=IR_VERSION,
        producer_name="scangan",
        producer_version=version("scangan"),
    )
    onnx.checker.check_model(model, full_check=True)
    return model


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Silence the messages of torch's exporter (missing torchvision, its own steps)."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
