"""A model file that is not as our exporter wrote it is refused before it runs."""

import dataclasses
import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from scangan.artifacts.card import KEY, ModelCard
from scangan.artifacts.modelfile import graph_sha256, read_model_file
from scangan.runtime import GenerationError, ScanGenerator
from scangan.runtime.info import card_rows, card_table


@pytest.fixture
def model(tiny_acgan):
    return onnx.load(tiny_acgan)


def _card(model):
    return json.loads(model.metadata_props[0].value)


def _save(model, path, **changes):
    """Save with a card that fits the changed graph, so that only the change itself can be refused."""
    card = _card(model) | {"graph_sha256": graph_sha256(model.SerializeToString())} | changes
    del card["card_sha256"]
    del model.metadata_props[:]
    model.metadata_props.append(onnx.StringStringEntryProto(key=KEY, value=json.dumps(card)))
    path.write_bytes(model.SerializeToString())
    return path


def test_the_small_reader_agrees_with_onnx(tiny_acgan, model):
    file = read_model_file(tiny_acgan)
    assert file.card.classes == tuple(_card(model)["classes"])
    assert file.card.graph_sha256 == _card(model)["graph_sha256"]


def test_the_card_survives_onnx_save(tiny_acgan, model, tmp_path):
    onnx.save(model, tmp_path / "again.onnx")
    assert read_model_file(tmp_path / "again.onnx").card == read_model_file(tiny_acgan).card


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.9, 0.99, 0.9999])
def test_truncated(tiny_acgan, tmp_path, share):
    data = tiny_acgan.read_bytes()
    (tmp_path / "cut.onnx").write_bytes(data[: int(len(data) * share)])
    with pytest.raises(GenerationError, match="truncated"):
        read_model_file(tmp_path / "cut.onnx")


def test_every_short_prefix_and_random_bytes_are_refused_and_nothing_worse(tiny_acgan, tmp_path):
    data = tiny_acgan.read_bytes()
    rng = np.random.default_rng(0)
    candidates = [data[:n] for n in range(0, 400)]
    candidates += [rng.bytes(int(n)) for n in rng.integers(1, 500, 300)]
    for candidate in candidates:
        (tmp_path / "x.onnx").write_bytes(candidate)
        with pytest.raises(GenerationError):
            read_model_file(tmp_path / "x.onnx")


def test_one_flipped_bit_anywhere_is_refused(tiny_acgan, tmp_path):
    data = bytearray(tiny_acgan.read_bytes())
    graph_end = bytes(data).rindex(b"scangan")
    for at in np.random.default_rng(0).integers(20, graph_end - 100, 60):
        changed = bytearray(data)
        changed[at] ^= 1
        (tmp_path / "x.onnx").write_bytes(changed)
        with pytest.raises(GenerationError):
            read_model_file(tmp_path / "x.onnx")


def test_no_card(model, tmp_path):
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "x.onnx")
    with pytest.raises(GenerationError, match="no scangan card"):
        read_model_file(tmp_path / "x.onnx")


def test_an_operator_that_we_never_write(model, tmp_path):
    node = helper.make_node("Erf", [model.graph.node[-1].output[0]], ["extra"])
    model.graph.node.append(node)
    with pytest.raises(GenerationError, match="operator 'Erf'"):
        read_model_file(_save(model, tmp_path / "x.onnx"))


def test_an_operator_of_another_domain(model, tmp_path):
    model.graph.node[0].domain = "com.evil"
    with pytest.raises(GenerationError, match="never writes"):
        read_model_file(_save(model, tmp_path / "x.onnx"))


def test_external_data(model, tmp_path):
    tensor = next(t for t in model.graph.initializer if len(t.raw_data) > 100)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    with pytest.raises(GenerationError, match="another file"):
        read_model_file(_save(model, tmp_path / "x.onnx"))


def test_external_data_in_a_constant(model, tmp_path):
    tensor = numpy_helper.from_array(np.zeros(3, np.float32), "c")
    tensor.data_location = TensorProto.EXTERNAL
    node = helper.make_node("Cast", [], ["c"], to=1)
    node.attribute.append(helper.make_attribute("value", tensor))
    model.graph.node.append(node)
    with pytest.raises(GenerationError, match="another file"):
        read_model_file(_save(model, tmp_path / "x.onnx"))


