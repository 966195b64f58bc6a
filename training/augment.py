"""DiffAugment (Zhao et al. 2020): the same differentiable augmentations for real and fake scans.

Flips are off by default, as left and right matter in chest and cardiac scans.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from scangan.training.sampling import Draws

SHIFT = 1 / 8  # largest translation, as a share of the side
HOLE = 1 / 2  # side of a cutout, as a share of the image's side
BLACK = -1.0


def diff_augment(
    x: Tensor, draws: Draws, operations: tuple[str, ...], probability: Tensor | float = 1.0
) -> Tensor:
    """Augment each image by its own random amounts.

    Parameters
    ----------
    x : Tensor
        float [N, 1, H, W] in [-1, 1].
    draws : Draws
        Source of randomness, on the device of `x`.
    operations : tuple of str
        A choice of `train_options.OPERATIONS`; they are applied in the order of that list.
    probability : Tensor or float
        Probability of each operation for each image, 0 to 1; a scalar.

    Returns
    -------
    Tensor
        float [N, 1, H, W]; values may leave [-1, 1]. Uncovered and cut-out areas are black.
    """
    for name, operation in _OPERATIONS.items():
        if name in operations:
            chosen = draws.uniform(len(x), 1, 1, 1) < probability
            x = operation(x, draws, chosen)
    return x


def brightness(x: Tensor, draws: Draws, chosen: Tensor) -> Tensor:
    """Add -0.5 to 0.5 to the `chosen` images (bool [N, 1, 1, 1])."""
    return x + (draws.uniform(len(x), 1, 1, 1) - 0.5) * chosen


def contrast(x: Tensor, draws: Draws, chosen: Tensor) -> Tensor:
    """Scale the `chosen` images around their own mean by 0.5 to 1.5."""
    factor = 1.0 + (draws.uniform(len(x), 1, 1, 1) - 0.5) * chosen
    mean = x.mean((1, 2, 3), keepdim=True)
    return (x - mean) * factor + mean


def translation(x: Tensor, draws: Draws, chosen: Tensor) -> Tensor:
    """Shift the `chosen` images by up to an eighth of their side on both axes, in whole pixels."""
    n, channels, height, width = x.shape
    reach = max(1, round(height * SHIFT))
    shift = draws.integers(-reach, reach + 1, n, 2, 1) * chosen[..., 0]
    padded = F.pad(x, (reach, reach, reach, reach), value=BLACK)
    dy, dx = shift[:, 0] + reach, shift[:, 1] + reach
    rows = (dy + torch.arange(height, device=x.device))[:, None, :, None]
    columns = (dx + torch.arange(width, device=x.device))[:, None, None, :]
    padded = padded.gather(2, rows.expand(n, channels, height, padded.shape[3]))
    return padded.gather(3, columns.expand(n, channels, height, width))


def cutout(x: Tensor, draws: Draws, chosen: Tensor) -> Tensor:
    """Blacken a square with half the image's side, at a random place in the `chosen` images."""
    n, _, height, width = x.shape
    centre = draws.uniform(n, 2, 1)
    rows, columns = (
        (torch.arange(side, device=x.device) + 0.5 - centre[:, i] * side).abs() < HOLE * side / 2
        for i, side in enumerate((height, width))
    )
    hole = rows[:, None, :, None] & columns[:, None, None, :] & chosen
    return torch.where(hole, BLACK, x)


def flip(x: Tensor, draws: Draws, chosen: Tensor | bool = True) -> Tensor:
    """Mirror half of the `chosen` images left to right."""
    mirrored = chosen & (draws.uniform(len(x), 1, 1, 1) < 0.5)
    return torch.where(mirrored, x.flip(3), x)


_OPERATIONS = {
    operation.__name__: operation for operation in (brightness, contrast, translation, cutout, flip)
}
