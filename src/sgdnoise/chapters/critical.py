"""Numbers of the chapter on the critical learning rate: one direction, two directions, and noise.

Everything is a quadratic whose largest curvature is 1, so that learning rates are in units of
1/λ_max and the critical one is 2(1 + m).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from sgdnoise.theory.moments import moments
from sgdnoise.theory.sde import stationary_variance
from sgdnoise.theory.stability import (
    critical_learning_rate,
    spectral_radius,
    trajectory,
)

FloatArray = NDArray[np.float64]

# --- Two directions --------------------------------------------------------------------------

FLAT = 0.05
"""Curvature of the flat direction; that of the steep one is 1."""

MOMENTA = (0.0, 0.3, 0.5, 0.7, 0.9)
LEARNING_RATES = tuple(round(0.2 * k, 1) for k in range(1, 21))
"""Up to 4: past the critical learning rate of every momentum above."""

BOWL_STEPS = 60
START = 3.0  # along the flat direction, so that both contribute to the loss


def bowl_path(learning_rate: float, momentum: float) -> tuple[FloatArray, FloatArray, float]:
    """Heavy ball from (3, 1): its positions in both directions, and final over initial loss."""
    flat = trajectory(learning_rate, FLAT, momentum, steps=BOWL_STEPS, start=START)
    steep = trajectory(learning_rate, 1.0, momentum, steps=BOWL_STEPS)
    loss = FLAT * flat**2 + steep**2
    return flat, steep, float(loss[-1] / loss[0])


# --- One direction ---------------------------------------------------------------------------

DIRECTION_STEPS = 40


def kind_of_motion(q: float, momentum: float) -> str:
    """What one direction does at q = ελ: which roots it has, in words."""
    limit = float(critical_learning_rate(1.0, momentum))
    root = np.sqrt(momentum)
    if q > limit:
        return "diverges"
    if q == limit:
        return "flips sign for ever"
    if q < (1 - root) ** 2:
        return "creeps, without crossing zero"
    if q == 1 and momentum == 0:
        return "arrives in one step"
    if q <= (1 + root) ** 2 and momentum > 0:
        return "swings; only the momentum sets how fast that dies"
    return "flips sign at every step" if q > 1 else "creeps, without crossing zero"


# --- The limit, found by experiment ----------------------------------------------------------


def critical_by_experiment(momentum: ArrayLike, *, steps: int = 4000) -> FloatArray:
    """The largest learning rate at which a run on ½ x² still shrinks, by bisection on runs.

    No formula goes in: a run counts as stable if its largest position in the last tenth of the
    steps is below that in the tenth at a half. Good to about 1/steps.
    """
    m = np.asarray(momentum, dtype=np.float64)
    low, high = np.zeros(m.shape), np.full(m.shape, 8.0)
    tenth = steps // 10
    for _ in range(24):
        middle = (low + high) / 2
        size = np.abs(trajectory(middle, 1.0, m, steps=steps))
        late, early = size[-tenth:].max(axis=0), size[steps // 2 :][:tenth].max(axis=0)
        with np.errstate(invalid="ignore"):
            # Far below the limit both have shrunk to what rounding leaves, which need not be zero.
            stable = (late < early) | (late < 1e-100)
        low, high = np.where(stable, middle, low), np.where(stable, high, middle)
    return low


LIMIT_MOMENTA = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)


@cache
def limits() -> tuple[tuple[float, float, float], ...]:
    """(m, 2(1 + m), limit found by experiment) at several momenta."""
    found = critical_by_experiment(LIMIT_MOMENTA)
    exact = critical_learning_rate(1.0, LIMIT_MOMENTA)
    return tuple(
        (m, float(e), float(f)) for m, e, f in zip(LIMIT_MOMENTA, exact, found, strict=True)
    )


# --- The map ---------------------------------------------------------------------------------

CONDITION_NUMBERS = (1, 2, 4, 10, 20, 50, 100, 300, 1000)


def worst_radius(
    learning_rate: ArrayLike, momentum: ArrayLike, condition_number: float
) -> FloatArray:
    """Spectral radius of the slowest direction when curvatures reach from 1/κ to 1.

    It is that of one of the two ends: along q = εh the radius falls, stays at √m, and rises.
    """
    ends = [spectral_radius(learning_rate, h, momentum) for h in (1.0, 1 / condition_number)]
    return np.maximum(*ends)


def polyak(condition_number: float) -> tuple[float, float]:
    """The learning rate and momentum that contract fastest, from Polyak's formula (λ_max = 1)."""
    root = np.sqrt(1 / condition_number)
    return float((2 / (1 + root)) ** 2), float(((1 - root) / (1 + root)) ** 2)


def plain_best(condition_number: float) -> tuple[float, float]:
    """The learning rate that contracts fastest without momentum, and momentum 0 (λ_max = 1)."""
    return 2 / (1 + 1 / condition_number), 0.0


def steps_per_tenth(radius: ArrayLike) -> FloatArray:
    """Steps in which the error falls to a tenth, in the long run; NaN where it does not fall."""
    r = np.asarray(radius, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(r < 1, np.maximum(-np.log(10) / np.log(r), 1), np.nan)


# --- How long the effective learning rate takes ----------------------------------------------

RAMP_MOMENTA = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)


# --- SGD beside heavy ball at equal effective learning rate ----------------------------------

GAP_MOMENTA = (0.5, 0.9, 0.99)


