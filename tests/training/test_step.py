"""One step: who learns from what, how often, and that it goes on where it was."""

import io
import itertools
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from scangan.training import TrainOptions, losses, step
from scangan.training.data import TrainingScans
from scangan.training.sampling import step_draws
from scangan.training.step import LOSSES, class_share, learning_rate_factor, make_step

CPU = torch.device("cpu")
SMALL = {"size": 16, "width": 4, "latent": 6, "batch": 8, "kimg": 0.08}  # 10 steps
CLASSIC = {"spectral_norm": False, "minibatch_std": False, "batch_norm": True, "pool": "flatten"}
FAMILIES = {
    "stable": {},
    "classic": CLASSIC | {
        "loss": "bce", "dropout": 0.3, "label_smoothing": 0.1, "label_flip": 0.2,
        "instance_noise": 0.1, "noise_kimg": 0.05, "head": "auxiliary", "aux_on_fake": True,
    },
    "relativistic": {"loss": "relativistic", "r1": 1.0, "r2": 1.0, "penalty_every": 2},
    "adaptive": {"augment_target": 0.1, "augment_kimg": 1.0, "augment": ("cutout", "flip")},
    "ramped": {"ramp_start": 0.008, "ramp_end": 0.05, "conditioning": "product"},
    "held in": {"lecam": 0.3, "mirror": True, "residual": True, "lr_schedule": "linear", "lr_hold": 0.5},
    "through features": {"feature_weight": 0.1, "feature_every": 2},
    "paced": {"g_steps": 2, "lr_schedule": "linear", "ema_warmup": 1.0, "first_map": 8},
}  # fmt: skip


@pytest.fixture(autouse=True)
def _listens_soon(monkeypatch):
    """The generator listens to the discriminators of features from the second step on."""
    monkeypatch.setattr(step, "ALONE_KIMG", 0.008)


def _networks(**given):
    images = np.random.default_rng(0).integers(0, 256, (24, 16, 16), dtype=np.uint8)
    scans = TrainingScans(images, np.arange(24) % 3, ("a", "b", "c"), np.zeros(24, bool))
    return make_step(TrainOptions(**SMALL | given), scans, CPU)


def _saved(networks):
    """All state, as it comes back from a file."""
    data = io.BytesIO()
    torch.save(networks.state_dict(), data)
    data.seek(0)
    return torch.load(data, weights_only=True)


def _tensors(networks):
    """All tensors of the networks, whether they are saved or not."""
    parts = (networks.generator, networks.discriminator, networks.ema)
    return [part.state_dict() for part in parts]


