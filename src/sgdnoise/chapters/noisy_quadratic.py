"""Numbers of the chapter on the noisy quadratic model.

Everything comes from `sgdnoise.theory.nqm` in closed form while the page is built. The chapter's
own additions are a tuned learning rate under S20's schedule that never exceeds the critical one,
and the two numbers that sum up a tuned curve: its slope and its boundary batch size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from sgdnoise.schedule import hold_then_decay
from sgdnoise.theory.nqm import (
    EpochBudget,
    Spectrum,
    StepBudget,
    TunedCurve,
    UnlimitedBudget,
    averaged_loss,
    expected_loss,
    loss_under_schedule,
    monotone_segments,
    spectrum,
    time_to_target,
    tuned_curve,
)
from sgdnoise.theory.regimes import Hinge, flat_seen, hinge_of_rates
from sgdnoise.theory.stability import critical_learning_rate

FloatArray = NDArray[np.float64]

CONSTANT, DECAYED = "held constant", "S20's schedule"


@dataclass(frozen=True)
class Method:
    """An optimizer of the chapter."""

    name: str
    momentum: float


SGD, MOMENTUM = Method("SGD", 0.0), Method("momentum 0.9", 0.9)
METHODS = (SGD, MOMENTUM)

Curves = Mapping[str, TunedCurve]
"""A tuned curve for each method, by its name."""


def about(value: float) -> str:
    """A number as prose has it: three digits, thousands separated."""
    if value == 0 or not math.isfinite(value):
        return str(value)
    rounded = round(value, 2 - math.floor(math.log10(abs(value))))
    return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:.3g}"


def from_fewer_to_more(percent: Sequence[float]) -> str:
    """The least and the largest of differences in percent, such as 0.4 % fewer and 3.3 % more."""
    ends = min(percent), max(percent)
    fewer, more = (f"{abs(end):.1f} % {'fewer' if end < 0 else 'more'}" for end in ends)
    return f"from {fewer} to {more}"


# --- Tuning ----------------------------------------------------------------------------------


def tuned(
    model: Spectrum,
    budget: EpochBudget | StepBudget | UnlimitedBudget,
    batch_sizes: Sequence[int],
    momentum: float = 0.0,
    schedule: str = CONSTANT,
) -> TunedCurve:
    """The tuned curve of a budget, its learning rate `CONSTANT` or `DECAYED` by S20's schedule.

    Raises:
        ValueError: for another schedule, or S20's under an unlimited budget, whose length it would
            have to know.
    """
    if schedule not in (CONSTANT, DECAYED):
        raise ValueError(f"unknown schedule {schedule!r}: choose {CONSTANT!r} or {DECAYED!r}")
    return tuned_curve(budget, batch_sizes, momentum, spectrum=model, decay=schedule == DECAYED)


# --- What sums up a curve --------------------------------------------------------------------


def log_slope(x: FloatArray, y: FloatArray) -> float:
    """Least-squares slope of log y against log x; NaN with fewer than two points."""
    if len(x) < 2:
        return math.nan
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


LINEAR = 0.1
"""How far a slope may be from one for a boundary to be given."""


@dataclass(frozen=True)
class Regimes:
    """The two regimes of a tuned learning rate, by the hinge that is fitted to measurements.

    Attributes:
        below: log-log slope below the boundary; 1 is the linear scaling rule. NaN for a curve of
            fewer than four batch sizes, or with fewer than three up to where it bends: a line
            through two points fits whatever they are.
        boundary: the batch size at which the hinge bends; NaN where `below` is not within
            `LINEAR` of 1, so that no linear scaling ends there, or where the curve ends before it
            is flat.
    """

    below: float
    boundary: float


def regimes(curve: TunedCurve) -> Regimes:
    """Slope and boundary of a tuned curve; its batch sizes in rising order."""
    hinge = hinge_of_rates(curve.batch_size, curve.effective_learning_rate)
    if np.count_nonzero(np.log2(curve.batch_size) <= hinge.knee + 1e-9) < 3:
        return Regimes(math.nan, math.nan)
    flat = bool(flat_seen(hinge.knee, np.log2(curve.batch_size)))
    ends = flat and abs(hinge.slope - 1) <= LINEAR
    return Regimes(hinge.slope, hinge.boundary if ends else math.nan)


AROUND = np.geomspace(1e-2, 1e2, 61)
"""Batch sizes over a boundary, two decades on either side."""


def textbook_rate(batch_size: ArrayLike) -> FloatArray:
    """The textbook's rate over its plateau, 1/(1 + B_noise/B), at batch sizes over B_noise."""
    return np.asarray(1 / (1 + 1 / np.asarray(batch_size, dtype=np.float64)))


def textbook_hinge() -> Hinge:
    """The hinge of the textbook's rate, its batch sizes in units of B_noise.

    The textbook curve is round, so that its hinge depends on the batch sizes: here, those within
    two decades of B_noise.
    """
    return hinge_of_rates(AROUND, textbook_rate(AROUND))


