"""Networks, losses, augmentation and sampling, piece by piece."""

import naive
import numpy as np
import pytest
import torch

from scangan.training import losses
from scangan.training.augment import BLACK, diff_augment, translate
from scangan.training.ema import ema_decay, update_ema, with_own_statistics
from scangan.training.networks import Discriminator, Generator, minibatch_deviation
from scangan.training.sampling import Sampler, step_rng
from scangan.training.scoring import to_grey

CPU = torch.device("cpu")


@pytest.mark.parametrize("size", [32, 64, 128])
@pytest.mark.parametrize("classes", [0, 3])
def test_shapes_and_ranges(size, classes):
    generator = Generator(size=size, width=4, latent=10, classes=classes)
    discriminator = Discriminator(size=size, width=4, classes=classes)
    label = torch.arange(8) % max(classes, 1)
    image = generator(torch.randn(8, 10), label)
    assert image.shape == (8, 1, size, size) and image.abs().max() <= 1
    realness, logits = discriminator(image, label)
    assert realness.shape == (8,)
    assert logits is None if not classes else logits.shape == (8, classes)


def test_the_class_changes_the_scan_and_the_judgement():
    torch.manual_seed(0)
    generator = Generator(size=32, width=4, latent=10, classes=3).eval()
    for norm in generator.norms:
        torch.nn.init.normal_(norm.scale.weight)
    discriminator = Discriminator(size=32, width=4, classes=3)
    z = torch.randn(1, 10).expand(3, 10)
    images = generator(z, torch.arange(3))
    assert torch.cdist(images.flatten(1), images.flatten(1))[0, 1:].min() > 1e-3
    same = images[:1].expand(3, 1, 32, 32)
    assert len(set(discriminator(same, torch.arange(3))[0].tolist())) == 3


def test_the_auxiliary_logits_are_scaled_cosines():
    discriminator = Discriminator(size=32, width=4, classes=5)
    _, logits = discriminator(torch.randn(16, 1, 32, 32) * 10, torch.zeros(16, dtype=torch.int64))
    assert logits.abs().max() <= discriminator.AUX_SCALE + 1e-4


def test_every_convolution_of_d_has_spectral_norm_one():
    discriminator = Discriminator(size=32, width=4, classes=2)
    for _ in range(50):  # power iterations
        discriminator(torch.randn(4, 1, 32, 32), torch.zeros(4, dtype=torch.int64))
    for down in discriminator.downs:
        norm = torch.linalg.matrix_norm(down.weight.detach().flatten(1), 2)
        assert float(norm) == pytest.approx(1.0, abs=0.02)


def test_minibatch_deviation_is_the_textbooks_and_never_mixes_real_and_fake():
    x = torch.randn(8, 3, 4, 4)
    got = minibatch_deviation(x)
    for group, part in ((x[:4], got[:4]), (x[4:], got[4:])):
        want = np.sqrt(group.numpy().var(0) + 1e-8).mean()
        assert part.flatten().tolist() == pytest.approx([want] * part.numel(), rel=1e-4)
    changed = torch.cat([x[:4], x[4:] * 100])
    assert torch.equal(minibatch_deviation(changed)[:4], got[:4])


def test_hinge_losses():
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 0.0])
    assert losses.hinge_discriminator(real, fake) == pytest.approx(0.25 + 0.5)
    assert losses.hinge_generator(fake) == pytest.approx(1.5)


def test_classifier_loss_is_log_softmax_cross_entropy():
    logits, label = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    want = -torch.log_softmax(logits, 1)[torch.arange(6), label].mean()
    assert losses.classifier(logits, label) == pytest.approx(float(want))
    assert losses.classifier(None, label) == 0


