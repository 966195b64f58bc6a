"""Kernels, against slow twins and against OpenCV."""

import subprocess
import sys
from types import SimpleNamespace

import cv2
import naive
import numpy as np
import pytest
from conftest import BRAIN
from hypothesis import given, settings
from hypothesis import strategies as st

from scangan.preprocessing import PreprocessingError
from scangan.preprocessing.kernels import clahe, equalize, shrink

SCANS = [
    cv2.imread(str(sorted(folder.iterdir())[0]), cv2.IMREAD_GRAYSCALE)
    for folder in sorted(p for p in BRAIN.iterdir() if p.is_dir())
]


def deep(scan, seed=0):
    """Give a scan 12 bits of content: its levels times 16, and noise below them."""
    noise = np.random.default_rng(seed).integers(0, 16, scan.shape)
    return (scan.astype(np.uint16) * 16 + noise).astype(np.uint16)


def far(a, b):
    return np.abs(a.astype(float) - b).max()


@pytest.mark.parametrize("scan", SCANS, ids=range(len(SCANS)))
def test_equalising_8_bits_is_opencvs(scan):
    assert np.array_equal(equalize(scan), cv2.equalizeHist(scan))
    big = cv2.resize(scan, (301, 401), interpolation=cv2.INTER_CUBIC)  # pairs, and an odd width
    assert np.array_equal(equalize(big), cv2.equalizeHist(big))
    assert np.array_equal(equalize(big[:, :300]), cv2.equalizeHist(big[:, :300]))


def test_equalising_16_bits_has_a_bin_for_every_value():
    scan = deep(SCANS[0][20:60, 20:61])
    got = equalize(scan)
    assert got.dtype == np.uint16
    assert far(got, naive.equalize_deep(scan, 0, 65535)) <= 0.51
    assert len(np.unique(got)) == len(np.unique(scan)) > 256


@pytest.mark.parametrize("window", [(500, 1500), (0, 100), (4000, 60000), (3, 4)])
def test_equalising_counts_what_lies_beyond_the_window_as_its_edges(window):
    scan = deep(SCANS[1][20:60, 20:61])
    expected = naive.equalize_deep(scan, *window)
    assert far(equalize(scan, window=window), expected) <= 0.51
    assert far(equalize(scan, window=window[::-1]), 65535 - expected) <= 0.51


@pytest.mark.parametrize(
    "shape", [(32, 32), (64, 64), (50, 31), (128, 128), (1, 1), (127, 3), (64, 32)]
)
@pytest.mark.parametrize("equalized", [False, True])
def test_shrinking_8_bits_is_opencvs(shape, equalized):
    for scan in SCANS[:2]:
        scan = scan[:128, :128]
        assert scan.shape == (128, 128)
        before = cv2.equalizeHist(scan) if equalized else scan
        expected = cv2.resize(before, shape[::-1], interpolation=cv2.INTER_AREA)
        got = shrink(scan, shape, equalized=equalized)
        assert far(got, expected) <= 1
        whole = 128 % shape[0] == 0 == 128 % shape[1]
        assert not whole or np.array_equal(got, expected)
        assert far(got, naive.shrink(before, *shape)) <= 0.5 + 1e-3


@settings(max_examples=60)
@given(
    height=st.integers(1, 60), width=st.integers(1, 60), down=st.floats(0, 1), across=st.floats(0, 1),
    seed=st.integers(0, 99), depth=st.sampled_from([8, 12, 16]),
)  # fmt: skip
def test_shrinking_by_any_factors_averages_over_areas(height, width, down, across, seed, depth):
    image = np.random.default_rng(seed).integers(0, 1 << depth, (height, width))
    rows, columns = 1 + int(down * (height - 1)), 1 + int(across * (width - 1))
    expected = naive.shrink(image, rows, columns)
    if depth == 8:
        assert far(shrink(image.astype(np.uint8), (rows, columns)), expected) <= 0.5 + 1e-3
    else:
        got = shrink(image.astype(np.uint16), (rows, columns), window=(0, (1 << depth) - 1))
        assert far(got, expected * 255 / ((1 << depth) - 1)) <= 0.5 + 1e-3


def test_a_column_of_very_many_rows_does_not_overflow():
    tall = np.full((40_000, 2), 255, np.uint8)
    assert np.array_equal(shrink(tall, (3, 1)), [[255]] * 3)


def test_shrinking_16_bits_clips_to_the_window_before_it_averages():
    image = np.array([[0, 65535], [1000, 2000]], np.uint16)
    assert shrink(image, (1, 1), window=(1000, 2000)) == round((0 + 255 + 0 + 255) / 4)
    assert np.array_equal(shrink(image, (2, 2), window=(2000, 1000)), [[255, 0], [255, 0]])


def test_shrinking_16_bits_equalised_rounds_once():
    scan = deep(SCANS[2][:96, :120])
    expected = naive.shrink(naive.equalize_deep(scan, 200, 3000), 24, 31) / 257
    got = shrink(scan, (24, 31), equalized=True, window=(200, 3000))
    assert far(got, expected) <= 0.5 + 1e-2
    inverted = shrink(scan, (24, 31), equalized=True, window=(3000, 200))
    assert far(inverted, 255 - expected) <= 0.5 + 1e-2


