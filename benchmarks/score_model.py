"""Score a model file on latents that picked no checkpoint, and print a Markdown table.

prep-scans path/to/scans prepared
python benchmarks/score_model.py runtime/models/brain-mri-64.onnx prepared > benchmarks/results/brain-mri-64.md
"""

import sys

import numpy as np

from scangan.evaluation.metrics import RealReference
from scangan.preprocessing import load_dataset
from scangan.runtime import ScanGenerator


def main(model: str, dataset: str) -> None:
    real = load_dataset(dataset)
    reference = RealReference(real.images, real.labels, real.classes)
    generator = ScanGenerator(model)
    print(
        f"# {generator.card.architecture} {generator.card.size}x{generator.card.size}, "
        f"model sha256 {generator.sha256[:12]}\n\nMade by `python benchmarks/score_model.py`. Real: "
        f"KID x1000 {reference.real_kid * 1000:.1f} (halves), class agreement "
        f"{reference.probe_accuracy:.0%} (held back).\n"
    )
    print(
        "| seed | scans a class | KID x1000 | class agreement | of each class | variety of each |"
    )
    print("| ---: | ---: | ---: | ---: | --- | --- |")
    for seed, count in ((1, 100), (2, 100), (3, 400)):
        images = np.concatenate([generator.sample(count, name, seed) for name in real.classes])
        scores = reference.score(images, np.repeat(np.arange(len(real.classes)), count))
        each = ", ".join(f"{k} {v:.0%}" for k, v in scores.agreement.items())
        variety = ", ".join(f"{v:.2f}" for v in scores.variety.values())
        print(
            f"| {seed} | {count} | {scores.kid * 1000:.1f} | {scores.mean_agreement:.1%} | {each} "
            f"| {variety} |"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
