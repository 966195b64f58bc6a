"""Intervals cover the truth as often as they say: 200 times, real against real."""

from functools import partial

import numpy as np
import pytest

from scangan.evaluation.draws import Draws
from scangan.evaluation.halves import halved
from scangan.evaluation.kid import kernel_distances, kid_interval
from scangan.evaluation.pairwise import Pairwise
from scangan.evaluation.two_sample import two_sample_accuracy

TIMES = 200
CLASSES, SCANS = 2, 30  # classes, and scans of each
LABELS = np.repeat(np.arange(CLASSES), SCANS)


def _scans(rng):
    """Features with a few large directions, as those of networks have."""
    rows = rng.normal(size=(CLASSES * SCANS, 40)) * 3 / np.sqrt(1 + np.arange(40))
    return np.maximum(rows + LABELS[:, None], 0)


def _share(spans, truth):
    return np.mean([low <= truth <= high for low, high in spans])


@pytest.mark.slow
def test_kid_of_two_real_samples_is_0_within_its_interval():
    rng, spans = np.random.default_rng(0), []
    groups = [np.arange(SCANS) + k * SCANS for k in range(CLASSES)]
    for _ in range(TIMES):
        a, b = ([rows[k == LABELS] for k in range(CLASSES)] for rows in (_scans(rng), _scans(rng)))
        spans.append(kid_interval(a, b, groups, kernel_distances(a, b)[0]))
    assert 0.90 <= _share(spans, 0) <= 0.98


@pytest.mark.slow
def test_scans_of_one_subject_widen_the_interval_of_kid():
    """Twelve subjects with five scans each: as if each stood alone, a third of the intervals miss."""
    rng, spans, naive = np.random.default_rng(1), [], []
    groups = np.repeat(np.arange(12), 5)
    for _ in range(TIMES):
        a, b = (
            np.maximum(np.repeat(rng.normal(size=(12, 20)), 5, axis=0)
            + 0.2 * rng.normal(size=(60, 20)), 0)
            for _ in range(2)
        )  # fmt: skip
        kid, _ = kernel_distances([a], [b])
        # Scans of one subject are alike, so KID itself is too high; what holds is its spread.
        spans.append((kid, *kid_interval([a], [b], [groups], kid, [groups])))
        naive.append((kid, *kid_interval([a], [b], [np.arange(60)], kid)))
    truth = np.mean([kid for kid, *_ in spans])
    assert _share([span for _, *span in spans], truth) >= 0.9
    assert _share([span for _, *span in naive], truth) < 0.75


def _drawn(rows, sides, measure, repeats=8):
    """The figures of two samples, one after the other in `rows`."""
    pairs, draws = Pairwise(rows), Draws(())
    for number, halves in enumerate(halved(sides, sides, repeats)):
        for half in (halves.synthetic, halves.other_synthetic):
            half[:] = [indices + len(rows) // 2 for indices in half]
        draws.measure(halves, partial(measure, pairs), slow=number < repeats - 2)
    figures = draws.figures()
    if "fid" in figures:
        figures["fid_ratio"] = draws.real_over_synthetic("fid")
    return {name: of.overall for name, of in figures.items()}


def _all_figures(pairs, a, b, slow):
    both = pairs.of(a, b)
    found = {"fid": both.frechet(), "variety": both.variety(), **both.neighbours()}
    if slow:
        found["fid_infinite"] = both.frechet_infinite(found["fid"])
        found["two_sample"] = two_sample_accuracy(pairs.products, a, b, np.arange(4 * SCANS))
    return found


@pytest.mark.slow
def test_figures_of_two_real_samples_cover_their_mean():
    rng, found, groups = np.random.default_rng(2), [], np.arange(len(LABELS))
    for _ in range(TIMES):
        rows = np.concatenate([_scans(rng), _scans(rng)])
        found.append(_drawn(rows, (LABELS, groups), _all_figures))
    for name in found[0]:
        drawn = [each[name] for each in found]
        truth = 0.5 if name == "two_sample" else np.mean([figure.value for figure in drawn])
        share = _share([(figure.low, figure.high) for figure in drawn], truth)
        # With so few dimensions, halves of the real scans differ more than the figure's error is large.
        assert 0.90 <= share <= (0.99 if name == "fid_ratio" else 0.98), f"{name}: {share}"


@pytest.mark.slow
def test_near_equal_pairs_of_two_real_samples_cover_their_mean():
    """With 100 scans of a class; of 30, a hundredth of the pairs are too few, and 82% are covered."""
    rng, found, scans = np.random.default_rng(2), [], 100
    sides = np.repeat(np.arange(CLASSES), scans), np.arange(CLASSES * scans)
    for _ in range(TIMES):
        rows = rng.normal(size=(2 * CLASSES * scans, 40)) * 3 / np.sqrt(1 + np.arange(40))
        rows = np.maximum(rows + np.tile(sides[0], 2)[:, None], 0)
        figures = _drawn(rows, sides, lambda pairs, a, b, _: {"n": pairs.of(a, b).near_pairs()})
        found.append(figures["n"])
    truth = np.mean([figure.value for figure in found])
    assert truth == pytest.approx(0.011, abs=0.001)
    assert 0.90 <= _share([(figure.low, figure.high) for figure in found], truth) <= 0.98
