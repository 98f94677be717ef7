"""Figures of the chapter on the critical learning rate: one direction, two directions, and noise.

Everything is a quadratic whose largest curvature is 1, so that learning rates are in units of
1/λ_max and the critical one is 2(1 + m).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike, NDArray

from sgdnoise.chapters import EPSILON_EFF, LAMBDA_MAX, computed_here, short
from sgdnoise.figures.theme import (
    BLUE,
    DASHES,
    INK,
    MUTED,
    PALETTE,
    PAPER,
    SYMBOLS,
    VERMILLION,
    figure,
)
from sgdnoise.theory.moments import moments
from sgdnoise.theory.sde import stationary_variance
from sgdnoise.theory.stability import (
    critical_effective_learning_rate,
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
_START = 3.0  # along the flat direction, so that both contribute to the loss
_GONE = 1e3


def bowl_path(learning_rate: float, momentum: float) -> tuple[FloatArray, FloatArray, float]:
    """Heavy ball from (3, 1): its positions in both directions, and final over initial loss."""
    flat = trajectory(learning_rate, FLAT, momentum, steps=BOWL_STEPS, start=_START)
    steep = trajectory(learning_rate, 1.0, momentum, steps=BOWL_STEPS)
    loss = FLAT * flat**2 + steep**2
    return flat, steep, float(loss[-1] / loss[0])


def descent_figure(learning_rate: float, momentum: float) -> go.Figure:
    """The path of heavy ball over the contours of a bowl, 20 times as steep one way."""
    flat, steep, change = bowl_path(learning_rate, momentum)
    limit = float(critical_learning_rate(1.0, momentum))
    if learning_rate < limit:
        outcome = f"{BOWL_STEPS} steps shrink the loss to {short(change)} of what it was"
    elif learning_rate == limit:
        outcome = "the limit: the steep direction neither shrinks nor grows"
    else:
        outcome = f"{BOWL_STEPS} steps blow the loss up {short(change)} times"
    fig = figure(
        x="flat direction",
        x_unit=None,
        y="steep direction",
        y_unit=None,
        x_range=(-3.4, 3.7),
        y_range=(-1.4, 1.4),
        title=f"Learning rate {learning_rate:g}, momentum {momentum:g}: {outcome}",
        alt="Path of gradient descent with momentum over the contours of a quadratic bowl",
    )
    angle = np.linspace(0, 2 * np.pi, 61)
    for level in (0.1, 0.3, 0.5, 0.75, 1.0):
        radius = level * np.sqrt(1 + FLAT * _START**2)
        fig.add_scatter(
            x=radius * np.cos(angle) / np.sqrt(FLAT),
            y=radius * np.sin(angle),
            mode="lines",
            line={"color": MUTED, "width": 1},
            hoverinfo="skip",
            showlegend=False,
        )
    # A path that has left stays left: its later points would only stretch the numbers.
    out = np.abs(steep) > _GONE
    end = int(np.argmax(out)) + 1 if out.any() else steep.size
    fig.add_scatter(
        x=flat[:end],
        y=steep[:end],
        mode="lines+markers",
        line={"color": BLUE if learning_rate < limit else VERMILLION, "width": 2},
        marker={"size": 6},
        name="path, one mark a step",
    )
    fig.add_scatter(
        x=[0],
        y=[0],
        mode="markers",
        marker={"symbol": "x", "color": INK, "size": 10},
        name="minimum",
    )
    return computed_here(fig, f"the recursion itself, {BOWL_STEPS} steps from (3, 1)")


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


def direction_figure(learning_rate: float, momentum: float) -> go.Figure:
    """Position along one direction of curvature 1, beside the pace ρ^k of its decay."""
    steps = np.arange(DIRECTION_STEPS + 1)
    path = trajectory(learning_rate, 1.0, momentum, steps=DIRECTION_STEPS)
    radius = float(spectral_radius(learning_rate, 1.0, momentum))
    limit = float(critical_learning_rate(1.0, momentum))
    fig = figure(
        x="step",
        x_unit="updates",
        y="position / start",
        y_unit=None,
        x_range=(-0.5, DIRECTION_STEPS + 0.5),
        y_range=(-3.2, 3.2),
        title=(
            f"ελ = {learning_rate:g} (limit {limit:g}), m = {momentum:g}: spectral radius "
            f"ρ = {radius:.3f}; it {kind_of_motion(learning_rate, momentum)}"
        ),
        alt="Position along one direction against steps, beside the decay of its spectral radius",
    )
    envelope = radius**steps
    for sign in (1, -1):
        fig.add_scatter(
            x=steps,
            y=sign * envelope,
            mode="lines",
            line={"color": MUTED, "dash": "dot", "width": 2},
            name="± ρᵏ",
            showlegend=sign > 0,
        )
    fig.add_scatter(
        x=steps,
        y=path,
        mode="lines+markers",
        line={"color": BLUE if radius < 1 else VERMILLION, "width": 2},
        marker={"size": 6},
        name="position",
    )
    return computed_here(fig, "the recursion, and the root of its characteristic equation")


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


def limit_figure() -> go.Figure:
    """The largest stable effective learning rate against momentum, formula and experiment."""
    m = np.linspace(0, 0.96, 97)
    last = limits()[-2]
    gain = float(critical_effective_learning_rate(1.0, last[0])) / 2
    fig = figure(
        x="momentum m",
        x_unit=None,
        y="largest stable effective learning rate",
        y_unit="1/λ",
        log="y",
        x_range=(-0.02, 0.98),
        y_range=(1, 200),
        title=f"At m = {last[0]:g} the effective learning rate may be {gain:.3g} times SGD's",
        alt="Largest stable effective learning rate against momentum",
    )
    fig.add_scatter(
        x=m,
        y=critical_effective_learning_rate(1.0, m),
        mode="lines",
        line={"color": BLUE},
        name="2(1 + m) / (1 − m)",
    )
    fig.add_scatter(
        x=[row[0] for row in limits()],
        y=[row[2] / (1 - row[0]) for row in limits()],
        mode="markers",
        marker={"symbol": "square-open", "color": VERMILLION, "size": 11, "line": {"width": 2}},
        name="found by bisection on runs",
    )
    fig.add_scatter(
        x=[0, 0.96],
        y=[2, 2],
        mode="lines",
        line={"color": MUTED, "dash": "dot"},
        name="gradient descent: 2",
    )
    return computed_here(fig, "closed form; 4,000-step runs bisected on the learning rate")


# --- The map ---------------------------------------------------------------------------------

CONDITION_NUMBERS = (1, 2, 4, 10, 20, 50, 100, 300, 1000)
_MAP_LEARNING_RATES = np.linspace(0.04, 4.0, 100)
_MAP_MOMENTA = np.linspace(0.0, 0.98, 70)


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


def steps_per_tenth(radius: ArrayLike) -> FloatArray:
    """Steps in which the error falls to a tenth, in the long run; NaN where it does not fall."""
    r = np.asarray(radius, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(r < 1, np.maximum(-np.log(10) / np.log(r), 1), np.nan)


def map_figure(condition_number: float) -> go.Figure:
    """Speed over the (ε, m) plane, with the line of stability and the fastest setting."""
    lr, m = np.meshgrid(_MAP_LEARNING_RATES, _MAP_MOMENTA)
    steps = steps_per_tenth(worst_radius(lr, m, condition_number))
    best_lr, best_m = polyak(condition_number)
    best = float(steps_per_tenth(worst_radius(best_lr, best_m, condition_number)))
    plain_lr = 2 / (1 + 1 / condition_number)
    plain = float(steps_per_tenth(worst_radius(plain_lr, 0.0, condition_number)))
    fig = figure(
        x="learning rate ε",
        x_unit=f"1/{LAMBDA_MAX}",
        y="momentum m",
        y_unit=None,
        x_range=(0, 4.05),
        y_range=(-0.03, 1.0),
        title=(
            f"Curvatures from 1/{condition_number:g} to 1: the error falls tenfold in "
            f"{short(plain)} steps at best without momentum, in {short(best)} with"
        ),
        alt="Map of the speed of heavy ball over learning rate and momentum",
    )
    ticks = [1, 3, 10, 30, 100, 300, 1000, 3000]
    fig.add_heatmap(
        x=_MAP_LEARNING_RATES,
        y=_MAP_MOMENTA,
        z=np.log10(steps),
        zmin=0,
        zmax=3.5,
        colorscale=[[0, BLUE], [1, PAPER]],
        colorbar={
            "title": {"text": "steps per<br>factor 10"},
            "tickvals": [float(np.log10(t)) for t in ticks],
            "ticktext": [f"{t:,}" for t in ticks],
            "thickness": 14,
        },
        hovertemplate="ε = %{x:.2f}, m = %{y:.2f}<extra></extra>",
    )
    edge = np.array([0.0, 1.0])
    fig.add_scatter(
        x=critical_learning_rate(1.0, edge * 0.98),
        y=edge * 0.98,
        mode="lines",
        line={"color": VERMILLION, "width": 3},
        name="stability: ε = 2(1 + m)",
    )
    fig.add_scatter(
        x=[plain_lr],
        y=[0],
        mode="markers",
        marker={"symbol": "square", "color": INK, "size": 11},
        name="fastest without momentum",
    )
    fig.add_scatter(
        x=[best_lr],
        y=[best_m],
        mode="markers",
        marker={"symbol": "x", "color": INK, "size": 12},
        name="fastest with",
    )
    return computed_here(fig, "spectral radius of the slower end of the spectrum")


# --- How long the effective learning rate takes ----------------------------------------------

RAMP_MOMENTA = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)


def ramp_figure(momentum: float) -> go.Figure:
    """Length of step k under a constant gradient: S20's sum, and an average, in units of ε."""
    k = np.unique(np.round(np.geomspace(1, 1000, 60)))
    total = (1 - momentum**k) / (1 - momentum)
    memory = 1 / (1 - momentum)
    share = 1 - momentum**memory
    fig = figure(
        x="step",
        x_unit="updates",
        y="length of the step",
        y_unit="ε × gradient",
        log="xy",
        x_range=(0.9, 1100),
        y_range=(8e-3, 130),
        title=(
            f"m = {momentum:g}: after 1/(1 − m) = {memory:.0f} steps the sum has reached "
            f"{100 * share:.0f} % of ε/(1 − m)"
        ),
        alt="Length of the step under a constant gradient against the step, for a sum and a mean",
    )
    for y, name, color, dash in (
        (total, "S20's formula: a sum", BLUE, "solid"),
        ((1 - momentum) * total, "an exponential moving average", VERMILLION, "dash"),
        (np.full(k.shape, memory), f"{EPSILON_EFF}/ε = 1/(1 − m)", MUTED, "dot"),
    ):
        fig.add_scatter(
            x=k, y=y, mode="lines", line={"color": color, "dash": dash, "width": 2.5}, name=name
        )
    return computed_here(fig, "geometric sums")


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
        settled_at_tenth, mean_at_tenth: of_critical where each difference first exceeds a tenth.
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


