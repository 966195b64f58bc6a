"""Generate labelled synthetic scans from a model file, without torch."""

from typing import TYPE_CHECKING

from scangan.core.errors import GenerationError as GenerationError
from scangan.core.errors import ScanganError as ScanganError
from scangan.core.lazy import lazily

if TYPE_CHECKING:
    from scangan.artifacts.card import ModelCard as ModelCard
    from scangan.runtime.generator import ScanGenerator as ScanGenerator

DEFAULT_MODEL = "brain-mri-64"  # here, so that --help imports nothing else for it

__all__ = ["GenerationError", "ModelCard", "ScanGenerator", "ScanganError"]

__getattr__ = lazily(
    __name__, {"ModelCard": "scangan.artifacts.card", "ScanGenerator": "scangan.runtime.generator"}
)
