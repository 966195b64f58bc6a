"""Score scans with a run's last discriminator: higher means more real.

A discriminator that has learnt its training scans by heart gives them higher scores than other real scans,
which is how LOGAN (Hayes et al. 2019) tells who was in a training set.
"""

import hashlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from scangan.artifacts.run import Run
from scangan.core.errors import TrainingError
from scangan.training.checkpoints import load_checkpoint
from scangan.training.discriminator import Discriminator, make_discriminator

# Odd, so that minibatch deviation is over one scan: a score depends on no other scan.
BATCH, BATCH_PIXELS = 63, 63 * 128**2
Images = npt.NDArray[np.uint8]  # [N, H, W]
Labels = npt.NDArray[np.int64]
Score = Callable[[Images, Labels], npt.NDArray[np.float64]]


def discriminator_scores(run: Run, classes: tuple[str, ...]) -> tuple[Score, str]:
    """Load a run's last discriminator.

    Parameters
    ----------
    run : Run
        The run.
    classes : tuple of str
        Names of the classes that the labels are indices into.

    Returns
    -------
    scores : callable
        Returns the scores, float64 [N], of uint8 [N, H, W] and labels int64 [N].
    sha256 : str
        SHA-256 of its weights.

    Raises
    ------
    TrainingError
        The run has no checkpoint, or lacks one of the classes.
    """
    options = run.options
    known = run.classes
    if known and (lacking := [name for name in classes if name not in known]):
        raise TrainingError(f"{run.path} was not trained on {', '.join(lacking)}")
    runs = [run]
    if options.per_class:
        runs = [Run(run.path / "classes" / str(k)) for k in range(len(known))]
    networks = [_load(each) for each in runs]
    number = np.array([known.index(name) for name in classes] if known else [0], np.int64)

    def score(images: Images, labels: Labels) -> npt.NDArray[np.float64]:
        if images.shape[1] != options.size:
            raise TrainingError(
                f"{run.path} was trained at {options.size} pixels; these scans have {images.shape[1]}"
            )
        own = number[labels] if known else np.zeros(len(labels), np.int64)
        if not options.per_class:
            return realness(networks[0], images, own)
        scores = np.empty(len(images))
        for k, network in enumerate(networks):
            of_class = own == k
            scores[of_class] = realness(network, images[of_class], own[of_class])
        return scores

    return score, _sha256(networks)


def _sha256(networks: list[Discriminator]) -> str:
    digest = hashlib.sha256()
    for network in networks:
        for tensor in network.state_dict().values():
            digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()


def _load(run: Run) -> Discriminator:
    checkpoint = load_checkpoint(run, torch.device("cpu"))
    if checkpoint is None:
        raise TrainingError(f"{run.path} has no checkpoint yet; let train-gan reach its first tick")
    network = make_discriminator(
        run.options, len(run.classes) if run.options.arch == "acgan" else 0
    )
    try:
        network.load_state_dict(checkpoint.networks["discriminator"])  # type: ignore[arg-type]
    except (RuntimeError, KeyError, TypeError) as error:
        raise TrainingError(f"{run.path}/last.pt does not match its config") from error
    return network.eval()


@torch.inference_mode()
def realness(network: Discriminator, images: Images, labels: Labels) -> npt.NDArray[np.float64]:
    """Score scans, uint8 [N, H, W], one by one: float64 [N]. The network is in evaluation mode."""
    device, parts = next(network.parameters()).device, [np.empty(0)]
    batch = max(1, min(BATCH, BATCH_PIXELS // images.shape[1] ** 2))
    for at in range(0, len(images), batch):
        # An even number of scans is filled up to an odd one.
        rows = np.arange(at, min(at + batch, len(images)))
        filled = np.append(rows, rows[:1]) if len(rows) % 2 == 0 else rows
        pixels = torch.from_numpy(images[filled]).to(device).float()[:, None] / 127.5 - 1
        scores, _ = network(pixels, torch.from_numpy(labels[filled]).to(device))
        parts.append(scores[: len(rows)].cpu().numpy().astype(np.float64))
    return np.concatenate(parts)
