"""The bundled models: labels are checked, nothing else has changed since they were first released."""

import hashlib
import json

import numpy as np
import onnx
import onnxruntime
import pytest

from scangan.artifacts.modelfile import read_model_file
from scangan.runtime.catalog import BUNDLED

# sha256 of the graphs of the first release, without the check of labels: weights and all
FIRST = {
    "brain-mri-64": "513624a99b2c4c13c9b16125bcf859c6b7076e9c0531d5cbb117889f8183e772",
    "brain-mri-64-fp16": "628124707a14ef9dd95a34bf7ac6c5c1c4f44ec2d540edf2542dc834a7f81139",
    "brain-mri-64-int8": "2caf42a212b56b8eef3a63eb4c03ce80f579b0d9c6e3cc373f382da45bc5406d",
}
CHECK = ["Unsqueeze", "Equal", "Cast", "ReduceSum", "ReduceSum", "Split"]


def _without_check(graph):
    """The graph as it was before the check of labels was put in front; and the check's operators."""
    check = [node for node in graph.node if node.output[0].startswith("label_")]
    left, constants = onnx.GraphProto(), {name for node in check for name in node.input}
    left.CopyFrom(graph)
    del left.node[:], left.initializer[:]
    for node in graph.node:
        if node not in check:
            kept = left.node.add()
            kept.CopyFrom(node)
            kept.input[:] = ["label" if x == check[-1].output[0] else x for x in node.input]
    left.initializer.extend(t for t in graph.initializer if t.name not in constants)
    return left, [node.op_type for node in check]


def test_all_are_tested():
    assert {file.stem for file in BUNDLED.glob("*.onnx")} == set(FIRST)


@pytest.mark.parametrize("name", FIRST)
def test_only_the_check_has_come_since_the_first_release(name):
    model = onnx.load(BUNDLED / f"{name}.onnx")
    left, check = _without_check(model.graph)
    assert check == CHECK
    assert hashlib.sha256(left.SerializeToString()).hexdigest() == FIRST[name]


@pytest.mark.parametrize("name", FIRST)
def test_the_check_changes_no_byte_of_a_scan(name):
    model = onnx.load(BUNDLED / f"{name}.onnx")
    left, _ = _without_check(model.graph)
    before = onnx.helper.make_model(left, opset_imports=model.opset_import, ir_version=10)
    sessions = [
        onnxruntime.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"])
        for m in (before, model)
    ]
    for seed, n in enumerate((1, 7, 32)):
        z = np.random.default_rng(seed).normal(size=(n, 100)).astype(np.float32)
        feed = {"z": z, "label": np.arange(n) % 4}
        old, new = (session.run(["image"], feed)[0] for session in sessions)
        assert np.array_equal(old, new) and new.std() > 10


@pytest.mark.parametrize("name", FIRST)
def test_no_other_label_runs(name):
    session = onnxruntime.InferenceSession(BUNDLED / f"{name}.onnx")
    for label in ([-1], [-4], [4], [9], [0, 1, -1, 2], [4] * 3):
        z = np.zeros((len(label), 100), np.float32)
        with pytest.raises(Exception, match="label_must_be_0_to_3"):
            session.run(["image"], {"z": z, "label": np.array(label)})


@pytest.mark.parametrize("name", FIRST)
def test_the_card_says_what_reproduces_it_and_nothing_of_the_machine(name):
    card = read_model_file(BUNDLED / f"{name}.onnx").card
    assert set(card.recipe) == {"name", "options", "kept", "kept_kimg"}
    assert card.recipe["name"] == "stable" and card.recipe["options"]["kimg"] == 900
    assert not {"/", "\\"} & set(json.dumps([card.recipe, card.preprocessing, card.versions]))
