"""Folders of scans to prepared datasets."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from scangan.core.errors import PreprocessingError as PreprocessingError

if TYPE_CHECKING:
    from scangan.artifacts.dataset import PreparedDataset as PreparedDataset
    from scangan.artifacts.dataset import load_dataset as load_dataset
    from scangan.preprocessing.options import PrepOptions as PrepOptions
    from scangan.preprocessing.pipeline import prepare as prepare
    from scangan.preprocessing.pipeline import prepare_split as prepare_split
    from scangan.preprocessing.sources import SourceOptions as SourceOptions

_WHERE = {
    "PrepOptions": "options",
    "PreparedDataset": "dataset",
    "SourceOptions": "sources",
    "load_dataset": "dataset",
    "prepare": "pipeline",
    "prepare_split": "pipeline",
}

__all__ = [
    "PrepOptions",
    "PreparedDataset",
    "PreprocessingError",
    "SourceOptions",
    "load_dataset",
    "prepare",
    "prepare_split",
]


def __getattr__(name: str) -> Any:
    # Lazy: `prep-scans --help` must not wait for OpenCV.
    if name in _WHERE:
        return getattr(import_module(f"scangan.preprocessing.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
