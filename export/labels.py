"""Make a graph refuse labels that are not classes, in any runtime."""

import numpy as np
import onnx

from scangan.export.builder import GraphBuilder

LABEL = "label"


def refuse_other_labels(graph: onnx.GraphProto, classes: int) -> onnx.GraphProto:
    """Make a run fail if a label is not a class number, 0 to `classes` - 1.

    ONNX's Gather counts negative indices from the end, and some devices do not check the others. So
    `label` is split into one part whose length is the count of valid labels. With an invalid label,
    that is too short and the run fails, as every device checks lengths. The node's name appears in
    onnxruntime's error.

    Parameters
    ----------
    graph : GraphProto
        A conditional generator with an input `label` int64 [N]; it is not changed.
    classes : int
        Number of classes.

    Returns
    -------
    GraphProto
        A graph that gives the same images for valid labels.
    """
    builder = GraphBuilder(graph)
    numbers = builder.constant(np.arange(classes, dtype=np.int64), "class_numbers")
    column = builder.add("Unsqueeze", LABEL, builder.shape(1), near="label_column")
    of_class = builder.add("Equal", column, numbers, near="label_of_class")
    ones = builder.add("Cast", of_class, near="label_ones", to=onnx.TensorProto.INT64)
    counts = builder.add("ReduceSum", ones, builder.shape(0), near="label_counts", keepdims=0)
    size = builder.add("ReduceSum", counts, builder.shape(0), near="label_size", keepdims=1)
    # Split, not Reshape: OpenVINO optimises away a Reshape from one dimension to one.
    checked = builder.add("Split", LABEL, size, near="label_checked", name=_name(classes))
    for node in graph.node:
        kept = onnx.NodeProto()
        kept.CopyFrom(node)
        kept.input[:] = [checked if name == LABEL else name for name in node.input]
        builder.keep(kept)
    return builder.finish()


def _name(classes: int) -> str:
    return f"label_must_be_0_to_{classes - 1}" if classes > 1 else "label_must_be_0"
