"""Open an onnxruntime session."""

import os
from os import PathLike
from typing import TYPE_CHECKING

from scangan.core.devices import CPU, Device, import_onnxruntime
from scangan.core.errors import GenerationError, first_line
from scangan.core.threads import usable_cpus

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def open_session(
    model: str | PathLike[str] | bytes,
    *,
    threads: int | None = None,
    device: Device | None = None,
    name: str = "",
) -> "InferenceSession":
    """Open a model.

    Parameters
    ----------
    model : path or bytes
        An ONNX model.
    threads : int, optional
        Threads inside one operator; by default one per usable processor.
    device : Device, optional
        Device to run on; by default the CPU.
    name : str
        Name of the model in errors; by default its path.

    Raises
    ------
    GenerationError
        onnxruntime is not installed, or it refuses the model or the device.
    """
    onnxruntime, device = import_onnxruntime(), device or Device("cpu", CPU)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or usable_cpus()
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised, so stderr need not repeat them
    # Idle threads that spin would take the cores from encoding and writing.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Do not guess the format: a file that was checked as ONNX must not run as another format.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    source = model if isinstance(model, bytes) else os.fspath(model)
    name = name or ("the model" if isinstance(source, bytes) else source)
    try:
        session: InferenceSession = onnxruntime.InferenceSession(
            source, options, providers=device.providers, enable_fallback=0
        )
    except Exception as error:  # onnxruntime's exceptions have no other common base
        raise GenerationError(f"onnxruntime cannot run {name}: {first_line(error)}") from error
    if session.get_providers()[0] != device.provider:
        raise GenerationError(f"{name} cannot run on {device.name}; use --device cpu")
    return session
