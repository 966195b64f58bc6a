"""Preparation: files to squares, scangan beside what users write with Pillow."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from scangan.preprocessing import PrepOptions
from scangan.preprocessing.reading import read_grey
from scangan.preprocessing.transforms import prepare_image


def _scangan(path, equalize):
    options = PrepOptions(size=64, equalize="global" if equalize else "none")
    return prepare_image(read_grey(path.read_bytes()), options)


def _pillow(path, equalize):
    image = Image.open(path).convert("L")
    if equalize:
        image = ImageOps.equalize(image)
    return np.asarray(ImageOps.pad(image, (64, 64), Image.Resampling.BOX))


@pytest.mark.parametrize("equalize", [False, True], ids=["plain", "equalised"])
@pytest.mark.parametrize("prepare", [_scangan, _pillow])
def test_prepare(benchmark, sample_files, prepare, equalize):
    what = "equalise, " if equalize else ""
    benchmark.group = f"prepare JPEG 128 -> 64: decode, {what}resize"
    benchmark.name = prepare.__name__[1:]
    benchmark.extra_info["images"] = len(sample_files)
    benchmark.pedantic(
        lambda: [prepare(f, equalize) for f in sample_files], rounds=9, warmup_rounds=1
    )
