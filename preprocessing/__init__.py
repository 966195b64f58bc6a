"""Folders of scans to prepared datasets."""

from typing import TYPE_CHECKING, Any

from scangan.preprocessing.errors import PreprocessingError as PreprocessingError

if TYPE_CHECKING:
    from scangan.preprocessing.dataset import PreparedDataset as PreparedDataset
    from scangan.preprocessing.dataset import load_dataset as load_dataset
    from scangan.preprocessing.options import PrepOptions as PrepOptions
    from scangan.preprocessing.pipeline import prepare as prepare

__all__ = ["PrepOptions", "PreparedDataset", "PreprocessingError", "load_dataset", "prepare"]


def __getattr__(name: str) -> Any:
    # Lazy: `prep-scans --help` must not wait for OpenCV.
    if name in ("PreparedDataset", "load_dataset"):
        from scangan.preprocessing import dataset

        return getattr(dataset, name)
    if name == "PrepOptions":
        from scangan.preprocessing.options import PrepOptions

        return PrepOptions
    if name == "prepare":
        from scangan.preprocessing.pipeline import prepare

        return prepare
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
