"""An estimate with its interval: Student's t, on the variance between seeds.

A percentile bootstrap over three seeds covers 75%, not 95%. Here the variance between seeds is
pooled over the grid points about an optimum, and its degrees of freedom say how wide the interval
has to be.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

COVERAGE = 0.95


def quantile(dof: float, coverage: float = COVERAGE) -> float:
    """Student's t that an interval of a coverage needs, in standard errors; NaN without freedom."""
    return float(stats.t.ppf((1 + coverage) / 2, dof)) if dof > 0 else math.nan


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95% interval; NaN bounds where there is none."""

    value: float
    low: float
    high: float

    @property
    def half(self) -> float:
        """Half its width."""
        return (self.high - self.low) / 2

    def holds(self, value: float) -> bool:
        """Whether a value lies inside."""
        return self.low <= value <= self.high

    def __sub__(self, other: Interval) -> Interval:
        """The difference of two independent estimates, their intervals of any shape: `combined`."""
        return combined([(1.0, self), (-1.0, other)])

    def __str__(self) -> str:
        if not math.isfinite(self.value):
            return "no fit"
        value, low, high = (_digits(x) for x in (self.value, self.low, self.high))
        if math.isnan(self.low) or math.isnan(self.high):
            return f"{value}, no interval"
        if math.isinf(self.low):
            return f"{value} [open]" if math.isinf(self.high) else f"{value} [{high} or less]"
        return f"{value} [{low} or more]" if math.isinf(self.high) else f"{value} [{low}, {high}]"


def combined(terms: Iterable[tuple[float, Interval]]) -> Interval:
    """The sum of independent estimates times their weights, their intervals of any shape (MOVER).

    Each bound takes the variance that its own side of every interval implies (Zou and Donner 2008),
    so that an open side stays open.

    Args:
        terms: weight and estimate of each; those of weight 0 do not count.
    """
    value = down = up = 0.0
    for weight, one in terms:
        if weight:
            ends = weight * (one.value - one.low), weight * (one.high - one.value)
            below, above = ends if weight > 0 else ends[::-1]
            value += weight * one.value
            down, up = math.hypot(down, below), math.hypot(up, above)
    return Interval(value, value - down, value + up)


def slope_through(x: Sequence[float], found: Sequence[Interval]) -> Interval:
    """Least-squares slope of independent estimates over x, its interval from theirs: `combined`.

    NaN without two different abscissas.
    """
    off = np.asarray(x, dtype=np.float64)
    off = off - off.mean() if len(off) else off
    squares = float(off @ off)
    if not squares:
        return Interval(math.nan, math.nan, math.nan)
    return combined(zip((off / squares).tolist(), found, strict=True))


def _digits(value: float) -> str:
    """Three digits, and all before the point: 0.0312, but 1,024."""
    return f"{value:,.0f}" if 999.5 <= abs(value) < math.inf else f"{value:.3g}"


@dataclass(frozen=True)
class Estimate:
    """A mean, or a difference of two, with its standard error; NaN for a single run.

    Attributes:
        value: the estimate.
        error: its standard error.
        dof: degrees of freedom of the variance behind the error.
    """

    value: float
    error: float
    dof: float

    @classmethod
    def mean(cls, values: Sequence[float] | np.ndarray) -> Estimate:
        """The mean of some runs by their own variance."""
        return cls.pooled(values, [values])

    @classmethod
    def pooled(
        cls,
        values: Sequence[float] | np.ndarray,
        groups: Iterable[Sequence[float] | np.ndarray],
    ) -> Estimate:
        """The mean of the finite values, by the variance within groups, which are to be alike."""
        finite = np.asarray(values, dtype=np.float64)
        finite = finite[np.isfinite(finite)]
        if not len(finite):
            return cls(math.nan, math.nan, 0)
        variance, dof = pooled_variance(groups)
        return cls(float(finite.mean()), math.sqrt(variance / len(finite)), dof)

    def __sub__(self, other: Estimate) -> Estimate:
        """The difference of two independent means; degrees of freedom after Welch–Satterthwaite."""
        error = math.hypot(self.error, other.error)
        return Estimate(self.value - other.value, error, _welch((self, other), error))

    @classmethod
    def average(cls, estimates: Sequence[Estimate]) -> Estimate:
        """The mean of independent estimates."""
        return cls.weighted(estimates, [1 / len(estimates)] * len(estimates))

    @classmethod
    def weighted(cls, estimates: Sequence[Estimate], weights: Sequence[float]) -> Estimate:
        """The sum of independent estimates, each times its weight."""
        terms = [
            cls(weight * one.value, abs(weight) * one.error, one.dof)
            for one, weight in zip(estimates, weights, strict=True)
        ]
        error = math.hypot(*(term.error for term in terms))
        return cls(sum(term.value for term in terms), error, _welch(terms, error))

    @property
    def interval(self) -> Interval:
        """The 95% interval; bounds of NaN without degrees of freedom."""
        return self.at(COVERAGE)

    def at(self, coverage: float) -> Interval:
        """The interval of another coverage."""
        reach = quantile(self.dof, coverage) * self.error
        return Interval(self.value, self.value - reach, self.value + reach)

    @property
    def p(self) -> float:
        """Two-sided p-value against 0; NaN without degrees of freedom."""
        if not self.dof > 0:
            return math.nan
        if self.error == 0:
            return float(self.value == 0)
        return float(2 * stats.t.sf(abs(self.value) / self.error, self.dof))

    def p_within(self, margin: float, target: float = 0.0) -> float:
        """p-value of two one-sided tests that it lies within a margin of a target.

        The larger of the two: small where both sides are ruled out. NaN without degrees of freedom.
        """
        room = margin - abs(self.value - target)
        if not self.dof > 0:
            return math.nan
        if self.error == 0:
            return float(room < 0)
        return float(stats.t.sf(room / self.error, self.dof))

    def __str__(self) -> str:
        if not math.isfinite(self.value):
            return "no number"
        if not math.isfinite(self.interval.half):
            return f"{self.value:+.2f}, no interval"
        return f"{self.value:+.2f} [{self.interval.low:+.2f}, {self.interval.high:+.2f}]"


def _welch(estimates: Sequence[Estimate], error: float) -> float:
    """Degrees of freedom of a sum's variance, error², from those of its terms."""
    if not all(one.dof > 0 for one in estimates):
        return 0
    if error == 0:
        return min(one.dof for one in estimates)
    return error**4 / sum(one.error**4 / one.dof for one in estimates)


