"""From a scan to a prepared square, against slow twins."""

import cv2
import naive
import numpy as np
import pytest
from conftest import BRAIN

from scangan.preprocessing import PrepOptions, PreprocessingError
from scangan.preprocessing.geometry import place_of
from scangan.preprocessing.reading.scan import Scan
from scangan.preprocessing.reading.wanted import chosen_slices
from scangan.preprocessing.transforms import KERNELS_FROM, prepare_scan

SCANS = [
    cv2.imread(str(sorted(folder.iterdir())[0]), cv2.IMREAD_GRAYSCALE)
    for folder in sorted(p for p in BRAIN.iterdir() if p.is_dir())
]


def prepare(pixels, window=None, **options):
    scan, asked = Scan(np.ascontiguousarray(pixels)), PrepOptions(**options)
    return prepare_scan(scan, place_of(scan, asked), asked, window)


def far(a, b):
    return np.abs(a.astype(float) - b).max()


@pytest.mark.parametrize(
    "shape", [(128, 128), (128, 200), (200, 128), (40, 64), (64, 64), (1, 1000), (4, 1000)]
)
def test_a_square_of_the_asked_size_with_the_scan_in_the_middle(shape):
    square = prepare(np.full(shape, 200, np.uint8), size=64)
    assert square.shape == (64, 64)
    inside = (square == 200).sum()
    assert inside == max(1, round(64 * shape[0] / max(shape))) * max(
        1, round(64 * shape[1] / max(shape))
    )
    assert set(np.unique(square)) <= {0, 200}
    rows, columns = np.nonzero(square)
    assert abs(rows.min() - (63 - rows.max())) <= 1
    assert abs(columns.min() - (63 - columns.max())) <= 1


def test_cropping_keeps_the_middle_and_stretching_all():
    scan = np.zeros((100, 200), np.uint8)
    scan[:, 50:150] = 100  # the middle square
    scan[:, 40:44] = 255
    assert np.array_equal(prepare(scan, size=50, fit="crop"), np.full((50, 50), 100))
    stretched = prepare(scan, size=50, fit="stretch")
    assert far(stretched, naive.shrink(scan, 50, 50)) <= 0.5
    assert stretched[0, 0] == 0 and stretched[0, 25] == 100 and stretched.max() > 100


@pytest.mark.parametrize("shape", [(37, 1), (1, 37), (3, 90), (300, 7)])
@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
@pytest.mark.parametrize("window", [None, (0, 65535)])
def test_any_shape_fits(shape, fit, window):
    pixels = np.full(shape, 0 if window is None else 65535)
    square = prepare(pixels.astype(np.uint8 if window is None else np.uint16), window, fit=fit)
    assert square.shape == (64, 64) and set(np.unique(square)) <= {0, 255}


def test_a_pixel_covers_the_asked_millimetres():
    scan = np.zeros((100, 100), np.uint8)
    scan[45:55, 32:72] = 255  # 20 mm by 20 mm
    told = Scan(scan, spacing=(2.0, 0.5))
    asked = PrepOptions(size=32, pixel_spacing=2.0)
    square = prepare_scan(told, place_of(told, asked), asked)
    rows, columns = np.nonzero(square > 127)
    assert np.ptp(rows) == 9 and np.ptp(columns) == 9
    assert abs(rows.mean() - 15.5) <= 1 and abs(columns.mean() - 16) <= 1


def test_shrinking_averages_and_does_not_alias():
    checker = (np.indices((128, 128)).sum(0) % 2 * 255).astype(np.uint8)
    for window in (None, (0, 255)):
        shrunk = prepare(checker.astype(np.uint8 if window is None else np.uint16), window, size=32)
        assert shrunk.min() >= 127 and shrunk.max() <= 128


def test_shrinking_by_a_whole_factor_is_the_mean_of_blocks():
    scan = SCANS[0][:128, :128]
    blocks = scan.reshape(32, 4, 32, 4).mean((1, 3))
    assert far(prepare(scan, size=32), blocks) <= 0.5 + 1e-6


def test_a_scan_of_the_right_size_is_unchanged():
    scan = SCANS[1][:64, :64]
    assert np.array_equal(prepare(scan, size=64), scan)


@pytest.mark.parametrize("scan", SCANS, ids=range(len(SCANS)))
def test_equalising_is_the_textbooks(scan):
    small = scan[:48, :48]
    got = prepare(small, size=48, equalize="global")
    assert far(got, naive.equalize(np.ascontiguousarray(small))) <= 1


