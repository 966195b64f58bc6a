"""Check that an int8 model makes the same scans as the float32 one, scan by scan and as a set."""

import dataclasses

import numpy as np
import onnx

from scangan.artifacts.dataset import PreparedDataset
from scangan.artifacts.scores import Scores
from scangan.evaluation.metrics import RealReference
from scangan.export.precision import latent_batches, make_images, psnr

SEED, COUNT = 2, 1000  # latents not used to choose scales or layers
LEAST_MEAN, LEAST_WORST = 35.0, 30.0  # PSNR in dB
MOST_CHANGE, MOST_CHANGE_OF_SMALL = (
    0.05,
    0.0005,
)  # of a score: relative, or absolute if that is more


@dataclasses.dataclass(frozen=True)
class Fidelity:
    """Measurements on `n` latents that were not used to choose scales or layers.

    Parameters
    ----------
    n : int
        Number of scans.
    mean_psnr, worst_psnr : float
        PSNR of int8 scans compared with float32 ones, in dB.
    kid, agreement : tuple of float, or None
        KID and class agreement against real scans, for float32 and int8. None without real scans;
        agreement is also None for a model without classes.
    """

    n: int
    mean_psnr: float
    worst_psnr: float
    kid: tuple[float, float] | None
    agreement: tuple[float, float] | None

    @property
    def losses(self) -> list[str]:
        """What exceeds the limits, as text; empty if the model is acceptable."""
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

    def to_dict(self) -> dict[str, object]:
        """Return the measurements for the card."""
        measured = {k: v for k, v in vars(self).items() if v is not None}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in measured.items()}


def _allowed(value: float) -> float:
    return max(abs(value) * MOST_CHANGE, MOST_CHANGE_OF_SMALL)


class Comparison:
    """Compares int8 models with the float32 model they were made from.

    Parameters
    ----------
    want : ModelProto
        The float32 model, with the signature of a model file, as the int8 models have.
    latent, classes : int
        Length of `z`; number of classes, 0 for an unconditional model.
    real : PreparedDataset, optional
        Scans of the same size, with the model's classes in the same order. Without them, there is
        no KID and no agreement.
    """

    def __init__(
        self, want: onnx.ModelProto, latent: int, classes: int, real: PreparedDataset | None
    ) -> None:
        self._batches = list(latent_batches(SEED, COUNT, latent, classes))
        self._want = make_images(want, self._batches)
        self._labels = np.arange(COUNT) % max(classes, 1)
        self._reference: RealReference | None = None
        if real is not None:
            chosen = ~real.synthetic  # a run's own scans may include synthetic ones
            labels = real.labels[chosen] if classes else np.zeros(int(chosen.sum()), np.int64)
            self._reference = RealReference(
                real.images[chosen],
                labels,
                real.classes if classes else ("all",),
                groups=real.groups[chosen],
            )
            self._before = self._reference.score(self._want, self._labels)

    def of(self, model: onnx.ModelProto) -> Fidelity:
        """Compare an int8 model."""
        images = make_images(model, self._batches)
        ratios = psnr(images, self._want)
        mean, worst = float(ratios.mean()), float(ratios.min())
        if self._reference is None:
            return Fidelity(COUNT, mean, worst, None, None)
        before, after = self._before, self._reference.score(images, self._labels)
        return Fidelity(COUNT, mean, worst, (before.kid, after.kid), _agreement(before, after))


def _agreement(before: Scores, after: Scores) -> tuple[float, float] | None:
    if before.mean_agreement is None or after.mean_agreement is None:
        return None
    return before.mean_agreement, after.mean_agreement
