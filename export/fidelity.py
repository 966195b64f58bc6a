"""Whether an int8 model still makes the scans of the float32 one: picture by picture, and as a set."""

import dataclasses
from typing import Any

import numpy as np
import onnx

from scangan.evaluation.metrics import RealReference, Scores
from scangan.export.precision import latent_batches, make_images, psnr
from scangan.preprocessing.dataset import PreparedDataset

SEED, COUNT = 2, 1000  # latents that chose nothing
LEAST_MEAN, LEAST_WORST = 35.0, 30.0  # PSNR in dB
MOST_CHANGE, MOST_CHANGE_OF_SMALL = 0.05, 0.0005  # of a score: of its value, or absolute


@dataclasses.dataclass(frozen=True)
class Fidelity:
    """What was measured on `n` latents that neither chose scales nor layers.

    Parameters
    ----------
    n : int
        Number of scans.
    mean_psnr, worst_psnr : float
        Of the int8 scans against those of float32, in dB.
    kid, agreement : tuple of float, or None
        KID and class agreement against real scans, of float32 and of int8; agreement is None for a
        model without classes.
    """

    n: int
    mean_psnr: float
    worst_psnr: float
    kid: tuple[float, float]
    agreement: tuple[float, float] | None

    @property
    def losses(self) -> list[str]:
        """What is beyond the limits, in words; empty for a model to be accepted."""
        found = []
        if self.mean_psnr < LEAST_MEAN or self.worst_psnr < LEAST_WORST:
            found.append(
                f"PSNR {self.mean_psnr:.1f} dB on average, {self.worst_psnr:.1f} at worst "
                f"(at least {LEAST_MEAN:.0f} and {LEAST_WORST:.0f})"
            )
        for name, pair in (("KID", self.kid), ("class agreement", self.agreement)):
            if pair is not None and abs(pair[1] - pair[0]) > _allowed(pair[0]):
                found.append(
                    f"{name} {pair[0]:.4f} -> {pair[1]:.4f} (at most {_allowed(pair[0]):.4f} apart)"
                )
        return found

    def to_dict(self) -> dict[str, Any]:
        """For the card."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in vars(self).items()}


def _allowed(value: float) -> float:
    return max(abs(value) * MOST_CHANGE, MOST_CHANGE_OF_SMALL)


def compare(
    want: onnx.ModelProto, got: onnx.ModelProto, latent: int, classes: int, real: PreparedDataset
) -> Fidelity:
    """Compare a model with the float32 one that it came from.

    Parameters
    ----------
    want, got : ModelProto
        Of float32 and of int8, with the signature of a model file.
    latent, classes : int
        Length of `z`; number of classes, 0 for an unconditional model.
    real : PreparedDataset
        Scans of the same size, with the classes of the model in their order.
    """
    batches = list(latent_batches(SEED, COUNT, latent, classes))
    pictures = [make_images(model, batches) for model in (want, got)]
    ratios = psnr(pictures[1], pictures[0])
    labels = np.arange(COUNT) % max(classes, 1)
    if classes:
        reference = RealReference(real.images, real.labels, real.classes)
    else:
        reference = RealReference(real.images, np.zeros(len(real.labels), np.int64), ("all",))
    before, after = (reference.score(images, labels) for images in pictures)
    return Fidelity(
        COUNT,
        float(ratios.mean()),
        float(ratios.min()),
        (before.kid, after.kid),
        _agreement(before, after),
    )


def _agreement(before: Scores, after: Scores) -> tuple[float, float] | None:
    if before.mean_agreement is None or after.mean_agreement is None:
        return None
    return before.mean_agreement, after.mean_agreement
