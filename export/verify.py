"""Verify that a model file was exported from a run."""

import dataclasses
from pathlib import Path
from typing import Any

from scangan.artifacts.card import ALL, ModelCard
from scangan.artifacts.modelfile import read_model_file
from scangan.artifacts.run import MAY_CHANGE, MAY_GROW, open_run
from scangan.core.errors import ExportError
from scangan.export.exporter import MOST_GREY_LEVELS, measure_parity, run_card
from scangan.export.fidelity import LEAST_MEAN, LEAST_WORST, SEED
from scangan.export.graph import to_onnx
from scangan.export.precision import latent_batches, make_images, psnr
from scangan.training.checkpoints import load_generator

COUNT = 256  # scans to compare for an int8 file
OTHER_PROCESSOR = 1.0  # dB that rounding on another processor may cost
# Versions depend on the machine; licence and citation are given to the exporter.
FACTS = (
    "architecture", "latent", "classes", "size", "preprocessing", "dataset_fingerprint",
    "dataset_counts", "recipe", "scores", "date",
)  # fmt: skip


def _lasting(recipe: dict[str, Any]) -> dict[str, Any]:
    """Return what a recipe in a card says that a run keeps when it is trained further."""
    options = {
        key: value
        for key, value in recipe.get("options", {}).items()
        if key not in MAY_GROW | MAY_CHANGE
    }
    # Early cards also hold the command as typed.
    left_out = {"kept", "kept_kimg", "command"}
    return {key: value for key, value in recipe.items() if key not in left_out} | {
        "options": options
    }


def verify(file: str | Path, run: str | Path) -> str:
    """Check that a model file is intact and makes the same scans as the run's generator.

    Returns
    -------
    str
        The result in one line.

    Raises
    ------
    ExportError
        The card or the scans differ from those of the run, or the card has no seal.
    GenerationError
        The file was changed, or is not a model file.
    """
    path, trained = Path(file), open_run(run)
    model = read_model_file(path)
    if b'"card_sha256"' not in model.data:  # with it, reading has checked it
        raise ExportError(f"{path}: its card has no seal; export it again")
    generator, best = load_generator(trained)
    # Both as they are read from a file: JSON has no tuples.
    told, expected = model.card, ModelCard.from_json(run_card(trained, best).to_json())
    counts = told.dataset_counts  # early cards name folders where there are no classes
    told = dataclasses.replace(
        told, dataset_counts=counts if told.classes else {ALL: sum(counts.values())}
    )
    differing = [name for name in FACTS if getattr(told, name) != getattr(expected, name)]
    if "recipe" in differing and _lasting(told.recipe) == _lasting(expected.recipe):
        if told.recipe.get("kept_kimg") != expected.recipe.get("kept_kimg"):
            raise ExportError(
                f"{path} is from an earlier state of the run {trained.path}, which has kept another "
                f"generator since; export it again"
            )
        differing.remove("recipe")  # the run is longer, and its best generator the same
    if differing:
        raise ExportError(
            f"{path} is not from the run {trained.path}: its card differs in {', '.join(differing)}"
        )
    if told.precision != "int8":
        parity = measure_parity(model.data, generator, told.latent)
        if parity > MOST_GREY_LEVELS:
            raise ExportError(
                f"{path} makes different scans than {trained.path}: up to {parity} grey levels apart"
            )
        return (
            f"{path} is the generator of {trained.path}: at most {parity} of 255 grey levels apart"
        )
    batches = list(latent_batches(SEED, COUNT, told.latent, len(told.classes)))
    want = make_images(to_onnx(generator, told.latent), batches)
    ratios = psnr(make_images(model.data, batches), want)
    mean, worst = float(ratios.mean()), float(ratios.min())
    least = told.fidelity.get("mean_psnr", LEAST_MEAN), told.fidelity.get("worst_psnr", LEAST_WORST)
    if mean < least[0] - OTHER_PROCESSOR or worst < least[1] - OTHER_PROCESSOR:
        raise ExportError(
            f"{path} makes different scans than {trained.path}: PSNR {mean:.1f} dB on average, "
            f"{worst:.1f} at worst; its card says {least[0]:.1f} and {least[1]:.1f}"
        )
    return (
        f"{path} is the generator of {trained.path} in int8: PSNR {mean:.1f} dB on average, "
        f"{worst:.1f} at worst"
    )
