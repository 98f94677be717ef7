"""Tuned learning rates: steps to a target, and the least loss under a budget, at each batch size.

"Best" has one meaning throughout. To a target: the least integer t for which some constant
learning rate has expected loss at or below the target after t steps; among the learning rates that
do it, the one of lowest loss at that t. Under a budget: the learning rate of lowest loss at its
end.

How far that is guaranteed, each result says (`Guarantee`). For plain SGD on this model (c = h,
E x² = 1 at the start, B ≥ 1) and a target below half the largest curvature, it is a theorem, see
`_least_steps_plain`: the loss is convex in the learning rate and falls with every step wherever the
target can be met, so that minimisation inside bisection finds the optimum. With momentum the loss
ripples, in ε as in t; there every step that could do it is examined on a grid of learning rates
that resolves the fastest ripple, and the tests hold the answer against dense brute force.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar

from sgdnoise.schedule import Schedule, hold_then_decay, steps_for_epochs
from sgdnoise.theory.nqm.first_hit import Status, check_target, some_hit
from sgdnoise.theory.nqm.loss import Batch, check_batch_size, loss_under_schedule
from sgdnoise.theory.nqm.spectrum import (
    MOST,
    Spectrum,
    SpectrumName,
    check_count,
    condensed,
    spectrum,
)
from sgdnoise.theory.stability import (
    check_momentum,
    critical_learning_rate,
    effective_learning_rate,
)

FloatArray = NDArray[np.float64]

Optimum = tuple[int, float | None, float]
"""Steps, learning rate and loss."""

_PER_DECADE = 24
"""Learning rates a decade in a first look, where nothing ripples."""

_RESOLUTION = math.pi / 12
"""Phase of the fastest direction between neighbours on a grid that must not miss a ripple.

