"""The search for the most similar scan, whatever its alignment."""

import naive
import numpy as np
import pytest
from evaluation_scans import COPIES, lit, moved, sample_scans

from scangan.evaluation import similar
from scangan.evaluation.alignment import BORDER, align, filtered
from scangan.evaluation.similar import Gallery

SCANS = sample_scans()


@pytest.fixture(scope="module")
def gallery():
    return Gallery(SCANS.images[:120])


def test_the_correlation_is_that_of_a_naive_twin():
    starts = np.array(
        [[1, 0, 0, 0], [0.97, 0.03, 2.4, -3.3], [1.04, 0, -1.2, 0.5], [1, -0.08, 4, 4]]
    )
    queries, scans = filtered(SCANS.images[:4]), filtered(SCANS.images[4:8])
    found, where = align(queries, scans, starts, steps=4)
    for n in range(4):
        before, after = (
            naive.aligned_correlation(queries[n], scans[n], False, at, BORDER)
            for at in (starts[n], where[n])
        )
        # OpenCV samples at steps of 1/32 pixel.
        assert found[n] == pytest.approx(after, abs=3e-3) and found[n] > before - 3e-3


def test_it_finds_what_a_naive_search_over_all_alignments_finds():
    queries = np.stack([moved(SCANS.images[0], 1.03, 2, -2), SCANS.images[1][:, ::-1]])
    few = SCANS.images[[0, 1, 7]]
    found = Gallery(few).search(queries)
    details, theirs = filtered(queries), filtered(few)
    grid = (1.0, 1.03), (-2, 0, 2), BORDER
    best = np.array([[naive.best_correlation(q, s, *grid) for s in theirs] for q in details])
    assert found.index.tolist() == best.argmax(axis=1).tolist()
    # A grid meets no scan better than the search, which goes on between its points.
    assert (found.similarity > best.max(axis=1) - 0.01).all()


def test_the_short_list_keeps_what_a_search_without_one_finds(gallery, monkeypatch):
    rng = np.random.default_rng(0)
    copies = [change(SCANS.images[n], rng) for n, change in enumerate(COPIES.values())]
    queries = np.concatenate([SCANS.images[125:131], np.stack(copies)])
    short = gallery.search(queries)
    monkeypatch.setattr(similar, "SHORT_LIST", 120)
    monkeypatch.setattr(similar, "CANDIDATES", 60)
    monkeypatch.setattr(similar, "FINALISTS", 60)
    whole = gallery.search(queries)
    assert (whole.similarity >= short.similarity - 1e-6).all()
    lost = whole.similarity - short.similarity
    assert np.median(lost) < 0.005 and lost[whole.similarity > 0.85].max() < 0.005


@pytest.mark.parametrize("change", COPIES)
def test_a_copy_is_found_and_more_similar_than_other_scans(change, gallery):
    rng = np.random.default_rng(0)
    copies = np.stack([COPIES[change](image, rng) for image in SCANS.images[:40]])
    found = gallery.search(copies)
    assert np.mean(found.index == np.arange(40)) >= 0.95
    assert np.quantile(found.similarity, 0.05) > 0.95
    assert gallery.search(SCANS.images[120:160]).similarity.max() < 0.99


def test_brightness_and_contrast_change_nothing(gallery):
    dark = lit(SCANS.images[:20], 0.5, 0)
    assert gallery.search(dark).similarity.min() > 0.995
    assert gallery.search(SCANS.images[:20]).similarity == pytest.approx(1, abs=1e-5)


def test_blank_scans_are_similar_to_nothing(gallery):
    blank = np.stack([np.zeros((64, 64), np.uint8), np.full((64, 64), 255, np.uint8)])
    assert (np.abs(gallery.search(blank).similarity) < 1e-6).all()
    some = Gallery(np.concatenate([blank, SCANS.images[:2]])).search(SCANS.images[:1])
    assert some.index.tolist() == [2]


def test_scans_of_the_same_group_are_not_compared():
    images, groups = SCANS.images[:6], np.array([0, 0, 1, 1, 2, 2])
    found = Gallery(images, groups).search(images, groups=groups)
    assert (groups[found.index] != groups).all()
    alone = Gallery(images[:2], groups[:2]).search(images[:2], groups=groups[:2])
    assert alone.index.tolist() == [-1, -1] and alone.similarity.tolist() == [-1, -1]


def test_blocks_change_nothing(gallery, monkeypatch):
    queries = SCANS.images[100:140]
    before = gallery.search(queries)
    monkeypatch.setattr(similar, "BLOCK", 7)
    monkeypatch.setattr(similar, "GALLERY_BLOCK", 33)
    after = Gallery(SCANS.images[:120]).search(queries)
    assert np.array_equal(before.index, after.index)
    assert np.allclose(before.similarity, after.similarity, atol=1e-4)


@pytest.mark.parametrize("size", [32, 100, 128])
def test_scans_of_any_size_are_found(size):
    scans = sample_scans(size).images
    rng = np.random.default_rng(0)
    copies = np.stack([COPIES["scaled"](image, rng) for image in scans[:15]])
    found = Gallery(scans[:60]).search(copies)
    assert np.mean(found.index == np.arange(15)) > 0.9
