"""What people do today: torch eager in batches, each scan saved by Pillow.

    python benchmarks/notebook.py FOLDER COUNT

test_runtime.py calls the loop as well.
"""

import sys
from pathlib import Path

import torch
from PIL import Image

from scangan.artifacts.modelfile import read_model_file
from scangan.artifacts.train_options import TrainOptions
from scangan.runtime.catalog import BUNDLED
from scangan.training.networks import make_generator

BATCH = 64


def notebook(folder: Path, count: int) -> None:
    """Write `count` scans, a multiple of a batch, with a generator like the bundled one."""
    card = read_model_file(BUNDLED / "brain-mri-64.onnx").card
    told = {key: card.recipe["options"][key] for key in ("width", "latent", "size")}
    network = make_generator(TrainOptions(**told), len(card.classes)).eval()
    folder.mkdir()
    done = 0
    with torch.inference_mode():
        while done < count:
            label = torch.zeros(BATCH, dtype=torch.int64)
            image = network(torch.randn(BATCH, card.latent), label)
            grey = ((image + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()[:, 0]
            for scan in grey:
                Image.fromarray(scan).save(folder / f"{done}.png")
                done += 1


if __name__ == "__main__":
    notebook(Path(sys.argv[1]), int(sys.argv[2]))
