"""Tuned learning rates: steps to a target, and the least loss under a budget, at each batch size.

"Best" has one meaning throughout. To a target: the least integer t for which some constant
learning rate has expected loss at or below the target after t steps; among the learning rates that
do it, the one of lowest loss at that t. Under a budget: the learning rate of lowest loss at its
end.

How far that is guaranteed. For plain SGD on this model (c = h, E x² = 1 at the start, B ≥ 1) and a
target below half the largest curvature's loss, it is a theorem, see `_least_steps_plain`: the loss
is convex in the learning rate and falls with every step wherever the target can be met, so that
minimisation inside bisection finds the optimum. With momentum the loss ripples; there the minimum
is taken over a grid fine enough for the fastest ripple still alive and refined in the best cells,
and the tests hold it against dense brute force.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar

from sgdnoise.schedule import Schedule, hold_then_decay, steps_for_epochs
from sgdnoise.theory.nqm.first_hit import Status, check_target, first_hits
from sgdnoise.theory.nqm.loss import Batch, check_batch_size, loss_under_schedule
from sgdnoise.theory.nqm.spectrum import Spectrum, SpectrumName, check_count, condensed, spectrum
from sgdnoise.theory.stability import (
    check_momentum,
    critical_learning_rate,
    effective_learning_rate,
)

FloatArray = NDArray[np.float64]

_PER_DECADE = 24
"""Learning rates a decade in a first look, where nothing ripples."""

_RESOLUTION = math.pi / 6
"""Phase of the fastest direction between neighbours on a grid that must not miss a ripple."""

_CANDIDATES = 6
"""Cells of a grid in which a minimum is refined."""


@dataclass(frozen=True)
class TimeToTarget:
    """Steps to a target loss at the best constant learning rate.

    Attributes:
        status: reached, or unreachable within `max_steps` at any learning rate.
        steps: the least number of steps; None if unreachable.
        learning_rate: the best, None if unreachable or if no step is needed.
        effective_learning_rate: ε/(1 - m), likewise.
        loss: expected loss after `steps`; None if unreachable.
        batch_size, momentum, target_loss, spectrum, dims, max_steps: what was asked.
    """

    status: Status
    steps: int | None
    learning_rate: float | None
    effective_learning_rate: float | None
    loss: float | None
    batch_size: int
    momentum: float
    target_loss: float
    spectrum: str
    dims: int
    max_steps: int

    def to_dict(self) -> dict[str, object]:
        """Plain values, for JSON."""
        return {**asdict(self), "status": str(self.status)}


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
    check_count("max steps", max_steps)
    model = _model(spectrum, dims)
    found = _least_steps(model, b, m, target, max_steps)
    steps, lr, loss = found if found else (None, None, None)
    return TimeToTarget(
        status=Status.REACHED if found else Status.UNREACHABLE,
        steps=steps,
        learning_rate=lr,
        effective_learning_rate=None if lr is None else float(effective_learning_rate(lr, m)),
        loss=loss,
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
) -> tuple[int, float | None, float] | None:
    if model.initial_loss <= target:
        return 0, None, model.initial_loss
    top = float(model.weight[0] * model.curvature[0] / 2)
    ours = np.array_equal(model.noise, model.curvature) and (model.preconditioner == 1).all()
    if m == 0 and ours and target < top:
        return _least_steps_plain(model, b, target, max_steps)
    return _least_steps_searched(model, b, m, target, max_steps)


def _least_steps_plain(
    model: Spectrum, b: int, target: float, max_steps: int
) -> tuple[int, float, float] | None:
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
) -> tuple[int, float, float] | None:
    """The optimum where the loss may ripple: minimisation over a grid, refined in its best cells.

    First crossings on a coarse grid bound the answer from above; below that the least loss over
    all learning rates is bisected for in t, first on a condensed spectrum, then on the full one.
    """
    small = condensed(model)
    critical = float(critical_learning_rate(model.sharpness, m))
    rates = _log_grid(_lowest(model, m, max_steps), critical)
    hits = first_hits(small, rates, b, target, m, max_steps=max_steps).steps
    bound = int(hits.min(where=hits >= 0, initial=max_steps))
    grid = _log_grid(_lowest(model, m, bound), critical)
    ripple = _ripple_grid(model, m, bound, grid[0], critical)
    if ripple.size:
        # A trough elsewhere on the grid may become the best a little earlier: ten times the target
        # is more than a ripple and the few steps between can put there.
        loss = _losses(small, b, m, bound, ripple)
        grid = np.union1d(grid, ripple[loss < 10 * max(target, float(loss.min()))])

    def cells(t: int) -> list[tuple[float, float]]:
        """The grid's lowest local minima of the condensed loss after t steps, as brackets."""
        loss = _losses(small, b, m, t, grid)
        padded = np.concatenate([[np.inf], loss, [np.inf]])
        local = np.flatnonzero((loss <= padded[:-2]) & (loss <= padded[2:]) & np.isfinite(loss))
        local = local[np.argsort(loss[local], kind="stable")]
        local = local[loss[local] <= 1.05 * loss[local[0]]][:_CANDIDATES]
        last = grid.size - 1
        return [(float(grid[max(i - 1, 0)]), float(grid[min(i + 1, last)])) for i in local]

    def least(t: int, on: Spectrum = model) -> tuple[float, float]:
        """Learning rate and loss of the lowest of the best cells."""
        steps = np.array([float(t)])

        def loss(lr: float) -> float:
            return float(Batch(on, lr, m, b).total(steps)[0])

        return min((_valley(loss, *cell) for cell in cells(t)), key=lambda pair: pair[1])

    if bound == max_steps and least(max_steps)[1] > target:
        return None
    if least(bound)[1] > target:
        # The condensed spectrum was a little too good.
        bound = _bisect(lambda t: least(t)[1] <= target, bound, max_steps, bound)
    guess = _bisect(lambda t: least(t, small)[1] <= target, 0, bound)
    steps = _bisect(lambda t: least(t)[1] <= target, 0, bound, guess)
    lr, value = least(steps)
    # An earlier dip may hide behind a later rise: ask for the first crossing.
    earlier = int(first_hits(model, lr, b, target, m, max_steps=steps).steps)
    while 0 <= earlier < steps:
        steps = earlier
        lr, value = least(steps)
        earlier = int(first_hits(model, lr, b, target, m, max_steps=steps).steps)
    return steps, lr, value