@dataclass(frozen=True)
class Gap:
    """How far heavy ball is from SGD at equal ε_eff and equal time, along one direction.

    Attributes:
        momentum: m.
        of_critical: ε_eff in units of SGD's critical learning rate 2/λ.
        settled: relative difference of the stationary variances.
        mean: largest distance between the mean paths at any one time, in units of the start.
        settled_slope, mean_slope: measured powers of ε_eff in the small.
        settled_at_tenth, mean_at_tenth: of_critical where each difference reaches a tenth, solved
            for and not read off the grid.
        swings: of_critical from which heavy ball oscillates, (1 - √m)/(1 + √m)/2.
    """

    momentum: float
    of_critical: FloatArray
    settled: FloatArray
    mean: FloatArray
    settled_slope: float
    mean_slope: float
    settled_at_tenth: float
    mean_at_tenth: float
    swings: float


def _slope(x: FloatArray, y: FloatArray) -> float:
    """Power of x that y follows where x is small."""
    few = x < 1e-4
    return float(np.polyfit(np.log(x[few]), np.log(y[few]), 1)[0])


def noise_gap(effective: ArrayLike, momentum: float) -> FloatArray:
    """Relative difference of heavy ball's stationary variance from SGD's at the same ε_eff."""
    lr = np.asarray(effective, dtype=np.float64)
    heavy = stationary_variance(lr * (1 - momentum), 1.0, 1.0, 1, momentum)
    return np.asarray(np.abs(heavy / stationary_variance(lr, 1.0, 1.0, 1) - 1))


def path_gap(effective: float, momentum: float) -> float:
    """Largest distance of heavy ball's mean path from SGD's, over every step of six relaxations."""
    steps = np.arange(int(np.ceil(6 / effective)) + 1)
    plain = moments(effective, 1.0, 1.0, steps).x
    heavy = moments(effective * (1 - momentum), 1.0, 1.0, steps, momentum).x
    return float(np.abs(heavy - plain).max())


def _a_tenth(gap: Callable[[float, float], ArrayLike], momentum: float) -> float:
    """Where a difference that grows with ε_eff is a tenth, in units of SGD's critical rate."""

    def over(of_critical: float) -> float:
        return float(gap(2 * of_critical, momentum)) - 0.1  # type: ignore[arg-type]

    return float(brentq(over, 1e-4, 0.25))


@cache
def gaps() -> tuple[Gap, ...]:
    """The differences at learning rates ε_eff = 1/k, where a relaxation time is k steps."""
    counts = np.unique(np.round(np.geomspace(2, 40_000, 120)))[::-1]
    effective = 1 / counts
    # At equal steps both have gone the same time.
    times = np.round(np.geomspace(1 / 40_000, 6, 400)[:, None] * counts)
    plain = moments(effective, 1.0, 1.0, times).x
    rows = []
    for m in GAP_MOMENTA:
        lr = effective * (1 - m)
        x = effective / 2
        noise = noise_gap(effective, m)
        path = np.abs(moments(lr, 1.0, 1.0, times, m).x - plain).max(axis=0)
        root = np.sqrt(m)
        rows.append(
            Gap(
                momentum=m,
                of_critical=x,
                settled=noise,
                mean=path,
                settled_slope=_slope(x, noise),
                mean_slope=_slope(x, path),
                settled_at_tenth=_a_tenth(noise_gap, m),
                mean_at_tenth=_a_tenth(path_gap, m),
                swings=float((1 - root) / (1 + root) / 2),
            )
        )
    return tuple(rows)


# --- Tuned, at each batch size ---------------------------------------------------------------

BUDGET = 2**16
"""Examples that every run sees."""

BUDGET_BATCH_SIZES = tuple(2**k for k in range(0, 13))
BUDGET_MOMENTA = (0.5, 0.8, 0.9, 0.95, 0.98)
_CURVATURES = np.geomspace(1e-3, 1, 25)
EFFECTIVE = np.geomspace(2**-9, 2**8, 171)


def final_loss(effective: ArrayLike, batch_size: int, momentum: float) -> FloatArray:
    """Expected loss ½ Σ h E x² after the budget, over the loss at the start.

    25 curvatures from 1/1000 to 1, per-example gradient variance h, unit start. Infinite where the
    setting is unstable.
    """
    lr = np.asarray(effective, dtype=np.float64)[..., None] * (1 - momentum)
    steps = BUDGET // batch_size
    state = moments(lr, _CURVATURES, _CURVATURES / batch_size, steps, momentum)
    with np.errstate(over="ignore", invalid="ignore"):
        loss = (_CURVATURES * state.xx).sum(axis=-1) / _CURVATURES.sum()
    stable = lr[..., 0] < critical_learning_rate(1.0, momentum)
    return np.where(stable, loss, np.inf)


@dataclass(frozen=True)
class Tuned:
    """The best effective learning rate of a method at a batch size, and the loss it reaches."""

    effective: float
    loss: float


@cache
def tuned(batch_size: int, momentum: float) -> Tuned:
    """The best of the plotted effective learning rates."""
    loss = final_loss(EFFECTIVE, batch_size, momentum)
    best = int(np.argmin(loss))
    return Tuned(float(EFFECTIVE[best]), float(loss[best]))


def over_plain(batch_size: int, momentum: float) -> float:
    """The tuned loss with momentum over that without."""
    return tuned(batch_size, momentum).loss / tuned(batch_size, 0.0).loss