The loss has the square of that oscillation, so that it turns by π/6.
"""

_SILENCE = math.log(1e9)
"""Oscillations have died out when m^t is below 1e-9."""

_MOST_RIPPLES = 1 << 16
"""Learning rates that such a grid has at most; one that needs more resolves too little."""

_MARGIN = 1.05
"""Condensed spectra and parabolas are trusted this far, where they only choose where to look."""

_WORK = 800_000_000
"""Learning rates × levels × steps that are examined one by one: some twenty seconds."""

_LOOK = 60_000_000
"""Work that a first bound on the steps is worth, see `some_hit`: some three seconds."""

_HEAD = 12
"""Directions whose oscillation is left out of a bound that must not ripple."""

_CANDIDATES = 4
"""Cells of a grid in which a minimum is refined."""


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
    model = _model(spectrum, dims)
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


def best_momentum(
    batch_size: int,
    momenta: Sequence[float],
    target_loss: float = 0.01,
    max_steps: int = 10**8,
    dims: int = 10_000,
    spectrum: SpectrumName | Spectrum = "binned",
) -> TimeToTarget:
    """`time_to_target` at the best of several momenta, each with its own best learning rate.

    Ties go to the lower loss.
    """
    if not momenta:
        raise ValueError("momenta must hold at least one momentum")
    results = [
        time_to_target(batch_size, m, target_loss, max_steps, dims, spectrum) for m in momenta
    ]

    def rank(result: TimeToTarget) -> tuple[float, float]:
        return (
            math.inf if result.steps is None else result.steps,
            math.inf if result.loss is None else result.loss,
        )

    return min(results, key=rank)


def _model(spectrum_or_name: SpectrumName | Spectrum, dims: int) -> Spectrum:
    if isinstance(spectrum_or_name, Spectrum):
        return spectrum_or_name
    return spectrum(spectrum_or_name, dims)


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
        return _valley(_plain_loss(on, b, t), min(highest, 1 / t) * 1e-3, highest)

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


def _valley(loss: Callable[[float], float], lowest: float, highest: float) -> tuple[float, float]:
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
    grid = _log_grid(_lowest(model, m, max_steps), critical)
    bound = some_hit(small, grid, b, target, m, max_steps, _LOOK) or max_steps
    grid = _log_grid(_lowest(model, m, bound), critical)

    def reached(t: int, on: Spectrum = model) -> bool:
        return _lowest_trough(on, small, b, m, t, grid)[1] <= target

    steps = None
    if not reached(bound) and bound < max_steps and reached(max_steps):
        # The condensed spectrum was a little too good.
        bound = _bisect(reached, bound, max_steps, bound)
    if reached(bound):
        guess = _bisect(lambda t: reached(t, small), 0, bound)
        steps = _bisect(reached, 0, bound, guess)
    ripples_until = 0 if m == 0 else math.floor(_SILENCE / -math.log(m))
    last = min(max_steps if steps is None else steps - 1, ripples_until)
    early, guarantee = _earliest_trough(model, small, b, m, target, last)
    if early is not None:
        steps, known = early[0], early[1:]
    elif steps is not None:
        known = _lowest_trough(model, small, b, m, steps, grid)
    else:
        return None, guarantee
    fine = np.union1d(grid, _ripple_grid(model, m, steps, grid[0], critical))
    # Of too many ripples the finer grid settles a few only, and need not meet the one that did it.
    best = min(_lowest_trough(model, small, b, m, steps, fine), known, key=lambda pair: pair[1])
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
    lowest = _lowest(model, m, last)
    coarse = _log_grid(lowest, critical)

    def possible(t: int) -> bool:
        return bool((_losses(small, b, m, t, coarse, quiet=_HEAD) <= _MARGIN * target).any())

    if not possible(last):
        return None, Guarantee.RESOLVED
    first = _bisect(possible, 0, last)
    ripples = _ripple_grid(model, m, last, lowest, critical)
    grid = np.union1d(coarse, ripples)
    near = _losses(small, b, m, last, grid, quiet=_HEAD) <= _MARGIN * target
    grid = grid[near | np.roll(near, 1) | np.roll(near, -1)]
    work = grid.size * small.curvature.size * (last + 1 - first)
    if ripples.size == _MOST_RIPPLES or work > _WORK:
        return None, Guarantee.COARSE
    blocks = [Batch(small, part, m, b) for part in _blocks(small, grid)]
    log_rate = np.log(grid)
    for t in range(first, last + 1):
        loss = np.concatenate([block.total(np.array([float(t)])) for block in blocks])
        middle, trough = _troughs(log_rate, loss)
        settled = _loss_at(model, b, m, t)
        for i in middle[trough <= _MARGIN * target]:
            rate, least = _valley(settled, float(grid[i - 1]), float(grid[i + 1]))
            if least <= target:
                return (t, rate, least), Guarantee.RESOLVED
    return None, Guarantee.RESOLVED


def _lowest_trough(
    on: Spectrum, small: Spectrum, b: int, m: float, t: int, grid: FloatArray
) -> tuple[float, float]:
    """Learning rate of least loss after t steps, and that loss, among a grid's troughs.

    They are ranked by their parabolas on the condensed spectrum and settled on the one asked for.
    """
    loss = _losses(small, b, m, t, grid)
    middle, trough = _troughs(np.log(grid), loss)
    # A parabola through a kink may promise anything, so the grid's own lowest points come too.
    by_fit = middle[np.argsort(trough, kind="stable")][:_CANDIDATES]
    by_value = middle[np.argsort(loss[middle], kind="stable")][:_CANDIDATES]
    best = np.union1d(by_fit, by_value)
    settled = _loss_at(on, b, m, t)
    # The grid's ends have a neighbour on one side only.
    ends = [(lr, settled(lr)) for lr in (float(grid[0]), float(grid[-1]))]
    valleys = [_valley(settled, float(grid[i - 1]), float(grid[i + 1])) for i in best]
    return min([*valleys, *ends], key=lambda pair: pair[1])


def _loss_at(model: Spectrum, b: int, m: float, t: int) -> Callable[[float], float]:
    """Expected loss after t steps as a function of the learning rate."""
    steps = np.array([float(t)])
    return lambda lr: float(Batch(model, lr, m, b).total(steps)[0])


def _troughs(x: FloatArray, y: FloatArray) -> tuple[NDArray[np.intp], FloatArray]:
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


def _log_grid(lowest: float, highest: float) -> FloatArray:
    points = max(2, math.ceil(_PER_DECADE * math.log10(highest / lowest)) + 1)
    return np.geomspace(lowest, highest, points)


def _ripple_grid(model: Spectrum, m: float, t: int, lowest: float, highest: float) -> FloatArray:
    """Learning rates between two, close enough in phase to resolve the fastest oscillation.

    A complex direction oscillates as m^{t/2} cos tθ(ε), until m^t is too small to matter. θ is that
    of the largest curvature, which turns fastest.
    """
    if m == 0 or t * -math.log(m) > _SILENCE:
        return np.empty(0)
    q = np.array([lowest, highest]) * model.sharpness
    q = np.clip(q, (1 - math.sqrt(m)) ** 2, (1 + math.sqrt(m)) ** 2)
    angle = np.arccos(np.clip((1 + m - q) / (2 * math.sqrt(m)), -1, 1))
    points = max(2, math.ceil(t * (angle[1] - angle[0]) / _RESOLUTION) + 1)
    theta = np.linspace(angle[0], angle[1], min(points, _MOST_RIPPLES))
    return np.asarray((1 + m - 2 * math.sqrt(m) * np.cos(theta)) / model.sharpness)


def _losses(
    model: Spectrum, b: int, m: float, t: int, rates: FloatArray, quiet: int = 0
) -> FloatArray:
    """Expected loss after t steps at each learning rate, `quiet` directions' mean left out."""
    steps = np.array([float(t)])
    return np.concatenate(
        [Batch(model, part, m, b).total(steps, quiet) for part in _blocks(model, rates)]
    )


def _blocks(model: Spectrum, rates: FloatArray) -> list[FloatArray]:
    """Learning rates in pieces whose settings × levels fit a second-level cache."""
    return np.array_split(rates, max(1, math.ceil(rates.size * model.curvature.size / (1 << 14))))


# --- Budgets ---------------------------------------------------------------------------------


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
    model = _model(spectrum, dims)
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
        lowest = _lowest(model, m, count)
        ripples = _ripple_grid(model, m, int(count), lowest, critical)
        grid = np.union1d(_log_grid(lowest, critical), ripples)
        pairs.append(_lowest_trough(model, small, int(size), m, int(count), grid))
    lr, loss = (np.array(column).reshape(b.shape) for column in zip(*pairs, strict=True))
    return lr, loss


def _lowest(model: Spectrum, m: float, steps: float) -> float:
    """A learning rate too small to be best: it moves the stiffest direction by a hundredth."""
    critical = float(critical_learning_rate(model.sharpness, m))
    reach = steps * min(steps, 1 / (1 - m))
    return min(critical, 1 / (model.sharpness * reach)) * 1e-2


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
    """`sgdnoise.schedule.segments` for a schedule that only falls (or only rises), by bisection.

    It asks for a few hundred steps where `segments` asks for all of them: ten million steps of
    S20's schedule are eleven pieces.
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
