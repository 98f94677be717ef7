"""The learning rate of least loss after a given number of steps: grids, their troughs, valleys.

A grid of learning rates resolves whatever ripples there are; its troughs are ranked on a condensed
spectrum, by a parabola through each, and settled on the spectrum that was asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from sgdnoise.theory.nqm.loss import Batch
from sgdnoise.theory.nqm.spectrum import Spectrum
from sgdnoise.theory.stability import critical_learning_rate

FloatArray = NDArray[np.float64]

_PER_DECADE = 24
"""Learning rates a decade in a first look, where nothing ripples."""

_RESOLUTION = math.pi / 12
"""Phase of the fastest direction between neighbours on a grid that must not miss a ripple.

The loss has the square of that oscillation, so that it turns by π/6.
"""

SILENCE = math.log(1e9)
"""Oscillations have died out when m^t is below 1e-9."""

MOST_RIPPLES = 1 << 16
"""Learning rates that such a grid has at most; one that needs more resolves too little."""

_CANDIDATES = 4
"""Cells of a grid in which a minimum is refined."""


def valley(loss: Callable[[float], float], lowest: float, highest: float) -> tuple[float, float]:
    """Learning rate of least loss between two bounds of one valley, and that loss.

    The tolerance, 1e-7 in log ε, puts the loss within 1e-13 of its minimum.
    """
    bounds = math.log(lowest), math.log(highest)
    best = minimize_scalar(
        lambda x: loss(math.exp(x)), bounds=bounds, method="bounded", options={"xatol": 1e-7}
    )
    # The bounded method never tries the ends.
    inside = float(best.fun), math.exp(best.x)
    value, where = min(inside, (loss(lowest), lowest), (loss(highest), highest))
    return where, value


def lowest_trough(
    on: Spectrum, small: Spectrum, b: int, m: float, t: int, grid: FloatArray
) -> tuple[float, float]:
    """Learning rate of least loss after t steps, and that loss, among a grid's troughs.

    They are ranked by their parabolas on the condensed spectrum and settled on the one asked for.
    """
    loss = losses(small, b, m, t, grid)
    middle, trough = troughs(np.log(grid), loss)
    # A parabola through a kink may promise anything, so the grid's own lowest points come too.
    by_fit = middle[np.argsort(trough, kind="stable")][:_CANDIDATES]
    by_value = middle[np.argsort(loss[middle], kind="stable")][:_CANDIDATES]
    best = np.union1d(by_fit, by_value)
    settled = loss_at(on, b, m, t)
    # The grid's ends have a neighbour on one side only.
    ends = [(lr, settled(lr)) for lr in (float(grid[0]), float(grid[-1]))]
    valleys = [valley(settled, float(grid[i - 1]), float(grid[i + 1])) for i in best]
    return min([*valleys, *ends], key=lambda pair: pair[1])


def loss_at(model: Spectrum, b: int, m: float, t: int) -> Callable[[float], float]:
    """Expected loss after t steps as a function of the learning rate."""
    steps = np.array([float(t)])
    return lambda lr: float(Batch(model, lr, m, b).total(steps)[0])


def troughs(x: FloatArray, y: FloatArray) -> tuple[NDArray[np.intp], FloatArray]:
    """Local minima of y inside a grid, and the lowest value of the parabola through each."""
    middle = np.flatnonzero((y[1:-1] <= y[:-2]) & (y[1:-1] <= y[2:]) & np.isfinite(y[1:-1])) + 1
    return middle, _parabola_minimum(x, y, middle)


def _parabola_minimum(x: FloatArray, y: FloatArray, middle: NDArray[np.intp]) -> FloatArray:
    """Lowest value of the parabola through three neighbours, at local minima of y; at least 0."""
    left, right = x[middle - 1] - x[middle], x[middle + 1] - x[middle]
    down, up = y[middle - 1] - y[middle], y[middle + 1] - y[middle]
    with np.errstate(all="ignore"):
        slope = (down * right / left - up * left / right) / (right - left)
        bend = (up / right - down / left) / (right - left)
        value = y[middle] - slope**2 / (4 * bend)
    return np.where(np.isfinite(value), np.maximum(value, 0.0), y[middle])


def too_small(model: Spectrum, m: float, steps: float) -> float:
    """A learning rate too small to be best: it moves the stiffest direction by a hundredth."""
    critical = float(critical_learning_rate(model.sharpness, m))
    reach = steps * min(steps, 1 / (1 - m))
    return min(critical, 1 / (model.sharpness * reach)) * 1e-2


def log_grid(lowest: float, highest: float) -> FloatArray:
    points = max(2, math.ceil(_PER_DECADE * math.log10(highest / lowest)) + 1)
    return np.geomspace(lowest, highest, points)


def ripple_grid(model: Spectrum, m: float, t: int, lowest: float, highest: float) -> FloatArray:
    """Learning rates between two, close enough in phase to resolve the fastest oscillation.

    A complex direction oscillates as m^{t/2} cos tθ(ε), until m^t is too small to matter. θ is that
    of the largest curvature, which turns fastest.
    """
    if m == 0 or t * -math.log(m) > SILENCE:
        return np.empty(0)
    q = np.array([lowest, highest]) * model.sharpness
    q = np.clip(q, (1 - math.sqrt(m)) ** 2, (1 + math.sqrt(m)) ** 2)
    angle = np.arccos(np.clip((1 + m - q) / (2 * math.sqrt(m)), -1, 1))
    points = max(2, math.ceil(t * (angle[1] - angle[0]) / _RESOLUTION) + 1)
    theta = np.linspace(angle[0], angle[1], min(points, MOST_RIPPLES))
    rates = (1 + m - 2 * math.sqrt(m) * np.cos(theta)) / model.sharpness
    # At a momentum next to 1 the first of them are what is left of 1 − 1.
    return np.asarray(np.maximum(rates, lowest))


def losses(
    model: Spectrum, b: int, m: float, t: int, rates: FloatArray, quiet: int = 0
) -> FloatArray:
    """Expected loss after t steps at each learning rate, `quiet` directions' mean left out."""
    steps = np.array([float(t)])
    return np.concatenate(
        [Batch(model, part, m, b).total(steps, quiet) for part in in_blocks(model, rates)]
    )


def in_blocks(model: Spectrum, rates: FloatArray) -> list[FloatArray]:
    """Learning rates in pieces whose settings × levels fit a second-level cache."""
    return np.array_split(rates, max(1, math.ceil(rates.size * model.curvature.size / (1 << 14))))