def _same(one, two):
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(_same(one[k], two[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(_same, one, two))
    return torch.equal(one, two) if isinstance(one, torch.Tensor) else one == two


def _weights(network):
    return [parameter.detach().clone() for parameter in network.parameters()]


@contextmanager
def _noted_penalties(monkeypatch):
    """The images of which gradients are penalised."""
    noted = []
    penalty = losses.gradient_penalty

    def note(realness, images):
        noted.append(images.detach().clone())
        return penalty(realness, images)

    with monkeypatch.context() as patch:
        patch.setattr(losses, "gradient_penalty", note)
        yield noted


@pytest.mark.parametrize("family", FAMILIES)
def test_a_step_is_a_function_of_its_number_and_the_state(family):
    ends = []
    for of_torch in (1, 2):
        networks = _networks(**FAMILIES[family])
        torch.manual_seed(of_torch)  # of no importance
        ends.append([*(networks(n) for n in range(2)), _saved(networks), _tensors(networks)])
    assert _same(*ends)
    assert not _same(_saved(_networks(**FAMILIES[family], seed=1)), _saved(_networks()))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_resumed_step_is_the_step_that_would_have_come(family):
    networks = _networks(**FAMILIES[family])
    for n in range(3):
        networks(n)
    saved = _saved(networks)
    resumed = _networks(**FAMILIES[family])
    resumed(9)  # whatever it was before
    assert not _same(_saved(resumed), saved)
    resumed.load_state_dict(saved)
    assert _same(_saved(resumed), saved)
    for n in (3, 4):
        assert torch.equal(resumed(n), networks(n))
    assert _same(_tensors(resumed), _tensors(networks))
    assert _same(_saved(resumed), _saved(networks))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_losses_are_numbers_in_their_order(family):
    networks = _networks(**FAMILIES[family])
    got = torch.stack([networks(n) for n in range(3)])
    assert got.shape == (3, len(LOSSES)) and got.isfinite().all() and not got.requires_grad
    assert (got[:, LOSSES.index("loss_class")] > 0.1).all()  # noise has no classes yet


@pytest.mark.parametrize("family", FAMILIES)
def test_each_network_learns_in_its_own_update_alone(family):
    networks = _networks(**FAMILIES[family])
    of_d, of_g = networks.discriminator, networks.generator
    events = [("start", _weights(of_d), _weights(of_g))]

    def note(name):
        return lambda *_: events.append((name, _weights(of_d), _weights(of_g)))

    gradients = []
    for name, optimizer in (("D", networks.optimizer_d), ("G", networks.optimizer_g)):
        optimizer.register_step_pre_hook(note(f"before {name}"))
        optimizer.register_step_post_hook(note(f"after {name}"))
    networks.optimizer_d.register_step_pre_hook(
        lambda *_: gradients.append([p.grad is None for p in of_g.parameters()])
    )
    networks.optimizer_d.register_step_post_hook(
        lambda *_: gradients.append([p.grad.clone() for p in of_d.parameters()])
    )
    networks(0)
    note("end")()
    updates = networks.options.g_steps
    names = ["start", "before D", "after D", *["before G", "after G"] * updates, "end"]
    assert [name for name, *_ in events] == names
    for (_, d, g), (name, next_d, next_g) in itertools.pairwise(events):
        assert _same(d, next_d) is (name != "after D")
        assert _same(g, next_g) is (name != "after G")
    # Gradients of D's update do not reach G, those of G's update do not stay in D.
    assert all(gradients[0])
    assert _same(gradients[1], [p.grad for p in of_d.parameters()])
    assert all(p.requires_grad for p in of_d.parameters())


@pytest.mark.parametrize("g_steps", [1, 3])
def test_the_generator_is_updated_so_often_for_each_of_the_discriminator(g_steps):
    networks = _networks(g_steps=g_steps)
    for n in range(2):
        networks(n)
    for optimizer, wanted in ((networks.optimizer_d, 2), (networks.optimizer_g, 2 * g_steps)):
        assert {int(state["step"]) for state in optimizer.state.values()} == {wanted}


def test_further_generator_updates_have_latents_of_their_own():
    networks = _networks(g_steps=3)
    latents = []
    networks.generator.register_forward_pre_hook(lambda module, inputs: latents.append(inputs[0]))
    networks(0)
    assert len(latents) == 3 and len(torch.unique(torch.cat(latents), dim=0)) == 24


def test_gradients_are_penalised_every_so_many_steps(monkeypatch):
    networks = _networks(r1=1.0, penalty_every=3)
    counts = []
    for n in range(7):
        with _noted_penalties(monkeypatch) as noted:
            networks(n)
        counts.append(len(noted))
    assert counts == [1, 0, 0, 1, 0, 0, 1]


def test_r1_is_of_real_scans_and_r2_of_synthetic_ones(monkeypatch):
    seen = {}
    for name in ("r1", "r2"):
        networks = _networks(**{name: 1.0})
        made = []
        networks.generator.register_forward_hook(lambda module, inputs, out: made.append(out))  # noqa: B023
        with _noted_penalties(monkeypatch) as noted:
            networks(0)
        real, _ = networks.sampler.draw(8, step_draws(0, 0, "scans", CPU))
        seen[name] = [torch.equal(noted[0], images) for images in (real, made[0].float())]
        assert len(noted) == 1
    assert seen == {"r1": [True, False], "r2": [False, True]}
    with _noted_penalties(monkeypatch) as noted:
        _networks()(0)
    assert not noted


@pytest.mark.parametrize("name", ["r1", "r2"])
def test_a_lazy_penalty_weighs_as_much_more_as_it_is_rarer(name):
    def gradients(**given):
        # Nothing random that a penalty would take numbers from.
        networks = _networks(augment=(), spectral_norm=False, **given)
        networks(0)
        return torch.cat([p.grad.flatten() for p in networks.discriminator.parameters()])

    without = gradients()
    each = gradients(**{name: 5000.0}, penalty_every=1) - without
    lazy = gradients(**{name: 5000.0}, penalty_every=4) - without
    double = gradients(**{name: 10000.0}, penalty_every=1) - without
    assert each.abs().max() > 1e-3
    torch.testing.assert_close(lazy, 4 * each, rtol=1e-2, atol=float(each.abs().max()) / 100)
    torch.testing.assert_close(double, 2 * each, rtol=1e-2, atol=float(each.abs().max()) / 100)


def test_instance_noise_fades_to_nothing_by_its_end():
    networks = _networks(instance_noise=0.5, noise_kimg=0.032, augment=())  # 4 steps
    judged = []
    networks.discriminator.register_forward_pre_hook(lambda module, inputs: judged.append(inputs))
    deviations = []
    for n in range(6):
        judged.clear()
        networks(n)
        real, _ = networks.sampler.draw(8, step_draws(0, n, "scans", CPU))
        deviations.append(float((judged[0][0][:8] - real).std()))
    assert deviations == pytest.approx([0.5, 0.375, 0.25, 0.125, 0.0, 0.0], rel=0.05)
    assert deviations[4:] == [0.0, 0.0]


def test_synthetic_scans_are_noised_as_real_ones_are():
    def judged(noise):
        networks = _networks(instance_noise=noise, augment=())
        seen = []
        networks.discriminator.register_forward_pre_hook(
            lambda module, inputs: seen.append(inputs[0].detach())
        )
        networks(0)
        return seen[0]

    noise = judged(0.5) - judged(0.0)  # of D's first look: eight real, eight synthetic scans
    assert float(noise[:8].std()) == pytest.approx(0.5, rel=0.05)
    assert float(noise[8:].std()) == pytest.approx(0.5, rel=0.05)
    assert len(torch.unique(noise, dim=0)) == 16


@pytest.mark.parametrize(
    ("schedule", "want"),
    [
        ("constant", lambda share: 1.0),
        ("linear", lambda share: 1 - share),
    ],
)
def test_learning_rates_follow_their_schedule(schedule, want):
    networks = _networks(lr_schedule=schedule, lr_g=3e-4, lr_d=1e-4)
    for n in (0, 5, 9):
        networks(n)
        for optimizer, rate in ((networks.optimizer_g, 3e-4), (networks.optimizer_d, 1e-4)):
            assert optimizer.param_groups[0]["lr"] == pytest.approx(rate * want(n / 10))
    assert learning_rate_factor(schedule, 0.0) == 1.0
    assert learning_rate_factor(schedule, 1.0) == pytest.approx(want(1.0))


@pytest.mark.parametrize(("schedule", "half_way_down"), [("constant", 1.0), ("linear", 0.5)])
def test_learning_rates_decay_after_they_were_held(schedule, half_way_down):
    factors = [learning_rate_factor(schedule, share, 0.6) for share in (0.0, 0.3, 0.6, 0.8)]
    assert factors == pytest.approx([1.0, 1.0, 1.0, half_way_down])
    assert learning_rate_factor(schedule, 1.0, 0.6) == learning_rate_factor(schedule, 1.0)


def test_half_of_the_real_scans_are_mirrored_and_no_synthetic_one():
    networks = _networks(mirror=True, augment=(), batch=64)
    looked = []
    judge = networks._judge_both
    networks._judge_both = lambda real, fake, *rest: (
        looked.append((real, fake)) or judge(real, fake, *rest)
    )
    made = []
    generate = networks._generate
    networks._generate = lambda z, label: made.append(generate(z, label)) or made[-1]
    networks(0)
    ((real, fake),) = looked
    plain, _ = networks.sampler.draw(64, step_draws(0, 0, "scans", CPU))
    turned = (real == plain.flip(3)).flatten(1).all(1)
    assert (turned | (real == plain).flatten(1).all(1)).all()
    assert 16 < int(turned.sum()) < 48
    assert torch.equal(fake, made[0])


def test_the_anchors_of_lecam_follow_what_the_discriminator_says():
    networks = _networks(lecam=0.3)
    real, fake = torch.full((8,), 3.0), torch.full((8,), -2.0)
    networks._lecam(real, fake, 0)
    assert networks.anchors.tolist() == [3.0, -2.0]  # at first, what was seen
    networks._lecam(real + 1, fake, 1000)
    assert networks.anchors.tolist() == pytest.approx([3.01, -2.0])


def test_both_optimisers_have_the_betas_asked_for():
    networks = _networks(beta1=0.1, beta2=0.9)
    for optimizer in (networks.optimizer_g, networks.optimizer_d):
        assert optimizer.param_groups[0]["betas"] == (0.1, 0.9)


@pytest.mark.parametrize(
    ("start", "end", "shares"),
    [
        (0.0, 0.0, [1, 1, 1, 1]),
        (0.0, 2.0, [0, 0.5, 1, 1]),
        (1.0, 3.0, [0, 0, 0.5, 1]),
        (2.0, 2.0, [0, 0, 1, 1]),
    ],
)
def test_the_class_comes_in_between_start_and_end(start, end, shares):
    options = TrainOptions(ramp_start=start, ramp_end=end)
    assert [class_share(options, kimg * 1000) for kimg in range(4)] == pytest.approx(shares)


def test_before_the_ramp_no_class_is_learnt_and_after_it_in_full():
    networks = _networks(ramp_start=0.008, ramp_end=0.024)
    of_class = {}
    for n in range(4):
        networks(n)
        parts = (networks.generator, networks.discriminator, networks.ema)
        assert [float(part.share) for part in parts] == pytest.approx(
            [min(1, max(0, n - 1) / 2)] * 3
        )
        of_class[n] = float(networks.discriminator.aux.weight.grad.abs().max())
    assert of_class[0] == of_class[1] == 0 < of_class[2]


@pytest.mark.parametrize("ramp_start", [0.0, 1.0])
def test_the_generator_learns_the_class_when_the_ramp_lets_it(ramp_start):
    gradients = []
    for weight in (0.0, 5.0):
        networks = _networks(aux_weight=weight, ramp_start=ramp_start, ramp_end=ramp_start)
        # Its own update alone: what D learns of the classes shall not matter.
        networks.optimizer_d.register_step_pre_hook(lambda optimizer, *_: optimizer.zero_grad())
        networks(0)
        gradients.append([p.grad for p in networks.generator.parameters()])
    assert _same(*gradients) is (ramp_start > 0)


def test_a_network_without_a_ramp_has_no_share():
    assert not any("share" in name for name in _networks().generator.state_dict())


def test_the_classifier_weighs_in_both_updates_as_asked():
    def gradients(weight):
        networks = _networks(aux_weight=weight, head="auxiliary")
        networks(0)
        return networks.discriminator.aux.weight.grad.clone(), networks

    nothing, _ = gradients(0.0)
    once, _ = gradients(1.0)
    twice, _ = gradients(2.0)
    assert not nothing.any() and once.any()
    torch.testing.assert_close(twice, 2 * once)


def test_the_average_follows_the_generator():
    at_once, slowly = _networks(ema_kimg=0.0), _networks(ema_kimg=1e6, ema_warmup=1.0)
    wanted = _weights(slowly.generator)
    for n in range(2):
        at_once(n)
        slowly(n)
        decay = 0.5 ** (1 / (n + 1))  # its half-life is all that was seen
        wanted = [
            decay * mean + (1 - decay) * now
            for mean, now in zip(wanted, _weights(slowly.generator))
        ]
    assert _same(_weights(at_once.ema), _weights(at_once.generator))
    assert not _same(_weights(slowly.ema), _weights(slowly.generator))
    for got, want in zip(_weights(slowly.ema), wanted):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-6)
    assert not any(parameter.requires_grad for parameter in slowly.ema.parameters())


def test_real_and_synthetic_scans_go_through_batchnorm_apart():
    # Statistics of both together would tell D which is which.
    for batch_norm, sizes in ((True, [8, 8, 8]), (False, [16, 8])):
        networks = _networks(batch_norm=batch_norm, spectral_norm=False)
        seen = []
        networks.discriminator.register_forward_pre_hook(
            lambda module, inputs: seen.append(len(inputs[0]))  # noqa: B023
        )
        networks(0)
        assert seen == sizes


@pytest.mark.parametrize("arch", ["dcgan", "acgan"])
def test_an_unconditional_gan_has_no_loss_of_classes(arch):
    images = np.random.default_rng(0).integers(0, 256, (24, 16, 16), dtype=np.uint8)
    scans = TrainingScans(images, np.arange(24) % 3, ("a", "b", "c"), np.zeros(24, bool))
    networks = make_step(TrainOptions(**SMALL, arch=arch, aux_on_fake=True), scans, CPU)
    loss_class = float(networks(0)[LOSSES.index("loss_class")])
    assert (loss_class > 0) is (arch == "acgan")
