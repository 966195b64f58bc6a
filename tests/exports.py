"""Exports of torch, each structure once: it takes seconds for one, and many tests need the same."""

import contextlib
import functools
import hashlib
import os
import tempfile
from pathlib import Path

FOLDER = "SCANGAN_TEST_EXPORTS"  # where all processes of the tests keep them: see `conftest.py`


def _weights(network):
    return {name: weight.numpy().tobytes() for name, weight in network.named_buffers()}


def _structure(network):
    """All that makes a `ShippedGenerator` what it is, but its weights, of which only the shapes."""
    choices = {name: value for name, value in vars(network).items() if not name.startswith("_")}
    weights = [(name, w.shape, w.dtype) for name, w in network.named_buffers()]
    return repr(choices), *weights


def keep_exports(change=setattr):
    """Let torch export each structure once for a version of the operators, and hand out copies.

    The weights of each network are put in: torch leaves them in the graph as they are, by name. Where
    it does not, each network is exported. Not for tests that compare two exports of one network.
    """
    import onnx

    from scangan.export import graph

    export, folder = graph._export, Path(os.environ[FOLDER])

    def once(network, latent, opset):
        key = repr((_structure(network), latent, opset))
        file = folder / hashlib.sha256(key.encode()).hexdigest()
        weights = _weights(network)
        try:
            kept = onnx.GraphProto.FromString(file.read_bytes())
        except OSError:  # not there yet, or out of reach in a test of faults
            made = export(network, latent, opset)
            if weights.items() <= {(w.name, w.raw_data) for w in made.initializer}:
                with contextlib.suppress(OSError):
                    _write_whole(file, made.SerializeToString())
            return made
        for weight in kept.initializer:
            weight.raw_data = weights.get(weight.name, weight.raw_data)
        return kept

    change(graph, "_export", once)
    _parse_once(change)


def _write_whole(file, data):
    """Write a file that is whole whenever another process reads or writes it."""
    with tempfile.NamedTemporaryFile(dir=file.parent, delete=False) as beside:
        beside.write(data)
    Path(beside.name).replace(file)


def _parse_once(change):
    """Let the exporter parse the sources of its 500 operators once, not for each export."""
    from onnxscript import values

    parse = values.TracedOnnxFunction.function_ir.fget
    change(values.TracedOnnxFunction, "function_ir", property(functools.cache(parse)))


@contextlib.contextmanager
def exports_once():
    """Share exports, as `keep_exports` does."""
    import pytest  # not at the top: processes that fork commands import this file, too

    with pytest.MonkeyPatch.context() as patch:
        keep_exports(patch.setattr)
        yield
