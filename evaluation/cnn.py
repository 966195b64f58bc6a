"""A small convolutional network, trained from scratch: the classifier that most notebooks train."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from scangan.core.errors import USAGE, EvaluationError
from scangan.evaluation.classifiers import balanced_batches

WIDTHS = (16, 32, 64, 128)
BATCH, STEPS, RATE, DECAY, DROPOUT = 32, 600, 2e-3, 1e-2, 0.3
AT_ONCE = 256  # test scans per pass


class SmallCNN:
    """Four convolutions, each with pooling and batch normalisation, and a linear layer.

    Each diet gets the same schedule, whatever its size: 600 steps of 32 scans, with every class as
    often, by AdamW with a rate that rises for a tenth of the steps and falls to zero.

    Parameters
    ----------
    threads : int, optional
        Threads of torch.
    steps : int
        Training steps.
    """

    name = "cnn"
    by_chance = True

    def __init__(self, threads: int | None = None, steps: int = STEPS) -> None:
        self.threads, self.steps = threads, steps
        schedule = f"{BATCH} {steps} {RATE} {DECAY} {DROPOUT}"
        self.described = f"cnn, pooled first, {WIDTHS} {schedule} torch {torch.__version__}"

    def sees(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return the scans themselves."""
        return images

    def scores(
        self,
        rows: npt.NDArray[np.uint8],
        labels: npt.NDArray[np.int64],
        test: npt.NDArray[np.uint8],
        classes: int,
        seed: int,
    ) -> npt.NDArray[np.float64]:
        """Train from scratch, and return the probability of each class."""
        before = torch.get_num_threads()
        torch.set_num_threads(self.threads or before)
        try:
            with torch.random.fork_rng():
                torch.manual_seed(seed)
                network = _network(classes)
                _train(network, rows, labels, classes, self.steps, np.random.default_rng(seed))
            return _probabilities(network.eval(), test)
        finally:
            torch.set_num_threads(before)


def make(
    name: str,  # noqa: ARG001
    *,
    threads: int | None,
    weights: Path | None,
    steps: int | None,
) -> SmallCNN:
    """Make the network; it has no pretrained weights."""
    if weights:
        raise EvaluationError("cnn is trained from scratch; leave out --weights", exit_code=USAGE)
    return SmallCNN(threads, steps or STEPS)


def _network(classes: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in zip((1, *WIDTHS), WIDTHS, strict=False):
        # Pooled first: normalisation and ReLU then see a quarter of the pixels. On the brain and chest
        # sets that costs no accuracy and, with channels last, takes half the time.
        layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.MaxPool2d(2)]
        layers += [nn.BatchNorm2d(after), nn.ReLU()]
    network = nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(DROPOUT),
        nn.Linear(WIDTHS[-1], classes),
    )  # fmt: skip
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _train(
    network: nn.Module,
    rows: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int64],
    classes: int,
    steps: int,
    rng: np.random.Generator,
) -> None:
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, total_steps=steps, pct_start=0.1
    )
    for chosen, asked in balanced_batches(labels, classes, BATCH, steps, rng):
        loss = nn.functional.cross_entropy(network(_normal(rows[chosen])), torch.from_numpy(asked))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def _probabilities(network: nn.Module, rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    parts = [
        network(_normal(rows[at : at + AT_ONCE])).double().softmax(dim=1)
        for at in range(0, len(rows), AT_ONCE)
    ]
    return np.asarray(torch.cat(parts).numpy())


def _normal(rows: npt.NDArray[np.uint8]) -> Tensor:
    """Bring grey levels to [-1, 1]: float32 [N, 1, H, W]."""
    return torch.from_numpy(rows[:, None].astype(np.float32) / 127.5 - 1)
