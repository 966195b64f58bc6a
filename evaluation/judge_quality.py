"""How much do synthetic scans look like real ones? Figures in several feature spaces, with intervals."""

import dataclasses
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from scangan.core.errors import EvaluationError
from scangan.evaluation.cache import Cache
from scangan.evaluation.features import DEFAULT, FeatureExtractor
from scangan.evaluation.halves import Halves, halved
from scangan.evaluation.quality_result import FORMAT, QualityResult
from scangan.evaluation.ranges import LARGEST_SEED, check_range
from scangan.evaluation.scan_set import ScanSet
from scangan.evaluation.track import Track, untracked


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
        check_range("--repeats", self.repeats, 5, 1000)
        check_range("--seed", self.seed, 0, LARGEST_SEED)
        check_range("--threads", self.threads, 1)
        if not self.extractors:
            raise EvaluationError("name at least one extractor")


def quality(
    real: ScanSet,
    synthetic: ScanSet,
    options: QualityOptions | None = None,
    track: Track = untracked,
    notes: tuple[str, ...] = (),
) -> QualityResult:
    """Compare synthetic scans with real ones.

    Each figure stands beside that of real scans against other real ones. KID is computed from all
    scans, the others as means over random halves of both sets. Intervals cover the choice of scans on
    both sides.

    Parameters
    ----------
    real, synthetic : ScanSet
        The two sets. A figure over all classes weights them as the synthetic set does; KID and class
        agreement are means over the classes.
    options : QualityOptions, optional
        How to evaluate.
    track : callable, optional
        Shows how many scans each extractor has seen. See `scangan.evaluation.track`.
    notes : tuple of str
        More for the notes of the result.

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
    extractors = [FeatureExtractor(n, options.threads) for n in dict.fromkeys(options.extractors)]
    cache = Cache(options.cache)
    networks = [(extract.name, extract.sha256) for extract in extractors]
    how = options.repeats, options.seed, options.strict, notes
    with threadpool_limits(1, "blas"):  # a second thread costs more than it gains on these sizes
        return cache.result(
            QualityResult,
            (real.identity, synthetic.identity, networks, how),
            lambda: _quality(real, synthetic, options, extractors, cache, track, notes),
        )


def _quality(
    real: ScanSet,
    synthetic: ScanSet,
    options: QualityOptions,
    extractors: Sequence[FeatureExtractor],
    cache: Cache,
    track: Track,
    notes: tuple[str, ...],
) -> QualityResult:
    # These need scipy and scikit-learn, which take two seconds to import: not for a result that was kept.
    from scangan.evaluation.quality_pixels import of_pixels
    from scangan.evaluation.quality_sets import comparable
    from scangan.evaluation.quality_space import in_space

    real, synthetic, found = comparable(real, synthetic, strict=options.strict, seed=options.seed)
    splits = list(_splits(real, synthetic, options))
    spaces = {}
    for extract in extractors:
        scans = len(real) + len(synthetic)
        with track(f"extracting features, {extract.name}", scans, "scans") as advance:
            features = [cache.features(each.images, extract, advance) for each in (real, synthetic)]
        spaces[extract.name] = in_space(extract, features, real, synthetic, splits)
    return QualityResult(
        format_version=FORMAT,
        scangan=version("scangan"),
        real=real.info,
        synthetic=synthetic.info,
        spaces=spaces,
        pixels=of_pixels(real, synthetic, splits),
        repeats=options.repeats,
        seed=options.seed,
        notes=(*notes, *found),
    )


def _splits(real: ScanSet, synthetic: ScanSet, options: QualityOptions) -> Iterator[Halves]:
    """Halve both sets; the numbers of the synthetic scans follow those of the real ones."""
    sets = (real.labels, real.groups), (synthetic.labels, synthetic.groups)
    for halves in halved(*sets, options.repeats, options.seed):
        s, t = (
            [indices + len(real) for indices in half]
            for half in (halves.synthetic, halves.other_synthetic)
        )
        yield dataclasses.replace(halves, synthetic=s, other_synthetic=t)
