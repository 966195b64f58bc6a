"""Prepared datasets to runs."""

from typing import TYPE_CHECKING, Any

from scangan.core.errors import TrainingError as TrainingError

if TYPE_CHECKING:
    from scangan.training.options import TrainOptions as TrainOptions
    from scangan.training.run import Run as Run
    from scangan.training.start import train as train

__all__ = ["Run", "TrainOptions", "TrainingError", "train"]


def __getattr__(name: str) -> Any:
    # Lazy: `train-gan --help` must not wait for torch.
    if name == "train":
        from scangan.training.start import train

        return train
    if name == "TrainOptions":
        from scangan.training.options import TrainOptions

        return TrainOptions
    if name == "Run":
        from scangan.training.run import Run

        return Run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
