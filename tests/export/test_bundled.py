"""The bundled models and starting weights: what they refuse, and what they say of themselves."""

import json

import numpy as np
import onnxruntime
import pytest
import torch

from scangan.artifacts.modelfile import read_model_file
from scangan.artifacts.train_options import TrainOptions
from scangan.core.devices import CPU, Device
from scangan.runtime.catalog import BUNDLED, bundled_models, open_model
from scangan.training.bundled_weights import bundled_file, starting_names
from scangan.training.checkpoints import read_tensors
from scangan.training.recipe import options_from
from scangan.training.starting_weights import check_fit, read_starting_weights

MODELS = sorted(file.stem for file in BUNDLED.glob("*.onnx"))
MOST_BYTES = 8_000_000
SOURCES = {  # recipe, licence, and a word of the citation
    "brain": ("stable", "MIT", "Bhuvaji"),
    "chest": ("stable", "CC BY 4.0", "Kermany"),
    "thyroid": ("thyroid-spect-64", "Apache-2.0", "Simulated"),
}


def test_all_are_there():
    assert starting_names() == ["brain-mri-128", "brain-mri-64", "chest-xray-128"]
    assert bundled_models() == [*starting_names(), "thyroid-phantom-64"]
    for name in bundled_models():
        for precision in ("int8",) if name.startswith("thyroid") else ("int8", "fp32"):
            assert open_model(name, Device("cpu", CPU), precision).card.precision == precision


@pytest.mark.parametrize("name", MODELS)
def test_no_other_label_runs(name):
    session = onnxruntime.InferenceSession(BUNDLED / f"{name}.onnx")
    count = len(read_model_file(BUNDLED / f"{name}.onnx").card.classes)
    for label in ([-1], [-count], [count], [9], [0, 1, -1, 1], [count] * 3):
        z = np.zeros((len(label), 100), np.float32)
        with pytest.raises(Exception, match=f"label_must_be_0_to_{count - 1}"):
            session.run(["image"], {"z": z, "label": np.array(label)})


@pytest.mark.parametrize("name", MODELS)
def test_the_card_says_what_reproduces_it_and_nothing_of_the_machine(name):
    card = read_model_file(BUNDLED / f"{name}.onnx").card
    started = {"started_from"} if name.startswith("brain-mri-128") else set()
    assert set(card.recipe) == {"name", "options", "kept", "kept_kimg"} | started
    recipe, license, source = next(
        told for start, told in SOURCES.items() if name.startswith(start)
    )
    assert card.recipe["name"] == recipe
    assert card.recipe["options"]["mirror"] == name.startswith("brain")
    told = [card.recipe, card.preprocessing, card.versions, card.scores]
    assert not {"/", "\\"} & set(json.dumps(told))
    assert card.license == license and source in card.citation
    notice = (BUNDLED / "NOTICE").read_text(encoding="utf-8")
    assert card.citation.split(". ")[0] in notice and card.license in notice


@pytest.mark.parametrize("name", MODELS)
def test_the_card_has_the_figures_of_other_networks(name):
    spaces = read_model_file(BUNDLED / f"{name}.onnx").card.judged["spaces"]
    assert set(spaces) == {"efficientnet-lite0", "dinov2-s", "resnet-nsfw"}


@pytest.mark.parametrize("name", starting_names())
def test_starting_weights_fit_the_default_and_name_no_scan(name):
    file = bundled_file(name)
    assert file.stat().st_size < MOST_BYTES
    tensors, metadata = read_tensors(file)
    assert all(t.dtype == torch.float16 for t in tensors.values() if t.is_floating_point())
    assert set(metadata) == {"told", "options", "classes"}
    weights = read_starting_weights(name)
    assert weights.told.name == name and not weights.trained_on
    card = read_model_file(BUNDLED / f"{name}.onnx").card
    assert weights.classes == card.classes
    assert weights.told.dataset_fingerprint == card.dataset_fingerprint
    assert weights.options == TrainOptions.from_dict(card.recipe["options"])
    size = weights.options.size
    assert size == card.size
    for other in (64, 128):  # the same layers, and those of twice or half the size
        check_fit(weights, options_from("stable", {"size": other, "width": 2048 // other}))
