"""Networks, sampling and the moving average, piece by piece."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from scangan.artifacts.train_options import HEADS, SIZES, TrainOptions
from scangan.training.discriminator import (
    AUX_SCALE,
    Discriminator,
    ResidualDown,
    make_discriminator,
    minibatch_deviation,
)
from scangan.training.ema import ema_decay, update_ema, with_own_statistics
from scangan.training.networks import Generator, GeneratorBank, blend, channels
from scangan.training.parallel import Rank
from scangan.training.sampling import Sampler, step_draws
from scangan.training.scoring import to_grey

CPU = torch.device("cpu")
LABEL = torch.tensor([2, 0, 1, 1, 0, 2, 2, 1])
NORM = ("weight", "bias", "running_mean", "running_var")


def _generator(**given):
    torch.manual_seed(0)
    generator = Generator(**{"size": 16, "width": 4, "latent": 6, "classes": 3} | given)
    # As far from their initial values as training takes them, so that every tensor matters.
    for name, tensor in generator.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 2.0)
        elif tensor.is_floating_point() and name != "share":
            tensor.normal_(1.0 if "scale" in name else 0.0, 0.3)
    return generator.eval()


def _discriminator(**given):
    torch.manual_seed(0)
    discriminator = Discriminator(**{"size": 16, "width": 4, "classes": 3} | given)
    for parameter in discriminator.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.3)
    return discriminator


def _doubled_slowly(x, weight):
    """A transposed convolution, kernel 4, stride 2, padding 1, of [C, H, W], place by place."""
    _, height, width = x.shape
    out = np.zeros((weight.shape[1], 2 * height + 2, 2 * width + 2))
    for i in range(height):
        for j in range(width):
            stamp = np.tensordot(x[:, i, j], weight, 1)
            out[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += stamp
    return out[:, 1:-1, 1:-1]


def _generated_slowly(state, z, leak):
    """An unconditional generator in evaluation mode, from its tensors alone."""
    images = []
    for latent in z:
        x = state["dense.weight"] @ latent
        features = len(state["norms.0.weight"])
        side = math.isqrt(len(x) // features)
        x = x.reshape(features, side, side)
        for i in range(sum(name.endswith("running_var") for name in state)):
            if i:
                x = _doubled_slowly(x, state[f"ups.{i - 1}.weight"])
            norm = {part: state[f"norms.{i}.{part}"][:, None, None] for part in NORM}
            scale = norm["weight"] / np.sqrt(norm["running_var"] + 1e-5)
            x = (x - norm["running_mean"]) * scale + norm["bias"]
            x = np.where(x > 0, x, leak * x)
        x = _doubled_slowly(x, state["last.weight"]) + state["last.bias"]
        images.append(np.tanh(x))
    return np.array(images)


@pytest.fixture
def images():
    return torch.rand(8, 1, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1


@pytest.fixture
def z():
    return torch.randn(8, 6, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("batch", [1, 4])
def test_shapes_and_ranges(size, classes, batch):
    generator = Generator(size=size, width=4, latent=10, classes=classes)
    discriminator = Discriminator(size=size, width=4, classes=classes)
    label = torch.arange(batch) % max(classes, 1)
    image = generator(torch.randn(batch, 10), label)
    assert image.shape == (batch, 1, size, size) and image.abs().max() <= 1
    realness, logits = discriminator(image, label)
    assert realness.shape == (batch,)
    assert logits is None if not classes else logits.shape == (batch, classes)


def test_widths_double_with_every_halving_up_to_sixteen_times():
    assert channels(64, 32) == [256, 128, 64, 32]
    assert channels(64, 32, first=8) == [128, 64, 32]
    assert channels(512, 4) == [64, 64, 64, 32, 16, 8, 4]
    assert channels(16, 4, first=8) == [4]


@pytest.mark.parametrize("first_map", [4, 8])
@pytest.mark.parametrize("leak", [0.0, 0.2])
@pytest.mark.parametrize("size", [16, 32])
def test_the_generator_is_the_slow_twins(first_map, leak, size, z):
    generator = _generator(size=size, classes=0, first_map=first_map, leak=leak)
    assert generator.dense.out_features == channels(size, 4, first_map)[0] * first_map**2
    state = {name: tensor.numpy() for name, tensor in generator.state_dict().items()}
    with torch.no_grad():
        got = generator(z[:2]).numpy()
    np.testing.assert_allclose(got, _generated_slowly(state, z[:2].numpy(), leak), atol=2e-5)


def test_conditioning_by_norm_is_a_batchnorm_of_each_class(z):
    generator = _generator()
    assert len(torch.unique(generator(z[:1].expand(3, 6), torch.arange(3)), dim=0)) == 3
    state = generator.state_dict()
    for k in range(3):
        plain = {}
        for name, tensor in state.items():
            if name.endswith(("scale.weight", "shift.weight")):
                part = "weight" if "scale" in name else "bias"
                plain[f"{name.rsplit('.', 2)[0]}.{part}"] = tensor[k]
            else:
                plain[name.replace(".norm.", ".")] = tensor
        alone = _generator(classes=0)
        alone.load_state_dict(plain)
        of_class = torch.full((8,), k)
        torch.testing.assert_close(generator(z, of_class), alone(z))


def test_conditioning_by_product_multiplies_the_latent_with_the_class(z):
    generator = _generator(conditioning="product")
    alone = _generator(classes=0)
    state = generator.state_dict()
    table = state.pop("embedding.weight")
    alone.load_state_dict(state)
    assert table.shape == (3, 6)
    torch.testing.assert_close(generator(z, LABEL), alone(z * table[LABEL]))
    assert len(torch.unique(generator(z[:1].expand(3, 6), torch.arange(3)), dim=0)) == 3


def test_a_share_of_the_class_leaves_the_mean_of_all_classes():
    table = torch.tensor([[1.0, 8.0], [3.0, 4.0]])
    assert blend(table, torch.tensor(0.5)).tolist() == [[1.5, 7.0], [2.5, 5.0]]
    assert blend(table, torch.tensor(0.0)).tolist() == [[2.0, 6.0]] * 2
    assert blend(table, torch.tensor(1.0)).tolist() == blend(table, None).tolist() == table.tolist()


@pytest.mark.parametrize("conditioning", ["norm", "product"])
def test_share_takes_the_generator_from_blind_to_the_class_to_conditional(conditioning, z):
    plain = _generator(conditioning=conditioning)
    ramped = _generator(conditioning=conditioning, ramped=True)
    ramped.load_state_dict(plain.state_dict() | {"share": torch.ones(())})
    same_z = z[:1].expand(3, 6), torch.arange(3)
    torch.testing.assert_close(ramped(z, LABEL), plain(z, LABEL))
    spread = []
    for share in (0.0, 0.5, 1.0):
        ramped.share.fill_(share)
        made = ramped(*same_z).detach()
        spread.append(float((made[1:] - made[0]).abs().max()))
    assert spread[0] < 1e-6 < spread[1] < spread[2]


def test_share_takes_the_discriminator_from_blind_to_the_class_to_conditional(images):
    plain, ramped = _discriminator(spectral=False), _discriminator(spectral=False, ramped=True)
    ramped.load_state_dict(plain.state_dict() | {"share": torch.ones(())})
    torch.testing.assert_close(ramped(images, LABEL), plain(images, LABEL))
    same = images[:1].expand(3, 1, 16, 16), torch.arange(3)
    assert ramped(*same)[0].detach().numpy().std() > 0.1
    ramped.share.fill_(0.0)
    assert ramped(*same)[0].detach().numpy().std() < 1e-4


@pytest.mark.parametrize("labels", [LABEL, torch.tensor([2, 0, 2, 0]), torch.tensor([1])])
def test_a_bank_gives_each_scan_what_its_own_generator_gives(labels, z):
    # The weights of a run's generators are others for every class.
    own = [_generator(classes=0) for _ in range(3)]
    for scale, generator in enumerate(own):
        generator.dense.weight.data *= scale + 1
    bank, z = GeneratorBank(own).eval(), z[: len(labels)]
    assert bank.classes == 3
    got = bank(z, labels)
    for i, label in enumerate(labels.tolist()):
        torch.testing.assert_close(got[i], own[label](z[i : i + 1])[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("pool", ["sum", "flatten"])
def test_the_heads_are_the_slow_twins(head, pool, images):
    discriminator = _discriminator(head=head, pool=pool, spectral=False, deviation=False)
    with torch.no_grad():
        realness, logits = discriminator(images, LABEL)
        x = images
        for down in discriminator.downs:
            x = torch.nn.functional.leaky_relu(down(x), 0.2)
    assert x.shape[2:] == (4, 4)
    features = x.sum((2, 3)).numpy() if pool == "sum" else x.flatten(1).numpy()
    state = {name: tensor.numpy() for name, tensor in discriminator.state_dict().items()}
    for i, label in enumerate(LABEL.tolist()):
        want = features[i] @ state["real.weight"][0] + state["real.bias"][0]
        if "projection" in head:
            want += features[i] @ state["projection.weight"][label]
        assert float(realness[i]) == pytest.approx(want, rel=1e-4, abs=1e-4)
        if "auxiliary" not in head:
            assert logits is None
        elif "normalized" in head:
            rows = state["aux.weight"]
            cosines = rows @ features[i] / np.linalg.norm(rows, axis=1)
            want = AUX_SCALE * cosines / np.linalg.norm(features[i])
            np.testing.assert_allclose(logits[i], want, rtol=1e-4, atol=1e-4)
        else:
            want = state["aux.weight"] @ features[i] + state["aux.bias"]
            np.testing.assert_allclose(logits[i], want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("head", ["projection", "no-aux", "auxiliary-other", "aux"])
def test_a_head_is_known_by_its_whole_name(head):
    assert _discriminator(head=head).aux is None


def test_every_layer_but_the_classifier_has_spectral_norm_one():
    discriminator = Discriminator(size=32, width=4, classes=2)
    for _ in range(50):  # power iterations
        discriminator(torch.randn(4, 1, 32, 32), torch.zeros(4, dtype=torch.int64))
    parts = (discriminator.mix, discriminator.real, discriminator.projection)
    for layer in (*discriminator.downs, *parts):
        norm = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)
        assert float(norm) == pytest.approx(1.0, abs=0.02)
    assert not hasattr(discriminator.aux, "parametrizations")
    free = Discriminator(size=32, width=4, classes=2, spectral=False)
    assert not any("parametrizations" in name for name in free.state_dict())


def test_minibatch_deviation_is_the_textbooks_and_never_mixes_real_and_fake():
    x = torch.randn(8, 3, 4, 4)
    got = minibatch_deviation(x)
    for group, part in ((x[:4], got[:4]), (x[4:], got[4:])):
        want = np.sqrt(group.numpy().var(0) + 1e-8).mean()
        assert part.flatten().tolist() == pytest.approx([want] * part.numel(), rel=1e-4)
    changed = torch.cat([x[:4], x[4:] * 100])
    assert torch.equal(minibatch_deviation(changed)[:4], got[:4])


@pytest.mark.parametrize(("n", "group"), [(1, 1), (2, 2), (6, 2), (7, 1)])
def test_minibatch_deviation_takes_smaller_groups_of_odd_batches(n, group):
    x = torch.randn(n, 3, 4, 4)
    want = np.sqrt(x[:group].numpy().var(0) + 1e-8).mean()
    assert float(minibatch_deviation(x)[0, 0, 0, 0]) == pytest.approx(want, rel=1e-4)


@pytest.mark.parametrize("deviation", [True, False])
def test_other_scans_of_the_group_matter_by_the_minibatch_deviation_alone(deviation, images):
    discriminator = _discriminator(deviation=deviation, spectral=False)
    other = torch.cat([images[:1], -images[1:]])
    one, two = (float(discriminator(x, LABEL)[0][0].detach()) for x in (images, other))
    assert (abs(one - two) > 1e-3) is deviation


def test_batchnorm_follows_every_strided_convolution_but_the_first(images):
    discriminator = _discriminator(size=64, batch_norm=True, deviation=False)
    assert [type(norm).__name__ for norm in discriminator.norms] == ["Identity", *["BatchNorm"] * 3]
    seen = []
    discriminator.downs[2].register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    discriminator.norms[1].register_forward_hook(lambda module, inputs, out: seen.append(out + 0))
    discriminator(torch.randn(8, 1, 64, 64), LABEL)
    normed, after = seen
    np.testing.assert_allclose(
        normed.detach().mean((0, 2, 3)), discriminator.norms[1].bias.detach(), atol=1e-4
    )
    torch.testing.assert_close(after, torch.nn.functional.leaky_relu(normed, 0.2))


def test_dropout_drops_its_share_and_keeps_the_mean(images):
    discriminator = _discriminator(dropout=0.25, deviation=False, spectral=False)
    seen = {}
    discriminator.downs[1].register_forward_pre_hook(
        lambda module, inputs: seen.update({discriminator.training: inputs[0].detach()})
    )
    discriminator(images, LABEL, torch.Generator().manual_seed(0))
    discriminator.eval()(images, LABEL)
    dropped, whole = seen[True] == 0, seen[False]
    assert float(dropped.float().mean()) == pytest.approx(0.25, abs=0.03)
    torch.testing.assert_close(seen[True][~dropped], whole[~dropped] / 0.75)


def test_dropout_is_for_training_and_follows_from_the_given_source_alone(images):
    discriminator = _discriminator(dropout=0.5, spectral=False)

    def judge(seed, of_torch):
        torch.manual_seed(of_torch)
        return discriminator(images, LABEL, torch.Generator().manual_seed(seed))[0]

    assert torch.equal(judge(1, of_torch=1), judge(1, of_torch=2))
    assert not torch.equal(judge(1, of_torch=1), judge(2, of_torch=1))
    discriminator.eval()
    assert torch.equal(judge(1, of_torch=1), judge(2, of_torch=1))
    plain = _discriminator(spectral=False).eval()
    plain.load_state_dict(discriminator.state_dict())
    assert torch.equal(judge(1, of_torch=1), plain(images, LABEL)[0])


def test_balanced_sampling_draws_the_rare_class_as_often():
    labels = torch.tensor([0] * 990 + [1] * 10)
    images = torch.arange(1000).remainder(256).to(torch.uint8)[:, None, None].expand(1000, 2, 2)
    _, drawn = Sampler(images, labels, 2).draw(4000, step_draws(0, 0, "scans", CPU))
    assert 0.45 < drawn.float().mean() < 0.55
    _, drawn = Sampler(images, labels, 0).draw(4000, step_draws(0, 0, "scans", CPU))
    assert drawn.float().mean() < 0.03


@pytest.mark.parametrize("classes", [0, 3])
def test_a_drawn_scan_has_its_own_label_and_every_scan_is_drawn(classes):
    labels = torch.tensor([2, 0, 1, 0, 2, 2])
    images = (labels * 100).to(torch.uint8)[:, None, None].expand(6, 2, 2).clone()
    images[:, 0, 1] = torch.arange(6)
    scans, drawn = Sampler(images, labels, classes).draw(500, step_draws(0, 0, "scans", CPU))
    assert torch.equal(((scans[:, 0, 0, 0] + 1) * 127.5).round() / 100, drawn.float())
    assert set(((scans[:, 0, 0, 1] + 1) * 127.5).round().tolist()) == set(range(6))
    assert scans.min() >= -1 and scans.max() <= 1


def test_randomness_is_a_function_of_seed_step_and_purpose():
    def draw(*key):
        return step_draws(*key, CPU).uniform(4).tolist()

    assert draw(0, 5, "scans") == draw(0, 5, "scans")
    keys = [(0, 5, "scans"), (1, 5, "scans"), (0, 6, "scans"), (0, 5, "latents")]
    assert len({tuple(draw(*key)) for key in keys}) == 4


@pytest.mark.parametrize("kind", ["uniform", "normal", "integers"])
def test_several_processes_draw_the_parts_of_what_one_draws(kind):
    def draw(n, *rank):
        draws = step_draws(0, 5, "scans", CPU, Rank(*rank))
        bounds = (0, 1000) if kind == "integers" else ()
        return torch.cat([getattr(draws, kind)(*bounds, n, 2) for _ in range(2)], 1)

    assert torch.equal(torch.cat([draw(3, rank, 4) for rank in range(4)]), draw(12))


def test_ema_halves_the_old_weights_in_its_half_life():
    decay = ema_decay(10, seen=10**9, batch=64)
    assert decay ** (10_000 / 64) == pytest.approx(0.5)
    assert ema_decay(10, seen=64, batch=64) < 1e-5  # warm-up: the start is forgotten at once
    early = ema_decay(10, seen=6400, batch=64, warmup=0.1)
    assert early ** (640 / 64) == pytest.approx(0.5)
    assert ema_decay(0, seen=10**9, batch=64) == 0
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


@pytest.mark.parametrize("active", [False, True])
def test_a_residual_block_is_the_papers(active):
    block = ResidualDown(3, 5, active)
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    kept = x.clone()
    y = block.first(F.leaky_relu(x, 0.2) if active else x)
    # As drawn there: the shortcut is convolved first, and both are halved together.
    want = F.avg_pool2d(block.second(F.leaky_relu(y, 0.2)) + block.past(x), 2)
    torch.testing.assert_close(block(x), want)
    assert torch.equal(x, kept)


def test_every_convolution_of_a_residual_discriminator_has_spectral_norm():
    options = TrainOptions(size=32, width=4, residual=True)
    discriminator = make_discriminator(options, 3)
    convolutions = [m for m in discriminator.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == 3 * 3 + 1
    assert all(hasattr(m, "parametrizations") for m in convolutions)
    realness, logits = discriminator(torch.zeros(4, 1, 32, 32), torch.tensor([0, 1, 2, 0]))
    assert realness.shape == (4,) and logits.shape == (4, 3)
