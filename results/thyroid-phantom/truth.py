"""Compare what a generator learnt of the phantoms with the truth that they were drawn from.

    python results/thyroid-phantom/truth.py MODEL PREPARED [--count 500]

PREPARED holds phantoms that the generator never saw. The same is measured on both: net grey levels of
the gland, which are in proportion to its counts (background taken away), its mean over the background,
and its height. The distance of their distributions is Wasserstein's, in standard deviations of the
phantoms; beside it stands what two halves of the phantoms have.
"""

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.stats import wasserstein_distance

from scangan.artifacts.dataset import load_dataset
from scangan.preprocessing.phantom import PIXEL, SIDE
from scangan.runtime.generator import ScanGenerator

# Rows and columns of 64 that hold the gland, and nothing else that is hot
NECK = (20, 62), (12, 52)
FIGURES = ("net grey levels", "mean over background", "height, mm")
SEED = 1
LEGEND = (
    "Measured on scans of 8 bits: median (10 to 90%). *Net grey levels*: the sum over the gland, background "
    "taken away. *Mean over background*: the mean of the gland divided by the background. *Distance*: "
    "Wasserstein distance between synthetic scans and phantoms, in standard deviations of the phantoms. *Of "
    "halves*: the same between two halves of the phantoms, which is what chance gives."
)


def measure(scan: npt.NDArray[np.number]) -> tuple[float, float, float]:
    """Measure a scan [S, S] of counts, or of grey levels in proportion to them."""
    scale = len(scan) / SIDE
    rows, columns = (slice(int(first * scale), int(end * scale)) for first, end in NECK)
    neck = scan[rows, columns].astype(np.float64)
    background = float(np.median(neck))
    net = neck - background
    peak = float(np.percentile(net, 99))
    gland = net > peak / 2
    if background <= 0 or not gland.any():
        return 0.0, 0.0, 0.0
    height = float(gland.any(1).sum()) * PIXEL / scale
    return float(net[gland].sum()), float(neck[gland].mean()) / background, height


def measured(scans: npt.NDArray[np.number]) -> npt.NDArray[np.float64]:
    """Measure scans [N, S, S]: float [N, 3]."""
    return np.array([measure(scan) for scan in scans])


def table(model: Path, prepared: Path, count: int) -> str:
    """Compare the scans of a model with prepared phantoms, class by class."""
    dataset = load_dataset(prepared)
    rng = np.random.default_rng(SEED)
    lines = [
        LEGEND,
        "",
        "| class | figure | phantoms | synthetic | distance | of halves |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    with ScanGenerator(model) as generator:
        for number, name in enumerate(dataset.classes):
            real = measured(dataset.images[dataset.labels == number])
            real = real[rng.permutation(len(real))]
            made = measured(generator.sample(count, name, seed=SEED))
            for figure, ours, theirs in zip(FIGURES, made.T, real.T, strict=True):
                spread, half = theirs.std(), len(theirs) // 2
                far, of_halves = (
                    wasserstein_distance(one, other) / spread
                    for one, other in ((ours, theirs), (theirs[:half], theirs[half:]))
                )
                lines.append(
                    f"| {name} | {figure} | {_range(theirs)} | {_range(ours)} | {far:.2f} | {of_halves:.2f} |"
                )
    return "\n".join(lines)


def _range(values: npt.NDArray[np.float64]) -> str:
    low, middle, high = np.percentile(values, (10, 50, 90))
    return f"{middle:.3g} ({low:.3g} to {high:.3g})"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("prepared", type=Path)
    parser.add_argument("--count", type=int, default=500, help="synthetic scans of each class")
    given = parser.parse_args()
    print(table(given.model, given.prepared, given.count))


if __name__ == "__main__":
    main()