def _log_grid(lowest: float, highest: float) -> FloatArray:
    points = max(2, math.ceil(_PER_DECADE * math.log10(highest / lowest)) + 1)
    return np.geomspace(lowest, highest, points)


def _ripple_grid(model: Spectrum, m: float, t: int, lowest: float, highest: float) -> FloatArray:
    """Learning rates between two, close enough in phase to resolve the fastest oscillation.

    A complex direction oscillates as m^{t/2} cos tθ(ε): once m^t is below 1e-9 there is nothing
    left to resolve. θ is that of the largest curvature, which turns fastest.
    """
    if m == 0 or t * -math.log(m) > math.log(1e9):
        return np.empty(0)
    q = np.array([lowest, highest]) * model.sharpness
    q = np.clip(q, (1 - math.sqrt(m)) ** 2, (1 + math.sqrt(m)) ** 2)
    angle = np.arccos(np.clip((1 + m - q) / (2 * math.sqrt(m)), -1, 1))
    points = max(2, math.ceil(t * (angle[1] - angle[0]) / _RESOLUTION) + 1)
    theta = np.linspace(angle[0], angle[1], min(points, 1 << 16))
    return np.asarray((1 + m - 2 * math.sqrt(m) * np.cos(theta)) / model.sharpness)


def _losses(model: Spectrum, b: int, m: float, t: int, rates: FloatArray) -> FloatArray:
    out = np.empty(rates.size)
    rows = max(1, (1 << 18) // model.curvature.size)
    for at in range(0, rates.size, rows):
        part = Batch(model, rates[at : at + rows], m, b)
        out[at : at + rows] = part.total(np.full(len(part), float(t)))
    return out


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
                _tuned_under_decay(model, int(x), m, int(t)) for x, t in zip(b, steps, strict=True)
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
    pairs = []
    for size, count in zip(b.flat, t.flat, strict=True):
        lowest = _lowest(model, m, count)

        def losses(rates: FloatArray, size: float = size, count: float = count) -> FloatArray:
            return _losses(model, int(size), m, int(count), rates)

        grid = np.union1d(
            _log_grid(lowest, critical),
            _ripple_grid(model, m, int(count), lowest, critical),
        )
        pairs.append(minimise_over_rates(losses, grid))
    lr, loss = (np.array(column).reshape(b.shape) for column in zip(*pairs, strict=True))
    return lr, loss


def _lowest(model: Spectrum, m: float, steps: float) -> float:
    """A learning rate too small to be best: it moves the stiffest direction by a hundredth."""
    critical = float(critical_learning_rate(model.sharpness, m))
    reach = steps * min(steps, 1 / (1 - m))
    return min(critical, 1 / (model.sharpness * reach)) * 1e-2


def _tuned_under_decay(model: Spectrum, b: int, m: float, steps: int) -> tuple[float, float]:
    pieces = monotone_segments(hold_then_decay(steps), steps)
    critical = float(critical_learning_rate(model.sharpness, m))

    def losses(rates: FloatArray) -> FloatArray:
        return loss_under_schedule(model, rates, b, pieces, m)[:, -1]

    # The first half may run above the critical rate if what it blows up is mended later: never
    # best over many steps, but a short schedule may go a little beyond.
    return minimise_over_rates(losses, _log_grid(_lowest(model, m, steps), 1.5 * critical))


def minimise_over_rates(
    losses: Callable[[FloatArray], FloatArray], grid: FloatArray
) -> tuple[float, float]:
    """Learning rate of least loss: the best point of a grid, refined between its neighbours.

    Args:
        losses: loss at each of an array of learning rates; infinite where training diverges.
        grid: increasing, fine enough to hold the valley sought.

    Returns:
        Learning rate, within 1e-7 of the valley's lowest, and loss.
    """
    values = losses(grid)
    best = int(np.argmin(values))
    lowest, highest = grid[max(best - 1, 0)], grid[min(best + 1, grid.size - 1)]
    found, least = float(grid[best]), float(values[best])
    while math.log(highest / lowest) > 1e-7:
        zoom = np.geomspace(lowest, highest, 17)
        values = losses(zoom)
        best = int(np.argmin(values))
        if values[best] <= least:
            found, least = float(zoom[best]), float(values[best])
        lowest, highest = zoom[max(best - 1, 0)], zoom[min(best + 1, 16)]
    return found, least


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
