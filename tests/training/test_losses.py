"""Each objective is the formula of its paper, written out scan by scan."""

import math

import numpy as np
import pytest
import torch

from scangan.training import losses

RNG = np.random.default_rng(0)
REAL, FAKE = RNG.normal(0.5, 3, 12), RNG.normal(-0.5, 3, 12)
FLIPPED = RNG.random((2, 12)) < 0.4


def _sigmoid(x):
    return 1 / (1 + math.exp(-x))


def _mean(values):
    values = list(values)
    return sum(values) / len(values)


def _cross_entropy(realness, target):
    p = _sigmoid(realness)
    return -(target * math.log(p) + (1 - target) * math.log(1 - p))


def _tensors(*arrays):
    return [torch.from_numpy(array) for array in arrays]


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("flipped", [None, FLIPPED])
def test_bce_of_the_discriminator(smoothing, flipped):
    of_real, of_fake = np.full(12, 1 - smoothing), np.zeros(12)
    if flipped is not None:
        of_real = [0 if f else 1 - smoothing for f in flipped[0]]
        of_fake = [1 - smoothing if f else 0 for f in flipped[1]]
    want = _mean(map(_cross_entropy, REAL, of_real)) + _mean(map(_cross_entropy, FAKE, of_fake))
    given = None if flipped is None else torch.from_numpy(flipped)
    got = losses.bce_discriminator(*_tensors(REAL, FAKE), smoothing, given)
    assert got.shape == () and float(got) == pytest.approx(want)


def test_smoothing_moves_the_targets_of_real_scans_alone():
    real, fake = (torch.zeros(3, requires_grad=True) for _ in range(2))
    losses.bce_discriminator(real, fake, smoothing=0.5).backward()
    # At realness 0 the gradient of a scan is (0.5 - target) / 3.
    assert real.grad.abs().max() == 0 and fake.grad.tolist() == pytest.approx([0.5 / 3] * 3)


def test_bce_of_the_generator_does_not_saturate():
    want = _mean(-math.log(_sigmoid(d)) for d in FAKE)
    assert float(losses.bce_generator(*_tensors(FAKE))) == pytest.approx(want)
    rejected = torch.tensor([-30.0], requires_grad=True)
    losses.bce_generator(rejected).backward()
    assert float(rejected.grad) == pytest.approx(-1.0)


def test_hinge_losses():
    want = _mean(max(0, 1 - d) for d in REAL) + _mean(max(0, 1 + d) for d in FAKE)
    assert float(losses.hinge_discriminator(*_tensors(REAL, FAKE))) == pytest.approx(want)
    assert float(losses.hinge_generator(*_tensors(FAKE))) == pytest.approx(-_mean(FAKE))


def test_the_relativistic_loss_compares_pairs_and_turns_round_for_the_generator():
    of_d = _mean(-math.log(_sigmoid(r - f)) for r, f in zip(REAL, FAKE))
    of_g = _mean(-math.log(_sigmoid(f - r)) for r, f in zip(REAL, FAKE))
    real, fake = _tensors(REAL, FAKE)
    assert float(losses.relativistic(real, fake)) == pytest.approx(of_d)
    assert float(losses.relativistic(fake, real)) == pytest.approx(of_g)
    assert float(losses.relativistic(real + 7, fake + 7)) == pytest.approx(of_d)


@pytest.mark.parametrize("far", [-1000.0, 1000.0])
def test_no_loss_overflows_where_d_is_far_too_sure(far):
    sure = torch.full((4,), far)
    for loss in (
        losses.bce_discriminator(sure, -sure),
        losses.bce_generator(sure),
        losses.relativistic(sure, -sure),
    ):
        assert loss.isfinite()


def test_lecam_costs_only_what_lies_beyond_the_other_sides_average():
    on_real, on_fake = torch.tensor([2.0, -3.0]), torch.tensor([1.0, -2.0])
    anchors = torch.tensor([0.5, -1.0])  # of real, of fake
    # Real: 2 lies 3 above -1, and -3 below it. Fake: 1 lies above 0.5, and -2 lies 2.5 below it.
    assert float(losses.lecam(on_real, on_fake, anchors)) == (3.0**2 + 0) / 2 + (0 + 2.5**2) / 2


def test_the_gradient_penalty_of_a_linear_discriminator_is_half_its_squared_norm():
    weights = torch.arange(12.0).reshape(1, 1, 3, 4).requires_grad_()
    images = torch.randn(5, 1, 3, 4, requires_grad=True)
    penalty = losses.gradient_penalty((images * weights).sum((1, 2, 3)), images)
    assert float(penalty.detach()) == pytest.approx(0.5 * sum(i**2 for i in range(12)))
    penalty.backward()
    torch.testing.assert_close(weights.grad, weights.detach())  # D learns from it


def test_the_gradient_penalty_is_a_mean_over_scans_whatever_their_size():
    images = torch.randn(6, 2, 4, 4, requires_grad=True)
    penalty = losses.gradient_penalty(1.5 * images.square().sum((1, 2, 3)), images)
    want = _mean(0.5 * (3 * image).square().sum() for image in images.detach())
    assert float(penalty.detach()) == pytest.approx(float(want), rel=1e-5)


def test_the_classifiers_loss_is_log_softmax_cross_entropy():
    logits, label = RNG.normal(0, 2, (6, 4)), [0, 1, 2, 3, 0, 1]
    want = _mean(
        -math.log(math.exp(row[k]) / sum(map(math.exp, row))) for row, k in zip(logits, label)
    )
    got = losses.classifier(torch.from_numpy(logits), torch.tensor(label))
    assert float(got) == pytest.approx(want)
    assert losses.classifier(None, torch.tensor(label)) == 0
