"""Tests of graphs share exports: torch takes seconds for each."""

import onnx
import pytest


def _all_of(network):
    """All that makes a `ShippedGenerator` what it is: its attributes and its weights."""
    choices = {name: value for name, value in vars(network).items() if not name.startswith("_")}
    weights = [(name, w.shape, w.numpy().tobytes()) for name, w in network.named_buffers()]
    return repr(choices), *weights


@pytest.fixture(scope="module")
def export_once():
    """Let torch export each network once for a version of the operators, and hand out copies.

    Not for tests that compare two exports of one network.
    """
    from scangan.export import graph

    export, made = graph._export, {}

    def once(network, latent, opset):
        key = _all_of(network), latent, opset
        if key not in made:
            made[key] = export(network, latent, opset).SerializeToString()
        return onnx.GraphProto.FromString(made[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph, "_export", once)
        yield
