"""Schedules, heavy ball and the SDE step by step, for what finds their ends some faster way."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from sgdnoise.schedule import Schedule, tabulate


def segments(schedule: Schedule, total_steps: int) -> list[tuple[float, int]]:
    """The schedule as runs of equal multipliers: (multiplier, number of steps), in order."""
    runs = itertools.groupby(tabulate(schedule, total_steps).tolist())
    return [(value, len(list(run))) for value, run in runs]


def update_matrix(lr: np.ndarray | float, h: float, m: float) -> np.ndarray:
    """Takes (x, v) to its next value: v' = m v + h x and x' = x - ε v'; shape (..., 2, 2)."""
    lr, h, m = np.broadcast_arrays(lr, h, m)
    rows = [np.stack([1 - lr * h, -lr * m], axis=-1), np.stack([h, m], axis=-1)]
    return np.stack(rows, axis=-2)


def euler_maruyama(
    drift: Callable[[np.ndarray], np.ndarray],
    diffusion: float,
    start: np.ndarray,
    *,
    step: float,
    steps: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Ends of solutions of dX = drift(X) dt + diffusion dW, one for each start."""
    x = start
    for _ in range(steps):
        x = x + step * drift(x) + np.sqrt(step) * diffusion * rng.standard_normal(x.shape)
    return x
