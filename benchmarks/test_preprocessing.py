"""Preparation: the kernels, and one file, beside what users call today."""

import cv2
import numpy as np
import pytest
import skimage.exposure
import skimage.transform
from PIL import Image, ImageOps

from scangan.preprocessing import PrepOptions
from scangan.preprocessing.geometry import place_of
from scangan.preprocessing.kernels import clahe, equalize, shrink
from scangan.preprocessing.reading.reader import read_scans
from scangan.preprocessing.transforms import prepare_scan

PIXELS = 1 << 24  # a round


@pytest.fixture(scope="module")
def scan(sample_files):
    """Give a real scan at any size, with noise in its lowest bits: uint8, or uint16 of 12 bits."""

    def make(size, bits=8):
        real = cv2.imread(str(sample_files[0]), cv2.IMREAD_GRAYSCALE)
        big = cv2.resize(real, (size, size), interpolation=cv2.INTER_CUBIC).astype(np.float64)
        noisy = (big + np.random.default_rng(0).normal(0, 2, big.shape)) * 2 ** (bits - 8)
        return noisy.clip(0, 2**bits - 1).astype(np.uint8 if bits == 8 else np.uint16)

    return make


def _time(benchmark, group, name, function, image):
    times = max(1, PIXELS // 4 // image.size)
    benchmark.group, benchmark.name = group, name
    benchmark.extra_info["images"] = times

    def round():
        for _ in range(times):
            function(image)

    benchmark.pedantic(round, rounds=9, warmup_rounds=1)


def _opencv_equalize_resize(image, size):
    return cv2.resize(cv2.equalizeHist(image), (size, size), interpolation=cv2.INTER_AREA)


def _scikit_equalize_resize(image, size):
    even = skimage.exposure.equalize_hist(image)
    return (skimage.transform.resize(even, (size, size), anti_aliasing=True) * 255).astype(np.uint8)


@pytest.mark.parametrize(("size", "to"), [(256, 64), (512, 128), (1024, 256), (1316, 256)])
@pytest.mark.parametrize("who", ["scangan", "opencv", "scikit-image"])
def test_equalize_and_resize(benchmark, scan, size, to, who):
    function = {
        "scangan": lambda image: shrink(image, (to, to), equalized=True),
        "opencv": lambda image: _opencv_equalize_resize(image, to),
        "scikit-image": lambda image: _scikit_equalize_resize(image, to),
    }[who]
    _time(benchmark, f"equalise and resize, uint8, {size} -> {to}", who, function, scan(size))


@pytest.mark.parametrize(("size", "to"), [(512, 128), (1024, 256), (1316, 256)])
@pytest.mark.parametrize("who", ["scangan", "opencv"])
@pytest.mark.parametrize("bits", [8, 12])
def test_resize(benchmark, scan, size, to, who, bits):
    function = {
        "scangan": lambda image: shrink(image, (to, to), window=(0, 4095) if bits > 8 else None),
        "opencv": lambda image: cv2.resize(image, (to, to), interpolation=cv2.INTER_AREA),
    }[who]
    _time(
        benchmark, f"resize by areas, {bits} bits, {size} -> {to}", who, function, scan(size, bits)
    )


@pytest.mark.parametrize("size", [128, 256, 512, 1024, 2048])
@pytest.mark.parametrize("who", ["scangan", "opencv"])
def test_clahe_8(benchmark, scan, size, who):
    function = {"scangan": clahe, "opencv": cv2.createCLAHE(2.0, (8, 8)).apply}[who]
    _time(benchmark, f"CLAHE, uint8, {size}", who, function, scan(size))


@pytest.mark.parametrize("size", [256, 512, 1024, 2048])
@pytest.mark.parametrize("who", ["scangan", "opencv", "scikit-image"])
def test_clahe_16(benchmark, scan, size, who):
    if who == "scikit-image" and size > 512:
        pytest.skip("takes seconds an image")
    function = {
        "scangan": lambda image: clahe(image, window=(0, 4095)),
        "opencv": cv2.createCLAHE(2.0, (8, 8)).apply,
        "scikit-image": skimage.exposure.equalize_adapthist,
    }[who]
    _time(benchmark, f"CLAHE, uint16 with 12 bits, {size}", who, function, scan(size, 12))


@pytest.mark.parametrize("size", [256, 512, 1024])
@pytest.mark.parametrize("who", ["scangan", "scikit-image"])
def test_equalize_16(benchmark, scan, size, who):
    function = {
        "scangan": equalize,
        "scikit-image": lambda image: skimage.exposure.equalize_hist(image, nbins=65536),
    }[who]
    _time(benchmark, f"equalise, uint16 with 12 bits, {size}", who, function, scan(size, 12))


@pytest.mark.parametrize("size", [256, 512, 1024])
@pytest.mark.parametrize("who", ["scangan", "opencv"])
def test_equalize_8(benchmark, scan, size, who):
    function = {"scangan": equalize, "opencv": cv2.equalizeHist}[who]
    _time(benchmark, f"equalise, uint8, {size}", who, function, scan(size))


def _scangan(path, equalize):
    options = PrepOptions(size=64, equalize="global" if equalize else "none")
    return [
        prepare_scan(scan, place_of(scan, options), options)
        for _, scan in read_scans(path.read_bytes(), options.wanted())
    ]


def _opencv(path, equalize):
    image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if equalize:
        image = cv2.equalizeHist(image)
    return cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA)


def _pillow(path, equalize):
    image = Image.open(path).convert("L")
    if equalize:
        image = ImageOps.equalize(image)
    return np.asarray(ImageOps.pad(image, (64, 64), Image.Resampling.BOX))


@pytest.mark.parametrize("equalize", [False, True], ids=["plain", "equalised"])
@pytest.mark.parametrize("prepare", [_scangan, _opencv, _pillow])
def test_prepare(benchmark, sample_files, prepare, equalize):
    what = "equalise, " if equalize else ""
    benchmark.group = f"prepare JPEG 128 -> 64: read, decode, {what}resize"
    benchmark.name = prepare.__name__[1:]
    benchmark.extra_info["images"] = len(sample_files)
    benchmark.pedantic(
        lambda: [prepare(f, equalize) for f in sample_files], rounds=9, warmup_rounds=1
    )
