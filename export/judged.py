"""Write the figures of an evaluation into the card of a model file."""

import dataclasses
from pathlib import Path
from typing import Any

import onnx

from scangan.artifacts.card import KEY
from scangan.artifacts.modelfile import ModelFile, check_target
from scangan.artifacts.records import to_told
from scangan.core.errors import ExportError
from scangan.evaluation.quality_result import QualityResult
from scangan.export.exporter import write_model


def write_judged(file: ModelFile, result: QualityResult, out: Path) -> None:
    """Write a copy of a model file that has the figures of an evaluation in its card.

    Its graph is the same, so it makes the same scans; its SHA-256 differs.

    Parameters
    ----------
    file : ModelFile
        The model that made the synthetic scans.
    result : QualityResult
        What `quality` found for them.
    out : Path
        The new file.

    Raises
    ------
    ExportError
        See `check_copy`.
    """
    check_copy(file, out)
    model = onnx.load_from_string(file.data)
    others = [entry for entry in model.metadata_props if entry.key != KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(others)
    write_model(
        model, dataclasses.replace(file.card, judged=_judged(result.without_folders())), out
    )


def check_copy(file: ModelFile, out: Path) -> None:
    """Refuse to write a copy over the model itself, or where no model file can be.

    Raises
    ------
    ExportError
        `out` is the model, or see `modelfile.check_target`.
    """
    check_target(out)
    if out.exists() and out.samefile(file.path):
        raise ExportError(f"{out} is the model that was evaluated; give the copy another name")


def _judged(result: QualityResult) -> dict[str, Any]:
    """Return the figures over all classes; the names of the sets stay out, as they may name a patient."""
    figures = {
        name: {
            key: {
                field: float(f"{value:.6g}") if isinstance(value, float) else value
                for field, value in to_told(figure.overall).items()
            }
            for key, figure in space.figures.items()
            if figure.overall
        }
        for name, space in result.spaces.items()
    }
    return {"scangan": result.scangan, "spaces": figures}
