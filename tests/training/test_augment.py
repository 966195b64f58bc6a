"""DiffAugment: each change against a slow twin, and how often it is made."""

import naive
import numpy as np
import pytest
import torch

from scangan.artifacts.train_options import OPERATIONS
from scangan.training import TrainOptions, augment, step
from scangan.training.augment import BLACK, diff_augment
from scangan.training.data import TrainingScans
from scangan.training.sampling import step_draws
from scangan.training.step import make_step

CPU = torch.device("cpu")
SOME = torch.tensor([True, True, False, True, True, False])[:, None, None, None]


def _draws(seed=0):
    return step_draws(seed, 5, "augment", CPU)


def _changed(got, x):
    """Which images are others; a contrast of 1 rounds in the last digit."""
    return ((got - x).abs() > 1e-6).flatten(1).any(1)


@pytest.fixture
def x():
    return torch.rand(6, 1, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_brightness_adds_one_amount_to_every_pixel(x):
    got = augment.brightness(x, _draws(), SOME)
    amounts = (_draws().uniform(6).numpy() - 0.5) * SOME.flatten().numpy()
    np.testing.assert_allclose(got, x.numpy() + amounts[:, None, None, None], atol=1e-6)
    assert len(set(amounts.tolist())) == 5 and np.abs(amounts).max() <= 0.5


def test_contrast_stretches_each_image_around_its_own_mean(x):
    got = augment.contrast(x, _draws(), SOME).numpy()
    factors = _draws().uniform(6).numpy() + 0.5
    for i, image in enumerate(x.numpy()):
        factor = factors[i] if SOME[i] else 1.0
        want = [(value - image.mean()) * factor + image.mean() for value in image.ravel()]
        np.testing.assert_allclose(got[i].ravel(), want, atol=1e-5)


@pytest.mark.parametrize("side", [8, 16])
def test_translation_is_the_slow_twins(side):
    x = torch.arange(1, 6 * side**2 + 1).float().reshape(6, 1, side, side)
    got = augment.translation(x, _draws(), SOME).numpy()
    reach = side // 8
    shifts = _draws().integers(-reach, reach + 1, 6, 2).numpy()
    assert len({tuple(shift) for shift in shifts}) > 1
    for i, (dy, dx) in enumerate(shifts):
        moved = naive.translate(x[i, 0].numpy(), dy, dx, BLACK)
        assert np.array_equal(got[i, 0], moved if SOME[i] else x[i, 0])


def test_shifts_reach_an_eighth_of_the_side_both_ways():
    x = torch.zeros(500, 1, 16, 16)
    x[:, :, 8, 8] = 1.0
    moved = augment.translation(x, _draws(), torch.ones(500, 1, 1, 1, dtype=torch.bool))
    where = {divmod(int(image.argmax()), 16) for image in moved}
    assert where == {(8 + dy, 8 + dx) for dy in range(-2, 3) for dx in range(-2, 3)}


def test_cutout_blackens_a_square_of_half_the_side(x):
    got = augment.cutout(x, _draws(), SOME).numpy()
    centres = _draws().uniform(6, 2).numpy() * 16
    for i in range(6):
        for row in range(16):
            for column in range(16):
                inside = max(abs(row + 0.5 - centres[i, 0]), abs(column + 0.5 - centres[i, 1])) < 4
                want = BLACK if inside and SOME[i] else float(x[i, 0, row, column])
                assert got[i, 0, row, column] == want


def test_a_flip_mirrors_half_of_the_chosen_left_for_right():
    x = torch.rand(400, 1, 4, 4)
    chosen = torch.arange(400)[:, None, None, None] < 300
    got = augment.flip(x, _draws(), chosen)
    mirrored = (got == x.flip(3)).flatten(1).all(1)
    assert torch.equal(got[~mirrored], x[~mirrored])
    assert not mirrored[300:].any() and 120 < mirrored[:300].sum() < 180


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_changes_scans_at_its_probability(name):
    x = torch.rand(400, 1, 16, 16) - 0.2

    def share(probability):
        changed = _changed(diff_augment(x, _draws(), (name,), probability), x)
        return float(changed.float().mean())

    always = share(1.0)
    assert always > (0.4 if name == "flip" else 0.9)
    assert share(0.3) == pytest.approx(0.3 * always, abs=0.06)
    assert share(0.0) == 0
    assert share(torch.tensor(0.0)) == 0 and share(torch.tensor(1.0)) == always


def test_probability_zero_and_no_operations_change_nothing(x):
    assert not _changed(diff_augment(x, _draws(), OPERATIONS, 0.0), x).any()
    assert torch.equal(diff_augment(x, _draws(), (), 1.0), x)


def test_what_may_mislead_is_off_by_default():
    # Laterality means something, and a hole may hide what a scan is of.
    assert TrainOptions().augment == ("brightness", "contrast", "translation")


def test_the_order_in_which_operations_are_named_does_not_matter(x):
    one, two = (diff_augment(x, _draws(), names) for names in (OPERATIONS, OPERATIONS[::-1]))
    assert torch.equal(one, two) and not torch.equal(one, x)


def test_each_image_has_amounts_of_its_own():
    x = torch.rand(1, 1, 16, 16).expand(8, 1, 16, 16)
    got = diff_augment(x, _draws(), ("brightness", "contrast", "translation"))
    assert len(torch.unique(got, dim=0)) == 8


@pytest.mark.parametrize("name", OPERATIONS)
def test_gradients_are_those_of_finite_differences(name):
    x = torch.rand(2, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: diff_augment(x, _draws(), (name,)), x)


def _networks(**given):
    options = TrainOptions(**{"size": 16, "width": 4, "latent": 6, "batch": 8, "kimg": 1.0} | given)
    images = np.random.default_rng(0).integers(0, 256, (24, 16, 16), dtype=np.uint8)
    scans = TrainingScans(images, np.arange(24) % 2, ("a", "b"), np.zeros(24, bool))
    return make_step(options, scans, CPU)


@pytest.mark.parametrize("loss", ["bce", "hinge", "relativistic"])
def test_all_that_d_sees_is_augmented_alike(loss, monkeypatch):
    networks = _networks(loss=loss, augment=("cutout",), augment_p=0.7, g_steps=2, r1=1.0, r2=1.0)
    outputs, judged = [], []

    def noted(x, draws, operations, probability):
        assert operations == ("cutout",) and float(probability) == pytest.approx(0.7)
        outputs.append(diff_augment(x, draws, operations, probability))
        return outputs[-1]

    monkeypatch.setattr(step, "diff_augment", noted)
    networks.discriminator.register_forward_pre_hook(
        lambda module, inputs: judged.extend(inputs[0].detach().split(8))
    )
    networks(0)
    # D: real, fake; penalties: real, fake; G twice: fake, and real where it is compared with.
    assert len(outputs) == 4 + (4 if loss == "relativistic" else 2)
    assert len(judged) == len(outputs)
    for seen, output in zip(judged, outputs):
        assert torch.equal(seen, output.detach())


def _sure(networks, realness):
    """Make D call every scan real, or none."""
    with torch.no_grad():
        networks.discriminator.real.bias.fill_(realness)
    return networks


def test_adaptive_augmentation_rises_while_d_is_too_sure_and_falls_otherwise():
    networks = _sure(_networks(augment_target=0.6, augment_kimg=1.0), 100.0)
    assert float(networks.augment_p) == 0
    for n in range(5):
        networks(n)
    assert float(networks.augment_p) == pytest.approx(5 * 8 / 1000)  # 1 kimg from 0 to 1
    _sure(networks, -100.0)
    for n in range(5, 8):
        networks(n)
    assert float(networks.augment_p) == pytest.approx(2 * 8 / 1000)
    for n in range(8, 12):
        networks(n)
    assert float(networks.augment_p) == 0


def test_adaptive_augmentation_goes_no_further_than_the_given_probability():
    networks = _sure(_networks(augment_target=0.6, augment_kimg=1.0, augment_p=0.02), 100.0)
    for n in range(5):
        networks(n)
    assert float(networks.augment_p) == pytest.approx(0.02)


def test_a_relativistic_discriminator_is_sure_where_real_scans_win():
    # Its realness means something only in comparison; a bias that all scans share does not count.
    given = {"loss": "relativistic", "augment_target": 0.6, "augment_kimg": 1.0}
    pairs = []
    for bias in (100.0, -100.0):
        networks = _sure(_networks(**given), bias)
        for n in range(3):
            networks(n)
        pairs.append(float(networks.augment_p))
    assert pairs[0] == pairs[1]


def test_the_probability_stays_where_it_is_not_adaptive():
    networks = _sure(_networks(augment_p=0.4), 100.0)
    networks(0)
    assert float(networks.augment_p) == pytest.approx(0.4)