@cache
def gaps() -> tuple[Gap, ...]:
    """The differences at learning rates ε_eff = 1/k, where a relaxation time is k steps."""
    counts = np.unique(np.round(np.geomspace(2, 40_000, 120)))[::-1]
    effective = 1 / counts
    # At equal steps both have gone the same time.
    times = np.round(np.geomspace(1 / 40_000, 6, 400)[:, None] * counts)
    plain = moments(effective, 1.0, 1.0, times).x
    settled = stationary_variance(effective, 1.0, 1.0, 1)
    rows = []
    for m in GAP_MOMENTA:
        lr = effective * (1 - m)
        x = effective / 2
        noise = np.abs(stationary_variance(lr, 1.0, 1.0, 1, m) / settled - 1)
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
                settled_at_tenth=float(x[np.argmax(noise > 0.1)]),
                mean_at_tenth=float(x[np.argmax(path > 0.1)]),
                swings=float((1 - root) / (1 + root) / 2),
            )
        )
    return tuple(rows)


def gap_figure() -> go.Figure:
    """Difference between heavy ball and SGD against ε_eff, of the mean and of the noise."""
    fig = figure(
        x="effective learning rate / SGD's critical one",
        x_unit=None,
        y="difference from SGD",
        y_unit="relative",
        log="xy",
        x_range=(1e-5, 0.4),
        y_range=(1e-5, 10),
        title=(
            f"Equal effective learning rate, equal time: the noise agrees until {EPSILON_EFF} "
            f"nears the critical value, the mean path only while {EPSILON_EFF}λ is far below 1 − m"
        ),
        alt="Relative difference of heavy ball and SGD against the effective learning rate",
    )
    for k, gap in enumerate(gaps()):
        for y, what, dash in (
            (gap.mean, "path", "solid"),
            (gap.settled, "variance", "dot"),
        ):
            fig.add_scatter(
                x=gap.of_critical,
                y=y,
                mode="lines",
                line={"color": PALETTE[k], "dash": dash},
                name=f"{what}, m = {gap.momentum:g}",
            )
    fig.add_scatter(
        x=[1e-5, 0.4],
        y=[0.1, 0.1],
        mode="lines",
        line={"color": MUTED, "width": 1.5},
        name="a tenth",
    )
    return computed_here(fig, "exact moments along one direction; paths compared at equal steps")


