"""Discriminators that look through frozen features."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from scangan.evaluation.features import DEFAULT, NETWORKS
from scangan.training import TrainOptions, step
from scangan.training.data import TrainingScans
from scangan.training.feature_discriminator import FeatureDiscriminator
from scangan.training.frozen_features import CHANNELS, FrozenFeatures
from scangan.training.step import make_step

SMALL = {"size": 32, "width": 4, "latent": 6, "batch": 8, "kimg": 0.08}


@pytest.fixture(scope="module")
def features():
    return FrozenFeatures()


def test_the_maps_are_those_of_the_bundled_network(features, prepared):
    """The same tensors, read out of the file by onnxruntime at the same size."""
    model = onnx.load(NETWORKS[DEFAULT].path)
    inner = ["add_160", "add_256", "add_550"]
    del model.graph.output[:], model.graph.value_info[:]
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in inner
    )
    for dimension in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        dimension.dim_param = "side"
    session = onnxruntime.InferenceSession(model.SerializeToString())
    scans = np.array(prepared.images[:4]).repeat(2, 1).repeat(2, 2)[:, None]
    assert scans.shape[2:] == (64, 64)
    want = session.run(None, {"image": scans})
    got = features(torch.from_numpy(scans).float() / 127.5 - 1)
    for tensor, expected, channels, side in zip(got, want, CHANNELS, (16, 8, 4), strict=True):
        assert tensor.shape == expected.shape == (4, channels, side, side)
        assert np.ptp(expected) > 1
        assert np.allclose(tensor.numpy(), expected, atol=1e-3)


def test_they_are_frozen_and_in_no_checkpoint_but_gradients_pass(features):
    assert not list(features.parameters()) and not features.state_dict()
    scan = torch.rand(1, 1, 64, 64, requires_grad=True)
    sum(tensor.sum() for tensor in features(scan)).backward()
    assert scan.grad.abs().min() >= 0 and (scan.grad != 0).float().mean() > 0.9
    assert all(tensor.grad is None for tensor in features.buffers())


@pytest.mark.parametrize("side", [16, 32, 128, 256])
def test_scans_of_any_size_are_seen_at_64_pixels(features, side):
    smooth = torch.linspace(-1, 1, 256).repeat(256, 1)[None, None]
    resized = torch.nn.functional.interpolate(smooth, (side, side), mode="area")
    at_64 = torch.nn.functional.interpolate(smooth, (64, 64), mode="area")
    for got, want in zip(features(resized), features(at_64), strict=True):
        assert got.shape == want.shape
        assert (got - want).abs().mean() < 0.1 * want.abs().mean()


@pytest.mark.parametrize("classes", [0, 3])
def test_three_discriminators_judge_each_scan_by_itself(classes):
    torch.manual_seed(0)
    network = FeatureDiscriminator(classes).eval()
    scans = torch.rand(6, 1, 32, 32) * 2 - 1
    label = torch.arange(6) % 3 if classes else None
    judged = network(scans, label)
    assert judged.shape == (6, 3) and (judged.std(0) > 0).all()
    some = network(scans[2:4], None if label is None else label[2:4])
    assert torch.allclose(some, judged[2:4], atol=1e-5)
    if classes:
        assert (network(scans, (label + 1) % 3) != judged).all()


def _step(**given):
    images = np.random.default_rng(0).integers(0, 256, (24, 32, 32), dtype=np.uint8)
    scans = TrainingScans(images, np.arange(24) % 3, ("a", "b", "c"), np.zeros(24, bool))
    return make_step(TrainOptions(**SMALL | given), scans, torch.device("cpu"))


def _copied(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def test_only_the_discriminators_learn_and_only_in_their_steps():
    taken = _step(feature_weight=0.1, feature_every=2)
    before = _copied(taken.features)
    taken(1)
    assert all(
        torch.equal(tensor, before[name]) for name, tensor in taken.features.state_dict().items()
    )
    taken(2)
    changed = {
        n for n, tensor in taken.features.state_dict().items() if not torch.equal(tensor, before[n])
    }
    parameters = {f"judges.{name}" for name, _ in taken.features.judges.named_parameters()}
    assert parameters <= changed
    assert all(name.startswith("judges.") for name in changed)


def _generator_after(number, **given):
    taken = _step(**given)
    taken(number)
    return taken.generator.state_dict()


def test_the_generator_listens_after_they_have_learnt_alone_and_only_in_their_steps(monkeypatch):
    def heard(number):
        """Whether their weight makes a difference to the generator."""
        one, other = (
            _generator_after(number, feature_every=2, feature_weight=weight)
            for weight in (0.1, 10.0)
        )
        return any(not torch.equal(tensor, other[name]) for name, tensor in one.items())

    assert not heard(4)  # they are still alone
    monkeypatch.setattr(step, "ALONE_KIMG", 0.032)  # four steps
    assert not heard(2) and heard(4) and not heard(5)


def test_without_a_weight_there_are_none():
    taken = _step()
    assert taken.features is None
    assert not {"features", "optimizer_f"} & taken.state_dict().keys()
