"""Prepare folders of scans as datasets."""

from typing import TYPE_CHECKING

from scangan.core.errors import PreprocessingError as PreprocessingError
from scangan.core.lazy import lazily

if TYPE_CHECKING:
    from scangan.artifacts.dataset import PreparedDataset as PreparedDataset
    from scangan.artifacts.dataset import load_dataset as load_dataset
    from scangan.preprocessing.find_scans import SourceOptions as SourceOptions
    from scangan.preprocessing.options import PrepOptions as PrepOptions
    from scangan.preprocessing.pipeline import prepare as prepare
    from scangan.preprocessing.pipeline import prepare_split as prepare_split

__all__ = [
    "PrepOptions",
    "PreparedDataset",
    "PreprocessingError",
    "SourceOptions",
    "load_dataset",
    "prepare",
    "prepare_split",
]

__getattr__ = lazily(
    __name__,
    {
        "PreparedDataset": "scangan.artifacts.dataset",
        "load_dataset": "scangan.artifacts.dataset",
        "PrepOptions": "scangan.preprocessing.options",
        "prepare": "scangan.preprocessing.pipeline",
        "prepare_split": "scangan.preprocessing.pipeline",
        "SourceOptions": "scangan.preprocessing.find_scans",
    },
)
