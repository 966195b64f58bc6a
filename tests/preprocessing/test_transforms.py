"""Equalising and resizing, against slow twins."""

import cv2
import naive
import numpy as np
import pytest
from conftest import BRAIN

from scangan.preprocessing import PrepOptions, PreprocessingError
from scangan.preprocessing.transforms import fit_square, prepare_image

SCANS = [
    cv2.imread(str(sorted(folder.iterdir())[0]), cv2.IMREAD_GRAYSCALE)
    for folder in sorted(p for p in BRAIN.iterdir() if p.is_dir())
]


@pytest.mark.parametrize(
    "shape", [(128, 128), (128, 200), (200, 128), (40, 64), (64, 64), (1, 1000)]
)
def test_a_square_of_the_asked_size_with_the_scan_in_the_middle(shape):
    square = fit_square(np.full(shape, 200, np.uint8), 64)
    assert square.shape == (64, 64)
    inside = (square == 200).sum()
    assert inside == max(1, round(64 * shape[0] / max(shape))) * max(
        1, round(64 * shape[1] / max(shape))
    )
    assert set(np.unique(square)) <= {0, 200}
    rows, columns = np.nonzero(square)
    assert abs(rows.min() - (63 - rows.max())) <= 1
    assert abs(columns.min() - (63 - columns.max())) <= 1


def test_shrinking_averages_and_does_not_alias():
    checker = np.indices((128, 128)).sum(0) % 2 * 255
    shrunk = fit_square(checker.astype(np.uint8), 32)
    assert shrunk.min() >= 127 and shrunk.max() <= 128


def test_shrinking_by_a_whole_factor_is_the_mean_of_blocks():
    scan = SCANS[0][:128, :128]
    blocks = scan.reshape(32, 4, 32, 4).mean((1, 3))
    assert np.abs(fit_square(scan, 32) - blocks).max() <= 0.5 + 1e-6


def test_a_scan_of_the_right_size_is_unchanged():
    scan = SCANS[1][:64, :64]
    assert np.array_equal(prepare_image(scan, PrepOptions(size=64)), scan)


@pytest.mark.parametrize("scan", SCANS, ids=range(len(SCANS)))
def test_equalising_is_the_textbooks(scan):
    small = np.ascontiguousarray(scan[:48, :48])
    got = prepare_image(small, PrepOptions(size=48, equalize="global"))
    assert np.abs(got.astype(int) - naive.equalize(small)).max() <= 1


def test_equalising_looks_at_the_scan_and_not_at_its_padding():
    scan = np.ascontiguousarray(SCANS[0][:32, :64])
    got = prepare_image(scan, PrepOptions(size=64, equalize="global"))
    assert np.abs(got[16:48].astype(int) - naive.equalize(scan)).max() <= 1


@pytest.mark.parametrize("options", [{"size": 15}, {"size": 1025}, {"equalize": "clahe!"}])
def test_options_out_of_range_are_refused_by_name(options):
    with pytest.raises(PreprocessingError, match=str(next(iter(options.values())))):
        PrepOptions(**options)
