"""The window over all scans: no single file decides it, and what it hides is said."""

import cv2
import nibabel
import numpy as np
import pytest

from scangan.preprocessing import PrepOptions, prepare
from scangan.preprocessing.intensity import Survey, nearly_blank
from scangan.preprocessing.reading.scan import Scan
from scangan.preprocessing.summary_text import summary_lines

RNG = np.random.default_rng(0)


def slice_of(top, low=0):
    return Scan(RNG.integers(low, top, (64, 64)).astype(np.int32))


def test_a_file_far_beyond_all_others_does_not_set_the_window():
    survey = Survey()
    for number in range(5):
        survey.add([slice_of(1800)], f"mr{number}")
    alone = survey.window()
    survey.add([slice_of(60_000) for _ in range(3)], "dose")
    assert survey.window() == alone and survey.outliers == ["dose"] and survey.scans == 5


def test_an_undeclared_padding_value_does_not_set_the_window():
    survey = Survey()
    for number in range(6):
        survey.add([slice_of(1500, -1000)], f"ct{number}")
    alone = survey.window()
    padded = slice_of(1500, -1000)
    padded.pixels[:20] = -32768
    survey.add([padded], "padded")
    assert survey.window() == alone and survey.outliers == ["padded"]


def test_scans_of_different_brightness_all_count():
    survey = Survey()
    for number, top in enumerate([1000, 1500, 2500, 3500, 4000]):
        survey.add([slice_of(top)], str(number))
    assert survey.outliers == [] and survey.scans == 5
    assert survey.window()[1] == pytest.approx(4000, rel=0.02)


def test_many_bright_scans_are_no_outliers():
    survey = Survey()
    for number in range(10):
        survey.add([slice_of(1000 if number % 2 else 30_000)], str(number))
    assert survey.outliers == [] and survey.window()[1] > 25_000


def test_it_does_not_depend_on_the_order():
    scans = [slice_of(1800) for _ in range(4)] + [slice_of(60_000)]
    one, two = Survey(), Survey()
    for number, scan in enumerate(scans):
        one.add([scan], str(number))
    for number, scan in reversed(list(enumerate(scans))):
        two.add([scan], str(number))
    assert one.window() == two.window() and one.outliers == two.outliers == ["4"]


@pytest.mark.parametrize(
    ("image", "shade"),
    [
        (np.full((64, 64), 3), "black"),
        (np.full((64, 64), 252), "white"),
        (RNG.integers(0, 256, (64, 64)), ""),
        (np.pad(np.full((12, 12), 200), 26), ""),  # a small organ on black
        (np.pad(np.full((3, 3), 200), 30), "black"),
    ],
)
def test_what_shows_next_to_nothing_is_known(image, shade):
    assert nearly_blank(image.astype(np.uint8)) == shade


def written(folder, top, count=6):
    folder.mkdir(parents=True)
    for number in range(count):
        image = RNG.integers(0, top, (40, 40)).astype(np.uint16)
        cv2.imwrite(str(folder / f"{number}.png"), image)


def test_scans_that_a_window_hides_are_counted_and_the_advice_shows_them(tmp_path):
    written(tmp_path / "in/bright", 60_000)
    written(tmp_path / "in/dim", 900)
    done = prepare(tmp_path / "in", tmp_path / "out")
    said = "\n".join(summary_lines(done.info, tmp_path / "out"))
    assert "the window leaves 6 nearly black scans in dim:" in said and "--window image" in said
    done = prepare(tmp_path / "in", tmp_path / "again", PrepOptions(window="image"))
    assert "nearly" not in "\n".join(summary_lines(done.info, tmp_path / "again")).replace(
        "near_", ""
    )
    done = prepare(tmp_path / "in", tmp_path / "white", PrepOptions(window="0,100"))
    assert "nearly white" in "\n".join(summary_lines(done.info, tmp_path / "white"))


def test_the_file_that_does_not_count_is_named(tmp_path):
    written(tmp_path / "in/mr", 1500)
    dose = RNG.integers(0, 60_000, (40, 40, 3)).astype(np.uint16)
    nibabel.save(nibabel.Nifti1Image(dose, np.eye(4)), tmp_path / "in/mr/dose.nii")
    done = prepare(tmp_path / "in", tmp_path / "out")
    said = "\n".join(summary_lines(done.info, tmp_path / "out"))
    assert "left out of the window" in said and "mr/dose.nii" in said
    assert done.info.window.window[1] < 1600
    dark = [item for item in done.items if item.blank]
    assert all(item.file == "mr/dose.nii" for item in dark)