def pooled_variance(groups: Iterable[Sequence[float] | np.ndarray]) -> tuple[float, int]:
    """Variance within groups of runs, and its degrees of freedom Σ(nᵢ − 1).

    Only finite values count; (NaN, 0) where no group has two.
    """
    squares, dof = 0.0, 0
    for group in groups:
        values = np.asarray(group, dtype=np.float64)
        values = values[np.isfinite(values)]
        if len(values) > 1:
            squares += float(((values - values.mean()) ** 2).sum())
            dof += len(values) - 1
    return (squares / dof, dof) if dof else (math.nan, 0)


def spread_ratio(
    mine: Sequence[float] | np.ndarray,
    theirs: Sequence[float] | np.ndarray,
    coverage: float = COVERAGE,
) -> Interval:
    """log₂ of how much further runs scatter than others: of their standard deviations' ratio.

    The interval is that of F, exact for independent normal values. Only finite values count; bounds
    of NaN where either has fewer than two, or no spread at all.
    """
    (one, many), (other, few) = pooled_variance([mine]), pooled_variance([theirs])
    if not (one > 0 and other > 0):
        return Interval(math.nan, math.nan, math.nan)
    value = math.log2(one / other) / 2
    low, high = (
        value - math.log2(float(stats.f.ppf(level, many, few))) / 2
        for level in ((1 + coverage) / 2, (1 - coverage) / 2)
    )
    return Interval(value, low, high)
