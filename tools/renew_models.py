"""Give model files of the first releases what is written today; what they compute stays.

    python tools/renew_models.py runtime/models/*.onnx

The graph refuses labels that are not classes, and the card loses the command that the run was typed
with, local paths and all: of that, the recipe's name stays. Nothing is written where a single byte
of a scan would differ. For files whose run is gone; where it is there, use export-onnx.
"""

import dataclasses
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from scangan.artifacts.card import ModelCard
from scangan.artifacts.modelfile import graph_sha256, read_model_file
from scangan.core.session import open_session
from scangan.export.exporter import write_model
from scangan.export.graph import to_model
from scangan.export.labels import refuse_other_labels, refuses_other_labels
from scangan.export.precision import latent_batches
from scangan.training.recipe import DEFAULT, bundled_name

SEEDS, COUNT = 4, 256


def renew(path: Path) -> bool:
    """Write a model file anew; whether there was anything to do."""
    file = read_model_file(path)
    card, model = file.card, onnx.load_from_string(file.data)
    graph, classes = model.graph, len(card.classes)
    checked = not classes or refuses_other_labels(graph, classes)
    if checked and "command" not in card.recipe:
        return False
    if not checked:
        graph = refuse_other_labels(graph, classes)
    renewed = to_model(graph, model.opset_import[0].version)
    sha256 = graph_sha256(renewed.SerializeToString())
    card = dataclasses.replace(card, graph_sha256=sha256, recipe=_to_share(card.recipe))
    write_model(renewed, card, path, lambda data: _check_same(file.data, data, card))
    return True


def _to_share(recipe: dict[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in recipe.items() if key != "command"}
    words = shlex.split(recipe.get("command", "").replace("--recipe=", "--recipe "))
    name = words[words.index("--recipe") + 1] if "--recipe" in words else DEFAULT
    return ({"name": bundled_name(name)} if words and bundled_name(name) else {}) | rest


def _check_same(before: bytes, after: bytes, card: ModelCard) -> None:
    sessions = [open_session(data, threads=1) for data in (before, after)]
    for seed in range(SEEDS):
        for batch in latent_batches(seed, COUNT, card.latent, len(card.classes)):
            old, new = (session.run(["image"], batch)[0] for session in sessions)
            if not np.array_equal(old, new):
                raise SystemExit("the scans would differ; nothing was written")


def main() -> None:
    for name in sys.argv[1:]:
        print(f"{name}: {'renewed' if renew(Path(name)) else 'nothing to do'}")


if __name__ == "__main__":
    main()
