"""A graph makes the scans that its generator makes, whatever the generator."""

import copy
import functools
import itertools

import numpy as np
import onnx
import pytest
import torch
from random_generators import LATENT, random_bank, random_generator

from scangan.artifacts.latents import draw_latents
from scangan.artifacts.modelfile import OPERATORS, graph_sha256
from scangan.core.session import open_session
from scangan.export.exporter import measure_parity, write_model
from scangan.export.graph import OPSET, to_onnx
from scangan.export.network import ShippedGenerator
from scangan.export.precision import build, latent_batches, make_images, psnr
from scangan.runtime import ModelCard, ScanGenerator
from scangan.training.networks import GeneratorBank
from scangan.training.scoring import to_grey

PLAIN = [
    {"classes": 0, "first_map": first_map, "leak": leak}
    for first_map, leak in itertools.product((4, 8), (0.0, 0.2))
]
CONDITIONAL = [
    {
        "classes": 3,
        "conditioning": conditioning,
        "first_map": first_map,
        "leak": leak,
        "share": share,
    }
    for conditioning, first_map, leak, share in itertools.product(
        ("norm", "product"), (4, 8), (0.0, 0.2), (None, 0.3)
    )
]
# torch.export takes its seconds: every value of every option, and not all of their combinations
EXPORTED = {
    "plain": {"classes": 0},
    "plain, leak, 8": {"classes": 0, "first_map": 8, "leak": 0.2},
    "norm, 8": {"classes": 3, "first_map": 8},
    "norm, leak, ramp": {"classes": 3, "leak": 0.2, "share": 0.3},
    "product, ramp": {"classes": 3, "conditioning": "product", "share": 0.3},
    "product, leak, 8": {"classes": 3, "conditioning": "product", "leak": 0.2, "first_map": 8},
    "bank": {"classes": 0, "leak": 0.2},
}


@torch.no_grad()
def _wanted(generator, z, label):
    return to_grey(generator(torch.as_tensor(z), torch.as_tensor(label))).astype(int)


@pytest.fixture(scope="module")
def exported(export_once):
    """Every generator of EXPORTED, and its graph."""
    made = {}
    for name, options in EXPORTED.items():
        generator = (random_bank if name == "bank" else random_generator)(**options)
        made[name] = generator, to_onnx(generator, LATENT)
    return made


@pytest.fixture(scope="module")
def built(exported):
    """The model of one of EXPORTED in a precision, built when it is first asked for."""

    @functools.cache
    def model(name, precision, opset=OPSET):
        return build(exported[name][0], LATENT, precision, opset).model

    return model


@pytest.fixture(scope="module")
def bank(exported):
    """Three generators in one graph, as a function of z and label."""
    generator, model = exported["bank"]
    session = open_session(model.SerializeToString(), threads=1)

    def run(z, label):
        return session.run(["image"], {"z": z, "label": np.array(label, np.int64)})[0][:, 0]

    return generator, run


def _check_folding(generator):
    z, label = torch.randn(16, LATENT), torch.arange(16) % max(generator.classes, 1)
    want = _wanted(generator, z, label)
    got = ShippedGenerator(generator)(z, label).numpy()[:, 0].astype(int)
    assert np.abs(got - want).max() <= 1
    assert (got != want).mean() < 1e-3
    assert want.std() > 10  # not blank


@pytest.mark.parametrize("options", PLAIN + CONDITIONAL, ids=str)
def test_folding_is_exact(options):
    _check_folding(random_generator(**options))


@pytest.mark.parametrize("size", [16, 64, 128])
@pytest.mark.parametrize("classes", [0, 3])
def test_folding_is_exact_at_every_size(size, classes):
    _check_folding(random_generator(size=size, classes=classes))


@pytest.mark.parametrize("name", EXPORTED)
def test_the_graph_makes_the_generators_scans(exported, name):
    generator, model = exported[name]
    assert measure_parity(model.SerializeToString(), generator, LATENT) <= 1


@pytest.mark.parametrize("name", EXPORTED)
def test_the_graph_has_the_promised_signature(exported, name):
    generator, model = exported[name]
    inputs = {i.name: i.type.tensor_type for i in model.graph.input}
    assert list(inputs) == (["z", "label"] if generator.classes else ["z"])
    assert inputs["z"].elem_type == onnx.TensorProto.FLOAT
    assert inputs["z"].shape.dim[1].dim_value == LATENT and inputs["z"].shape.dim[0].dim_param
    if generator.classes:
        assert inputs["label"].elem_type == onnx.TensorProto.INT64
    (output,) = model.graph.output
    assert output.name == "image" and output.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [d.dim_value for d in output.type.tensor_type.shape.dim[1:]] == [1, 32, 32]
    assert model.ir_version == 10 and [o.version for o in model.opset_import] == [18]


