"""Channels of one range: what is computed stays, what is rounded loses less."""

import numpy as np
import pytest
import torch

from scangan.export.channel_ranges import match_ranges
from scangan.export.network import ShippedGenerator
from scangan.export.precision import build, latent_batches, make_images, psnr
from scangan.training.networks import Generator

LATENT = 12
BATCHES = list(latent_batches(seed=5, count=96, latent=LATENT, classes=3))


@torch.no_grad()
def _generator(classes=3, **options):
    """A generator as far from its initial values as training takes it.

    Its channels differ in range; one is turned over in all classes, one in one, and one is constant.
    """
    torch.manual_seed(1)
    generator = Generator(size=32, width=8, latent=LATENT, classes=classes, **options).eval()
    for name, tensor in generator.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2.0)
        elif tensor.is_floating_point():
            tensor.normal_(1.0 if "scale" in name or "embedding" in name else 0.0, 0.3)
    if generator.by_norm:
        for norm in generator.norms[1:]:
            scale = norm.scale.weight
            scale.abs_().mul_(torch.rand(scale.shape[1]) * 3 + 0.1)
            scale[:, 0] *= -1
            scale[0, 1] *= -1
            scale[:, 2] = 0
    return generator


@torch.no_grad()
def _images(network):
    parts = [network(*map(torch.from_numpy, batch.values())) for batch in BATCHES]
    return torch.cat(parts).numpy()[:, 0].astype(int)


def test_what_it_computes_stays():
    generator = _generator()
    want = _images(ShippedGenerator(generator))
    network = match_ranges(ShippedGenerator(generator), BATCHES)
    assert network.cut == set(range(1, network.layers))
    got = _images(network)
    assert want.std() > 10 and np.abs(got - want).max() <= 1 and (got != want).mean() < 1e-3
    assert np.array_equal(_images(ShippedGenerator(generator)), want)  # the generator is as it was


@torch.no_grad()
def test_every_channel_has_the_same_range_and_none_of_it_is_cut_off_later():
    network = match_ranges(ShippedGenerator(_generator()), BATCHES)
    z, label = (
        torch.from_numpy(np.concatenate([b[name] for b in BATCHES])) for name in ("z", "label")
    )
    x = network.entry(z, label)
    for i in range(network.layers):
        x = network.product(i, x)
        if i > 0:
            used = [k for k in range(x.shape[1]) if k != 2]  # nothing of the constant one is
            assert x.amax((0, 2, 3))[used] == pytest.approx(1.0, abs=1e-4)
            scale, shift = (network.get_buffer(f"{name}{i}") for name in ("scale", "shift"))
            assert (scale[:, 0] >= 0).all() and (scale[:, 1] < 0).any()
            # At zero some class is just about to let something through.
            one_way = [k for k in used if (scale[:, k] > 0).all() and x[:, k].min() < 0]
            assert len(one_way) > 2 and shift[:, one_way].amax(0) == pytest.approx(0.0, abs=1e-4)
        x = network.activation(i, x, label)


@pytest.mark.parametrize(
    "options", [{"conditioning": "product"}, {"conditioning": "norm", "leak": 0.2}, {"classes": 0}]
)
def test_others_are_left_alone(options):
    generator = _generator(**options)
    before = ShippedGenerator(generator)
    batches = BATCHES if generator.classes else [{"z": batch["z"]} for batch in BATCHES]
    after = match_ranges(ShippedGenerator(generator), batches)
    assert after.cut == set()
    for name, tensor in before.named_buffers():
        assert torch.equal(after.get_buffer(name), tensor)


@pytest.mark.usefixtures("export_once")
def test_eight_bits_lose_less_with_it(monkeypatch):
    generator = _generator()
    want = make_images(build(generator, LATENT, "fp32").model, BATCHES)

    def quality():
        monkeypatch.setattr("scangan.export.precision.WANTED_MEAN", 0.0)
        monkeypatch.setattr("scangan.export.precision.WANTED_WORST", 0.0)
        built = build(generator, LATENT, "int8")
        assert built.steps[-1].name == "quantize" and not built.float_layers
        return psnr(make_images(built.model, BATCHES), want).mean()

    equalized = quality()
    monkeypatch.setattr("scangan.export.precision.match_ranges", lambda network, batches: network)
    assert equalized > quality() + 1.5
