"""The losses. Realness is float [N]; larger means that D finds a scan more real."""

import torch
from torch import Tensor
from torch.nn import functional as F


def bce_discriminator(
    real: Tensor, fake: Tensor, smoothing: float = 0.0, flipped: Tensor | None = None
) -> Tensor:
    """Binary cross-entropy of D (Goodfellow et al. 2014), a scalar.

    Parameters
    ----------
    real, fake : Tensor
        Realness of real and fake scans, each [N].
    smoothing : float
        The target of real scans is 1 minus this (one-sided, Salimans et al. 2016).
    flipped : Tensor, optional
        bool [2, N]: the real and fake scans with flipped labels.
    """
    targets = torch.stack([torch.full_like(real, 1.0 - smoothing), torch.zeros_like(fake)])
    if flipped is not None:
        targets = torch.where(flipped, targets.flip(0), targets)
    return 2 * F.binary_cross_entropy_with_logits(torch.stack([real, fake]), targets)


def bce_generator(fake: Tensor) -> Tensor:
    """Non-saturating loss of G (Goodfellow et al. 2014), a scalar."""
    return F.softplus(-fake).mean()


def hinge_discriminator(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss of D (Lim and Ye 2017), a scalar."""
    return F.relu(1.0 - real).mean() + F.relu(1.0 + fake).mean()


def hinge_generator(fake: Tensor) -> Tensor:
    """Hinge loss of G, a scalar."""
    return -fake.mean()


def relativistic(better: Tensor, worse: Tensor) -> Tensor:
    """Relativistic pairing loss (Jolicoeur-Martineau 2019, Huang et al. 2024), a scalar.

    For D, `better` are the real scans; for G, the fake ones.
    """
    return F.softplus(worse - better).mean()


def lecam(on_real: Tensor, on_fake: Tensor, anchors: Tensor) -> Tensor:
    """LeCam penalty (Tseng et al. 2021, eq. 5) for a hinge loss, one-sided as in their code; a scalar.

    It pulls the realness of real scans above the average of fake ones towards that average, and the
    other way round. So D cannot push the two ever further apart on a small dataset.

    Parameters
    ----------
    on_real, on_fake : Tensor
        Realness of real and fake scans, each [N].
    anchors : Tensor
        Moving averages of realness on real and fake scans, [2].
    """
    beyond = F.relu(on_real - anchors[1]), F.relu(anchors[0] - on_fake)
    return beyond[0].square().mean() + beyond[1].square().mean()


def gradient_penalty(realness: Tensor, images: Tensor) -> Tensor:
    """Half the mean squared norm of D's gradient with respect to the images [N, C, H, W], a scalar.

    R1 on real scans, R2 on fake ones: Mescheder et al. 2018, eq. 9.
    """
    (gradient,) = torch.autograd.grad(realness.sum(), images, create_graph=True)
    return 0.5 * gradient.square().sum((1, 2, 3)).mean()


def classifier(logits: Tensor | None, label: Tensor) -> Tensor:
    """Cross-entropy of the auxiliary classifier on K classes; 0 without a classifier."""
    if logits is None:
        return torch.zeros((), device=label.device)
    return F.cross_entropy(logits, label)
