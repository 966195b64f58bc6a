"""What `train-gan` can be told."""

import dataclasses
from typing import Any, Literal, get_args

from scangan.runtime.errors import USAGE
from scangan.training.errors import TrainingError

Arch = Literal["dcgan", "acgan"]

SIZES = (32, 64, 128)
FEWEST_TICKS = 4  # a run is scored and saved at least so often


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Options of a run; stored in its ``config.json``.

    Parameters
    ----------
    arch : {"dcgan", "acgan"}
        Unconditional, or conditional on the class with an auxiliary classifier.
    size : int
        Side of the scans in pixels: 32, 64 or 128.
    kimg : float
        Length of the run in thousands of real scans shown.
    batch : int
        Scans a step, a multiple of 4 from 4 to 4096.
    seed : int
        Everything random in the run follows from it, 0 to 2**32 - 1.
    tick : float or None
        Thousands of scans between two scores and checkpoints; None: 10, and never more than a
        quarter of `kimg`.
    width : int
        Channels of the feature maps next to the image; each map of half the side has twice as many.
    latent : int
        Length of the latent `z`.
    lr : float
        Learning rate of both Adam optimisers.
    beta1, beta2 : float
        Their decay rates.
    ema_kimg : float
        Half-life of the generator's moving average, in thousands of scans.
    aux_weight : float
        Weight of the auxiliary classifier's loss beside the adversarial one.
    augment : bool
        DiffAugment (brightness, contrast, translation) before the discriminator.
    """

    arch: Arch = "acgan"
    size: int = 64
    kimg: float = 400.0
    batch: int = 64
    seed: int = 0
    tick: float | None = None
    width: int = 32
    latent: int = 100
    lr: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.999
    ema_kimg: float = 10.0
    aux_weight: float = 0.5
    augment: bool = True

    def __post_init__(self) -> None:
        if self.arch not in get_args(Arch):
            raise TrainingError(
                f"--arch {self.arch!r} is unknown; it takes dcgan or acgan", exit_code=USAGE
            )
        if self.size not in SIZES:
            known = ", ".join(map(str, SIZES))
            raise TrainingError(
                f"--size {self.size} is not supported; it takes {known}", exit_code=USAGE
            )
        checks: list[tuple[str, float, float, float]] = [
            ("kimg", self.kimg, 0.001, 1e9),
            ("batch", self.batch, 4, 4096),
            ("seed", self.seed, 0, 2**32 - 1),
            ("tick", 1.0 if self.tick is None else self.tick, 0.001, 1e9),
            ("width", self.width, 4, 512),
            ("latent", self.latent, 1, 4096),
            ("lr", self.lr, 1e-9, 1.0),
            ("beta1", self.beta1, 0.0, 0.9999),
            ("beta2", self.beta2, 0.0, 0.999999),
            ("ema-kimg", self.ema_kimg, 0.0, 1e9),
            ("aux-weight", self.aux_weight, 0.0, 1e6),
        ]
        for name, value, low, high in checks:
            if not low <= value <= high:
                raise TrainingError(
                    f"--{name} {value} is out of range; it takes {low} to {high}", exit_code=USAGE
                )
        if self.batch % 4:
            # The minibatch standard deviation is taken over groups of four.
            raise TrainingError(
                f"--batch {self.batch} is no multiple of 4; try {-(-self.batch // 4) * 4}",
                exit_code=USAGE,
            )

    @property
    def steps(self) -> int:
        """Length of the run in optimiser steps of the discriminator."""
        return max(1, round(self.kimg * 1000 / self.batch))

    def is_tick(self, step: int) -> bool:
        """Whether the run is scored and saved after `step` steps: evenly, the last step among them."""
        wanted = (10.0 if self.tick is None else self.tick) * 1000 / self.batch
        ticks = max(round(self.steps / wanted), min(FEWEST_TICKS, self.steps))
        ticks = min(ticks, self.steps)
        return step * ticks // self.steps > (step - 1) * ticks // self.steps

    def to_dict(self) -> dict[str, Any]:
        """The options as JSON values."""
        return dataclasses.asdict(self)
