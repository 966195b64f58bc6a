"""How much do synthetic scans look like real ones? Figures in several feature spaces, with intervals."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from scangan.core.counted import counted
from scangan.core.errors import EvaluationError
from scangan.evaluation import pixels, two_sample
from scangan.evaluation.cache import Cache
from scangan.evaluation.draws import Draw, Draws, real_over_synthetic
from scangan.evaluation.features import DEFAULT, FeatureExtractor
from scangan.evaluation.halves import Halves, group_halves, halved
from scangan.evaluation.kid import kernel_distances, kid_interval
from scangan.evaluation.pairwise import FEWEST, Pairwise, standardised
from scangan.evaluation.probe import named_right, train_probe
from scangan.evaluation.quality_result import (
    FORMAT,
    Figure,
    Figures,
    QualityResult,
    SetInfo,
    Space,
)
from scangan.evaluation.scan_set import ScanSet, with_shared_classes
from scangan.evaluation.two_sample import two_sample_accuracy

MOST = 2500  # scans per side; the time grows with their square
LEAST = 2 * FEWEST  # scans of a class, as half of them need neighbours
SMALL = 50  # scans of a set; fewer say little
SLOW_REPEATS = 6  # halves for figures that train or extrapolate
COMPARED = 100  # scans of a half whose structure is compared with others
BLOCK = 128  # scans between two signs of progress
Indices = npt.NDArray[np.intp]
Features = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class QualityOptions:
    """How to evaluate quality.

    Parameters
    ----------
    extractors : tuple of str
        Feature extractors (`FeatureExtractor`).
    repeats : int
        Random halves to average over, 5 to 1000.
    seed : int
        Random seed.
    strict : bool
        Refuse sets of different size or preparation instead of adapting them.
    threads : int, optional
        Threads of onnxruntime; by default all that the process may use.
    cache : Path, optional
        Folder of features that were computed before; by default the user's cache folder.
    """

    extractors: tuple[str, ...] = (DEFAULT,)
    repeats: int = 20
    seed: int = 0
    strict: bool = False
    threads: int | None = None
    cache: Path | None = None

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not 5 <= self.repeats <= 1000:
            raise EvaluationError(f"--repeats {self.repeats} is out of range; it takes 5 to 1000")
        if not self.extractors:
            raise EvaluationError("name at least one extractor")


def quality(
    real: ScanSet,
    synthetic: ScanSet,
    options: QualityOptions | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> QualityResult:
    """Compare synthetic scans with real ones.

    Each figure is the mean over random halves of both sets, and stands beside that of the other half
    of the real scans. Its interval covers the choice of scans on both sides.

    Parameters
    ----------
    real, synthetic : ScanSet
        The two sets. A figure over all classes weights them as the synthetic set does.
    options : QualityOptions, optional
        How to evaluate.
    advance : callable
        Called with the number of scans whose features were just extracted; `work` tells the total.

    Returns
    -------
    QualityResult
        The figures.

    Raises
    ------
    EvaluationError
        The sets cannot be compared.
    """
    options = options or QualityOptions()
    real, synthetic, notes = comparable(real, synthetic, options)
    cache = Cache(options.cache)
    spaces = {}
    for name in dict.fromkeys(options.extractors):
        extract = FeatureExtractor(name, options.threads)
        features = [extracted(each.images, extract, cache, advance) for each in (real, synthetic)]
        with threadpool_limits(
            1, "blas"
        ):  # a second thread costs more than it gains on these sizes
            spaces[name] = _in_space(extract, features, real, synthetic, options)
    return QualityResult(
        format_version=FORMAT,
        scangan=version("scangan"),
        real=set_info(real),
        synthetic=set_info(synthetic),
        spaces=spaces,
        pixels=_of_pixels(real, synthetic, options),
        repeats=options.repeats,
        seed=options.seed,
        notes=tuple(notes),
    )


def comparable(
    real: ScanSet, synthetic: ScanSet, options: QualityOptions
) -> tuple[ScanSet, ScanSet, list[str]]:
    """Reduce two sets to what can be compared, and note what was done."""
    if real.synthetic.any():
        raise EvaluationError(
            f"{real.name} holds {counted(int(real.synthetic.sum()), 'synthetic scan')}; "
            f"give a set of real scans only"
        )
    counts = [(each.name, len(each)) for each in (real, synthetic)]
    real, synthetic, notes = with_shared_classes(real, synthetic)
    differences = differing_settings(real, synthetic)
    if real.size != synthetic.size:
        small = min(real.size, synthetic.size)
        differences.append(
            f"{real.name} has {real.size} pixels and {synthetic.name} {synthetic.size}; "
            f"the larger was reduced to {small}"
        )
    if differences and options.strict:
        raise EvaluationError(f"{'; '.join(differences)}; prepare both alike, or omit --strict")
    if real.size != synthetic.size:
        real, synthetic = (each.resized(small) for each in (real, synthetic))
    notes += differences
    notes += [
        f"{name} has only {counted(count, 'scan')}: its figures mean little"
        for name, count in counts
        if count < SMALL
    ]
    real, synthetic, left_out = _large_enough(real, synthetic)
    notes += left_out
    rng = np.random.default_rng(options.seed)
    for each in (real, synthetic):
        if len(each) > MOST:
            notes.append(f"{each.name}: {MOST} of {len(each)} scans were drawn at random")
    return _drawn(real, rng), _drawn(synthetic, rng), notes


def _large_enough(real: ScanSet, synthetic: ScanSet) -> tuple[ScanSet, ScanSet, list[str]]:
    """Leave out classes that are too small; without any large one, compare all scans as one."""
    if min(len(real), len(synthetic)) < LEAST:
        raise EvaluationError(
            f"a comparison needs at least {LEAST} scans on each side; {real.name} has {len(real)} and "
            f"{synthetic.name} {len(synthetic)}; add scans"
        )
    short = [
        name
        for k, name in enumerate(real.classes)
        if min(len(real.of_class(k)), len(synthetic.of_class(k))) < LEAST
    ]
    if not short:
        return real, synthetic, []
    rest = tuple(name for name in real.classes if name not in short)
    if not rest:
        note = f"no class has {LEAST} scans on both sides; compared as a whole"
        return real.without_classes(), synthetic.without_classes(), [note]
    note = f"left out, with fewer than {LEAST} scans on a side: {', '.join(short)}"
    return real.with_classes(rest), synthetic.with_classes(rest), [note]


def differing_settings(a: ScanSet, b: ScanSet) -> list[str]:
    """Describe options of the preparation that differ; an option that one side lacks does not."""
    return [
        f"{a.name} was prepared with {key} {a.settings[key]} and {b.name} with {b.settings[key]}"
        for key in a.settings
        if key != "size" and key in b.settings and a.settings[key] != b.settings[key]
    ]


def _drawn(scans: ScanSet, rng: np.random.Generator) -> ScanSet:
    if len(scans) <= MOST:
        return scans
    return scans.take(np.sort(rng.permutation(len(scans))[:MOST]))


def set_info(scans: ScanSet) -> SetInfo:
    """Describe a set for a result."""
    return SetInfo(name=scans.name, sha256=scans.sha256, size=scans.size, counts=scans.counts)


def extracted(
    images: npt.NDArray[np.uint8],
    extract: FeatureExtractor,
    cache: Cache,
    advance: Callable[[int], None] = lambda _: None,
) -> npt.NDArray[np.float32]:
    """Extract features, or read those that were kept: float32 [N, D].

    Calls `advance` with the number of scans after each block.
    """

    def compute() -> dict[str, npt.NDArray[np.generic]]:
        blocks = []
        for start in range(0, len(images), BLOCK):
            blocks.append(extract(images[start : start + BLOCK]))
            advance(len(blocks[-1]))
        return {"features": np.concatenate(blocks)}

    content = hashlib.sha256(np.ascontiguousarray(images).data).hexdigest()
    key = ("features", extract.sha256, extract.network.tensor, images.shape, content)
    return np.asarray(cache.get(key, compute)["features"], np.float32)


def _in_space(
    extract: FeatureExtractor,
    features: list[Features],
    real: ScanSet,
    synthetic: ScanSet,
    options: QualityOptions,
) -> Space:
    """Compute the figures of one feature space."""
    rows = np.concatenate(features)
    used = [f.astype(np.float64) for f in features]
    if extract.network.standardise:
        used = [standardised(f, by=features[0]) for f in features]
    pairs = Pairwise(np.concatenate(used))
    # Scaled by both sides: scaled by one, its scans would be told by their smaller outliers.
    alike = Pairwise(standardised(rows, by=rows))
    later = real.groups.max() + 1 - synthetic.groups.min()
    groups = np.concatenate([real.groups, synthetic.groups + later])

    def measure(a: Indices, b: Indices, slow: bool) -> dict[str, float]:
        found = {"fid": pairs.frechet(a, b), "variety": pairs.spread(b) / pairs.spread(a)}
        found |= pairs.neighbours(a, b)
        if slow:
            found["fid_infinite"] = pairs.frechet_infinite(a, b)
        if slow and min(len(a), len(b)) >= two_sample.FEWEST:
            found["two_sample"] = two_sample_accuracy(alike.products, a, b, groups)
        return found

    draws = Draws(real.classes)
    named_as = np.zeros((len(real.classes), len(real.classes)), np.int64)
    for number, halves in enumerate(_halves(real, synthetic, options)):
        draws.measure(halves, measure, slow=number < SLOW_REPEATS)
        if number < SLOW_REPEATS and len(real.classes) > 1:
            named_as += _agreement(draws, rows, halves)
    figures = {"kid": _kid(used, real, synthetic, options)} | draws.figures()
    if "fid" in figures:  # large groups can leave less than half of a class
        figures["fid_ratio"] = real_over_synthetic(figures["fid"])
    return Space(
        extractor=extract.name,
        source=extract.network.source,
        sha256=extract.sha256,
        picked_checkpoint=extract.name == DEFAULT,
        figures=figures,
        named_as={
            name: dict(zip(real.classes, map(int, row), strict=True))
            for name, row in zip(real.classes, named_as, strict=True)
        },
    )


def _of_pixels(real: ScanSet, synthetic: ScanSet, options: QualityOptions) -> dict[str, Figures]:
    """Compute the figures of histograms and structural similarity."""
    images = np.concatenate([real.images, synthetic.images])
    counts = pixels.histograms(images)
    pairs = Pairwise(images.reshape(len(images), -1).astype(np.float32))

    def measure(a: Indices, b: Indices, slow: bool) -> dict[str, float]:
        found = pixels.histogram_distances(counts[a], counts[b])
        if slow:
            some = b[:COMPARED]  # the indices are in random order
            found["ssim_nearest"] = pixels.ssim(images[pairs.nearest(a, some)], images[some]).mean()
            half = len(some) // 2
            found["ms_ssim"] = pixels.ms_ssim(
                images[some[:half]], images[some[half : 2 * half]]
            ).mean()
        return found

    draws = Draws(real.classes)
    for number, halves in enumerate(_halves(real, synthetic, options)):
        draws.measure(halves, measure, slow=number < SLOW_REPEATS)
    return draws.figures()


def _halves(real: ScanSet, synthetic: ScanSet, options: QualityOptions) -> Iterator[Halves]:
    """Halve both sets; the numbers of the synthetic scans follow those of the real ones."""
    sets = (real.labels, real.groups), (synthetic.labels, synthetic.groups)
    for halves in halved(*sets, options.repeats, options.seed):
        s, t = (
            [indices + len(real) for indices in half]
            for half in (halves.synthetic, halves.other_synthetic)
        )
        yield dataclasses.replace(halves, synthetic=s, other_synthetic=t)


def _agreement(draws: Draws, rows: Features, halves: Halves) -> npt.NDArray[np.int64]:
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
        for k, indices in enumerate(synthetic):
            np.add.at(named[k], probe.predict(rows[indices]), 1)
        right += [named_right(probe, [rows[i] for i in side]) for side in (synthetic, real)]
    for k, (first, real_1, second, real_2) in enumerate(zip(*right, strict=True)):
        counts = len(halves.real[k]), len(halves.synthetic[k])
        draws.add(
            "agreement", draws.classes[k], Draw((first, second), (real_1 + real_2) / 2, *counts)
        )
    draws.add_mean("agreement")
    return named


def _kid(
    features: list[npt.NDArray[np.float64]],
    real: ScanSet,
    synthetic: ScanSet,
    options: QualityOptions,
) -> Figures:
    """Compute KID from all scans, as it has no bias, and that of one half against the other."""
    classes = range(max(len(real.classes), 1))
    of_real = [real.of_class(k) for k in classes]
    r, s = [features[0][i] for i in of_real], [features[1][synthetic.of_class(k)] for k in classes]
    groups = [real.groups[i] for i in of_real]
    groups_s = [synthetic.groups[synthetic.of_class(k)] for k in classes]
    first = group_halves(real.labels, real.groups, np.random.default_rng(options.seed))
    a, b = ([features[0][i[half[i]]] for i in of_real] for half in (first, ~first))
    groups_a, groups_b = ([real.groups[i[half[i]]] for i in of_real] for half in (first, ~first))

    def figure(chosen: slice) -> Figure:
        value, _ = kernel_distances(r[chosen], s[chosen])
        low, high = kid_interval(r[chosen], s[chosen], groups[chosen], value, groups_s[chosen])
        beside, _ = kernel_distances(a[chosen], b[chosen])
        span = kid_interval(a[chosen], b[chosen], groups_a[chosen], beside, groups_b[chosen])
        return Figure(
            value=value,
            low=low,
            high=high,
            real=beside,
            real_low=span[0],
            real_high=span[1],
            n_real=sum(map(len, r[chosen])),
            n_synthetic=sum(map(len, s[chosen])),
        )

    each = {name: figure(slice(k, k + 1)) for k, name in enumerate(real.classes)}
    return Figures(overall=figure(slice(None)), classes=each if len(each) > 1 else {})