def test_a_tag_that_other_readers_would_cut_to_another_field(model, tmp_path):
    # Field 4 (op_type) with bit 32 set: protobuf's C++ reader sees op_type, a careless one nothing.
    relu = next(n for n in model.graph.node if n.op_type == "Relu")
    unknown = bytes([0xA2, 0x80, 0x80, 0x80, 0x10, 3]) + b"Erf"
    data = model.SerializeToString()
    old = relu.SerializeToString()
    changed = data.replace(
        bytes([0x0A, len(old)]) + old, bytes([0x0A, len(old) + 9]) + old + unknown
    )
    assert changed != data
    (tmp_path / "x.onnx").write_bytes(changed)
    with pytest.raises(GenerationError, match="truncated or not an ONNX file"):
        read_model_file(tmp_path / "x.onnx")


def test_a_constant_of_sparse_external_weights(model, tmp_path):
    node = helper.make_node("Cast", ["a"], ["b"], to=1)
    node.attribute.append(onnx.AttributeProto(name="s", type=11))
    node.attribute[-1].sparse_tensor.dims.append(1)
    model.graph.node.append(node)
    with pytest.raises(GenerationError, match="attribute"):
        read_model_file(_save(model, tmp_path / "x.onnx"))


def test_a_file_is_run_as_the_format_that_was_checked(tiny_acgan):
    from scangan.core.session import open_session

    # Field 15, unknown to ONNX; and onnxruntime's own format is told by ORTM at byte 4.
    session = open_session(b"\x7a\x06\x00\x00ORTM" + tiny_acgan.read_bytes(), threads=1)
    assert [i.name for i in session.get_inputs()] == ["z", "label"]


def test_functions(model, tmp_path):
    function = helper.make_function(
        "local", "f", ["x"], ["y"], [helper.make_node("Relu", ["x"], ["y"])], model.opset_import
    )
    model.functions.append(function)
    with pytest.raises(GenerationError, match="functions"):
        read_model_file(_save(model, tmp_path / "x.onnx"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format_version": 99}, "newer"),
        ({"latent": 0}, "impossible sizes"),
        ({"size": 10**6}, "impossible sizes"),
        ({"architecture": "diffusion"}, "unknown architecture"),
        ({"classes": ["a", "a", "b"]}, "twice"),
        ({"classes": None}, "damaged"),
        ({"classes": "abc"}, "damaged"),
        ({"scores": None}, "scores is not of type dict"),
        ({"latent": "x"}, "latent is not of type int"),
        ({"bit_depth": 16}, "16 bits"),
        ({"classes": ["a", "b", "\ud800"]}, "surrogate"),
        ({"license": "\ud800"}, "surrogate"),
        ({"judged": {"spaces": {"\udfff": {}}}}, "surrogate"),
    ],
)
def test_a_card_that_cannot_be(model, tmp_path, change, says):
    with pytest.raises(GenerationError, match=says):
        read_model_file(_save(model, tmp_path / "x.onnx", **change))


@pytest.mark.parametrize("change", [{"size": 64}, {"latent": 11}, {"classes": []}])
def test_a_graph_that_is_not_its_cards(model, tmp_path, change):
    with pytest.raises(GenerationError, match="as its card says"):
        ScanGenerator(_save(model, tmp_path / "x.onnx", **change))


@pytest.mark.parametrize("scores", [{"agreement": [1]}, {"kid": "x"}, {"kid": 0.1}])
def test_scores_that_cannot_be_laid_out_are_damage(model, tmp_path, scores):
    file = read_model_file(_save(model, tmp_path / "x.onnx", scores=scores))
    with pytest.raises(GenerationError, match=r"x\.onnx: the card is damaged"):
        card_table(file)


def test_the_table_says_what_a_run_started_from(model, tmp_path):
    first = {"classes": ["a"], "kimg": 900, "scans": 2161, "dataset_fingerprint": "x"}
    second = first | {"name": "brain", "kimg": 20.5, "scans": 300, "started_from": first}
    recipe = {"name": "stable", "options": {"kimg": 50}, "started_from": second}
    table = card_table(read_model_file(_save(model, tmp_path / "x.onnx", recipe=recipe)))
    (line,) = (line for line in table.splitlines() if line.startswith("trained with"))
    assert line.endswith(
        "recipe stable, kimg 50, started from brain (300 scans, 20.5 kimg), started from another run "
        "(2,161 scans, 900 kimg)"
    )


