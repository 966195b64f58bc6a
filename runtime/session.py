"""Open an onnxruntime session: the one place where providers are chosen."""

import os
from os import PathLike
from typing import TYPE_CHECKING

from scangan.runtime.errors import GenerationError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def usable_cpus() -> int:
    """Number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def open_session(
    model: str | PathLike[str] | bytes, *, threads: int | None = None
) -> "InferenceSession":
    """Open a model on the CPU.

    Parameters
    ----------
    model : path or bytes
        An ONNX model.
    threads : int, optional
        Threads inside one operator; by default one for every usable processor.

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
    options.intra_op_num_threads = threads or usable_cpus()
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised; saying them on stderr too is once too often
    # Idle threads that spin would take the cores from encoding and writing.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Never guessed from the content: a file checked as ONNX must not run as another format.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    source = model if isinstance(model, bytes) else os.fspath(model)
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no base but Exception
        name = "the model" if isinstance(source, bytes) else source
        reason = str(error).strip().splitlines()[0]
        raise GenerationError(f"{name} cannot be run by onnxruntime: {reason}") from error
