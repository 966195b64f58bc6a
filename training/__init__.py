"""Train GANs on prepared datasets."""

from typing import TYPE_CHECKING

from scangan.core.errors import TrainingError as TrainingError
from scangan.core.lazy import lazily

if TYPE_CHECKING:
    from scangan.artifacts.run import Run as Run
    from scangan.artifacts.train_options import TrainOptions as TrainOptions
    from scangan.training.loop import Stopped as Stopped
    from scangan.training.train_gan import train as train

__all__ = [
    "Run",
    "Stopped",
    "TrainOptions",
    "TrainingError",
    "train",
]

__getattr__ = lazily(
    __name__,
    {
        "TrainOptions": "scangan.artifacts.train_options",
        "Run": "scangan.artifacts.run",
        "Stopped": "scangan.training.loop",
        "train": "scangan.training.train_gan",
    },
)