def test_the_reader_allows_every_operator_that_is_written_and_no_other(exported, built):
    models = [model for _, model in exported.values()]
    for name in ("norm, leak, ramp", "bank"):
        models += [built(name, precision) for precision in ("fp32", "fp16", "int8")]
    assert {node.op_type for model in models for node in model.graph.node} == OPERATORS


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("name", ["plain, leak, 8", "norm, 8", "product, ramp", "bank"])
def test_every_precision_of_every_generator_is_close(exported, built, name, precision):
    generator, plain = exported[name]
    batches = list(latent_batches(4, 48, LATENT, generator.classes))
    ratios = psnr(make_images(built(name, precision), batches), make_images(plain, batches))
    assert ratios.min() > (30 if precision == "int8" else 55)


@pytest.mark.parametrize("opset", [19, 20, 21])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_a_later_opset_changes_no_scan(built, precision, opset):
    name = "norm, leak, ramp"
    batches = list(latent_batches(1, 8, LATENT, EXPORTED[name]["classes"]))
    pinned, later = (built(name, precision, number) for number in (OPSET, opset))
    assert [o.version for o in later.opset_import] == [opset]
    assert psnr(make_images(later, batches), make_images(pinned, batches)).min() > 55


@pytest.mark.parametrize("name", ["norm, leak, ramp", "bank"])
def test_nothing_of_the_exporting_machine_is_in_the_file(exported, name):
    data = exported[name][1].SerializeToString()
    for word in (b"/home", b"/usr", b".py", b"site-packages", b"pkg.torch"):
        assert word not in data


@pytest.mark.parametrize("name", ["norm, leak, ramp", "product, ramp"])
def test_a_class_that_counts_in_part_is_in_the_tables_alone(exported, name):
    one = exported[name][1].graph
    weights = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in one.initializer}
    table = weights["embedding" if "product" in name else "scale0"]
    assert "share" not in weights and len(table) == 3


@pytest.mark.parametrize("name", ["norm, 8", "bank"])
def test_parity_sees_a_changed_weight(exported, name):
    generator, model = copy.deepcopy(exported[name])
    last = (generator.generators[2] if name == "bank" else generator).last
    with torch.no_grad():
        last.bias += 0.1
    assert measure_parity(model.SerializeToString(), generator, LATENT) > 1


def test_parity_sees_two_classes_exchanged(exported):
    generator, model = exported["bank"]
    first, second, third = generator.generators
    other = GeneratorBank([second, first, third]).eval()
    assert measure_parity(model.SerializeToString(), other, LATENT) > 1


@pytest.mark.parametrize(
    "label",
    [[0], [2], [1, 1, 1], [2, 0], [0, 1, 2], [2, 1, 0, 2, 2, 0, 1], [0, 0, 2, 0]],
    ids=str,
)
def test_a_bank_makes_mixed_batches_and_those_without_some_class(bank, label):
    generator, run = bank
    z = draw_latents(5, 0, range(len(label)), LATENT)
    want = np.concatenate(
        [_wanted(generator.generators[k], z[i : i + 1], [0]) for i, k in enumerate(label)]
    )
    assert np.abs(run(z, label) - want).max() <= 1
    assert np.array_equal(_wanted(generator, z, label), want)


def test_a_bank_makes_the_same_bytes_whatever_the_batch(bank):
    _, run = bank
    z, label = draw_latents(6, 0, range(24), LATENT), np.random.default_rng(0).integers(0, 3, 24)
    whole = run(z, label)
    for n in (1, 5, 23):
        parts = [run(z[i : i + n], label[i : i + n]) for i in range(0, 24, n)]
        assert np.array_equal(np.concatenate(parts), whole)


def test_a_bank_evaluates_one_generator_a_scan(exported):
    model = copy.deepcopy(exported["bank"][1])
    inside = [f"{k}/z" for k in range(3)]
    for name in inside:
        model.graph.output.append(
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None, LATENT])
        )
    session = open_session(model.SerializeToString(), threads=1)
    z, label = draw_latents(7, 0, range(6), LATENT), np.array([2, 0, 2, 2, 0, 2])
    parts = session.run(inside, {"z": z, "label": label})
    for k, part in enumerate(parts):
        assert np.array_equal(part, z[label == k])


def test_a_bank_of_one_class():
    one = GeneratorBank([random_generator(classes=0)]).eval()
    assert measure_parity(to_onnx(one, LATENT).SerializeToString(), one, LATENT) <= 1


def test_a_dcgan_with_classes_is_a_model_file(exported, tmp_path):
    model = copy.deepcopy(exported["bank"][1])
    card = ModelCard(
        architecture="dcgan",
        latent=LATENT,
        classes=("cat", "dog", "2"),
        size=32,
        graph_sha256=graph_sha256(model.SerializeToString()),
    )
    write_model(model, card, tmp_path / "m.onnx")
    made = []
    for batch in (1, 4, 32):
        with ScanGenerator(tmp_path / "m.onnx", batch=batch) as scans:
            assert scans.card == card
            made.append([scans.sample(9, name, seed=3) for name in card.classes])
    assert np.array_equal(made[0], made[1]) and np.array_equal(made[0], made[2])
    assert not np.array_equal(made[0][0], made[0][1])