def doubling_batch_size(curve: TunedCurve) -> float:
    """The batch size at which the target costs twice the examples that the smallest batch needs.

    Half the steps that perfect scaling promises are then wasted: the critical batch size of
    S = S_min (1 + B_c/B). Interpolated in logarithms; NaN if no batch size is that wasteful.
    """
    examples = curve.steps * curve.batch_size.astype(np.float64)
    x, y = np.log2(curve.batch_size), np.log2(examples / examples[0])
    beyond = np.flatnonzero(y >= 1)
    if not beyond.size:
        return math.nan
    k = int(beyond[0])
    return float(2 ** (x[k - 1] + (1 - y[k - 1]) * (x[k] - x[k - 1]) / (y[k] - y[k - 1])))


def height_at_boundary(
    model: Spectrum,
    budget: EpochBudget | StepBudget | UnlimitedBudget,
    curve: TunedCurve,
    schedule: str = CONSTANT,
) -> float:
    """Plain SGD's tuned learning rate at the boundary batch size of its curve, over the largest.

    Tuned at that batch size, not interpolated: 1 for a corner.
    """
    batch_size = round(regimes(curve).boundary)
    rate = tuned(model, budget, [batch_size], schedule=schedule).learning_rate[0]
    return float(rate / np.nanmax(curve.learning_rate))


def schedule_limit(model: Spectrum, steps: int) -> float:
    """The learning rate at which plain SGD under S20's schedule blows up as a whole.

    Along the steepest direction the later, smaller rates shrink what the first half blew up, and
    here they only just make up for it. Far above there are needles of learning rates, powers of two
    over λ_max, from which a later piece takes that direction to zero in one step; they are no
    place for a run.
    """
    pieces = monotone_segments(hold_then_decay(steps), steps)

    def growth(of_critical: float) -> float:
        return sum(n * math.log(abs(1 - 2 * of_critical * factor)) for factor, n in pieces)

    # At the critical rate itself the second piece would take the logarithm of 0.
    return float(critical_learning_rate(model.sharpness) * brentq(growth, 1.01, 1.4))


def best_beyond(model: Spectrum, batch_size: int, steps: int) -> float:
    """Plain SGD's best first rate under S20's schedule, up to `schedule_limit`.

    For batch sizes from the boundary on, where it is at least half of the critical rate.
    """
    pieces = monotone_segments(hold_then_decay(steps), steps)
    ends = critical_learning_rate(model.sharpness) / 2, schedule_limit(model, steps)
    for _ in range(2):
        rates = np.geomspace(*ends, 101)
        loss = loss_under_schedule(model, rates, batch_size, pieces)[:, -1]
        k = int(np.argmin(loss))
        ends = rates[max(k - 1, 0)], rates[min(k + 1, rates.size - 1)]
    return float(rates[k])


def regimes_table(rows: Mapping[tuple[str, str], Curves]) -> pd.DataFrame:
    """Slopes and boundaries of budgets × schedules, as text of computed numbers."""

    def slope(value: float) -> str:
        return "too few" if math.isnan(value) else f"{value:.2f}"

    def boundary(value: float) -> str:
        return "none" if math.isnan(value) else about(value)

    table = []
    for (budget, schedule), curves in rows.items():
        found = {name: regimes(curve) for name, curve in curves.items()}
        table.append(
            {"budget": budget, "learning rate": schedule}
            | {f"slope, {name}": slope(r.below) for name, r in found.items()}
            | {f"boundary, {name}": boundary(r.boundary) for name, r in found.items()}
        )
    return pd.DataFrame(table)


def best_average(
    model: Spectrum, batch_size: int, steps: int, windows: Sequence[float]
) -> tuple[float, float, float]:
    """SGD whose weights are averaged: best learning rate, share of the run averaged over, loss.

    The exponential average forgets over a share of the run: decay 1 − 1/(share · steps), at least
    0. Learning rates on a grid of 10 a decade, up to the critical one.
    """
    critical = float(critical_learning_rate(model.sharpness))
    rates = np.geomspace(critical * 1e-4, critical, 41)
    decay = np.maximum(0.0, 1 - 1 / (np.asarray(windows) * steps))
    loss = averaged_loss(model, rates[:, None], batch_size, steps, decay)
    i, j = np.unravel_index(int(np.argmin(loss)), loss.shape)
    return float(rates[i]), float(windows[int(j)]), float(loss[i, j])


# --- What the page shows ---------------------------------------------------------------------

TARGET = 0.01
"""The loss that a run has to reach, of an initial one near 5."""

SIZES = tuple(2**k for k in range(18))
"""Batch sizes without a limit on the examples."""

EPOCH = 2**14
"""Examples in an epoch; the model has no training set, it only counts."""

BATCH_SIZES = tuple(2**k for k in range(15))
BUDGETS: dict[str, EpochBudget | StepBudget] = {
    **{f"{e} epochs": EpochBudget(e, EPOCH) for e in (4, 32, 256)},
    **{f"{s:,} steps": StepBudget(s) for s in (250, 2000, 16000)},
}


@cache
def model() -> Spectrum:
    """10,000 directions on a grid of a hundred levels of curvature."""
    return spectrum("binned")