@pytest.mark.parametrize("fit", ["pad", "crop"])
def test_equalising_looks_at_the_part_that_is_used(fit):
    scan = SCANS[0][:32, :64]
    got = prepare(scan, size=64 if fit == "pad" else 32, equalize="global", fit=fit)
    used = scan if fit == "pad" else scan[:, 16:48]
    assert far(got[16:48] if fit == "pad" else got, naive.equalize(np.ascontiguousarray(used))) <= 1


@pytest.mark.parametrize("equalize", ["none", "global", "clahe"])
@pytest.mark.parametrize("side", [100, 400])
def test_small_and_large_scans_come_out_as_opencv_makes_them(equalize, side):
    """Below KERNELS_FROM pixels OpenCV is called, above the kernels are."""
    assert 100 * 100 < KERNELS_FROM <= 400 * 400
    scan = cv2.resize(SCANS[2], (side, side), interpolation=cv2.INTER_CUBIC)
    before = {
        "none": lambda image: image,
        "global": cv2.equalizeHist,
        "clahe": cv2.createCLAHE(3.0, (4, 4)).apply,
    }[equalize](scan)
    expected = cv2.resize(before, (50, 50), interpolation=cv2.INTER_AREA)
    options = {"clip": 3.0, "tiles": 4} if equalize == "clahe" else {}
    assert far(prepare(scan, size=50, equalize=equalize, **options), expected) <= 1


@pytest.mark.parametrize("equalize", ["none", "global", "clahe"])
@pytest.mark.parametrize("size", [32, 100, 300])
def test_16_bits_that_hold_8_come_out_as_8_do(equalize, size):
    scan = SCANS[3][:128, :100]
    of_8 = prepare(scan, size=size, equalize=equalize)
    # CLAHE looks at where in its bin a value ends: a level of 8 bits ends where its bin does.
    deep = (
        scan.astype(np.uint16) * 256 + 255 if equalize == "clahe" else scan.astype(np.uint16) * 257
    )
    of_16 = prepare(deep, (0, 65535), size=size, equalize=equalize)
    assert far(of_16, of_8) <= (1 if size < 300 else 2)  # enlarged before rounding, or after


@pytest.mark.parametrize("size", [32, 300])
def test_clahe_of_a_window_is_clahe_of_what_it_shows(size):
    scan = SCANS[3][:128, :100].astype(np.uint16) * 16
    narrow = prepare(scan, (800, 2400), size=size, equalize="clahe")
    shown = np.rint((scan.clip(800, 2400) - 800) / 1600 * 65535).astype(np.uint16)
    assert far(narrow, prepare(shown, (0, 65535), size=size, equalize="clahe")) <= 2
    assert 0.02 < (narrow > 128).mean() < 0.6  # not white


@pytest.mark.parametrize("size", [32, 150])
def test_equalising_at_the_depth_of_the_scan_keeps_what_8_bits_would_lose(size):
    """All of the content lies within two levels of 8 bits."""
    scan = (SCANS[0][:128, :128].astype(np.uint16) + 1000).astype(np.uint16)
    got = prepare(scan, (0, 65535), size=size, equalize="global")
    expected = prepare(SCANS[0][:128, :128], size=size, equalize="global")
    assert far(got, expected) <= (1 if size < 128 else 2)
    assert len(np.unique(got)) > 100


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"size": 15}, "size 15"),
        ({"size": 1025}, "size 1025"),
        ({"equalize": "clahe!"}, "clahe!"),
        ({"fit": "squash"}, "squash"),
        ({"clip": 0.5}, "clip 0.5"),
        ({"tiles": 0}, "tiles 0"),
        ({"window": "bright"}, "bright"),
        ({"window": "9,3"}, "9,3"),
        ({"window": "nan,3"}, "nan,3"),
        ({"pixel_spacing": 0}, "pixel-spacing 0"),
        ({"axis": "oblique"}, "oblique"),
        ({"slices": "9:3"}, "9:3"),
        ({"slices": "0.2:1.3"}, "0.2:1.3"),
        ({"slices": "x"}, "x"),
        ({"volume": -1}, "volume -1"),
        ({"duplicates": "merge"}, "merge"),
    ],
)
def test_options_out_of_range_are_refused_by_name(options, says):
    with pytest.raises(PreprocessingError, match=says):
        PrepOptions(**options)


@pytest.mark.parametrize(
    ("slices", "count", "expected"),
    [
        (None, 5, range(5)),
        ("1:3", 5, range(1, 3)),
        ("3:90", 5, range(3, 5)),
        ("0.2:0.8", 10, range(2, 8)),
        ("0.0:1.0", 7, range(7)),
        ("7:9", 5, range(5, 5)),
    ],
)
def test_slices_are_numbers_or_fractions(slices, count, expected):
    assert chosen_slices(slices, count) == expected
