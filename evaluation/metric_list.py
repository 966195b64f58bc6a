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
        What it is, in one phrase.
    trap : str
        What misleads about it, in one phrase.
    cites : str
        The key of the paper that defines it, in ``report/templates/references.bib``; empty for none.
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
    trap: str
    cites: str
    scale: float = 1.0
    digits: int = 2
    unit: str = ""

    def shown(self, value: float) -> str:
        """Show a value."""
        return f"{value * self.scale:z.{self.digits}f}{self.unit}"  # z: 0, not -0


IN_FEATURE_SPACE = {
    "kid": Metric(
        "KID x1000", "lower",
        "distance of the two distributions; 0 is perfect, and noise can make it negative",
        "its scale depends on the feature space: compare it with real scans in the same space",
        "binkowski2018", 1000, 0,
    ),
    "fid": Metric(
        "FID", "lower",
        "distance of the two distributions as if they were normal",
        "it falls as n grows: compare it only at the same n",
        "heusel2017", 1, 1,
    ),
    "fid_infinite": Metric(
        "FID, extrapolated", "lower", "FID with the part of its bias taken off that falls as 1 / n",
        "with fewer scans than the network has features, bias stays: compare it with that of real scans",
        "chong2020", 1, 1,
    ),
    "fid_ratio": Metric(
        "FID ratio", "higher",
        "FID of real scans against real ones over that of synthetic ones; 1 is perfect",
        "both FIDs are biased, and the ratio inherits it: compare it at the same n",
        "osuala2023", 1, 2,
    ),
    "precision": Metric(
        "precision", "like real", "share of synthetic scans that resemble a real one",
        "it stays high if a generator copies, or repeats a few good scans",
        "kynkaanniemi2019", 100, 0, "%",
    ),
    "recall": Metric(
        "recall", "like real", "share of real scans that some synthetic one resembles",
        "a few outliers on the synthetic side can raise it",
        "kynkaanniemi2019", 100, 0, "%",
    ),
    "density": Metric(
        "density", "like real", "how many real scans a synthetic one resembles, on a scale of real ones",
        "scans of the most common kind raise it above 1: more is not better",
        "naeem2020",
    ),
    "coverage": Metric(
        "coverage", "like real", "share of real scans with a synthetic one among their neighbours",
        "more synthetic scans raise it: compare it at the same n",
        "naeem2020", 100, 0, "%",
    ),
    "variety": Metric(
        "variety", "like real", "mean distance of two synthetic scans over that of two real ones",
        "a few scans, each repeated often, still have a high mean distance",
        "",
    ),
    "near_pairs": Metric(
        "near-equal pairs", "like real",
        "share of pairs of synthetic scans that are nearer than 99% of the pairs of real ones",
        "real sets have some, such as slices of one patient; under 60 scans, they are too few to tell",
        "", 100, 1, "%",
    ),
    "agreement": Metric(
        "class agreement", "like real",
        "how often a probe that learnt from real scans names the class that was asked for",
        "a caricature of each class exceeds what real scans reach",
        "shmelkov2018", 100, 0, "%",
    ),
    "two_sample": Metric(
        "told from real", "lower",
        "how often a classifier tells synthetic scans from real ones; 50% is perfect",
        "one trace that no reader would see, such as a checkerboard, suffices for 100%",
        "lopezpaz2017", 100, 0, "%",
    ),
}  # fmt: skip
OF_PIXELS = {
    "ssim_nearest": Metric(
        "SSIM of nearest pairs", "like real",
        "similarity of a synthetic scan to the real scan nearest to it; far above real may be copying",
        "a copy that was moved or mirrored is not similar: look for copies with eval-scans privacy",
        "wang2004", 1, 3,
    ),
    "ms_ssim": Metric(
        "MS-SSIM between pairs", "like real",
        "similarity of two synthetic scans; above real means less variety",
        "blur raises it and noise lowers it, whatever the variety",
        "odena2017", 1, 3,
    ),
    "wasserstein": Metric(
        "histogram, Wasserstein", "lower", "how far grey levels must move, in levels of 256",
        "it sees grey levels only, not what the scans show",
        "vaserstein1969", 1, 1,
    ),
    "jensen_shannon": Metric(
        "histogram, Jensen-Shannon", "lower", "distance of the grey levels, 0 to 1",
        "neighbouring grey levels count as different as black and white",
        "endres2003", 1, 3,
    ),
    "euclidean": Metric(
        "histogram, Euclidean", "lower", "distance of the grey levels as shares",
        "the share of black background decides it", "", 1, 3,
    ),
    "manhattan": Metric(
        "histogram, Manhattan", "lower", "distance of the grey levels as shares, 0 to 2",
        "the share of black background counts most", "", 1, 3,
    ),
}  # fmt: skip
METRICS = IN_FEATURE_SPACE | OF_PIXELS
# Figures that are a share, so that they have an interval within 0 and 1 even where all halves agree.
SHARES = ("precision", "recall", "coverage", "near_pairs", "agreement", "two_sample")
SHARES_OF_REAL = ("recall", "coverage")