# --- Tuned, at each batch size ---------------------------------------------------------------

BUDGET = 2**16
"""Examples that every run sees."""

BUDGET_BATCH_SIZES = tuple(2**k for k in range(0, 13))
BUDGET_MOMENTA = (0.5, 0.8, 0.9, 0.95, 0.98)
_CURVATURES = np.geomspace(1e-3, 1, 25)
_EFFECTIVE = np.geomspace(2**-9, 2**8, 171)


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
    loss = final_loss(_EFFECTIVE, batch_size, momentum)
    best = int(np.argmin(loss))
    return Tuned(float(_EFFECTIVE[best]), float(loss[best]))


def budget_figure(batch_size: int, momentum: float) -> go.Figure:
    """Final loss against ε_eff at one batch size, without and with momentum."""
    plain, heavy = tuned(batch_size, 0.0), tuned(batch_size, momentum)
    fig = figure(
        x="effective learning rate",
        x_unit=f"1/{LAMBDA_MAX}",
        y="expected loss at the end / at the start",
        y_unit=None,
        log="xy",
        x_range=(2**-9, 2**8),
        y_range=(2e-3, 2),
        title=(
            f"B = {batch_size}, {BUDGET // batch_size:,} steps: best loss {plain.loss:.3g} "
            f"without momentum, {heavy.loss:.3g} with m = {momentum:g}: "
            f"ratio {heavy.loss / plain.loss:.2f}"
        ),
        alt="Final expected loss against the effective learning rate, without and with momentum",
    )
    for k, (m, best) in enumerate(((0.0, plain), (momentum, heavy))):
        loss = final_loss(_EFFECTIVE, batch_size, m)
        name = f"momentum {m:g}" if m else "no momentum"
        color = (BLUE, VERMILLION)[k]
        fig.add_scatter(
            x=_EFFECTIVE,
            y=np.where(loss < 1e3, loss, np.nan),
            mode="lines",
            line={"color": color, "dash": DASHES[k]},
            name=name,
        )
        fig.add_scatter(
            x=[best.effective],
            y=[best.loss],
            mode="markers",
            marker={"symbol": SYMBOLS[k], "color": color, "size": 12},
            name=f"best, {name}",
            showlegend=False,
        )
    fig.add_scatter(
        x=[2, 2],
        y=[2e-3, 2],
        mode="lines",
        line={"color": MUTED, "dash": "dot"},
        name=f"2/{LAMBDA_MAX}",
    )
    return computed_here(fig, "exact moments, 25 curvatures from 1/1000 to 1")
