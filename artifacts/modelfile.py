"""Check a model file before anything runs it, and refuse whatever our exporter never writes.

It reads just enough protobuf for that. The runtime does not depend on the onnx package, and loading
an unknown graph into onnxruntime to inspect it would be too late.
"""

import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path

from scangan.artifacts.card import KEY, ModelCard
from scangan.core.errors import ExportError, GenerationError
from scangan.core.files import check_writable
from scangan.core.printable import quoted, to_type

# Field numbers in onnx.proto: ModelProto, GraphProto, NodeProto, TensorProto, AttributeProto, entries.
MODEL_GRAPH, MODEL_METADATA, MODEL_FUNCTIONS = 7, 14, 25
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_SPARSE_INITIALIZER = 1, 5, 15
NODE_OP_TYPE, NODE_ATTRIBUTE, NODE_DOMAIN = 4, 5, 7
TENSOR_EXTERNAL_DATA, TENSOR_DATA_LOCATION = 13, 14
ATTRIBUTE_TENSOR = 5
ATTRIBUTE_PLAIN = {1, 2, 3, 4, 7, 8, 13, 20}  # name, numbers, strings, doc_string, type
ENTRY_KEY, ENTRY_VALUE = 1, 2

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types

OPERATORS = frozenset({
    "Add", "Cast", "Clip", "Concat", "Conv", "ConvTranspose", "DequantizeLinear", "Equal",
    "Gather", "Gemm", "LeakyRelu", "MatMulInteger", "Mul", "QLinearConv", "QuantizeLinear",
    "ReduceSum", "Relu", "Reshape", "Round", "Shape", "Split", "Tanh", "TopK", "Transpose",
    "Unsqueeze",
})  # fmt: skip


@dataclasses.dataclass(frozen=True)
class ModelFile:
    """A model file that passed all checks.

    Parameters
    ----------
    path : Path
        Path of the file.
    data : bytes
        The whole file, so that exactly the checked bytes are run.
    sha256 : str
        SHA-256 of the whole file in hexadecimal.
    card : ModelCard
        The model's card.
    """

    path: Path
    data: bytes
    sha256: str
    card: ModelCard


