"""How well a discriminator tells training scans from held-back ones, and these from synthetic ones."""

import numpy as np
import pytest
import torch
from torch import nn
from training_runs import start_run

from scangan.evaluation.metrics import FEWEST
from scangan.training.data import TrainingScans
from scangan.training.discriminator_auc import DiscriminatorAuc
from scangan.training.discriminator_scores import discriminator_scores


class Brightness(nn.Module):
    """Takes the brighter scan for the more real one, in class 1 the darker one."""

    def __init__(self):
        super().__init__()
        self.sign = nn.Parameter(torch.tensor([1.0, -1.0]))
        self.seen = 0

    def forward(self, x, label):
        self.seen += len(x)
        return x.mean((1, 2, 3)) * self.sign[label], None


def _grey(levels):
    return np.repeat(np.array(levels, np.uint8), 16).reshape(-1, 4, 4)


def _scans(*of_classes):
    """Scans of one grey level each, from the levels of training and of held-back ones by class."""
    levels, labels, held = [], [], []
    for k, (trained, back) in enumerate(of_classes):
        levels += [*trained, *back]
        labels += [k] * (len(trained) + len(back))
        held += [False] * len(trained) + [True] * len(back)
    classes = tuple("ab"[: len(of_classes)])
    return TrainingScans(_grey(levels), np.array(labels), classes, np.array(held))


def test_areas_are_those_of_pairs_counted_by_hand():
    low, high = [10] * 8, [200] * 8
    half = [10] * 4 + [200] * 4
    scans = _scans((high, half), (high, half))
    made = _grey(low + half), np.repeat([0, 1], 8)
    training, synthetic = DiscriminatorAuc(scans, 0).measure(Brightness(), made)
    # A training scan wins against half of the held-back ones, and ties with the others; in class b it loses.
    assert training == {"a": 0.75, "b": 0.25}
    assert synthetic == {"a": 0.75, "b": 0.5}


def test_a_class_with_too_few_scans_on_a_side_has_no_area():
    few, enough = [10] * (FEWEST - 1), [10] * FEWEST
    made = _grey(enough * 2), np.repeat([0, 1], FEWEST)
    assert DiscriminatorAuc(_scans((enough, few), (enough, enough)), 0).measure(
        Brightness(), made
    ) == ({"b": 0.5}, {"b": 0.5})
    assert DiscriminatorAuc(_scans((enough, []), (few, enough)), 0).measure(Brightness(), made) == (
        {},
        {"b": 0.5},
    )


def test_at_most_a_hundred_scans_of_a_side_are_scored_the_same_ones_each_time():
    rng = np.random.default_rng(0)
    scans = _scans((rng.integers(0, 256, 500), rng.integers(0, 256, 130)))
    made = _grey(rng.integers(0, 256, 100)), np.zeros(100, int)
    network, auc = Brightness(), DiscriminatorAuc(scans, 3)
    first = auc.measure(network, made)
    assert 300 <= network.seen <= 306  # a batch is filled up to an odd number
    assert auc.measure(network, made) == first == DiscriminatorAuc(scans, 3).measure(network, made)
    assert DiscriminatorAuc(scans, 4).measure(network, made) != first


def test_scores_that_are_no_numbers_give_no_area():
    levels = [10] * FEWEST
    network = Brightness()
    network.sign.data[0] = float("nan")
    made = _grey(levels), np.zeros(FEWEST, int)
    assert DiscriminatorAuc(_scans((levels, levels)), 0).measure(network, made) == ({}, {})


@pytest.mark.parametrize("arch", ["acgan", "dcgan"])
def test_measuring_changes_nothing_in_the_run(prepared, tmp_path, arch):
    run, network = start_run(tmp_path / "run", prepared, arch=arch)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = torch.get_rng_state()
    images, labels = np.array(prepared.images[::2]), prepared.labels[::2]
    if not run.classes:
        labels = np.zeros_like(labels)
    held = np.arange(len(labels)) % 4 == 0
    scans = TrainingScans(images, labels, run.classes or ("all",), held)
    made = scans.images[:40], scans.labels[:40]
    training, _ = DiscriminatorAuc(scans, 0).measure(network, made)
    assert training and torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    # It scores as the privacy attack of eval-scans does.
    score, _ = discriminator_scores(run, run.classes)
    name, sides = next(iter(training)), []
    for side in (~held, held):
        chosen = side & (scans.labels == scans.classes.index(name))
        sides.append(score(scans.images[chosen], scans.labels[chosen]))
    assert max(map(len, sides)) <= 100  # so all of them were scored
    wins = np.sign(sides[0][:, None] - sides[1][None]).mean()
    assert training[name] == pytest.approx((1 + wins) / 2, abs=1e-6)
