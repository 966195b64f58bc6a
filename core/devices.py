"""Choose the device that a model runs on; no other module chooses onnxruntime's providers."""

import dataclasses
import os
from typing import Any

from scangan.core.errors import USAGE, GenerationError, first_line

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
# TF32 rounds more than float32, and an exhaustive search may pick another algorithm each time.
CUDA_OPTIONS = {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"}
# An ONNX model of one node, y = Relu(x), x float32 [1]. Running it tells whether a provider works.
ONE_NODE = (
    b'\x08\n:3\n\x0c\n\x01x\x12\x01y"\x04Relu\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01\x12\x04'
    b"\n\x02\x08\x01b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\x12"
)


@dataclasses.dataclass(frozen=True)
class Device:
    """A device that works.

    Parameters
    ----------
    name : str
        Name in options: ``cpu``, ``cuda``, ...
    provider : str
        Name in onnxruntime.
    why : str
        Why it was chosen, if the user did not choose it.
    """

    name: str
    provider: str
    why: str = ""

    @property
    def providers(self) -> list[Any]:
        """The providers that onnxruntime tries, in this order."""
        if self.provider == CPU:
            return [CPU]
        return [(self.provider, CUDA_OPTIONS if self.provider == CUDA else {}), CPU]


def choose_device(name: str = "auto") -> Device:
    """Find a device and make sure that it works.

    Parameters
    ----------
    name : str
        ``auto`` (a GPU if one works, else the CPU), ``cpu``, ``cuda``, or the start of the name of
        another onnxruntime provider in any case: ``openvino``, ``coreml``, ``dml``, ...

    Raises
    ------
    GenerationError
        The named device is not available or does not work; the message says why.
    """
    wanted = name.lower()
    if wanted == "cpu":
        return Device("cpu", CPU)
    there = available()
    if wanted == "auto":
        if CUDA not in there:
            return Device("cpu", CPU, "onnxruntime here has no CUDA")
        reason = why_not(CUDA)
        if reason:
            return Device("cpu", CPU, f"CUDA does not work here: {reason}")
        return Device("cuda", CUDA, "it works")
    found = [provider for provider in there if provider.lower().startswith(wanted)]
    if wanted and len(found) > 1:
        raise GenerationError(
            f"--device {name} could be {' or '.join(map(_called, found))}; type more of it",
            exit_code=USAGE,
        )
    if not found or not wanted:
        raise GenerationError(f"--device {name}: {_missing(wanted, there)}", exit_code=USAGE)
    reason = why_not(found[0])
    if reason:
        raise GenerationError(f"--device {name} does not work here: {reason}; use --device cpu")
    return Device(_called(found[0]), found[0])


def _called(provider: str) -> str:
    return provider.removesuffix("ExecutionProvider").lower()


def available() -> list[str]:
    """List the providers that onnxruntime was built with, whether they work or not."""
    # Azure's provider runs nothing locally: it calls a service.
    providers = import_onnxruntime().get_available_providers()
    return [provider for provider in providers if not provider.startswith("Azure")]


def why_not(provider: str) -> str | None:
    """Try a provider on a one-node model; return None if it works, else what went wrong."""
    onnxruntime = import_onnxruntime()
    if provider == CUDA and hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # from the nvidia packages that pip installed
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(
            ONE_NODE, options, providers=[provider], enable_fallback=0
        )
        if session.get_providers()[0] != provider:
            return "its libraries or the device are missing"
        (result,) = session.run(None, {"x": [2.0]})
    except Exception as error:  # onnxruntime's exceptions have no other common base
        return first_line(error)
    return None if result[0] == 2.0 else "it computes wrong results"


def import_onnxruntime() -> Any:
    """Import onnxruntime with telemetry off; if it is missing, raise an error that says how to install it."""
    # Since 1.29 it sends telemetry to Microsoft and stores a device id in the home folder, unless
    # this is set before the first import.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise GenerationError(
            'onnxruntime is not installed; type: pip install "scangan[cpu]" '
            '(or "scangan[gpu]" for an NVIDIA GPU)'
        ) from error
    except ImportError as error:  # a library is missing, or Ctrl-C came during the import
        if isinstance(error.__cause__ or error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise GenerationError(
            f"onnxruntime is installed but does not load ({error}); install it again"
        ) from error
    if not hasattr(onnxruntime, "InferenceSession"):
        raise GenerationError(
            "onnxruntime is only partly installed, as after removing one of its two packages; "
            "uninstall onnxruntime and onnxruntime-gpu, then install one"
        )
    onnxruntime.disable_telemetry_events()  # in case other code had imported it before
    return onnxruntime


def _missing(wanted: str, there: list[str]) -> str:
    told = (
        f"this onnxruntime has no such provider (it has: {', '.join(sorted(map(_called, there)))})"
    )
    if wanted not in ("cuda", "gpu", "tensorrt"):
        return told
    if CUDA in there:
        return f"{told}; for an NVIDIA GPU: --device cuda"
    return f'{told}; for an NVIDIA GPU: pip uninstall onnxruntime, then pip install "scangan[gpu]"'