def test_a_broken_graph_is_named(model, tmp_path):
    del model.graph.node[0].input[:]
    with pytest.raises(GenerationError, match=r"onnxruntime cannot run .*x\.onnx"):
        ScanGenerator(_save(model, tmp_path / "x.onnx"), allow_modified=True)


def test_a_card_with_a_class_too_many_is_one_line(model, tmp_path):
    generator = ScanGenerator(_save(model, tmp_path / "x.onnx", classes=["a", "b", "c", "d"]))
    with pytest.raises(GenerationError, match="failed to run"):
        generator.sample(1, "d")


def test_unknown_fields_of_a_card_are_left_alone():
    card = ModelCard(architecture="dcgan", latent=5, classes=(), size=32, graph_sha256="x")
    fields = json.loads(card.to_json()) | {"colour": "mauve"}
    with pytest.raises(GenerationError, match="changed after it was written"):
        ModelCard.from_json(json.dumps(fields))
    del fields["card_sha256"]
    assert ModelCard.from_json(json.dumps(fields)) == card


def test_a_card_of_brackets_without_end_is_damage(model, tmp_path):
    card = model.metadata_props[0].value
    model.metadata_props[0].value = f'{card[:-1]}, "z": {"[" * 100_000}'
    (tmp_path / "x.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(GenerationError, match="the card is damaged: it is nested too deeply"):
        read_model_file(tmp_path / "x.onnx")


@pytest.mark.parametrize("name", ["Erf" * 1000, "Erf\n", "Erf\x1b[2J", "Erf\u2028", "\ufffd" * 40])
def test_the_name_of_an_operator_cannot_take_over_the_terminal(model, tmp_path, name):
    model.graph.node[0].op_type = name
    with pytest.raises(GenerationError, match="never writes") as caught:
        read_model_file(_save(model, tmp_path / "x.onnx"))
    text = str(caught.value).replace(str(tmp_path), "")
    assert text.isprintable() and len(text) < 150


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"latent": True}, "latent is not of type int"),
        ({"parity": False}, "parity is not of type int"),
        ({"classes": ["a", ""]}, "class name that is empty"),
        ({"classes": ["a", "b\nc"]}, "cannot be printed"),
        ({"classes": ["a", "\x1b[2J"]}, "cannot be printed"),
        ({"classes": ["a", "b\u2028"]}, "cannot be printed"),
    ],
)
def test_a_card_with_what_would_go_wrong_later(model, tmp_path, change, says):
    with pytest.raises(GenerationError, match=says):
        read_model_file(_save(model, tmp_path / "x.onnx", **change))


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": "x" * 1000},
        {"latent": 10**1000},
        {"size": -(10**1000)},
        {"bit_depth": 10**1000},
    ],
)
def test_an_error_repeats_only_the_start_of_a_long_value(model, tmp_path, change):
    with pytest.raises(GenerationError, match=r"\.\.\.") as caught:
        read_model_file(_save(model, tmp_path / "x.onnx", **change))
    assert len(str(caught.value).replace(str(tmp_path), "")) < 150


def test_what_a_card_says_does_not_steer_the_terminal(model, tmp_path):
    path = _save(model, tmp_path / "x.onnx", license="\x1b[2Jfree\nclass 9  x", date="\r1 é\u3000")
    table = card_table(read_model_file(path))
    assert "\\x1b[2Jfree\\nclass 9  x" in table and "\\r1 é\u3000" in table
    assert all(line.split("  ")[0] != "class 9" for line in table.split("\n"))


def test_the_table_says_how_many_scans_a_model_without_classes_had(tiny_acgan):
    file = read_model_file(tiny_acgan)
    card = dataclasses.replace(file.card, classes=(), dataset_counts={"all": 812})
    rows = dict(card_rows(dataclasses.replace(file, card=card)))
    assert rows["dataset, with what was held back"] == "812 real scans"
