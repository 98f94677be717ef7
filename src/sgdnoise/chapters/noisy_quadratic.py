"""The chapter on the noisy quadratic model: what it computes and draws.

Everything comes from `sgdnoise.theory.nqm` in closed form while the page is built. The chapter's
own additions are a tuned learning rate under S20's schedule that never exceeds the critical one,
and the two numbers that sum up a tuned curve: its slope and its boundary batch size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from sgdnoise.figures.theme import BLUE, GREEN, INK, MUTED, PURPLE, VERMILLION, figure, provenance
from sgdnoise.theory.nqm import (
    EpochBudget,
    Spectrum,
    StepBudget,
    TunedCurve,
    UnlimitedBudget,
    averaged_loss,
    expected_loss,
    tuned_curve,
)
from sgdnoise.theory.regimes import flat_seen, hinge_of_rates
from sgdnoise.theory.stability import (
    critical_effective_learning_rate,
    critical_learning_rate,
    effective_learning_rate,
)

FloatArray = NDArray[np.float64]

RATE_UNIT = "1/λ<sub>max</sub>"
RATE_LABEL = "effective learning rate ε/(1−m)"
LOSS_LABEL = "expected loss"
CONSTANT, DECAYED = "held constant", "S20's schedule"


@dataclass(frozen=True)
class Method:
    """An optimizer of the chapter, and how it is drawn."""

    name: str
    momentum: float
    color: str
    dash: str
    symbol: str


SGD = Method("SGD", 0.0, BLUE, "solid", "circle")
MOMENTUM = Method("momentum 0.9", 0.9, VERMILLION, "dash", "square")
METHODS = (SGD, MOMENTUM)

Curves = Mapping[str, TunedCurve]
"""A tuned curve for each method, by its name."""


def about(value: float) -> str:
    """A number as prose has it: three digits, thousands separated."""
    if value == 0 or not math.isfinite(value):
        return str(value)
    rounded = round(value, 2 - math.floor(math.log10(abs(value))))
    return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:.3g}"


def note(model: Spectrum) -> str:
    """The provenance line of a figure computed from `model`."""
    kind = "every direction" if model.name == "exact" else f"{model.curvature.size} levels"
    return (
        f"Noisy quadratic model, {model.dims:,} dimensions, {model.name} spectrum ({kind}); "
        "closed form in 64-bit floats, computed when this page was built."
    )


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


@dataclass(frozen=True)
class Regimes:
    """The two regimes of a tuned learning rate, by the hinge that is fitted to measurements.

    Attributes:
        below: log-log slope below the boundary; 1 is the linear scaling rule. NaN for a curve of
            fewer than four batch sizes.
        boundary: the batch size at which the hinge bends; NaN where `below` is not within 0.1 of
            1, so that no linear scaling ends there, or where the curve ends before it is flat.
    """

    below: float
    boundary: float


def regimes(curve: TunedCurve) -> Regimes:
    """Slope and boundary of a tuned curve; its batch sizes in rising order."""
    hinge = hinge_of_rates(curve.batch_size, curve.effective_learning_rate)
    flat = bool(flat_seen(hinge.knee, np.log2(curve.batch_size)))
    ends = flat and abs(hinge.slope - 1) <= 0.1
    return Regimes(hinge.slope, hinge.boundary if ends else math.nan)


_AROUND = np.geomspace(1e-2, 1e2, 61)
"""Batch sizes over a boundary, two decades on either side."""


def textbook_boundary() -> float:
    """Where the hinge of the textbook's rate ∝ 1/(1 + B*/B) bends, over B*.

    The textbook curve is round, so that its hinge depends on the batch sizes: here, those within
    two decades of B*.
    """
    return hinge_of_rates(_AROUND, 1 / (1 + 1 / _AROUND)).boundary


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


# --- Figures ---------------------------------------------------------------------------------


def descent(
    model: Spectrum, curves: Curves, batch_size: int, target_loss: float, points: int = 70
) -> go.Figure:
    """Loss against examples processed, each method at its tuned learning rate, up to the target.

    The dotted line is plain SGD at the smallest batch size of its curve.
    """
    reached, first = [], curves[SGD.name]
    fig = figure(
        x="examples processed",
        x_unit=None,
        y=LOSS_LABEL,
        y_unit=None,
        log="xy",
        x_range=(1e2, 2e9),
        y_range=(target_loss / 2, 4 * model.initial_loss),
        alt="Training loss against examples processed, at the tuned learning rate",
    )

    def draw(method: Method, curve: TunedCurve, k: int, **style: object) -> int:
        steps, b = int(curve.steps[k]), int(curve.batch_size[k])
        times = np.unique(np.geomspace(max(1, 100 / b), steps, points).round())
        rate = float(curve.learning_rate[k])
        loss = expected_loss(model, rate, b, times, method.momentum)
        fig.add_scatter(x=times * b, y=loss, mode="lines", **style)
        return steps

    for method in METHODS:
        curve = curves[method.name]
        k = int(np.flatnonzero(curve.batch_size == batch_size)[0])
        style = {"color": method.color, "dash": method.dash}
        steps = draw(method, curve, k, name=method.name, line=style)
        fig.add_scatter(
            x=[float(steps) * batch_size],
            y=[float(curve.loss[k])],
            mode="markers",
            marker={"color": method.color, "symbol": method.symbol, "size": 11},
            showlegend=False,
            name=f"{method.name}: target reached",
        )
        reached.append(
            f"{method.name} takes {steps:,} steps, {steps * batch_size / 1e6:.3g} million examples"
        )
    draw(SGD, first, 0, name="SGD, one example a step", line={"color": INK, "dash": "dot"})
    fig.add_hline(y=target_loss, line={"color": MUTED, "width": 1})
    fig.update_layout(title={"text": f"Batch size {batch_size:,}: " + "; ".join(reached)})
    return provenance(fig, note(model))


def steps_to_target(model: Spectrum, curves: Curves) -> go.Figure:
    """Steps to the target against batch size, with perfect scaling."""
    fig = figure(
        x="batch size B",
        x_unit="examples",
        y="steps to the target",
        y_unit=None,
        title="Vertical lines: where the work has doubled",
        log="xy",
        y_range=(1e2, 2e7),
        alt="Steps to the target loss against batch size: a straight line that becomes flat",
    )
    first = curves[SGD.name]
    b = first.batch_size.astype(np.float64)
    fig.add_scatter(
        x=b,
        y=first.steps[0] * b[0] / b,
        mode="lines",
        line={"color": INK, "dash": "dot", "width": 1.5},
        name="perfect scaling",
    )
    for method in METHODS:
        curve = curves[method.name]
        fig.add_scatter(x=curve.batch_size, y=curve.steps, name=method.name, **_line(method))
        at = doubling_batch_size(curve)
        fig.add_vline(x=at, line={"color": method.color, "width": 1, "dash": "dot"})
    return provenance(fig, note(model))


def rates_to_target(model: Spectrum, curves: Curves) -> go.Figure:
    """Tuned effective learning rate against batch size, with the critical ones."""
    fig = figure(
        x="batch size B",
        x_unit="examples",
        y=f"tuned {RATE_LABEL}",
        y_unit=RATE_UNIT,
        log="xy",
        y_range=(1e-3, 100),
        title="Horizontal lines: the critical learning rates",
        alt="Tuned effective learning rate against batch size: proportional, then critical",
    )
    first = curves[SGD.name]
    _scaling_line(fig, first)
    for method in METHODS:
        curve = curves[method.name]
        fig.add_scatter(
            x=curve.batch_size,
            y=curve.effective_learning_rate,
            name=method.name,
            **_line(method),
        )
        _critical_line(fig, model, method)
    return provenance(fig, note(model))


def against_batch_size(model: Spectrum, curves: Curves, budget: str) -> go.Figure:
    """Two panels over batch size: loss at the end of the budget, and the tuned learning rate.

    Vertical lines stand at the boundaries of `regimes`, which the title names.
    """
    fig = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.06)
    boundaries = []
    for method in METHODS:
        curve = curves[method.name]
        x, at = curve.batch_size, regimes(curve).boundary
        boundaries.append(f"{'none' if math.isnan(at) else about(at)} ({method.name})")
        fig.add_scatter(
            x=x,
            y=curve.loss,
            name=method.name,
            legendgroup=method.name,
            **_line(method),
            row=1,
            col=1,
        )
        fig.add_scatter(
            x=x,
            y=curve.effective_learning_rate,
            name=method.name,
            legendgroup=method.name,
            showlegend=False,
            **_line(method),
            row=2,
            col=1,
        )
        _critical_line(fig, model, method, "2")
        if math.isfinite(at):
            # After the traces: panels that are still empty would be left out.
            fig.add_vline(x=at, line={"color": method.color, "width": 1, "dash": "dot"})
    _scaling_line(fig, curves[SGD.name], row=2, col=1)
    lowest, highest = _span(curves[SGD.name].batch_size)
    fig.update_xaxes(type="log", range=[math.log10(lowest / 1.3), math.log10(highest * 1.3)])
    fig.update_xaxes(title_text="batch size B (examples)", row=2, col=1)
    fig.update_yaxes(type="log", title_text=LOSS_LABEL, range=[-4.6, 0.8], row=1, col=1)
    fig.update_yaxes(
        type="log", title_text=f"tuned {RATE_LABEL}<br>({RATE_UNIT})", range=[-2.6, 2], row=2, col=1
    )
    fig.update_layout(
        height=640,
        title={"text": f"{budget}. Boundary batch size: " + ", ".join(boundaries)},
        meta={"alt": "Loss and tuned learning rate against batch size under a fixed budget"},
    )
    return provenance(fig, note(model))


def valley(
    model: Spectrum,
    curves: Curves,
    batch_size: int,
    budget: str,
    points: int = 80,
) -> go.Figure:
    """Loss at the end of the budget against the learning rate, at one batch size.

    Dotted: where the lowest point lies at every other batch size.
    """
    fig = figure(
        x=RATE_LABEL,
        x_unit=RATE_UNIT,
        y=f"{LOSS_LABEL} at the end",
        y_unit=None,
        log="xy",
        x_range=(1e-3, 60),
        y_range=(1e-3, 20),
        alt="Loss at the end of the budget against the learning rate, SGD and momentum",
    )
    found = []
    for method in METHODS:
        curve = curves[method.name]
        k = int(np.flatnonzero(curve.batch_size == batch_size)[0])
        m, steps = method.momentum, int(curve.steps[k])
        critical = float(critical_learning_rate(model.sharpness, m))
        rates = np.geomspace(1e-3 * (1 - m), critical, points)
        fig.add_scatter(
            x=effective_learning_rate(rates, m),
            y=expected_loss(model, rates, batch_size, [steps], m)[:, 0],
            mode="lines",
            line={"color": method.color, "dash": method.dash},
            name=f"{method.name}, {steps:,} steps",
        )
        fig.add_scatter(
            x=curve.effective_learning_rate,
            y=curve.loss,
            mode="lines",
            line={"color": method.color, "dash": "dot", "width": 1},
            showlegend=False,
            name=f"{method.name}: best at every batch size",
        )
        best = float(curve.effective_learning_rate[k])
        fig.add_scatter(
            x=[best],
            y=[float(curve.loss[k])],
            mode="markers",
            marker={"color": method.color, "symbol": method.symbol, "size": 11},
            showlegend=False,
            name=f"{method.name}: best",
        )
        limit = float(critical_effective_learning_rate(model.sharpness, m))
        fig.add_vline(x=limit, line={"color": method.color, "width": 1, "dash": method.dash})
        found.append(f"{method.name} best at {about(best)}, loss {about(float(curve.loss[k]))}")
    title = f"Batch size {batch_size:,}, {budget}: " + "; ".join(found)
    fig.update_layout(title={"text": title})
    return provenance(fig, note(model))


def reduced(model: Spectrum, curves: Mapping[str, TunedCurve]) -> go.Figure:
    """Tuned learning rate over its largest against batch size over the boundary.

    In these units the model can stand beside a measured net.
    """
    fig = figure(
        x="batch size B / boundary",
        x_unit=None,
        y="tuned learning rate / its largest",
        y_unit=None,
        log="xy",
        x_range=(1e-2, 1e2),
        y_range=(3e-3, 3),
        alt="Tuned learning rates in reduced units: a corner under S20's schedule, rounded without",
    )
    fig.add_scatter(
        x=_AROUND,
        y=np.minimum(_AROUND, 1.0),
        mode="lines",
        line={"color": INK, "dash": "dot", "width": 1.5},
        name="a corner",
    )
    fig.add_scatter(
        x=_AROUND / textbook_boundary(),
        y=1 / (1 + 1 / _AROUND),
        mode="lines",
        line={"color": MUTED, "width": 1.5},
        name="1/(1 + B<sub>*</sub>/B)",
    )
    colors, symbols = (BLUE, GREEN, PURPLE), ("circle", "triangle-up", "x")
    for (name, curve), color, symbol in zip(curves.items(), colors, symbols, strict=False):
        top, boundary = float(np.nanmax(curve.effective_learning_rate)), regimes(curve).boundary
        fig.add_scatter(
            x=curve.batch_size / boundary,
            y=curve.effective_learning_rate / top,
            mode="markers",
            marker={"color": color, "symbol": symbol, "size": 9},
            name=name,
        )
    return provenance(fig, note(model))


def spectra_compared(
    exact: Mapping[str, tuple[Sequence[int], Sequence[int]]],
    binned: Curves,
    text: str,
) -> go.Figure:
    """How many more steps the binned spectrum needs than the exact one, in percent.

    `exact` holds batch sizes and steps for each method.
    """
    fig = figure(
        x="batch size B",
        x_unit="examples",
        y="steps, binned against exact spectrum",
        y_unit="% more",
        log="x",
        y_range=(-2, 5),
        alt="Relative difference in steps to the target between binned and exact spectrum",
    )
    for method in METHODS:
        sizes, steps = exact[method.name]
        curve = binned[method.name]
        at = [int(np.flatnonzero(curve.batch_size == b)[0]) for b in sizes]
        fig.add_scatter(
            x=list(sizes),
            y=100 * (curve.steps[at] / np.array(steps, dtype=np.float64) - 1),
            name=method.name,
            # A line through a few points only would invent what lies between them.
            **{**_line(method), "mode": "lines+markers" if len(at) > 4 else "markers"},
        )
    fig.add_hline(y=0, line={"color": MUTED, "width": 1})
    return provenance(fig, text)


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


def algorithms(
    model: Spectrum, losses: Mapping[str, FloatArray], batch_sizes: Sequence[int], budget: str
) -> go.Figure:
    """Loss under a budget for several algorithms, each at its tuned learning rate."""
    fig = figure(
        x="batch size B",
        x_unit="examples",
        y=f"{LOSS_LABEL} at the end",
        y_unit=None,
        log="xy",
        y_range=(8e-3, 8),
        title=f"{budget}, learning rate {CONSTANT}",
        alt="Loss against batch size for SGD, momentum, weight averaging and preconditioning",
    )
    styles = [SGD, MOMENTUM, Method("", 0, GREEN, "dot", "triangle-up")]
    styles += [Method("", 0, PURPLE, "dashdot", "x")]
    for (name, loss), method in zip(losses.items(), styles, strict=True):
        fig.add_scatter(x=list(batch_sizes), y=loss, name=name, **_line(method))
    return provenance(fig, note(model))


def routes(
    steps: NDArray[np.int64],
    closed: Mapping[str, FloatArray],
    recursion: Mapping[str, FloatArray],
    samples: Mapping[str, FloatArray],
    text: str,
) -> go.Figure:
    """One expected loss by three routes; `samples` are Monte Carlo losses, shape (runs, steps).

    The recursion is drawn at every twelfth of the recorded steps, Monte Carlo between them as mean
    and four standard errors.
    """
    fig = figure(
        x="steps",
        x_unit=None,
        y=LOSS_LABEL,
        y_unit=None,
        log="y",
        alt="Expected loss against steps by closed form, recursion and Monte Carlo",
    )
    for method in METHODS:
        name, runs = method.name, samples[method.name]
        each = max(1, len(steps) // 12)
        error = runs.std(axis=0, ddof=1) / math.sqrt(len(runs))
        fig.add_scatter(
            x=steps,
            y=closed[name],
            mode="lines",
            line={"color": method.color, "dash": method.dash},
            name=f"{name}: closed form",
        )
        fig.add_scatter(
            x=steps[::each],
            y=recursion[name][::each],
            mode="markers",
            marker={"color": method.color, "symbol": f"{method.symbol}-open", "size": 11},
            name=f"{name}: recursion",
        )
        middle = slice(each // 2, None, each)
        fig.add_scatter(
            x=steps[middle],
            y=runs.mean(axis=0)[middle],
            error_y={"array": 4 * error[middle], "thickness": 1.5, "width": 4},
            mode="markers",
            marker={"color": method.color, "symbol": "x", "size": 7},
            name=f"{name}: Monte Carlo",
        )
    return provenance(fig, text)


def _line(method: Method) -> dict[str, object]:
    return {
        "mode": "lines+markers",
        "line": {"color": method.color, "dash": method.dash},
        "marker": {"color": method.color, "symbol": method.symbol},
    }


def _span(batch_sizes: NDArray[np.int64]) -> tuple[float, float]:
    return float(batch_sizes.min()), float(batch_sizes.max())


def _scaling_line(fig: go.Figure, curve: TunedCurve, **place: int) -> None:
    """The slope-one line through the smallest batch size."""
    b = curve.batch_size.astype(np.float64)
    fig.add_scatter(
        x=b,
        y=curve.effective_learning_rate[0] * b / b[0],
        mode="lines",
        line={"color": INK, "dash": "dot", "width": 1.5},
        name="proportional to B",
        **place,
    )


def _critical_line(fig: go.Figure, model: Spectrum, method: Method, axis: str = "") -> None:
    limit = float(critical_effective_learning_rate(model.sharpness, method.momentum))
    place = {"xref": f"x{axis} domain", "yref": f"y{axis}"}
    line = {"color": method.color, "width": 1, "dash": method.dash}
    fig.add_shape(type="line", x0=0, x1=1, y0=limit, y1=limit, line=line, **place)
    fig.add_annotation(
        text=f"critical, {method.name}",
        font={"size": 12, "color": method.color},
        x=0,
        y=math.log10(limit),  # shapes on a logarithmic axis want the value, annotations its log
        xanchor="left",
        yanchor="bottom",
        showarrow=False,
        **place,
    )
