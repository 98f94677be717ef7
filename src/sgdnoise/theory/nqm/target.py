"""Steps to a target loss at the best constant learning rate, for one batch size and momentum.

"Best" has one meaning: the least integer t for which some constant learning rate has expected loss
at or below the target after t steps; among the learning rates that do it, the one of lowest loss at
that t.

How far that is guaranteed, each result says (`Guarantee`). For plain SGD on this model (c = h,
E x² = 1 at the start, B ≥ 1) and a target below half the largest curvature, it is a theorem, see
`_least_steps_plain`: the loss is convex in the learning rate and falls with every step wherever the
target can be met, so that minimisation inside bisection finds the optimum. With momentum the loss
ripples, in ε as in t; there every step that could do it is examined on a grid of learning rates
that resolves the fastest ripple, and the tests hold the answer against dense brute force.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum

import numpy as np

from sgdnoise.theory.nqm.first_hit import Status, check_target, some_hit
from sgdnoise.theory.nqm.loss import Batch, check_batch_size
from sgdnoise.theory.nqm.spectrum import (
    MOST,
    Spectrum,
    SpectrumName,
    as_spectrum,
    condensed,
)
from sgdnoise.theory.nqm.valleys import (
    MOST_RIPPLES,
    SILENCE,
    in_blocks,
    log_grid,
    loss_at,
    losses,
    lowest_trough,
    ripple_grid,
    too_small,
    troughs,
    valley,
)
from sgdnoise.theory.stability import (
    check_count,
    check_momentum,
    critical_learning_rate,
    effective_learning_rate,
)

Optimum = tuple[int, float | None, float]
"""Steps, learning rate and loss."""

_MARGIN = 1.05
"""Condensed spectra and parabolas are trusted this far, where they only choose where to look."""

_WORK = 800_000_000
"""Learning rates × levels × steps that are examined one by one: some twenty seconds."""

_LOOK = 60_000_000
"""Work that a first bound on the steps is worth, see `some_hit`: some three seconds."""

_HEAD = 12
"""Directions whose oscillation is left out of a bound that must not ripple."""


class Guarantee(StrEnum):
    """How far the best learning rate of a result is known to be best.

    PROVED: a theorem. RESOLVED: every step at which oscillations live was examined on a grid fine
    enough for them; after that the optimum over learning rates was bisected for. COARSE: there
    were too many of them (momenta beyond about 0.995 at very large batches): the steps do reach the
    target, but a dip between grid points may do so earlier, much earlier where few directions
    have to meet in it.
    """

    PROVED = "proved"
    RESOLVED = "resolved"
    COARSE = "coarse"


@dataclass(frozen=True)
class TimeToTarget:
    """Steps to a target loss at the best constant learning rate.

    Attributes:
        status: reached, or unreachable within `max_steps` at any learning rate.
        steps: the least number of steps; None if unreachable.
        learning_rate: the best, None if unreachable or if no step is needed.
        effective_learning_rate: ε/(1 - m), likewise.
        loss: expected loss after `steps`; None if unreachable.
        guarantee: how far "best" is known.
        batch_size, momentum, target_loss, spectrum, dims, max_steps: what was asked.
    """

    status: Status
    steps: int | None
    learning_rate: float | None
    effective_learning_rate: float | None
    loss: float | None
    guarantee: Guarantee
    batch_size: int
    momentum: float
    target_loss: float
    spectrum: str
    dims: int
    max_steps: int

    def to_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return {**asdict(self), "status": str(self.status), "guarantee": str(self.guarantee)}


def time_to_target(
    batch_size: int,
    momentum: float | None = None,
    target_loss: float = 0.01,
    max_steps: int = 10**8,
    dims: int = 10_000,
    spectrum: SpectrumName | Spectrum = "exact",
) -> TimeToTarget:
    """Least steps to a target loss over all constant learning rates, and the learning rate.

    Args:
        batch_size: B, a whole number of at least 1.
        momentum: m in [0, 1); None is plain SGD.
        target_loss: positive and finite.
        max_steps: horizon, beyond which the target counts as unreachable.
        dims: number of directions, for a spectrum given by name.
        spectrum: "exact", "binned", or a spectrum of one's own (preconditioned, say).

    Returns:
        The result; never a large number in place of one.

    Raises:
        ValueError: for any argument out of range.
    """
    b = int(check_batch_size(batch_size))
    m = float(check_momentum(0.0 if momentum is None else momentum))
    target = check_target(target_loss)
    check_count("max steps", max_steps, MOST)
    model = as_spectrum(spectrum, dims)
    found, guarantee = _least_steps(model, b, m, target, max_steps)
    steps, lr, loss = found if found else (None, None, None)
    return TimeToTarget(
        status=Status.REACHED if found else Status.UNREACHABLE,
        steps=steps,
        learning_rate=lr,
        effective_learning_rate=None if lr is None else float(effective_learning_rate(lr, m)),
        loss=loss,
        guarantee=guarantee,
        batch_size=b,
        momentum=m,
        target_loss=target,
        spectrum=model.name,
        dims=model.dims,
        max_steps=int(max_steps),
    )


def _least_steps(
    model: Spectrum, b: int, m: float, target: float, max_steps: int
) -> tuple[Optimum | None, Guarantee]:
    if model.initial_loss <= target:
        return (0, None, model.initial_loss), Guarantee.PROVED
    top = float(model.weight[0] * model.curvature[0] / 2)
    ours = np.array_equal(model.noise, model.curvature) and (model.preconditioner == 1).all()
    if m == 0 and ours and target < top:
        return _least_steps_plain(model, b, target, max_steps), Guarantee.PROVED
    return _least_steps_searched(model, b, m, target, max_steps)


def _least_steps_plain(model: Spectrum, b: int, target: float, max_steps: int) -> Optimum | None:
    """The optimum for plain SGD, by bisection on t and convex minimisation over ε.

    Write s = ε/(B(2 - εh)) for the stationary E x² of a direction and λ = 1 - εh, so that
    E x² = s + λ^{2t}(1 - s). Let h₁ be the largest curvature.

    1. If ε > 2B/(h₁B + 1), then s ≥ 1 along h₁ or the direction diverges, E x² never falls below
       its starting value 1, and the loss never below h₁/2 > target. So only smaller ε count.
    2. There s ≤ 1 along every h. A step changes E x² by λ^{2t}(λ² - 1)(1 - s) ≤ 0: the loss falls
       with t, and the least t over ε can be bisected for.
    3. There E x² is convex in ε at every t. For εh ≤ 1 its second derivative is
       s''(1 - λ^{2t}) + (λ^{2t})''(1 - s) - 2(λ^{2t})'s', three terms that are not negative. For
       εh ≥ 1, with u = εh - 1, it is u^{2t} + (1 + u)²(1 + u² + … + u^{2t-2})/(hB), a polynomial
       in u with no negative coefficient.
    """
    small = condensed(model)

    def least(t: int, on: Spectrum = model) -> tuple[float, float]:
        highest = 2 * b / (on.curvature[0] * b + 1)
        return valley(_plain_loss(on, b, t), min(highest, 1 / t) * 1e-3, highest)

    if least(max_steps)[1] > target:
        return None
    # The condensed spectrum says where to look; what it says is not relied on.
    guess = _bisect(lambda t: least(t, small)[1] <= target, 0, max_steps)
    steps = _bisect(lambda t: least(t)[1] <= target, 0, max_steps, guess)
    return steps, *least(steps)


def _plain_loss(model: Spectrum, b: int, t: int) -> Callable[[float], float]:
    """Expected loss of plain SGD after t steps as a function of the learning rate, c = h."""
    h, weight = model.curvature, model.weight * model.curvature / 2

    def loss(lr: float) -> float:
        q = lr * h
        stationary = lr / (b * (2 - q))
        with np.errstate(divide="ignore"):
            left = np.exp(np.maximum(2 * t * np.log1p(-np.minimum(q, 2 - q)), -700))
        return float(weight @ (stationary + (1 - stationary) * left))

    return loss


def _least_steps_searched(
    model: Spectrum, b: int, m: float, target: float, max_steps: int
) -> tuple[Optimum | None, Guarantee]:
    """The optimum where the loss may ripple.

    A crossing on a coarse grid bounds the answer from above, bisection of the least loss over
    learning rates brings it down, on a condensed spectrum first and then on the full one. While
    oscillations live an earlier step may do it too: those are looked at one by one.
    """
    small = condensed(model)
    critical = float(critical_learning_rate(model.sharpness, m))
    grid = log_grid(too_small(model, m, max_steps), critical)
    bound = some_hit(small, grid, b, target, m, max_steps, _LOOK) or max_steps
    grid = log_grid(too_small(model, m, bound), critical)

    def reached(t: int, on: Spectrum = model) -> bool:
        return lowest_trough(on, small, b, m, t, grid)[1] <= target

    steps = None
    if not reached(bound) and bound < max_steps and reached(max_steps):
        # The condensed spectrum was a little too good.
        bound = _bisect(reached, bound, max_steps, bound)
    if reached(bound):
        guess = _bisect(lambda t: reached(t, small), 0, bound)
        steps = _bisect(reached, 0, bound, guess)
    ripples_until = 0 if m == 0 else math.floor(SILENCE / -math.log(m))
    last = min(max_steps if steps is None else steps - 1, ripples_until)
    early, guarantee = _earliest_trough(model, small, b, m, target, last)
    if early is not None:
        steps, known = early[0], early[1:]
    elif steps is not None:
        known = lowest_trough(model, small, b, m, steps, grid)
    else:
        return None, guarantee
    fine = np.union1d(grid, ripple_grid(model, m, steps, grid[0], critical))
    # Of too many ripples the finer grid settles a few only, and need not meet the one that did it.
    best = min(lowest_trough(model, small, b, m, steps, fine), known, key=lambda pair: pair[1])
    return (steps, *best), guarantee


def _earliest_trough(
    model: Spectrum, small: Spectrum, b: int, m: float, target: float, last: int
) -> tuple[tuple[int, float, float] | None, Guarantee]:
    """The first step up to `last` at which some learning rate reaches the target, step by step.

    With it come the learning rate and the loss.

    While oscillations live, some learning rate may dip to the target for a step or two long before
    all is quiet, so that nothing can be bisected for. Steps are ruled out by the loss without the
    mean response of the stiffest directions, which bounds it from below and hardly ripples; at
    each step that is left, every trough of a grid that resolves the ripples is fitted by a
    parabola, and those that come close are settled on the full spectrum.
    """
    if last < 1:
        return None, Guarantee.RESOLVED
    critical = float(critical_learning_rate(model.sharpness, m))
    lowest = too_small(model, m, last)
    coarse = log_grid(lowest, critical)

    def possible(t: int) -> bool:
        return bool((losses(small, b, m, t, coarse, quiet=_HEAD) <= _MARGIN * target).any())

    if not possible(last):
        return None, Guarantee.RESOLVED
    first = _bisect(possible, 0, last)
    ripples = ripple_grid(model, m, last, lowest, critical)
    grid = np.union1d(coarse, ripples)
    near = losses(small, b, m, last, grid, quiet=_HEAD) <= _MARGIN * target
    grid = grid[near | np.roll(near, 1) | np.roll(near, -1)]
    work = grid.size * small.curvature.size * (last + 1 - first)
    if ripples.size == MOST_RIPPLES or work > _WORK:
        return None, Guarantee.COARSE
    blocks = [Batch(small, part, m, b) for part in in_blocks(small, grid)]
    log_rate = np.log(grid)
    for t in range(first, last + 1):
        loss = np.concatenate([block.total(np.array([float(t)])) for block in blocks])
        middle, trough = troughs(log_rate, loss)
        settled = loss_at(model, b, m, t)
        for i in middle[trough <= _MARGIN * target]:
            rate, least = valley(settled, float(grid[i - 1]), float(grid[i + 1]))
            if least <= target:
                return (t, rate, least), Guarantee.RESOLVED
    return None, Guarantee.RESOLVED


def _bisect(reached: Callable[[int], bool], low: int, high: int, guess: int | None = None) -> int:
    """Least t in (low, high] with reached(t), given that high has it and it is kept once gained.

    Gallops outwards from a guess first, so that a good one costs few calls.
    """
    if guess is not None:
        width = 1
        if reached(guess):
            high = guess
            while high - width > low and reached(high - width):
                high, width = high - width, 2 * width
            low = max(low, high - width)
        else:
            low = guess
            while low + width < high and not reached(low + width):
                low, width = low + width, 2 * width
            high = min(high, low + width)
    while high - low > 1:
        middle = (low + high) // 2
        if reached(middle):
            high = middle
        else:
            low = middle
    return high
