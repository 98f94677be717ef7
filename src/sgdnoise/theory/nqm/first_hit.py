"""The first step at which the expected loss reaches a target: found, and proved to be the first.

Heavy ball's loss is not monotone, so its first crossing cannot be bisected for. `Batch.floor`
bounds the loss from below on a whole interval of steps; an interval whose bound lies above the
target is skipped, any other is halved, down to single steps, where the loss itself decides. The
answer is the step at which a loop over all steps would stop.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sgdnoise.theory.nqm.loss import Batch, check_batch_size
from sgdnoise.theory.nqm.spectrum import MOST, Spectrum
from sgdnoise.theory.stability import check_count, check_momentum, check_positive

FloatArray = NDArray[np.float64]

_SLACK = 1e-9
"""A bound must clear the target by this share: more than rounding can put between two bounds."""

_CALL = 1 << 14
"""Settings × levels that a bound costs at the least: numpy's own calls."""

_WHOLE = 1 << 16
"""Settings × levels searched together: enough to amortise a call, small enough for the cache."""


class Status(StrEnum):
    """What became of a setting."""

    REACHED = "reached"
    UNREACHABLE = "unreachable"
    DIVERGED = "diverged"


@dataclass(frozen=True)
class FirstHits:
    """First steps at the target, one for each setting.

    Attributes:
        steps: the step, int64; -1 where there is none.
        loss: expected loss at that step; NaN where there is none.
        status: `Status` of each setting: reached; unreachable, stable but not within the horizon;
            diverged, beyond the critical learning rate and not reached.
    """

    steps: NDArray[np.int64]
    loss: FloatArray
    status: NDArray[np.object_]


def check_target(target_loss: float) -> float:
    """A target loss, refused unless positive and finite."""
    return float(check_positive("target loss", target_loss))


def first_hits(
    model: Spectrum,
    learning_rate: ArrayLike,
    batch_size: ArrayLike,
    target_loss: float,
    momentum: ArrayLike = 0.0,
    *,
    max_steps: int = 10**8,
) -> FirstHits:
    """The first step, from 0 to `max_steps`, whose expected loss is at or below the target.

    Args:
        model: a spectrum.
        learning_rate, batch_size, momentum: settings; they broadcast.
        target_loss: positive and finite.
        max_steps: the horizon.

    Returns:
        Steps, losses and status, of the settings' broadcast shape.

    Raises:
        ValueError: for a setting, target or horizon out of range.
    """
    target = check_target(target_loss)
    check_count("max steps", max_steps, MOST)
    lr, b, m = np.broadcast_arrays(
        check_positive("learning rate", learning_rate),
        check_batch_size(batch_size),
        check_momentum(momentum),
    )
    steps = np.full(lr.size, -1, dtype=np.int64)
    loss = np.full(lr.size, np.nan)
    unstable = np.zeros(lr.size, dtype=bool)
    rows = max(1, _WHOLE // model.curvature.size)
    for at in range(0, lr.size, rows):
        part = slice(at, at + rows)
        batch = Batch(model, lr.ravel()[part], m.ravel()[part], b.ravel()[part])
        steps[part], loss[part] = _search(batch, target, max_steps)
        unstable[part] = batch.unstable
    status = np.where(
        steps >= 0, Status.REACHED, np.where(unstable, Status.DIVERGED, Status.UNREACHABLE)
    )
    return FirstHits(
        steps.reshape(lr.shape), loss.reshape(lr.shape), status.astype(object).reshape(lr.shape)
    )


def some_hit(
    model: Spectrum,
    learning_rates: FloatArray,
    batch_size: int,
    target_loss: float,
    momentum: float,
    max_steps: int,
    work: int,
) -> int | None:
    """A step at which one of the learning rates is at the target: the first if `work` suffices.

    A search that finds a step is over for all later ones, in every learning rate.

    Args:
        model, learning_rates, batch_size, target_loss, momentum, max_steps: as in `first_hits`.
        work: settings × levels × bounds, after which the search stops with what it has.

    Returns:
        The step, or None if none was found.
    """
    rows = max(1, _WHOLE // model.curvature.size)
    pieces = [learning_rates[at : at + rows] for at in range(0, learning_rates.size, rows)]
    best = None
    for piece in pieces:
        batch = Batch(model, piece, momentum, batch_size)
        size = max(piece.size * model.curvature.size, _CALL)
        rounds = max(1, work // (len(pieces) * size))
        steps, _ = _search(batch, target_loss, max_steps, rounds)
        if (steps >= 0).any():
            best = max_steps = int(steps[steps >= 0].min())
    return best


def _search(
    batch: Batch, target: float, max_steps: int, rounds: int | None = None
) -> tuple[NDArray[np.int64], FloatArray]:
    """First hits and losses, -1 and NaN where there are none.

    With a number of `rounds` it looks for one early hit, and gives up after so many of them.
    """
    hit = np.full(len(batch), -1, dtype=np.int64)
    loss = np.full(len(batch), np.nan)
    initial = batch.model.initial_loss
    if initial <= target:
        hit[:], loss[:] = 0, initial
        return hit, loss
    where = np.arange(len(batch))
    searching = np.ones(len(batch), dtype=bool)
    # Steps up to `proved` are above the target; the next `span` are examined together.
    proved = np.zeros(len(batch))
    span = np.full(len(batch), float(max_steps))
    done = 0
    while searching.any() and done != rounds:
        done += 1
        # Settled settings still cost their share of every call, and dropping them costs a copy.
        if searching.sum() < 0.75 * where.size:
            batch, where = batch.take(searching), where[searching]
            proved, span = proved[searching], span[searching]
            searching = np.ones(where.size, dtype=bool)
        last = np.minimum(proved + span, max_steps)
        span = last - proved
        clear = batch.floor(proved + 1, last) > target * (1 + _SLACK)
        single = np.flatnonzero(searching & ~clear & (span == 1))
        if single.size:
            exact = batch.take(single).total(last[single])
            reached = exact <= target
            hit[where[single[reached]]] = last[single[reached]].astype(np.int64)
            loss[where[single[reached]]] = exact[reached]
            searching[single[reached]] = False
            clear[single[~reached]] = True
            if rounds is not None and reached.any():
                max_steps = min(max_steps, int(last[single[reached]].min()))
                searching &= proved < max_steps - 1
        proved = np.where(searching & clear, last, proved)
        span = np.where(clear, 2 * span, np.floor(span / 2))
        searching &= proved < max_steps
        span = np.where(searching, span, 1.0)
        proved = np.where(searching, proved, max_steps - 1.0)
    return hit, loss
