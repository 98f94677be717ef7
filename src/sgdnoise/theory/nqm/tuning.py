"""Tuned learning rates: the least loss under a budget, at each batch size.

Under a budget of steps or epochs the best learning rate is the one of lowest loss at its end; what
it means without one, `target` says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdnoise.schedule import Schedule, hold_then_decay, steps_for_epochs
from sgdnoise.theory.nqm.first_hit import Status
from sgdnoise.theory.nqm.loss import check_batch_size, loss_under_schedule
from sgdnoise.theory.nqm.spectrum import (
    Spectrum,
    SpectrumName,
    as_spectrum,
    condensed,
)
from sgdnoise.theory.nqm.target import time_to_target
from sgdnoise.theory.nqm.valleys import log_grid, lowest_trough, ripple_grid, too_small
from sgdnoise.theory.stability import (
    check_count,
    check_momentum,
    critical_learning_rate,
    effective_learning_rate,
)

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class EpochBudget:
    """Every batch size sees the same number of examples: round(epochs · N / B) steps."""

    epochs: float
    train_size: int

    def steps(self, batch_size: int) -> int:
        """Steps at a batch size."""
        return steps_for_epochs(self.epochs, self.train_size, batch_size)


@dataclass(frozen=True)
class StepBudget:
    """Every batch size makes the same number of steps."""

    count: int

    def steps(self, batch_size: int) -> int:
        """Steps at a batch size: the same at each."""
        check_count("steps", self.count)
        return self.count


@dataclass(frozen=True)
class UnlimitedBudget:
    """Every batch size trains until it reaches the target loss, as fast as it can."""

    target_loss: float = 0.01
    max_steps: int = 10**8


@dataclass(frozen=True)
class TunedCurve:
    """What tuning finds at each batch size; arrays of one length.

    Attributes:
        batch_size: B.
        steps: number of steps; -1 where an unlimited budget cannot reach its target.
        learning_rate, effective_learning_rate: tuned; NaN where unreachable.
        loss: expected loss at the end; NaN where unreachable.
        status: `Status` of each.
    """

    batch_size: NDArray[np.int64]
    steps: NDArray[np.int64]
    learning_rate: FloatArray
    effective_learning_rate: FloatArray
    loss: FloatArray
    status: NDArray[np.object_]


def tuned_curve(
    budget: EpochBudget | StepBudget | UnlimitedBudget,
    batch_sizes: Sequence[int],
    momentum: float = 0.0,
    *,
    spectrum: SpectrumName | Spectrum = "binned",
    dims: int = 10_000,
    decay: bool = False,
) -> TunedCurve:
    """Tuned learning rate and loss at each batch size under one of the three budgets.

    Args:
        budget: constant epochs, constant steps, or unlimited.
        batch_sizes: B.
        momentum: m, the same throughout.
        spectrum, dims: the model, binned by default for speed.
        decay: whether the learning rate follows S20's schedule (§4) instead of staying constant;
            not with an unlimited budget, whose length the schedule would have to know.
    """
    model = as_spectrum(spectrum, dims)
    b = check_batch_size(batch_sizes).astype(np.int64)
    m = float(check_momentum(momentum))
    if isinstance(budget, UnlimitedBudget):
        if decay:
            raise ValueError("a schedule needs a budget of a known length, not an unlimited one")
        results = [
            time_to_target(int(x), m, budget.target_loss, budget.max_steps, spectrum=model)
            for x in b
        ]
        steps = np.array([-1 if r.steps is None else r.steps for r in results])
        lr = np.array([math.nan if r.learning_rate is None else r.learning_rate for r in results])
        loss = np.array([math.nan if r.loss is None else r.loss for r in results])
        status = np.array([r.status for r in results], dtype=object)
    else:
        steps = np.array([budget.steps(int(x)) for x in b])
        status = np.full(b.size, Status.REACHED, dtype=object)
        if decay:
            pairs = [
                tuned_under_schedule(model, int(x), int(t), m)
                for x, t in zip(b, steps, strict=True)
            ]
            lr, loss = (np.array(column) for column in zip(*pairs, strict=True))
        else:
            lr, loss = tuned_loss(model, b, steps, m)
    return TunedCurve(b, steps, lr, effective_learning_rate(lr, m), loss, status)


def tuned_loss(
    model: Spectrum, batch_size: ArrayLike, steps: ArrayLike, momentum: float = 0.0
) -> tuple[FloatArray, FloatArray]:
    """Best constant learning rate after a given number of steps, and its expected loss.

    Args:
        model: a spectrum.
        batch_size, steps: broadcast; steps at least 1.
        momentum: m.

    Returns:
        Learning rates up to the critical one, and losses, of the broadcast shape.
    """
    b, t = np.broadcast_arrays(check_batch_size(batch_size), np.asarray(steps, dtype=np.float64))
    if not (t >= 1).all():
        raise ValueError("steps must be at least 1")
    m = float(check_momentum(momentum))
    critical = float(critical_learning_rate(model.sharpness, m))
    small = condensed(model)
    pairs = []
    for size, count in zip(b.flat, t.flat, strict=True):
        lowest = too_small(model, m, count)
        ripples = ripple_grid(model, m, int(count), lowest, critical)
        grid = np.union1d(log_grid(lowest, critical), ripples)
        pairs.append(lowest_trough(model, small, int(size), m, int(count), grid))
    lr, loss = (np.array(column).reshape(b.shape) for column in zip(*pairs, strict=True))
    return lr, loss


def tuned_under_schedule(
    model: Spectrum, batch_size: int, steps: int, momentum: float = 0.0
) -> tuple[float, float]:
    """Best initial learning rate under S20's schedule (§4), at most the critical one, and its loss.

    Beyond the critical rate an exact quadratic can do better still: the later, smaller rates
    contract whatever the first half blew up, by a factor of 10²⁷⁰ if need be. No network would come
    back from there, so those settings are left out.

    Returns:
        Learning rate, to 0.3% (its loss is then off by some parts in 10⁶), and expected loss.
    """
    critical = float(critical_learning_rate(model.sharpness, momentum))
    pieces = monotone_segments(hold_then_decay(steps), steps)
    held = float(tuned_loss(model, batch_size, steps, momentum)[0])
    # Later decay mends noise, so that the best start lies above the best constant rate.
    # Heavy ball that still oscillates at the end makes ripples along the learning rate.
    count = 31 if momentum**steps < 1e-9 else 401
    rates = np.geomspace(min(held / 3, critical / 2), min(64 * held, critical), count)
    for _ in range(4):
        loss = loss_under_schedule(model, rates, batch_size, pieces, momentum)[:, -1]
        best = int(np.argmin(loss))
        found = float(rates[best]), float(loss[best])
        ends = rates[max(best - 1, 0)], rates[min(best + 1, rates.size - 1)]
        rates = np.geomspace(*ends, 9)
    return found


def monotone_segments(schedule: Schedule, total_steps: int) -> list[tuple[float, int]]:
    """A schedule that only falls (or only rises) as runs of equal multipliers: (multiplier, steps).

    By bisection, so that few steps are asked for: ten million of S20's schedule are eleven pieces.
    """
    check_count("total steps", total_steps)
    pieces: list[tuple[float, int]] = []
    start = 0
    while start < total_steps:
        value = schedule(start)
        low, high = start, total_steps
        while high - low > 1:
            middle = (low + high) // 2
            if schedule(middle) == value:
                low = middle
            else:
                high = middle
        pieces.append((float(value), high - start))
        start = high
    return pieces
