"""Exports of torch, each made once: it takes seconds for one, and many tests need the same."""

import contextlib
import hashlib

import onnx
import pytest

MADE = {}  # of all test files that run in this process


def _all_of(network):
    """All that makes a `ShippedGenerator` what it is: its attributes and its weights."""
    choices = {name: value for name, value in vars(network).items() if not name.startswith("_")}
    weights = [
        (name, w.shape, hashlib.sha256(w.numpy().tobytes()).hexdigest())
        for name, w in network.named_buffers()
    ]
    return repr(choices), *weights


@contextlib.contextmanager
def exports_once():
    """Let torch export each network once for a version of the operators, and hand out copies.

    Not for tests that compare two exports of one network.
    """
    from scangan.export import graph

    export = graph._export

    def once(network, latent, opset):
        key = _all_of(network), latent, opset
        if key not in MADE:
            MADE[key] = export(network, latent, opset).SerializeToString()
        return onnx.GraphProto.FromString(MADE[key])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph, "_export", once)
        yield
