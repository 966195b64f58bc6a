"""Intervals cover the truth as often as they say: 200 times, real against real."""

from functools import partial

import numpy as np
import pytest

from scangan.evaluation.draws import Draws
from scangan.evaluation.halves import halved
from scangan.evaluation.kid import KernelTable
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
    count = len(LABELS)
    a = [np.flatnonzero(k == LABELS) for k in range(CLASSES)]
    b = [rows + count for rows in a]
    for _ in range(TIMES):
        table = KernelTable(np.concatenate([_scans(rng), _scans(rng)]), np.arange(2 * count))
        spans.append(table.interval(a, b, table.kid(a, b)))
    assert 0.90 <= _share(spans, 0) <= 0.98


@pytest.mark.slow
def test_scans_of_one_subject_widen_the_interval_of_kid():
    """Twelve subjects with five scans each: as if each stood alone, a quarter of the intervals miss."""
    rng, spans, naive = np.random.default_rng(1), [], []
    groups = np.repeat(np.arange(24), 5)
    sides = [np.arange(60)], [np.arange(60, 120)]
    for _ in range(TIMES):
        rows = np.repeat(rng.normal(size=(24, 20)), 5, axis=0)
        rows = np.maximum(rows + 0.2 * rng.normal(size=rows.shape), 0)
        known, alone = KernelTable(rows, groups), KernelTable(rows, np.arange(120))
        kid = known.kid(*sides)
        spans.append(known.interval(*sides, kid))
        naive.append(alone.interval(*sides, kid))
    assert _share(spans, 0) >= 0.9
    assert _share(naive, 0) < 0.8


def _drawn(rows, sides, measure, repeats=8):
    """The figures of two samples, one after the other in `rows`."""
    pairs, draws = Pairwise(rows), Draws(())
    for number, halves in enumerate(halved(sides, sides, repeats)):
        for half in (halves.synthetic, halves.other_synthetic):
            half[:] = [indices + len(rows) // 2 for indices in half]
        draws.measure(
            halves, partial(measure, pairs), np.arange(len(rows)), slow=number < repeats - 2
        )
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
