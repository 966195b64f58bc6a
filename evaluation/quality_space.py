"""The figures of a quality evaluation in one feature space."""

from collections.abc import Sequence
from math import isnan, nan

import numpy as np
import numpy.typing as npt

from scangan.evaluation.draws import Draw, Draws
from scangan.evaluation.features import DEFAULT, FeatureExtractor
from scangan.evaluation.halves import Halves
from scangan.evaluation.kid import KernelTable
from scangan.evaluation.pairwise import Pairwise, standardised
from scangan.evaluation.probe import named_right, train_probe
from scangan.evaluation.quality_result import Figure, Figures, Space
from scangan.evaluation.scan_set import ScanSet
from scangan.evaluation.two_sample import two_sample_accuracy

SLOW_REPEATS = 6  # splits for figures that train or extrapolate
Indices = npt.NDArray[np.intp]
Features = npt.NDArray[np.float32]
# [K, K]: how many synthetic scans of each class were named as each class
Named = npt.NDArray[np.int64]


def in_space(
    extract: FeatureExtractor,
    features: list[Features],
    real: ScanSet,
    synthetic: ScanSet,
    splits: Sequence[Halves],
) -> Space:
    """Compute the figures of one feature space.

    Parameters
    ----------
    extract : FeatureExtractor
        The network.
    features : list of ndarray
        Features of the real and of the synthetic scans, float32 [N, D].
    real, synthetic : ScanSet
        The scans.
    splits : sequence of Halves
        Their halves; synthetic scans have the numbers after the real ones.
    """
    rows = np.concatenate(features)
    later = real.groups.max() + 1 - synthetic.groups.min()
    groups = np.concatenate([real.groups, synthetic.groups + later])
    used = rows.astype(np.float64)
    if extract.network.standardise:
        used = standardised(rows, by=features[0])
    kid = _kid(used, groups, real, synthetic, splits[0])
    pairs = Pairwise(used)
    # Scaled by both sides: scaled by one, its scans would be told by their smaller outliers.
    alike = Pairwise(standardised(rows, by=rows))

    def measure(a: Indices, b: Indices, slow: bool) -> dict[str, float]:
        both = pairs.of(a, b)
        found = {
            "fid": both.frechet(),
            "variety": both.variety(),
            "near_pairs": both.near_pairs(),
            **both.neighbours(),
        }
        if slow:
            found["fid_infinite"] = both.frechet_infinite(found["fid"])
            told = two_sample_accuracy(alike.products, a, b, groups)
            found |= {} if told is None else {"two_sample": told}
        return found

    draws = Draws(real.classes)
    named_as: list[Named] = []
    for number, halves in enumerate(splits):
        draws.measure(halves, measure, groups, slow=number < SLOW_REPEATS)
        if number < SLOW_REPEATS and len(real.classes) > 1 and halves.have_all_classes:
            named_as.append(_agreement(draws, rows, halves))
    figures = {"kid": kid} | draws.figures()
    if "fid" in figures:  # large groups can leave less than half of a class
        figures["fid_ratio"] = draws.real_over_synthetic("fid")
    return Space(
        extractor=extract.name,
        source=extract.network.source,
        sha256=extract.sha256,
        picked_checkpoint=extract.name == DEFAULT,
        figures=figures,
        named_as={
            name: dict(zip(real.classes, map(float, row), strict=True))
            for name, row in zip(real.classes, np.mean(named_as, axis=0), strict=True)
        }
        if named_as
        else {},
    )


def _agreement(draws: Draws, rows: Features, halves: Halves) -> Named:
    """Ask probes that learnt from halves of the real scans for the classes of the other scans.

    Returns
    -------
    ndarray
        int64 [K, K]: how many synthetic scans of each class were named as each class.
    """
    named = np.zeros((len(halves.real), len(halves.real)), np.int64)
    halves_of_both = (
        (halves.real, halves.synthetic, halves.other_real),
        (halves.other_real, halves.other_synthetic, halves.real),
    )
    right: list[list[float]] = []
    for learnt, synthetic, real in halves_of_both:
        probe = train_probe([rows[i] for i in learnt])
        answers = [probe.predict(rows[indices]) for indices in synthetic]
        for k, answer in enumerate(answers):
            np.add.at(named[k], answer, 1)
        right.append([float((answer == k).mean()) for k, answer in enumerate(answers)])
        right.append(named_right(probe, [rows[i] for i in real]))
    for k, (first, real_1, second, real_2) in enumerate(zip(*right, strict=True)):
        counts = len(halves.real[k]), len(halves.synthetic[k])
        draws.add(
            "agreement", draws.classes[k], Draw((first, second), (real_1 + real_2) / 2, *counts)
        )
    draws.add_mean("agreement")
    return named


def _kid(
    features: npt.NDArray[np.float64],
    groups: npt.NDArray[np.int64],
    real: ScanSet,
    synthetic: ScanSet,
    split: Halves,
) -> Figures:
    """Compute KID from all scans, as it has no bias, and that of one half against the other.

    Over all classes, each has the same weight.
    """
    table = KernelTable(features, groups)
    classes = range(max(len(real.classes), 1))
    all_real = [real.of_class(k) for k in classes]
    all_synthetic = [synthetic.of_class(k) + len(real) for k in classes]

    def figure(chosen: slice) -> Figure:
        r, s = all_real[chosen], all_synthetic[chosen]
        value = table.kid(r, s)
        low, high = table.interval(r, s, value)
        halves = split.real[chosen], split.other_real[chosen]
        beside, span = nan, (nan, nan)
        if all(len(part) for half in halves for part in half):  # large groups can leave none
            beside = table.kid(*halves)
            span = table.interval(*halves, beside)
        return Figure(
            value=value,
            low=low,
            high=high,
            real=None if isnan(beside) else beside,
            real_low=None if isnan(span[0]) else span[0],
            real_high=None if isnan(span[1]) else span[1],
            n_real=sum(map(len, r)),
            n_synthetic=sum(map(len, s)),
        )

    each = {name: figure(slice(k, k + 1)) for k, name in enumerate(real.classes)}
    return Figures(overall=figure(slice(None)), classes=each if len(each) > 1 else {})
