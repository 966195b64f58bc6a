"""Open an onnxruntime session: the one place where providers are chosen."""

import os
from os import PathLike
from typing import TYPE_CHECKING

from scangan.runtime.errors import GenerationError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def open_session(model: str | PathLike[str] | bytes, *, threads: int) -> "InferenceSession":
    """Open a model on the CPU.

    Parameters
    ----------
    model : path or bytes
        An ONNX model.
    threads : int
        Threads inside one operator.

    Raises
    ------
    GenerationError
        onnxruntime is not installed, or it refuses the model.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise GenerationError(
            "onnxruntime is not installed; type: pip install 'scangan[cpu]' "
            "(or 'scangan[gpu]' for an NVIDIA GPU)"
        ) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Idle threads that spin would take the cores from encoding and writing.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    source = model if isinstance(model, bytes) else os.fspath(model)
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no base but Exception
        name = "the model" if isinstance(source, bytes) else source
        reason = str(error).strip().splitlines()[0]
        raise GenerationError(f"{name} cannot be run by onnxruntime: {reason}") from error
