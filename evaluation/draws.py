"""Collect figures over random halves, and turn them into means with intervals."""

import dataclasses
from collections.abc import Callable
from statistics import fmean

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest
from scipy.stats import t as student

from scangan.evaluation.halves import Halves
from scangan.evaluation.metric_list import SHARES, SHARES_OF_REAL
from scangan.evaluation.pairwise import FEWEST, joined
from scangan.evaluation.quality_result import Figure, Figures

Indices = npt.NDArray[np.intp]
Scope = str | None  # a class, or None for all classes
# An extrapolated figure has the error of the one that it starts from. Its own halves are too noisy to
# tell, so the noise of extrapolating is added as the spread over the splits.
EXTRAPOLATED = {"fid_infinite": "fid"}
Measure = Callable[[Indices, Indices, bool], dict[str, float]]


@dataclasses.dataclass(frozen=True)
class Draw:
    """A figure of one split: of both synthetic halves, and of real scans in the place of one.

    `n_real` and `n_synthetic` are scans of a half; `groups` is how many groups those real ones are of.
    """

    synthetic: tuple[float, float]
    real: float
    n_real: int
    n_synthetic: int
    groups: int = 0


class Draws:
    """Figures of random halves.

    Parameters
    ----------
    classes : tuple of str
        Class names.
    """

    def __init__(self, classes: tuple[str, ...]) -> None:
        self.classes = classes
        self._draws: dict[str, dict[Scope, list[Draw]]] = {}

    def add(self, metric: str, scope: Scope, draw: Draw) -> None:
        """Add the figure of one split."""
        self._draws.setdefault(metric, {}).setdefault(scope, []).append(draw)

    def measure(
        self, halves: Halves, function: Measure, groups: npt.NDArray[np.int64], *, slow: bool
    ) -> None:
        """Call ``function(real, other, slow)`` for all classes and each, and add what it returns.

        `groups` has the group of each scan, int64 [N].
        """
        pairs = (
            (halves.real, halves.synthetic),
            (halves.other_real, halves.other_synthetic),
            (halves.real, halves.beside),
        )
        scopes: list[tuple[Scope, list[tuple[Indices, Indices]]]]
        scopes = [(None, [(joined(a), joined(b)) for a, b in pairs])]
        if len(self.classes) > 1:
            scopes += [
                (name, [(a[k], b[k]) for a, b in pairs]) for k, name in enumerate(self.classes)
            ]
        for scope, of_scope in scopes:
            if min(len(side) for pair in of_scope for side in pair) < FEWEST:
                continue  # large groups can leave little for a half
            one, two, real = (function(a, b, slow) for a, b in of_scope)
            (half, other), *_ = of_scope
            counts = len(half), len(other), len(np.unique(groups[half]))
            for metric in (m for m in one if m in two and m in real):
                if not np.isfinite([one[metric], two[metric], real[metric]]).all():
                    continue  # a ratio to 0, as of the variety of scans that are all the same
                draw = Draw((one[metric], two[metric]), real[metric], *counts)
                self.add(metric, scope, draw)

    def add_mean(self, metric: str) -> None:
        """Add the mean over the classes of their last figures as the figure over all classes."""
        last = [self._draws[metric][name][-1] for name in self.classes]
        first, second = (fmean(d.synthetic[half] for d in last) for half in (0, 1))
        n_real, n_synthetic = sum(d.n_real for d in last), sum(d.n_synthetic for d in last)
        self.add(
            metric, None, Draw((first, second), fmean(d.real for d in last), n_real, n_synthetic)
        )

    def figures(self) -> dict[str, Figures]:
        """Return the means over all halves with their 95% intervals."""
        known = {
            metric: {
                scope: self._figure(metric, scope)
                for scope, draws in scopes.items()
                if len(draws) > 1
            }
            for metric, scopes in self._draws.items()
        }
        return {
            metric: Figures(scopes.get(None), {k: scopes[k] for k in self.classes if k in scopes})
            for metric, scopes in known.items()
            if scopes
        }

    def real_over_synthetic(self, metric: str) -> Figures:
        """Return a figure of real scans over that of synthetic ones: 1 if both are alike.

        Where the figure of synthetic scans is 0, as for scans that are all the same, there is no ratio.
        """
        scopes = {
            scope: _ratio(draws)
            for scope, draws in self._draws[metric].items()
            if len(draws) > 1 and all(fmean(draw.synthetic) > 0 for draw in draws)
        }
        overall = scopes.pop(None, None)
        return Figures(overall, {name: scopes[name] for name in self.classes if name in scopes})

    def _figure(self, metric: str, scope: Scope) -> Figure:
        draws = self._draws[metric][scope]
        share_of = None
        if metric in SHARES:
            share_of = draws[-1].groups if metric in SHARES_OF_REAL else draws[-1].n_synthetic
        synthetic, real = [draw.synthetic for draw in draws], [draw.real for draw in draws]
        error, repeats = error_variance(synthetic), len(draws)
        if metric in EXTRAPOLATED:
            measured = [draw.synthetic for draw in self._draws[EXTRAPOLATED[metric]][scope]]
            error, repeats = (
                error_variance(measured) + _of_splits(synthetic) / repeats,
                len(measured),
            )
        value = fmean(map(fmean, synthetic))
        low, high = interval(value, error, repeats, share_of)
        # The same real scans are on both sides of a split: only the spread of the splits is known.
        spread = float(np.var(real, ddof=1))
        real_low, real_high = interval(fmean(real), spread, len(real), share_of)
        return Figure(
            value=value,
            low=low,
            high=high,
            real=fmean(real),
            real_low=real_low,
            real_high=real_high,
            n_real=draws[-1].n_real,
            n_synthetic=draws[-1].n_synthetic,
        )


