"""The metrics of a quality evaluation: what each is called, how to show it, and where it comes from."""

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class Metric:
    """How to show one metric.

    Parameters
    ----------
    name : str
        Its name for people.
    better : {"lower", "higher", "like real"}
        Which values are better.
    reads : str
        How to read it, in one sentence.
    source : str
        The paper that defines it.
    scale : float
        What a value is multiplied by to show it.
    digits : int
        Digits after the point.
    unit : str
        What follows the number.
    """

    name: str
    better: Literal["lower", "higher", "like real"]
    reads: str
    source: str
    scale: float = 1.0
    digits: int = 2
    unit: str = ""

    def shown(self, value: float) -> str:
        """Show a value."""
        return f"{value * self.scale:.{self.digits}f}{self.unit}"


IN_FEATURE_SPACE = {
    "kid": Metric(
        "KID x1000", "lower",
        "distance of the two distributions; 0 is perfect, and noise can make it negative",
        "Binkowski et al. 2018, Demystifying MMD GANs", 1000, 0,
    ),
    "fid": Metric(
        "FID", "lower",
        "distance of the two distributions as if they were normal; compare only at the same n",
        "Heusel et al. 2017, GANs trained by a two time-scale update rule", 1, 1,
    ),
    "fid_infinite": Metric(
        "FID, infinite n", "lower", "FID extrapolated to infinitely many scans",
        "Chong and Forsyth 2020, Effectively unbiased FID", 1, 1,
    ),
    "fid_ratio": Metric(
        "FID ratio", "higher",
        "FID of real scans against real ones over that of synthetic ones; 1 is perfect",
        "Osuala et al. 2023, medigan", 1, 2,
    ),
    "precision": Metric(
        "precision", "like real", "share of synthetic scans that resemble a real one",
        "Kynkäänniemi et al. 2019, Improved precision and recall", 100, 0, " %",
    ),
    "recall": Metric(
        "recall", "like real", "share of real scans that some synthetic one resembles",
        "Kynkäänniemi et al. 2019, Improved precision and recall", 100, 0, " %",
    ),
    "density": Metric(
        "density", "like real", "how many real scans a synthetic one resembles, on a scale of real ones",
        "Naeem et al. 2020, Reliable fidelity and diversity metrics",
    ),
    "coverage": Metric(
        "coverage", "like real", "share of real scans with a synthetic one among their neighbours",
        "Naeem et al. 2020, Reliable fidelity and diversity metrics", 100, 0, " %",
    ),
    "variety": Metric(
        "variety", "like real", "mean distance of two synthetic scans over that of two real ones",
        "",
    ),
    "agreement": Metric(
        "class agreement", "like real",
        "how often a probe that learnt from real scans names the class that was asked for",
        "Shmelkov et al. 2018, How good is my GAN? (GAN-test)", 100, 0, " %",
    ),
    "two_sample": Metric(
        "told from real", "lower",
        "how often a classifier tells synthetic scans from real ones; 50 % is perfect",
        "Lopez-Paz and Oquab 2017, Revisiting classifier two-sample tests", 100, 0, " %",
    ),
}  # fmt: skip
OF_PIXELS = {
    "ssim_nearest": Metric(
        "SSIM of nearest pairs", "like real",
        "similarity of a synthetic scan to the real scan nearest to it; far above real may be copying",
        "Wang et al. 2004, Image quality assessment", 1, 3,
    ),
    "ms_ssim": Metric(
        "MS-SSIM within", "like real",
        "similarity of two synthetic scans; above real means less variety",
        "Odena et al. 2017, Conditional image synthesis with ACGANs", 1, 3,
    ),
    "wasserstein": Metric(
        "histogram, Wasserstein", "lower", "how far grey levels must move, in levels of 256",
        "Vaserstein 1969, Markov processes over denumerable products of spaces", 1, 1,
    ),
    "jensen_shannon": Metric(
        "histogram, Jensen-Shannon", "lower", "distance of the grey levels, 0 to 1",
        "Endres and Schindelin 2003, A new metric for probability distributions", 1, 3,
    ),
    "euclidean": Metric(
        "histogram, Euclidean", "lower", "distance of the grey levels as shares", "", 1, 3
    ),
    "manhattan": Metric(
        "histogram, Manhattan", "lower", "distance of the grey levels as shares, 0 to 2", "", 1, 3
    ),
}  # fmt: skip
METRICS = IN_FEATURE_SPACE | OF_PIXELS