@cache
def exact_model() -> Spectrum:
    """Every direction with its own curvature."""
    return spectrum("exact")


@cache
def to_target() -> Curves:
    """The least steps to the target, at every batch size."""
    budget = UnlimitedBudget(TARGET)
    return {m.name: tuned(model(), budget, SIZES, m.momentum) for m in METHODS}


@cache
def budget_curves() -> Mapping[tuple[str, str], Curves]:
    """The tuned curves of every budget under both schedules."""
    return {
        (name, schedule): {
            m.name: tuned(model(), budget, BATCH_SIZES, m.momentum, schedule) for m in METHODS
        }
        for name, budget in BUDGETS.items()
        for schedule in (CONSTANT, DECAYED)
    }


@cache
def corners() -> Mapping[str, tuple[TunedCurve, float]]:
    """Plain SGD's curve and its height at the boundary: unlimited, and under both schedules."""
    to, name = UnlimitedBudget(TARGET), "32 epochs"
    free = to_target()[SGD.name]
    rows = {f"to loss {TARGET}": (free, height_at_boundary(model(), to, free))}
    for schedule in (CONSTANT, DECAYED):
        curve = budget_curves()[name, schedule][SGD.name]
        height = height_at_boundary(model(), BUDGETS[name], curve, schedule)
        rows[f"{name}, {schedule}"] = curve, height
    return rows


@cache
def beyond_the_wall() -> Mapping[int, float]:
    """Plain SGD's best first rates for 32 epochs with no wall at the critical one, by batch size.

    At the boundary and at larger batch sizes, up to where the best rates no longer grow.
    """
    name = "32 epochs"
    boundary = regimes(budget_curves()[name, DECAYED][SGD.name]).boundary
    sizes = [round(boundary), *(b for b in BATCH_SIZES if boundary < b <= 32 * boundary)]
    return {b: best_beyond(model(), b, BUDGETS[name].steps(b)) for b in sizes}


SOME = BATCH_SIZES[::2]
"""The batch sizes of the comparison of algorithms."""


@cache
def algorithm_losses() -> Mapping[str, FloatArray]:
    """Loss after 32 epochs at `SOME` batch sizes, for four algorithms."""
    budget = BUDGETS["32 epochs"]
    held = budget_curves()["32 epochs", CONSTANT]
    averages = [best_average(model(), b, budget.steps(b), (0.03, 0.1, 0.3))[2] for b in SOME]
    return {
        **{name: curve.loss[::2] for name, curve in held.items()},
        "SGD, weights averaged": np.array(averages),
        "SGD, preconditioned by h⁻¹ᐟ²": tuned(model().preconditioned(0.5), budget, SOME).loss,
    }


@cache
def exact_steps() -> Mapping[str, tuple[Sequence[int], Sequence[int]]]:
    """Batch sizes, and the steps to the target at each with every direction's own curvature."""
    exact, few = exact_model(), (64, 16384)
    plain = tuned_curve(UnlimitedBudget(TARGET), SIZES, spectrum=exact).steps
    heavy = [time_to_target(b, MOMENTUM.momentum, TARGET, spectrum=exact).steps for b in few]
    return {SGD.name: (SIZES, plain.tolist()), MOMENTUM.name: (few, heavy)}


# --- The model with random numbers -----------------------------------------------------------

CHECK_STEPS, CHECK_BATCH_SIZE, CHECK_RUNS = 150, 16, 200
CHECK_RATES = {SGD: 0.8, MOMENTUM: 0.3}


def simulate(
    model: Spectrum,
    learning_rate: float,
    batch_size: int,
    momentum: float,
    steps: int,
    runs: int,
    seed: int = 0,
) -> FloatArray:
    """The loss of runs of the model itself, shape (runs, steps + 1)."""
    random = np.random.default_rng(seed)
    x = np.ones((runs, model.curvature.size))
    v = np.zeros_like(x)
    losses = [x**2 @ model.curvature / 2]
    for _ in range(steps):
        n = random.standard_normal(x.shape) * np.sqrt(model.noise / batch_size)
        v = momentum * v - learning_rate * (model.curvature * x + n)
        x = x + v
        losses.append(x**2 @ model.curvature / 2)
    return np.array(losses).T


@cache
def check(method: Method) -> tuple[FloatArray, FloatArray]:
    """Expected loss in closed form at steps 0…150, and simulated losses, exact spectrum."""
    setting = (exact_model(), CHECK_RATES[method], CHECK_BATCH_SIZE)
    closed = expected_loss(*setting, np.arange(CHECK_STEPS + 1), method.momentum)
    return closed, simulate(*setting, method.momentum, CHECK_STEPS, CHECK_RUNS)


def recursion_of(method: Method, recursion: Callable[..., FloatArray]) -> FloatArray:
    """The same expected loss by a recursion of (model, ε, B, m, steps)."""
    rate = CHECK_RATES[method]
    return recursion(exact_model(), rate, CHECK_BATCH_SIZE, method.momentum, CHECK_STEPS)