def test_translation_is_the_slow_twins():
    x = torch.arange(1, 5 * 64 + 1).float().reshape(5, 1, 8, 8)
    rng = torch.Generator().manual_seed(3)
    got = translate(x, rng).numpy()
    rng = torch.Generator().manual_seed(3)
    shifts = torch.randint(0, 3, (2, 5, 1), generator=rng)[..., 0].numpy() - 1
    assert len({tuple(s) for s in shifts.T}) > 1
    for i in range(5):
        want = naive.translate(x[i, 0].numpy(), shifts[0, i], shifts[1, i], BLACK)
        assert np.array_equal(got[i, 0], want)


def test_augmentation_is_differentiable_and_repeatable():
    x = torch.rand(4, 1, 32, 32, requires_grad=True)
    one, two = (diff_augment(x, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(one, two) and not torch.equal(one, x)
    one.square().sum().backward()
    assert x.grad.abs().max() > 0


def test_balanced_sampling_draws_the_rare_class_as_often():
    labels = torch.tensor([0] * 990 + [1] * 10)
    images = torch.arange(1000).remainder(256).to(torch.uint8)[:, None, None].expand(1000, 2, 2)
    _, drawn = Sampler(images, labels, 2).draw(4000, step_rng(0, 0, "scans", CPU))
    assert 0.45 < drawn.float().mean() < 0.55
    _, drawn = Sampler(images, labels, 0).draw(4000, step_rng(0, 0, "scans", CPU))
    assert drawn.float().mean() < 0.03


def test_a_drawn_scan_has_its_own_label_and_every_scan_is_drawn():
    labels = torch.tensor([2, 0, 1, 0, 2, 2])
    images = (labels * 100).to(torch.uint8)[:, None, None].expand(6, 2, 2).clone()
    images[:, 0, 1] = torch.arange(6)
    scans, drawn = Sampler(images, labels, 3).draw(500, step_rng(0, 0, "scans", CPU))
    assert torch.equal(((scans[:, 0, 0, 0] + 1) * 127.5).round() / 100, drawn.float())
    assert set(((scans[:, 0, 0, 1] + 1) * 127.5).round().tolist()) == set(range(6))
    assert scans.min() >= -1 and scans.max() <= 1


def test_randomness_is_a_function_of_seed_step_and_purpose():
    def draw(*key):
        return torch.rand(4, generator=step_rng(*key, CPU)).tolist()

    assert draw(0, 5, "scans") == draw(0, 5, "scans")
    keys = [(0, 5, "scans"), (1, 5, "scans"), (0, 6, "scans"), (0, 5, "latents")]
    assert len({tuple(draw(*key)) for key in keys}) == 4


def test_ema_halves_the_old_weights_in_its_half_life():
    decay = ema_decay(10, seen=10**9, batch=64)
    assert decay ** (10_000 / 64) == pytest.approx(0.5)
    assert ema_decay(10, seen=64, batch=64) < 1e-5  # warm-up: the start is forgotten at once
    old, new = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    want = 0.9 * old.weight.item() + 0.1 * new.weight.item()
    update_ema(old, new, 0.9)
    assert old.weight.item() == pytest.approx(want, rel=1e-5)


def test_re_estimated_statistics_are_those_of_the_activations():
    torch.manual_seed(0)
    generator = Generator(size=32, width=4, latent=10, classes=0)
    latents = [torch.randn(32, 10) for _ in range(4)]
    model = with_own_statistics(generator, latents, None)
    first = torch.cat([generator.dense(z).unflatten(1, (-1, 4, 4)) for z in latents])
    np.testing.assert_allclose(
        model.norms[0].running_mean, first.mean((0, 2, 3)).detach(), atol=1e-5
    )
    want = torch.stack([g.var((0, 2, 3)) for g in first.split(32)]).mean(0).detach()
    np.testing.assert_allclose(model.norms[0].running_var, want, rtol=1e-4)
    assert not model.training
    assert generator.norms[0].running_mean.abs().max() == 0  # the original is left alone


def test_grey_levels_round_half_to_even():
    values = torch.tensor([-1.0, 1.0, 0.0, 2.0, -5.0]).reshape(5, 1, 1, 1)
    assert to_grey(values).ravel().tolist() == [0, 255, 128, 255, 0]
