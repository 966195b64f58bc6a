"""A run to a model file: export, check against torch, write the card last."""

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from scangan.export.errors import ExportError
from scangan.export.graph import to_onnx
from scangan.runtime.card import KEY, ModelCard
from scangan.runtime.files import written_whole
from scangan.runtime.latents import UNCONDITIONAL, draw_latents
from scangan.runtime.modelfile import graph_sha256, read_model_file
from scangan.runtime.session import open_session
from scangan.training.networks import Generator, GeneratorBank
from scangan.training.run import Run
from scangan.training.scoring import to_grey

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


def _check_parity(model: bytes, generator: Generator | GeneratorBank, latent: int) -> int:
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


@torch.no_grad()
def measure_parity(model: bytes, generator: Generator | GeneratorBank, latent: int) -> int:
    """Compare a serialised model with the generator it came from: largest difference in grey levels.

    The classes take turns within every batch, so that a scan of a wrong class would be seen too.
    """
    session = open_session(model, threads=1)
    numbers = range(generator.classes) if generator.classes else [UNCONDITIONAL]
    latents = [draw_latents(PARITY_SEED, k, range(PARITY_COUNT), latent) for k in numbers]
    z = np.stack(latents, axis=1).reshape(-1, latent)
    label = np.tile(np.array(numbers, np.int64), PARITY_COUNT)
    worst = 0
    for i in range(0, len(z), PARITY_COUNT):
        batch = {"z": z[i : i + PARITY_COUNT], "label": label[i : i + PARITY_COUNT]}
        want = to_grey(generator(*map(torch.from_numpy, batch.values())))
        if not generator.classes:
            del batch["label"]
        got = session.run(["image"], batch)[0][:, 0]
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
