"""PNG files that other readers read, and contact sheets."""

import cv2
import numpy as np
import pytest
from PIL import Image

from scangan.core.png import encode_png
from scangan.core.sheet import contact_sheet, draw_text


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (64, 64), (37, 101)])
def test_other_readers_see_the_same_pixels(tmp_path, shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    data = encode_png(image, {"Comment": "made up", "scangan": '{"index": 1}'})
    assert np.array_equal(cv2.imdecode(np.frombuffer(data, np.uint8), -1), image)
    (tmp_path / "x.png").write_bytes(data)
    with Image.open(tmp_path / "x.png") as read:
        read.verify()  # chunk checksums too
    with Image.open(tmp_path / "x.png") as read:
        assert read.text == {"Comment": "made up", "scangan": '{"index": 1}'}
        assert read.mode == "L"


def test_same_image_same_bytes():
    image = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert encode_png(image, {"a": "b"}) == encode_png(image.copy(), {"a": "b"})


def test_a_smooth_image_is_compressed():
    image = np.tile(np.arange(256, dtype=np.uint8), (256, 1))
    assert len(encode_png(image)) < 5000


def test_a_sheet_shows_every_scan_enlarged_behind_its_label():
    scans = np.stack([np.full((32, 32), grey, np.uint8) for grey in (10, 20, 30)])
    sheet = contact_sheet([("first", scans), ("second, longer", scans[:1] + 60)], "title")
    for grey, count in ((10, 1), (20, 1), (30, 1), (70, 1)):
        assert (sheet == grey).sum() >= count * 96 * 96
    assert sheet.dtype == np.uint8 and sheet[-1, -1] == 255


def test_text_has_ink_and_unknown_letters_become_question_marks():
    assert draw_text("abc").min() < 100
    assert np.array_equal(draw_text("ä"), draw_text("?"))
    assert draw_text("").shape[0] == draw_text("x").shape[0]