@pytest.mark.parametrize(("clip", "tiles"), [(2.0, 8), (1.0, 4), (40.0, 3), (3.5, 1), (2.0, 64)])
def test_clahe_of_8_bits_is_opencvs(clip, tiles):
    for scan in (*SCANS[:2], SCANS[0][:101, :67], cv2.resize(SCANS[1], (333, 517))):
        scan = np.ascontiguousarray(scan)
        expected = cv2.createCLAHE(clip, (tiles, tiles)).apply(scan)
        assert far(clahe(scan, clip=clip, tiles=tiles), expected) <= 1


def test_clahe_has_no_seam_at_any_width_of_a_tile():
    """Columns right above a tile's centre, where rounding may fall to either side."""
    wide = cv2.resize(SCANS[0], (1050, 40), interpolation=cv2.INTER_CUBIC)
    for columns in range(2, 263):
        scan = np.ascontiguousarray(wide[:, : 4 * columns])
        expected = cv2.createCLAHE(2.0, (4, 4)).apply(scan)
        assert far(clahe(scan, tiles=4), expected) <= 1, columns


@pytest.mark.parametrize(("clip", "tiles"), [(2.0, 4), (1.0, 3), (8.0, 1)])
def test_clahe_is_the_textbooks(clip, tiles):
    scan = np.ascontiguousarray(SCANS[0][30:79, 30:71])
    got = clahe(scan, clip=clip, tiles=tiles)
    assert far(got, 255 * naive.clahe(scan, clip, tiles)) <= 1
    got = clahe(deep(scan), clip=clip, tiles=tiles, window=(0, 4095))
    assert far(got, 65535 * naive.clahe(deep(scan), clip, tiles, 0, 4095)) <= 257 / 8


def test_clahe_of_16_bits_limits_contrast_as_that_of_8_does():
    scan = SCANS[3]
    of_8 = clahe(scan).astype(float)
    assert far(clahe(scan.astype(np.uint16), window=(0, 255)) / 257, of_8) <= 1
    assert far(clahe(scan.astype(np.uint16) * 256 + 255, window=(0, 65535)) / 257, of_8) <= 1


def test_clahe_of_an_inverted_window_is_that_of_the_inverted_scan():
    scan = deep(SCANS[1])
    assert np.array_equal(
        clahe(scan, window=(4095, 0)), clahe((4095 - scan).astype(np.uint16), window=(0, 4095))
    )


@pytest.mark.parametrize("kernel", [equalize, clahe, lambda i, **k: shrink(i, (16, 16), **k)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_batch_is_its_images_one_by_one_on_any_number_of_threads(kernel, dtype):
    batch = np.stack([scan[:64, :80].astype(dtype) for scan in SCANS])
    alone = np.stack([kernel(image) for image in batch])
    for threads in (None, 1, 3):
        assert np.array_equal(kernel(batch, threads=threads), alone)
    assert np.array_equal(kernel(batch[:, ::2, ::-1])[0], kernel(batch[0, ::2, ::-1].copy()))


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_images_of_a_few_pixels_are_no_special_case(shape, dtype):
    image = np.arange(np.prod(shape), dtype=dtype).reshape(shape)
    for out in (equalize(image), clahe(image), shrink(image, shape)):
        assert out.shape == shape


@pytest.mark.parametrize("level", [0, 7, 255])
def test_a_constant_image_does_not_divide_by_zero(level):
    flat = np.full((9, 9), level, np.uint8)
    assert np.array_equal(equalize(flat), flat)
    assert np.array_equal(equalize(flat.astype(np.uint16)), np.zeros((9, 9)))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: equalize(np.zeros((4, 4), np.int32)), "int32"),
        (lambda: equalize(np.zeros(4, np.uint8)), "shape"),
        (lambda: clahe(np.zeros((0, 4), np.uint8)), "shape"),
        (lambda: clahe(np.zeros((4, 4), np.uint8), clip=0.5), "clip 0.5"),
        (lambda: clahe(np.zeros((4, 4), np.uint8), tiles=65), "tiles 65"),
        (lambda: clahe(np.zeros((4, 4), np.uint8), clip=float("inf")), "clip inf"),
        (lambda: equalize(np.zeros((4, 4), np.uint16), window=(0.5, 9)), "window"),
        (lambda: equalize(np.zeros((4, 4), np.uint8), window=(0, 9)), "window"),
        (lambda: equalize(np.zeros((4, 4), np.uint16), window=(9, 9)), "window"),
        (lambda: equalize(np.zeros((4, 4), np.uint16), window=(-1, 9)), "window"),
        (lambda: shrink(np.zeros((4, 4), np.uint8), (5, 4)), "4x4 pixels to 5x4"),
        (lambda: shrink(np.zeros((4, 4), np.uint8), (0, 4)), "0x4"),
    ],
)
def test_what_a_kernel_does_not_take_is_refused(call, says):
    with pytest.raises(PreprocessingError, match=says):
        call()


def test_numba_is_imported_by_the_first_call_and_not_before():
    code = (
        "import sys, numpy\nfrom scangan.preprocessing.kernels import equalize\n"
        "assert 'numba' not in sys.modules\n"
        "equalize(numpy.zeros((4, 4), numpy.uint8))\nassert 'numba' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_kernels_work_where_nothing_can_be_cached(monkeypatch):
    import numba

    from scangan.preprocessing.kernels import jit

    def njit(*, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return numba.njit(**options)

    monkeypatch.setattr(jit, "numba", SimpleNamespace(njit=njit))
    assert jit.kernel(lambda x: x + x)(21) == 42
