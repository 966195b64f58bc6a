"""An image is a function of (model file, seed, class, index), and of nothing else."""

import numpy as np
import pytest

from scangan.runtime import GenerationError, ScanGenerator
from scangan.runtime.catalog import bundled_models


@pytest.mark.parametrize("batch", [1, 7, 40])
@pytest.mark.parametrize("threads", [1, 2])
def test_same_bytes_whatever_the_batch_and_threads(tiny_acgan, batch, threads):
    want = ScanGenerator(tiny_acgan, batch=100, threads=1).sample(100, "dog", seed=7)
    got = ScanGenerator(tiny_acgan, batch=batch, threads=threads).sample(40, "dog", seed=7)
    assert np.array_equal(got, want[:40])


def test_start_continues(tiny_acgan):
    generator = ScanGenerator(tiny_acgan)
    assert np.array_equal(generator.sample(15, 0)[10:], generator.sample(5, 0, start=10))


def test_scans_are_grey_and_differ(tiny_acgan):
    generator = ScanGenerator(tiny_acgan)
    draws = [generator.sample(3, k, seed) for k in (0, 1) for seed in (0, 1)]
    assert all(d.shape == (3, 32, 32) and d.dtype == np.uint8 for d in draws)
    assert len({image.tobytes() for d in draws for image in d}) == 12


def test_a_name_goes_before_a_number(tiny_acgan):
    generator = ScanGenerator(tiny_acgan)  # its classes: cat, dog, 2
    assert generator.card.class_number("2") == 2
    assert generator.card.class_number("dog") == generator.card.class_number("1") == 1
    assert np.array_equal(generator.sample(2, "cat"), generator.sample(2, 0))


@pytest.mark.parametrize("wanted", ["mouse", "3", "-1", 3, -1, ""])
def test_a_class_that_is_not_there_lists_those_that_are(tiny_acgan, wanted):
    with pytest.raises(GenerationError, match="0 cat, 1 dog, 2 2"):
        ScanGenerator(tiny_acgan).sample(1, wanted)


def test_an_unconditional_model_takes_no_class(tiny_dcgan):
    generator = ScanGenerator(tiny_dcgan)
    assert generator.sample(2).shape == (2, 32, 32)
    with pytest.raises(GenerationError, match="no classes"):
        generator.sample(1, 0)


def test_a_conditional_model_needs_one(tiny_acgan):
    with pytest.raises(GenerationError, match="needs a class; it has: cat, dog, 2"):
        ScanGenerator(tiny_acgan).sample(1)


@pytest.mark.parametrize("options", [{"batch": 0}, {"batch": 10**6}, {"threads": 0}])
def test_options_out_of_range(tiny_acgan, options):
    with pytest.raises(GenerationError, match="out of range"):
        ScanGenerator(tiny_acgan, **options)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_out_of_range(tiny_acgan, seed):
    with pytest.raises(GenerationError, match="--seed"):
        ScanGenerator(tiny_acgan).sample(1, 0, seed)


def test_no_such_model_lists_the_bundled_ones():
    with pytest.raises(GenerationError, match=f"bundled models: {', '.join(bundled_models())}$"):
        ScanGenerator("nowhere.onnx")


def test_the_bundled_model_makes_scans_of_its_classes():
    with ScanGenerator() as generator:
        assert generator.classes == (
            "glioma_tumor", "meningioma_tumor", "no_tumor", "pituitary_tumor",
        )  # fmt: skip
        images = generator.sample(4, "glioma_tumor")
    assert images.shape == (4, 64, 64)
    assert images.std() > 20  # not blank
    assert generator.card.license == "MIT" and "1183165" in generator.card.citation


def test_no_onnxruntime_says_what_to_type(tiny_acgan, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(GenerationError, match=r'pip install "scangan\[cpu\]"'):
        ScanGenerator(tiny_acgan)
