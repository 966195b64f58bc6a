"""The objectives."""

import torch
from torch import Tensor
from torch.nn import functional as F


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss of D (Lim and Ye 2017): realness [N] of real and of fake scans to a scalar."""
    return F.relu(1.0 - real).mean() + F.relu(1.0 + fake).mean()


def hinge_generator(fake: Tensor) -> Tensor:
    """Hinge loss of G: realness [N] of fake scans to a scalar."""
    return -fake.mean()


def classifier(logits: Tensor | None, label: Tensor) -> Tensor:
    """Log-softmax cross-entropy of the auxiliary classifier on K classes; 0 without one."""
    if logits is None:
        return torch.zeros((), device=label.device)
    return F.cross_entropy(logits, label)
