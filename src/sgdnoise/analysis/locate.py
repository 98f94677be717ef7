"""Where a tuned learning rate lies, with an interval that covers on a hill and beside a cliff.

On a hill, the vertex of a least-squares parabola through five points says where the best rate is,
and Fieller's theorem gives its interval. Beside a cliff, where runs are lost, no parabola fits, and
a vertex through three points is pinned half a step below the best of them. There the interval is
the set of rates that are not significantly worse than the best one, a grid step wider, and the
value the top of a parabola through the side that the cliff does not touch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import stats

from sgdnoise.analysis.intervals import COVERAGE, Interval, pooled_variance, quantile
from sgdnoise.study.protocol import Objective, best_of

REACH = 2
"""Points on either side of the best one that the parabola is fitted to."""

How = Literal["parabola", "set", "edge", "one seed", "nothing valid"]


@dataclass(frozen=True)
class Located(Interval):
    """A tuned rate, log₂, with its interval.

    Attributes:
        by: how it was found. At an `edge` of the grid the value is a bound and has no interval.
        fitted: the rates, log₂, that a parabola was fitted to; none where no one was.
    """

    by: How = "set"
    fitted: tuple[float, ...] = ()

    @property
    def is_estimate(self) -> bool:
        """Whether it is an estimate and no bound."""
        return self.by not in ("edge", "nothing valid")


def scores(table: np.ndarray, objective: Objective) -> np.ndarray:
    """Values such that more is better and differences have one meaning: losses as −log₂.

    NaN where a run is missing or diverged.
    """
    values = np.asarray(table, dtype=np.float64)
    if not objective.higher_is_better:
        with np.errstate(divide="ignore", invalid="ignore"):
            values = -np.log2(values)
    return np.where(np.isfinite(values), values, np.nan)


def locate(
    exponents: np.ndarray, table: np.ndarray, objective: Objective, fraction: float
) -> Located:
    """The learning rate at which the mean over finite seeds is best, in log₂.

    Args:
        exponents: log₂ of the rates in rising order, shape (points,).
        table: final values, shape (points, seeds), NaN where a run diverged or is missing.
        objective: what the rate is tuned for.
        fraction: of the seeds that must be finite for a rate to be valid, as `best_of` has it.
    """
    values = scores(table, objective)
    finite = np.isfinite(values)
    valid = finite.sum(1) >= best_of(table.shape[1], fraction)
    if not valid.any():
        return Located(math.nan, math.nan, math.nan, "nothing valid")
    means = np.full(len(values), -np.inf)
    means[valid] = np.nanmean(values[valid], 1)
    best = int(np.argmax(means))
    at = float(exponents[best])
    if best in (0, len(values) - 1):
        return Located(at, math.nan, math.nan, "edge")
    # Up to the nearest rate on either side at which runs are lost.
    lost = np.flatnonzero(~valid)
    first = max([best - REACH, 0, *(lost[lost < best] + 1)])
    last = min([best + REACH, len(values) - 1, *(lost[lost > best] - 1)])
    window = slice(first, last + 1)
    if table.shape[1] == 1:
        vertex = _vertex(exponents[window] - at, means[window]) if first < best < last else 0.0
        return Located(at + vertex, math.nan, math.nan, "one seed")
    if first < best < last and last - first >= 3:
        fitted = _fieller(exponents[window] - at, values[window])
        if fitted is not None:
            value, low, high = map(float, fitted)
            fitted_to = tuple(exponents[window].tolist())
            return Located(at + value, at + low, at + high, "parabola", fitted_to)
    first, last = _not_worse(values, means, valid, best, window)
    lowest, highest = max(first - 1, 0), min(last + 1, len(values) - 1)
    value = at + _one_sided(exponents - at, means, valid, first, last)
    return Located(value, float(exponents[lowest]), float(exponents[highest]), "set")


def _one_sided(x: np.ndarray, means: np.ndarray, valid: np.ndarray, first: int, last: int) -> float:
    """The top of the hill whose far side a cliff cuts off, from the best point, in log₂.

    A parabola through the rates that are not worse and `REACH` below them, which the cliff does
    not touch, says where the top is; it cannot lie beyond the cliff, half-way to the next rate. The
    best point alone would lie too low by a fifth of an octave.

    Args:
        x: log₂ of the rates, less the best one's, shape (points,).
        means: at each, shape (points,).
        valid: where there is one.
        first, last: rows that are not significantly worse than the best.
    """
    rows = [row for row in range(max(first - REACH, 0), last + 1) if valid[row]]
    if len(rows) < 3:
        return 0.0
    a, b, _ = np.polyfit(x[rows], means[rows], 2)
    cliff = (x[last] + x[min(last + 1, len(x) - 1)]) / 2
    return float(np.clip(-b / (2 * a), x[first], cliff)) if a < 0 else 0.0


def _vertex(x: np.ndarray, means: np.ndarray) -> float:
    """The vertex of the least-squares parabola; 0, the best point, where it has no top inside."""
    a, b, _ = np.polyfit(x, means, 2)
    vertex = -b / (2 * a) if a < 0 else 0.0
    return float(vertex) if x[0] <= vertex <= x[-1] else 0.0


def _fieller(x: np.ndarray, values: np.ndarray) -> tuple[float, float, float] | None:
    """Vertex and bounds of the least-squares parabola; None where it does not fit, or bends not.

    Seeds are shared by all rates, so what a seed adds to all of them cancels: the variance is that
    of the residuals from the means of points and seeds.

    Args:
        x: abscissas, shape (points,), at least four.
        values: shape (points, seeds); seeds lost at any of the points are left out.
    """
    whole = values[:, np.isfinite(values).all(0)]
    points, seeds = whole.shape
    if seeds < 2:
        return None
    means = whole.mean(1)
    residuals = whole - means[:, None] - whole.mean(0) + whole.mean()
    dof = (points - 1) * (seeds - 1)
    variance = float((residuals**2).sum()) / dof / seeds  # of a mean
    design = np.stack([x**2, x, np.ones_like(x)], 1)
    inverse = np.linalg.inv(design.T @ design)
    a, b, _ = coefficients = inverse @ design.T @ means
    misfit = float(((means - design @ coefficients) ** 2).sum()) / (points - 3)
    if misfit > variance * stats.f.ppf(COVERAGE, points - 3, dof) or a >= 0:
        return None
    # The slope b + 2 a x at the vertex is zero: all x at which it is not significantly other.
    t2 = quantile(dof) ** 2 * variance
    lead = 4 * (a * a - t2 * inverse[0, 0])
    if lead <= 0:
        return None
    half = 2 * (a * b - t2 * inverse[0, 1])
    root = math.sqrt(max(half * half - lead * (b * b - t2 * inverse[1, 1]), 0))
    low, high, vertex = (-half - root) / lead, (-half + root) / lead, -b / (2 * a)
    return (vertex, low, high) if x[0] <= low and high <= x[-1] else None


def _not_worse(
    values: np.ndarray, means: np.ndarray, valid: np.ndarray, best: int, window: slice
) -> tuple[int, int]:
    """First and last row that one-sided t tests, Bonferroni's, do not call worse than the best."""
    rivals = np.flatnonzero(valid)
    variance, dof = pooled_variance(values[window])
    if not dof or len(rivals) == 1:
        return best, best
    counts = np.isfinite(values).sum(1)
    bar = stats.t.ppf(1 - (1 - COVERAGE) / (len(rivals) - 1), dof)
    alike = [
        row
        for row in rivals
        if means[best] - means[row]
        <= bar * math.sqrt(variance * (1 / counts[best] + 1 / counts[row]))
    ]
    return int(min(alike)), int(max(alike))
