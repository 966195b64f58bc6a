"""Windows: which values become black and white."""

import numpy as np
import pytest

from scangan.preprocessing import PrepOptions
from scangan.preprocessing.geometry import place_of
from scangan.preprocessing.intensity import (
    Survey,
    choose_window,
    own_window,
    thinned,
    to_uint16,
)
from scangan.preprocessing.reading.scan import Scan
from scangan.preprocessing.transforms import prepare_scan

RNG = np.random.default_rng(0)


def hounsfield(shape=(80, 80)):
    """Something like a CT slice: stored unsigned, -1024 at 0."""
    return Scan(RNG.integers(0, 3000, shape).astype(np.uint16), intercept=-1024.0)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("offset", [-5.0, 0.0, 700.0])
def test_a_survey_knows_the_percentiles_of_any_range_of_values(scale, offset):
    values = ((RNG.normal(size=(4, 200, 200)) + offset) * scale).astype(np.float32)
    survey = Survey()
    for image in values:
        survey.add([Scan(image)])
    low, high = np.quantile(values, [0.001, 0.999])
    got = survey.window()
    tolerance = 1e-3 * float(abs(values).max())
    assert got == pytest.approx((low, high), abs=tolerance)
    assert survey.scans == 4


def test_every_scan_weighs_the_same_whatever_its_size():
    survey = Survey()
    survey.add([Scan(np.full((5, 5), 100, np.uint16))])  # fewer pixels than the window leaves out
    survey.add([Scan(np.full((500, 500), 900, np.uint16))])
    assert survey.window() == pytest.approx((100, 900), rel=1e-3)


def test_a_survey_does_not_depend_on_the_order():
    scans = [Scan(RNG.integers(0, 4096, (50, 60)).astype(np.uint16)) for _ in range(20)]
    one, two = Survey(), Survey()
    for scan in scans:
        one.add([scan])
    for scan in reversed(scans):
        two.add([scan])
    assert one.window() == two.window()


@pytest.mark.parametrize("shape", [(4096, 3328), (2048, 2048), (1000, 512), (300, 251)])
def test_a_window_is_measured_in_every_column_and_row(shape):
    """A bright strip, 2% of all pixels, wherever it lies."""
    for at in range(8):
        for axis in (0, 1):
            pixels = np.zeros(shape, np.uint16)
            strip = np.moveaxis(pixels, axis, 0)
            wide = len(strip) // 50
            strip[at * wide // 8 + 3 : at * wide // 8 + 3 + wide] = 900
            assert own_window(Scan(pixels)) == (0, 900)
            survey = Survey()
            survey.add([thinned(Scan(pixels))])
            assert survey.window() == pytest.approx((0, 900), abs=1)


def test_an_empty_survey_has_no_scans():
    assert Survey().scans == 0 and Survey().outliers == []


def test_a_hot_pixel_does_not_set_the_window():
    image = RNG.integers(0, 1000, (200, 200)).astype(np.float32)
    image[3, 3] = 1e9
    assert own_window(Scan(image))[1] < 1001
    survey = Survey()
    survey.add([Scan(image)])
    assert survey.window()[1] < 1001


def test_a_window_is_never_empty():
    flat = Scan(np.full((9, 9), 7, np.uint16))
    survey = Survey()
    survey.add([flat])
    for low, high in (own_window(flat), survey.window()):
        assert low < high


@pytest.mark.parametrize(
    ("window", "has", "expected"),
    [
        ("auto", (1.0, 2.0), (1.0, 2.0)),
        ("auto", None, (5.0, 6.0)),
        ("dicom", (1.0, 2.0), (1.0, 2.0)),
        ("dicom", None, (5.0, 6.0)),
        ("dataset", (1.0, 2.0), (5.0, 6.0)),
        ("-160,240", (1.0, 2.0), (-160.0, 240.0)),
    ],
)
def test_which_window_is_taken(window, has, expected):
    scan = Scan(np.zeros((4, 4), np.uint16), window=has)
    assert choose_window(scan, PrepOptions(window=window), (5.0, 6.0)) == expected


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.int32, np.uint32, np.float32])
@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("slope", [1.0, -1.0, 0.5])
@pytest.mark.parametrize("window", [(-160.0, 240.0), (-1024.0, 1975.0), (-3000.0, 90000.0)])
def test_windowing_is_linear_between_black_and_white(dtype, inverted, slope, window):
    stored = RNG.integers(0, 256 if dtype is np.uint8 else 3000, (64, 64)).astype(dtype)
    if dtype is np.int16:
        stored -= 1500
    scan = Scan(stored, slope=slope, intercept=-1024.0, inverted=inverted)
    grey = (stored.astype(np.float64) * slope - 1024 - window[0]) / (window[1] - window[0])
    expected = 255 * (1 - grey.clip(0, 1) if inverted else grey.clip(0, 1))
    got = prepare_scan(scan, place_of(scan, PrepOptions()), PrepOptions(), window)
    assert np.abs(got - expected).max() <= 0.5 + 0.3  # the ends may be rounded to whole values


def test_whole_values_keep_bins_of_their_own():
    pixels, ends = to_uint16(hounsfield(), (-1024.0, 1976.0))
    assert ends == (0, 3000)
    signed = Scan(RNG.integers(-1000, 2000, (9, 9)).astype(np.int16))
    pixels, ends = to_uint16(signed, (-1000.0, 2000.0))
    assert ends == (31768, 34768)
    assert np.array_equal(pixels.astype(int) - 32768, signed.pixels)


def test_a_window_beyond_what_16_bits_hold_is_fine():
    pixels, ends = to_uint16(hounsfield(), (-1e6, 1e6))
    assert ends == (0, 65535) and pixels.std() > 0


def test_zero_is_zero():
    survey = Survey()
    image = RNG.integers(0, 1000, (100, 100)).astype(np.uint16)
    image[:50] = 0
    survey.add([Scan(image)])
    assert survey.window()[0] == 0