def _ratio(draws: list[Draw]) -> Figure:
    """Divide the figure of real scans by that of synthetic ones.

    Both are figures of the same real scans, so a part of their errors cancels. The correlation of the
    errors is taken from the splits, and the error of the ratio to first order (the delta method).
    """
    pairs = [draw.synthetic for draw in draws]
    synthetic, real = np.array([fmean(pair) for pair in pairs]), np.array([d.real for d in draws])
    value = float(real.mean() / synthetic.mean())
    first = np.sqrt(error_variance(pairs)) / synthetic.mean()
    second = real.std(ddof=1) / max(real.mean(), 1e-12)
    with np.errstate(invalid="ignore"):  # all splits may have the same figure
        together = np.nan_to_num(np.corrcoef(synthetic, real)[0, 1])
    relative = first**2 + second**2 - 2 * together * first * second
    low, high = interval(value, value**2 * max(relative, 0.0), len(draws))
    return Figure(
        value=value,
        low=max(low, 0.0),
        high=high,
        n_real=draws[-1].n_real,
        n_synthetic=draws[-1].n_synthetic,
    )


def error_variance(halves: list[tuple[float, float]]) -> float:
    """Estimate the variance of the mean of a figure over all halves.

    Parameters
    ----------
    halves : list of (float, float)
        The figures of both halves, one pair for each split.
    """
    of_halves = fmean((first - second) ** 2 for first, second in halves) / 4
    # Noise must not bring it below what it is for a figure of pairs alone.
    return max(of_halves - _of_splits(halves), of_halves / 2)


def _of_splits(halves: list[tuple[float, float]]) -> float:
    """Return the variance of the mean of both halves over the splits."""
    return float(np.var([fmean(pair) for pair in halves], ddof=1))


def interval(
    value: float, variance: float, repeats: int, share_of: int | None = None
) -> tuple[float, float]:
    """Return the 95% interval of a figure.

    Parameters
    ----------
    value, variance : float
        The figure, and the estimated variance of its error.
    repeats : int
        How many random halves the variance comes from.
    share_of : int, optional
        The number of scans that count alone, if it is a share of them. Then the interval stays within
        0 and 1, and without variance it is Wilson's (1927).
    """
    reach = float(np.sqrt(variance) * student.ppf(0.975, repeats - 1))
    if share_of is None:
        return value - reach, value + reach
    if reach == 0:
        span = binomtest(round(value * share_of), share_of).proportion_ci(method="wilson")
        return min(value, float(span.low)), max(value, float(span.high))
    return max(value - reach, 0.0), min(value + reach, 1.0)
