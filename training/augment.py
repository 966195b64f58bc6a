"""DiffAugment (Zhao et al. 2020): the same differentiable changes for real and for fake scans.

No flips: laterality means something in chest and cardiac scans.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

SHIFT = 1 / 8  # largest translation, share of the side
BLACK = -1.0


def diff_augment(x: Tensor, rng: torch.Generator) -> Tensor:
    """Change brightness and contrast and translate each image by its own random amounts.

    Parameters
    ----------
    x : Tensor
        float [N, 1, H, W] in [-1, 1].
    rng : torch.Generator
        Source of the amounts, on the device of `x`.

    Returns
    -------
    Tensor
        float [N, 1, H, W]; may leave [-1, 1]. What a translation uncovers is black.
    """
    brightness, contrast = torch.rand((2, len(x), 1, 1, 1), generator=rng, device=x.device)
    x = x + (brightness - 0.5)
    mean = x.mean((1, 2, 3), keepdim=True)
    x = (x - mean) * (contrast + 0.5) + mean
    return translate(x, rng)


def translate(x: Tensor, rng: torch.Generator) -> Tensor:
    """Shift each image by up to an eighth of its side, both ways, in whole pixels."""
    n, channels, height, width = x.shape
    reach = max(1, round(height * SHIFT))
    dy, dx = torch.randint(0, 2 * reach + 1, (2, n, 1), generator=rng, device=x.device)
    padded = F.pad(x, (reach, reach, reach, reach), value=BLACK)
    rows = (dy + torch.arange(height, device=x.device))[:, None, :, None]
    columns = (dx + torch.arange(width, device=x.device))[:, None, None, :]
    padded = padded.gather(2, rows.expand(n, channels, height, padded.shape[3]))
    return padded.gather(3, columns.expand(n, channels, height, width))
