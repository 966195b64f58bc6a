"""Collect figures over random halves, and turn them into means with intervals."""

import dataclasses
from collections.abc import Callable
from statistics import fmean

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace
from scipy.stats import binomtest
from scipy.stats import t as student

from scangan.evaluation.halves import Halves
from scangan.evaluation.metric_list import SHARES
from scangan.evaluation.pairwise import FEWEST, joined
from scangan.evaluation.quality_result import Figure, Figures

Indices = npt.NDArray[np.intp]
Scope = str | None  # a class, or None for all classes
Measure = Callable[[Indices, Indices, bool], dict[str, float]]


@dataclasses.dataclass(frozen=True)
class Draw:
    """A figure of one split: of both synthetic halves, and of real scans in the place of one."""

    synthetic: tuple[float, float]
    real: float
    n_real: int
    n_synthetic: int


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

    def measure(self, halves: Halves, function: Measure, *, slow: bool) -> None:
        """Call ``function(real, other, slow)`` for all classes and each, and add what it returns."""
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
            counts = len(of_scope[0][0]), len(of_scope[0][1])
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
                scope: self._figure(metric, draws)
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

    def _figure(self, metric: str, draws: list[Draw]) -> Figure:
        n_real, n_synthetic = draws[-1].n_real, draws[-1].n_synthetic
        share = metric in SHARES
        share_of = n_synthetic if share else None
        value, low, high = summary([d.synthetic for d in draws], share_of)
        # The same real scans are on both sides of a split: only the spread of the splits is known.
        real = [d.real for d in draws]
        variance = float(np.var(real, ddof=1))
        real_low, real_high = interval(fmean(real), variance, len(real), share_of)
        return Figure(
            value=value,
            low=low,
            high=high,
            real=fmean(real),
            real_low=real_low,
            real_high=real_high,
            n_real=n_real,
            n_synthetic=n_synthetic,
        )


def real_over_synthetic(figures: Figures) -> Figures:
    """Divide a figure of real scans by that of synthetic ones: 1 if both are alike.

    The interval adds the relative errors of both, as if they were independent. Where the figure of
    synthetic scans is 0, as for scans that are all the same, there is no ratio.
    """

    def ratio(figure: Figure) -> Figure:
        real, low, high = figure.real or 0.0, figure.real_low or 0.0, figure.real_high or 0.0
        value = real / figure.value
        errors = (figure.high - figure.low) / figure.value, (high - low) / max(real, 1e-12)
        reach = value * float(np.hypot(*errors)) / 2
        return replace(
            figure,
            value=value,
            low=max(value - reach, 0.0),
            high=value + reach,
            real=None,
            real_low=None,
            real_high=None,
        )

    some = {name: figure for name, figure in figures.classes.items() if figure.value > 0}
    whole = figures.overall
    return Figures(
        overall=ratio(whole) if whole and whole.value > 0 else None,
        classes={name: ratio(figure) for name, figure in some.items()},
    )


def summary(halves: list[tuple[float, float]], share_of: int | None) -> tuple[float, float, float]:
    """Return the mean of a figure over all halves, and its 95% interval.

    Parameters
    ----------
    halves : list of (float, float)
        The figures of both halves, one pair for each split.
    share_of : int, optional
        See `interval`.
    """
    means = np.array([fmean(pair) for pair in halves])
    of_halves = fmean((first - second) ** 2 for first, second in halves) / 4
    # Noise must not bring it below what it is for a figure of pairs alone.
    variance = max(of_halves - means.var(ddof=1), of_halves / 2)
    value = float(means.mean())
    return value, *interval(value, variance, len(halves), share_of)


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
        The number of scans, if it is a share of them. Then the interval stays within 0 and 1, and
        without variance it is Wilson's (1927).
    """
    reach = float(np.sqrt(variance) * student.ppf(0.975, repeats - 1))
    if share_of is None:
        return value - reach, value + reach
    if reach == 0:
        span = binomtest(round(value * share_of), share_of).proportion_ci(method="wilson")
        return min(value, float(span.low)), max(value, float(span.high))
    return max(value - reach, 0.0), min(value + reach, 1.0)
