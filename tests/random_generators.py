"""Generators with random weights, the same for all tests that ask alike: so they share exports."""

import torch

from scangan.training.networks import Generator, GeneratorBank

LATENT = 12


def random_generator(*, size=32, share=None, seed=1, **options):
    """Make a generator as far from its initial values as training takes it."""
    torch.manual_seed(seed)
    ramped = share is not None
    generator = Generator(size=size, width=4, latent=LATENT, ramped=ramped, **options).eval()
    for name, tensor in generator.state_dict().items():
        if name == "share":
            tensor.fill_(share)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 2.0)
        elif tensor.is_floating_point():
            tensor.normal_(1.0 if "scale" in name or "embedding" in name else 0.0, 0.3)
    return generator


def random_bank(**options):
    """Make three of them, one for each class."""
    return GeneratorBank([random_generator(seed=seed, **options) for seed in (1, 2, 3)]).eval()
