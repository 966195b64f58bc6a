"""The figures of a quality evaluation that need no network: histograms and structural similarity."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from scangan.evaluation import pixels
from scangan.evaluation.draws import Draws
from scangan.evaluation.halves import Halves
from scangan.evaluation.quality_result import Figures
from scangan.evaluation.quality_space import SLOW_REPEATS
from scangan.evaluation.scan_set import ScanSet

COMPARED = 100  # scans of a half whose structure is compared with others
Indices = npt.NDArray[np.intp]


def of_pixels(real: ScanSet, synthetic: ScanSet, splits: Sequence[Halves]) -> dict[str, Figures]:
    """Compute the figures of histograms and structural similarity."""
    images = np.concatenate([real.images, synthetic.images])
    counts = pixels.histograms(images)

    def measure(a: Indices, b: Indices, slow: bool) -> dict[str, float]:
        found = pixels.histogram_distances(counts[a], counts[b])
        if slow:
            some = b[:COMPARED]
            near = a[pixels.nearest(images[a], images[some])]
            found["ssim_nearest"] = pixels.ssim(images[near], images[some]).mean()
            # Of pairs at random: the scans come in turns of the classes, so those that are as many turns
            # apart would all be of one class, or none.
            some, half = np.random.default_rng(0).permutation(some), len(some) // 2
            found["ms_ssim"] = pixels.ms_ssim(
                images[some[:half]], images[some[half : 2 * half]]
            ).mean()
        return found

    draws, groups = Draws(real.classes), np.arange(len(images))  # no figure is a share of scans
    for number, halves in enumerate(splits):
        draws.measure(halves, measure, groups, slow=number < SLOW_REPEATS)
    return draws.figures()
