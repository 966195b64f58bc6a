"""Figures of pixels against the libraries that others use."""

import naive
import numpy as np
import pytest
from cpu_torchvision import import_torchvision
from skimage.metrics import structural_similarity

from scangan.evaluation import pixels


@pytest.fixture(scope="module")
def scans(prepared):
    rng = np.random.default_rng(0)
    a = np.asarray(prepared.images[:140])
    return a, np.clip(a + rng.normal(0, 15, a.shape), 0, 255).astype(np.uint8)


def test_ssim_is_that_of_scikit_image(scans):
    a, b = scans
    want = [
        structural_similarity(
            x, y, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255
        )
        for x, y in zip(a, b)
    ]
    assert pixels.ssim(a, b) == pytest.approx(np.array(want), abs=1e-4)


def test_ms_ssim_is_the_naive_one(scans):
    a, b = (each[:20].repeat(2, 1).repeat(2, 2) for each in scans)  # 64 pixels: three scales
    weights = np.array(pixels.WEIGHTS[:3]) / sum(pixels.WEIGHTS[:3])
    want = [naive.ms_ssim(x, y, weights) for x, y in zip(a, b)]
    assert pixels.ms_ssim(a, b) == pytest.approx(np.array(want), abs=1e-4)


def test_ms_ssim_is_about_that_of_torchmetrics(scans):
    import torch

    import_torchvision()
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    a, b = (each[:20].repeat(2, 1).repeat(2, 2) for each in scans)
    weights = np.array(pixels.WEIGHTS[:3]) / sum(pixels.WEIGHTS[:3])
    theirs = multiscale_structural_similarity_index_measure(
        *(torch.tensor(x[:, None], dtype=torch.float64) for x in (a, b)),
        sigma=1.5, data_range=255.0, betas=tuple(weights), normalize="relu", reduction="none",
    )  # fmt: skip
    # Its last scale counts the mirrored border as well, which ours leaves out as Wang et al. do.
    assert pixels.ms_ssim(a, b) == pytest.approx(theirs.numpy(), abs=0.06)


def test_a_scan_is_like_itself_and_unlike_its_negative(scans):
    a = scans[0][:5]
    assert pixels.ssim(a, a) == pytest.approx(np.ones(5))
    assert pixels.ms_ssim(a, a) == pytest.approx(np.ones(5))
    assert (pixels.ms_ssim(a, 255 - a) < 0.1).all()


def test_the_nearest_scan_is_the_nearest(scans):
    gallery, queries = scans[0][:135], scans[1][130:]  # more than one block
    apart = [np.square(gallery.astype(int) - q.astype(int)).sum(axis=(1, 2)) for q in queries]
    assert pixels.nearest(gallery, queries).tolist() == [each.argmin() for each in apart]


@pytest.mark.parametrize("side", [16, 64, 200])
def test_any_size_has_ms_ssim(side):
    rng = np.random.default_rng(0)
    a = rng.integers(0, 256, (3, side, side), dtype=np.uint8)
    assert pixels.ms_ssim(a, a) == pytest.approx(np.ones(3))


def test_histogram_distances_of_shifted_grey_levels():
    dark = np.full((4, 16, 16), 10, np.uint8)
    found = pixels.histogram_distances(pixels.histograms(dark), pixels.histograms(dark + 25))
    assert found == pytest.approx(
        {"wasserstein": 25, "jensen_shannon": 1, "euclidean": 2**0.5, "manhattan": 2}
    )
    same = pixels.histogram_distances(pixels.histograms(dark), pixels.histograms(dark))
    assert same == dict.fromkeys(found, 0)
