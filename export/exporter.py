"""A run to a model file: export, check against torch, write the card last."""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from scangan.export.errors import ExportError
from scangan.export.network import ShippedGenerator
from scangan.runtime.card import KEY, ModelCard
from scangan.runtime.files import written_whole
from scangan.runtime.latents import UNCONDITIONAL, draw_latents
from scangan.runtime.modelfile import graph_sha256, read_model_file
from scangan.runtime.session import open_session
from scangan.training.networks import Generator
from scangan.training.run import Run
from scangan.training.scoring import to_grey

OPSET, IR_VERSION = 18, 10  # read by onnxruntime 1.18 and later
PARITY_SEED, PARITY_COUNT = 0, 64  # latents of each class that are compared
MOST_GREY_LEVELS = 1


def export_run(
    run: str | Path, out: str | Path, *, license: str = "", citation: str = ""
) -> ModelCard:
    """Export the best generator of a run as one self-contained model file.

    Parameters
    ----------
    run : path
        The run folder.
    out : path
        The ``.onnx`` file to write; its folder must exist.
    license, citation : str
        Of the training scans, for the card.

    Returns
    -------
    ModelCard
        The card that was written; its `parity` was measured on 64 latents of each class.

    Raises
    ------
    ExportError
        `out` cannot be, or the exported graph differs from the generator by over 1 grey level.
        Nothing is left at `out` then.
    """
    trained, out = Run(Path(run)), Path(out)
    if out.is_dir():
        raise ExportError(f"{out} is a folder; name a file: -o {out / 'model.onnx'}")
    if out.suffix != ".onnx" or (out.exists() and not out.is_file()):
        # Anything else might be a scan, a checkpoint or a device, which the rename would replace.
        raise ExportError(f"{out} is no name for a model file; it must end in .onnx")
    if not out.absolute().parent.is_dir():
        raise ExportError(f"{out.parent} does not exist; make it first: mkdir -p {out.parent}")
    generator, best = trained.load_generator()
    classes = trained.classes
    model = to_onnx(generator, trained.options.latent)
    data = model.SerializeToString()
    parity = _check_parity(data, generator, trained.options.latent)
    config = trained.config
    card = ModelCard(
        architecture=trained.options.arch,
        latent=trained.options.latent,
        classes=classes,
        size=trained.options.size,
        graph_sha256=graph_sha256(data),
        preprocessing=config["dataset"]["preprocessing"],
        dataset_fingerprint=config["dataset"]["fingerprint"],
        dataset_counts=config["dataset"]["counts"],
        recipe=_recipe(config, best.kind, best.kimg),
        scores=best.scores,
        parity=parity,
        license=license,
        citation=citation,
        versions=config["versions"] | {"onnx": version("onnx")},
        date=config["started"],
    )
    write_model(
        model, card, out, lambda file: _check_parity(file, generator, trained.options.latent)
    )
    return card


def _check_parity(model: bytes, generator: Generator, latent: int) -> int:
    parity = measure_parity(model, generator, latent)
    if parity > MOST_GREY_LEVELS:
        raise ExportError(
            f"the exported graph differs from the trained generator by {parity} grey levels "
            f"(at most {MOST_GREY_LEVELS}); nothing was written: please report it"
        )
    return parity


def _recipe(config: dict[str, Any], kind: str, kimg: float) -> dict[str, Any]:
    return {
        "command": config["command"],
        "options": config["options"],
        "kept": kind,
        "kept_kimg": kimg,
    }


def to_onnx(generator: Generator, latent: int) -> onnx.ModelProto:
    """Turn a generator into an ONNX model with the signature of docs/model-format.md."""
    shipped = ShippedGenerator(generator).eval()
    # Two samples: torch.export would take a batch of one for a constant.
    examples: dict[str, torch.Tensor] = {"z": torch.zeros(2, latent)}
    if generator.classes:
        examples["label"] = torch.zeros(2, dtype=torch.int64)
    batch = torch.export.Dim("n")
    with _silence():
        program = torch.onnx.export(
            shipped,
            (),
            kwargs=examples,
            input_names=list(examples),
            output_names=["image"],
            dynamic_shapes={name: {0: batch} for name in examples},
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    return _pinned(program.model_proto)


def _pinned(model: onnx.ModelProto) -> onnx.ModelProto:
    """Pin versions and drop what the exporter notes for itself (source lines, local paths)."""
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = "scangan", version("scangan")
    model.ClearField("metadata_props")
    model.ClearField("functions")
    del model.opset_import[:]
    model.opset_import.append(onnx.helper.make_opsetid("", OPSET))
    model.graph.name = "generator"
    model.graph.ClearField("value_info")
    model.graph.ClearField("metadata_props")
    for part in (*model.graph.node, *model.graph.input, *model.graph.output):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    for tensor in model.graph.initializer:
        tensor.ClearField("metadata_props")
        tensor.ClearField("doc_string")
    onnx.checker.check_model(model, full_check=True)
    return model


@contextlib.contextmanager
def _silence() -> Any:
    """Keep torch's exporter from talking about itself (missing torchvision, its own steps)."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


@torch.no_grad()
def measure_parity(model: bytes, generator: Generator, latent: int) -> int:
    """Compare a serialised model with the generator it came from: largest difference in grey levels."""
    session = open_session(model, threads=1)
    worst = 0
    numbers = (
        range(generator.classes) if generator.classes else range(UNCONDITIONAL, UNCONDITIONAL + 1)
    )
    for number in numbers:
        z = draw_latents(PARITY_SEED, number, range(PARITY_COUNT), latent)
        label = np.full(PARITY_COUNT, number, np.int64)
        feed = {"z": z, "label": label} if generator.classes else {"z": z}
        got = session.run(["image"], feed)[0][:, 0]
        want = to_grey(generator(torch.from_numpy(z), torch.from_numpy(label)))
        worst = max(worst, int(np.abs(got.astype(np.int16) - want).max()))
    return worst


def write_model(
    model: onnx.ModelProto,
    card: ModelCard,
    out: Path,
    check: Callable[[bytes], object] = lambda data: None,
) -> None:
    """Write a model with its card; read it back as the runtime will and `check` it before it gets its name."""
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, card.to_json()
    with written_whole(out) as beside:
        beside.write_bytes(model.SerializeToString())
        check(read_model_file(beside).data)