def read_model_file(path: Path, *, allow_modified: bool = False) -> ModelFile:
    """Read and check a model file.

    Parameters
    ----------
    path : Path
        The file.
    allow_modified : bool
        Accept a graph that does not match the card, because a tool rewrote it or changed weights.

    Raises
    ------
    GenerationError
        The file is missing or truncated, has no card, was changed after its export, or holds
        external data, functions, nested graphs or operators that our exporter never writes.
    """
    if path.exists() and not path.is_file():
        raise GenerationError(
            f"{path} is not a file; give a model file, as export-onnx RUN -o model.onnx writes it"
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise GenerationError(
            f"{path}: {reason}; give a model file that export-onnx wrote"
        ) from error
    try:
        fields = list(_fields(memoryview(data)))
        graphs = [value for number, value in fields if number == MODEL_GRAPH]
        entries = [dict(_fields(v)) for number, v in fields if number == MODEL_METADATA]
        cards = [
            bytes(e.get(ENTRY_VALUE, b""))
            for e in entries
            if bytes(e.get(ENTRY_KEY, b"")) == KEY.encode()
        ]
        # The card comes after the graph: a truncated file has lost it, or ends inside a field.
        if len(graphs) != 1:
            raise _Malformed
        if len(cards) != 1:
            raise GenerationError(
                f"{path} has no scangan card: export-onnx did not write it, or it is truncated; "
                f"copy or export it again"
            )
        if any(number == MODEL_FUNCTIONS for number, _ in fields):
            raise GenerationError(
                f"{path} defines functions, which export-onnx never writes; refused"
            )
        _check_graph(path, graphs[0])
    except _Malformed as error:
        raise GenerationError(
            f"{path} is truncated or not an ONNX file; copy or export it again"
        ) from error
    try:
        card = ModelCard.from_json(cards[0].decode())
    except (GenerationError, UnicodeDecodeError) as error:
        raise GenerationError(f"{path}: {error}") from error
    if not allow_modified and hashlib.sha256(graphs[0]).hexdigest() != card.graph_sha256:
        raise GenerationError(
            f"{path} was changed after its export (its graph does not match its card); "
            f"export it again, or run it as it is with --allow-modified"
        )
    return ModelFile(path, data, hashlib.sha256(data).hexdigest(), card)


def graph_sha256(model: bytes) -> str:
    """Return the SHA-256 of a serialised model's graph in hexadecimal, as in the card."""
    graphs = [value for number, value in _fields(memoryview(model)) if number == MODEL_GRAPH]
    return hashlib.sha256(graphs[0]).hexdigest()


def check_target(out: Path) -> None:
    """Refuse a name that is not that of a model file, or a folder that does not exist.

    Raises
    ------
    ExportError
        The name or the folder is wrong.
    OSError
        No file can be made in the folder.
    """
    if out.is_dir():
        raise ExportError(f"{out} is a folder; name a file: -o {to_type(out / 'model.onnx')}")
    if out.suffix != ".onnx" or (out.exists() and not out.is_file()):
        # Any other name might be a scan, a checkpoint or a device, which writing would replace.
        raise ExportError(f"{out} is not a valid name for a model file; it must end in .onnx")
    folder = out.absolute().parent
    if folder.exists() and not folder.is_dir():
        raise ExportError(f"{out.parent} is a file; choose another place")
    if not folder.exists():
        raise ExportError(
            f"{out.parent} does not exist; make it first: mkdir -p {to_type(out.parent)}"
        )
    check_writable(out.absolute().parent)


class _Malformed(Exception):
    """The bytes are not a protobuf message."""


def _check_graph(path: Path, graph: memoryview) -> None:
    for number, value in _fields(graph):
        if number == GRAPH_NODE:
            _check_node(path, list(_fields(value)))
        elif number == GRAPH_INITIALIZER:
            _check_tensor(path, value)
        elif number == GRAPH_SPARSE_INITIALIZER:
            raise GenerationError(
                f"{path} has sparse weights, which export-onnx never writes; refused"
            )


def _check_node(path: Path, fields: list[tuple[int, memoryview]]) -> None:
    operator = b"".join(bytes(v) for n, v in fields if n == NODE_OP_TYPE).decode("ascii", "replace")
    domain = b"".join(bytes(v) for n, v in fields if n == NODE_DOMAIN)
    if operator not in OPERATORS or domain not in (b"", b"ai.onnx"):
        raise GenerationError(
            f"{path} has the operator {quoted(operator)}, which export-onnx never writes; refused"
        )
    for number, attribute in fields:
        if number == NODE_ATTRIBUTE:
            for kind, value in _fields(attribute):
                if kind == ATTRIBUTE_TENSOR:
                    _check_tensor(path, value)
                elif kind not in ATTRIBUTE_PLAIN:  # nested graphs, sparse tensors, ...
                    raise GenerationError(
                        f"{path} has an attribute that export-onnx never writes; refused"
                    )


def _check_tensor(path: Path, tensor: memoryview) -> None:
    if any(n in (TENSOR_EXTERNAL_DATA, TENSOR_DATA_LOCATION) for n, _ in _fields(tensor)):
        raise GenerationError(f"{path} keeps weights in another file; refused")


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield (field number, payload) of a protobuf message; numeric fields have an empty payload."""
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        length = 0
        if kind == VARINT:
            _, at = _varint(message, at)
        elif kind == BYTES:
            length, at = _varint(message, at)
        elif kind in (FIXED32, FIXED64):
            length = 4 if kind == FIXED32 else 8
        else:
            raise _Malformed
        # Other readers cut a larger tag to 32 bits and would see another field.
        if number == 0 or tag >> 32 or at + length > end:
            raise _Malformed
        yield number, message[at : at + length]
        at += length


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(message):
            raise _Malformed
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise _Malformed
