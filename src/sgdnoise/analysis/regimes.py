"""Tuned rates over batch sizes and budgets: the two regimes, and straight lines.

The intervals here rest on how far the tuned rates scatter about the line, not on each rate's own
interval: scatter knows of everything that moves a tuned rate, seeds, grids and cliffs alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from sgdnoise.analysis.intervals import COVERAGE, Interval, quantile
from sgdnoise.analysis.locate import Located
from sgdnoise.analysis.tuning import Tuning
from sgdnoise.study.grid import Key
from sgdnoise.theory.regimes import KNEE_STEP, Hinge, fit_hinge

LEAST_CARRIED = 3
"""Batch sizes that a slope below the boundary needs to be an estimate."""

RESOLUTION = 0.01
"""Spacing of the slopes and levels tried for an interval."""


@dataclass(frozen=True)
class Regimes:
    """Where the linear scaling rule holds: the hinge of tuned learning rates over batch sizes.

    Attributes:
        slope: d log lr* / d log B below the boundary; 1 is the linear scaling rule. Without an
            interval where fewer than `LEAST_CARRIED` batch sizes carry it.
        boundary: the batch size at which the tuned learning rate stops growing; its upper bound is
            infinite where no flat part has to follow.
        level: the effective learning rate beyond it.
        carried: how many batch sizes lie below the boundary.
        bends: whether the best hinge turns flat before the largest batch size, surely or not.
    """

    slope: Interval
    boundary: Interval
    level: Interval
    carried: int
    bends: bool

    @property
    def flat_seen(self) -> bool:
        """Whether the boundary surely lies inside the batch sizes tried."""
        return math.isfinite(self.boundary.high)


def fit_regimes(batch_sizes: Sequence[int], peaks: Sequence[Located]) -> Regimes:
    """The two regimes of one method, with profile intervals over the hinge's residuals.

    A value belongs to an interval if the best hinge that has it leaves residuals that are not
    significantly larger, by F: see `_freedom`. Bounds are no estimates and are left out; fewer than
    four estimates give no fit.

    Args:
        batch_sizes: the batch sizes in rising order, shape (n,).
        peaks: log₂ of the tuned effective learning rate at each.
    """
    sound = [(size, peak) for size, peak in zip(batch_sizes, peaks, strict=True) if _is_one(peak)]
    x = np.log2([float(size) for size, _ in sound])
    y = np.array([peak.value for _, peak in sound])
    if len(sound) < 4:
        none = Interval(math.nan, math.nan, math.nan)
        return Regimes(none, none, none, 0, False)
    fit = fit_hinge(x, y[None])[0]
    knees, slopes, levels = _profiles(x, y, fit)
    below = int((x < fit.knee - KNEE_STEP / 2).sum())
    # An open end of the profile is an open end of the interval.
    low = -math.inf if knees[0] <= x[1] else knees[0]
    high = math.inf if knees[1] >= x[-1] - KNEE_STEP / 2 else knees[1]
    no_slope = Interval(fit.slope, math.nan, math.nan)
    return Regimes(
        slope=Interval(fit.slope, *slopes) if below >= LEAST_CARRIED else no_slope,
        boundary=Interval(fit.boundary, 2.0**low, 2.0**high),
        level=Interval(2.0**fit.level, *(2.0**bound for bound in levels)),
        carried=below,
        bends=bool(fit.knee < x[-1] - KNEE_STEP / 2),
    )


def _is_one(peak: Located) -> bool:
    return peak.is_estimate and math.isfinite(peak.value)


def _profiles(
    x: np.ndarray, y: np.ndarray, fit: Hinge
) -> tuple[tuple[float, float], tuple[float, float], tuple[float, float]]:
    """Bounds of knee, slope and level by profile F over the hinge's residuals."""
    knees = np.linspace(x[1], x[-1], 1 + math.ceil((x[-1] - x[1]) / KNEE_STEP))
    ramps = np.minimum(x - knees[:, None], 0)  # (knees, n)
    steep = np.arange(-1, 3 + RESOLUTION, RESOLUTION)
    flat = np.arange(y.min() - 2, y.max() + 2, RESOLUTION)
    rest = y - steep[:, None, None] * ramps
    by_slope = ((rest - rest.mean(-1, keepdims=True)) ** 2).sum(-1)  # (slopes, knees)
    above = y - flat[:, None, None]
    best = (above * ramps).sum(-1) / (ramps**2).sum(-1)
    by_level = ((above - best[..., None] * ramps) ** 2).sum(-1)  # (levels, knees)
    residuals = y - fit.level - fit.slope * np.minimum(x - fit.knee, 0)
    least = float((residuals**2).sum())
    dof = _freedom(len(x))
    bar = least * (1 + stats.f.ppf(COVERAGE, 1, dof) / dof) + 1e-9
    return (
        _range(knees, by_slope.min(0), bar),
        _range(steep, by_slope.min(1), bar),
        _range(flat, by_level.min(1), bar),
    )


def _freedom(points: int) -> int:
    """Degrees of freedom of the hinge's residuals.

    Slope, level and knee take three. Where there are points to spare the knee takes another one,
    for it is also chosen between which of them it lies: simulated, slopes through eleven batch
    sizes hold the truth 93 % of the time without that, 95 % with it.
    """
    return max(points - 4, min(points - 3, 2))


def _range(values: np.ndarray, squares: np.ndarray, bar: float) -> tuple[float, float]:
    """First and last value whose squares stay below the bar; the nearest one where none does."""
    inside = values[squares <= max(bar, squares.min())]
    return float(inside[0]), float(inside[-1])


def boundary_of(tuned: Mapping[Key, Tuning], method: str) -> Regimes:
    """The two regimes of one method of an experiment keyed by method and batch size."""
    chosen = {
        dict(key)["batch_size"]: one for key, one in tuned.items() if dict(key)["method"] == method
    }
    sizes = sorted(chosen)
    return fit_regimes(sizes, [chosen[size].peak for size in sizes])


def line_slope(x: Sequence[float], y: Sequence[float]) -> Interval:
    """Least-squares slope with the interval of its residuals, n − 2 degrees of freedom.

    Args:
        x: abscissas.
        y: ordinates; NaN for those that are left out. Fewer than three leave no interval.
    """
    at, values = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    sound = np.isfinite(values)
    at, values = at[sound], values[sound]
    if len(at) < 2:
        return Interval(math.nan, math.nan, math.nan)
    if len(at) == 2:
        value = float((values[1] - values[0]) / (at[1] - at[0]))
        return Interval(value, math.nan, math.nan)
    # By hand: scipy's has no standard error where all ordinates are the same.
    x_off, y_off = at - at.mean(), values - values.mean()
    squares = float(x_off @ x_off)
    slope = float(x_off @ y_off) / squares
    rest = y_off - slope * x_off
    reach = quantile(len(at) - 2) * math.sqrt(float(rest @ rest) / (len(at) - 2) / squares)
    return Interval(slope, slope - reach, slope + reach)


def log_rates(tuned: Mapping[Key, Tuning], name: str) -> dict[float, float]:
    """log₂ of the tuned rates by the value of a key, such as `epochs`; NaN where it is a bound."""
    return {
        float(dict(key)[name]): one.peak.value if _is_one(one.peak) else math.nan
        for key, one in tuned.items()
    }


def log_slope(tuned: Mapping[Key, Tuning], name: str) -> Interval:
    """Slope of log tuned learning rate against log of a key, such as `epochs`, least squares."""
    rates = log_rates(tuned, name)
    return line_slope([math.log2(at) for at in rates], list(rates.values()))
