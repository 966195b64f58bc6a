"""Generate labelled synthetic scans from a model file, without torch."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scangan.artifacts.card import ModelCard as ModelCard
    from scangan.runtime.generator import ScanGenerator as ScanGenerator

from scangan.core.errors import GenerationError as GenerationError
from scangan.core.errors import ScanganError as ScanganError

__all__ = ["GenerationError", "ModelCard", "ScanGenerator", "ScanganError"]


def __getattr__(name: str) -> Any:
    # Lazy: `gen-scans --help` must not wait for numpy.
    if name == "ScanGenerator":
        from scangan.runtime.generator import ScanGenerator

        return ScanGenerator
    if name == "ModelCard":
        from scangan.artifacts.card import ModelCard

        return ModelCard
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
