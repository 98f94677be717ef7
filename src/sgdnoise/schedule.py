"""Compute budgets and learning-rate schedules, as plain functions of the step.

A schedule is a dimensionless multiplier of the initial learning rate, so that one schedule serves
every learning rate of a grid.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

Schedule = Callable[[int], float]
"""Maps a step, 0-based, to a multiplier of the initial learning rate."""


def steps_for_epochs(epochs: float, train_size: int, batch_size: int) -> int:
    """Number of updates in an epoch budget: round(epochs · N / B), and at least one.

    Permutations are joined end to end, so that no example is dropped and no batch is short; the
    budget is therefore exact to within half a batch.

    Raises:
        ValueError: for a budget, training set or batch size that is not positive, or a batch
            larger than the training set.
    """
    if not (epochs > 0 and math.isfinite(epochs)):
        raise ValueError(f"epochs must be positive and finite, got {epochs}")
    if train_size < 1:
        raise ValueError(f"training set size must be at least 1, got {train_size}")
    if not 1 <= batch_size <= train_size:
        raise ValueError(
            f"batch size must lie between 1 and the training set size {train_size}, "
            f"got {batch_size}"
        )
    return max(1, round(epochs * train_size / batch_size))


def hold_then_decay(
    total_steps: int, factor: float = 2.0, hold: float = 0.5, drops: int = 10
) -> Schedule:
    """S20's schedule (§4): constant for half of training, then divided by γ every twentieth.

    The first of the ten drops comes at the end of the hold, so that the last learning rate is
    ε_f = ε_0 γ^(-10). Drop times stay fractions of the budget: rounding the interval to whole
    steps instead would give an eleventh drop in the last few steps of 9,765.

    Args:
        total_steps: length of training, in steps.
        factor: γ, what each drop divides by; S20 uses 2, and tunes it in its figure 3.
        hold: fraction of training before the first drop.
        drops: number of drops, spread evenly over the rest.

    Returns:
        The multiplier of the initial learning rate at a step.
    """
    if total_steps < 1:
        raise ValueError(f"total steps must be at least 1, got {total_steps}")
    if not factor > 0:
        raise ValueError(f"decay factor must be positive, got {factor}")
    if not 0 <= hold <= 1:
        raise ValueError(f"hold must lie between 0 and 1, got {hold}")
    if drops < 0:
        raise ValueError(f"drops must not be negative, got {drops}")
    start = hold * total_steps

    def multiplier(step: int) -> float:
        if step < start or drops == 0:
            return 1.0
        if hold == 1:
            return 1.0
        passed = math.floor((step - start) / ((total_steps - start) / drops)) + 1
        return float(factor ** -min(passed, drops))

    return multiplier


def constant(total_steps: int) -> Schedule:
    """The initial learning rate throughout; what the noisy quadratic model uses."""
    if total_steps < 1:
        raise ValueError(f"total steps must be at least 1, got {total_steps}")
    return lambda step: 1.0


def tabulate(schedule: Schedule, total_steps: int) -> np.ndarray:
    """The multiplier at each step, shape (total_steps,), float64."""
    return np.array([schedule(step) for step in range(total_steps)], dtype=np.float64)


def segments(schedule: Schedule, total_steps: int) -> list[tuple[float, int]]:
    """The schedule as runs of equal multipliers: (multiplier, number of steps), in order.

    For closed forms that hold for a constant learning rate and are applied piece by piece.
    """
    table = tabulate(schedule, total_steps)
    edges = np.flatnonzero(np.diff(table)) + 1
    starts = np.concatenate(([0], edges))
    ends = np.concatenate((edges, [total_steps]))
    return [(float(table[a]), int(b - a)) for a, b in zip(starts, ends, strict=True)]


def log_spaced_steps(total_steps: int, count: int) -> list[int]:
    """About `count` distinct step counts from 1 to `total_steps`, evenly spaced in log.

    These are numbers of completed updates, the last being the whole run: where curves are logged.
    """
    if total_steps < 1:
        raise ValueError(f"total steps must be at least 1, got {total_steps}")
    points = np.geomspace(1, total_steps, num=max(2, count))
    return sorted({round(p) for p in points} | {total_steps})
