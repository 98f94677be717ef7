"""Figures of the chapter on the noisy quadratic model; the numbers behind them: `noisy_quadratic`.

Functions that take a model draw any; those that take nothing draw what the page shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from sgdnoise.chapters import examples, line
from sgdnoise.chapters import noisy_quadratic as chapter
from sgdnoise.chapters.noisy_quadratic import METHODS, MOMENTUM, SGD, Curves, FloatArray, Method
from sgdnoise.figures.explorer import Explorer, Slider, explorer
from sgdnoise.figures.theme import BLUE, GREEN, INK, MUTED, PURPLE, VERMILLION, figure, provenance
from sgdnoise.theory.nqm import Spectrum, TunedCurve, expected_loss
from sgdnoise.theory.stability import (
    critical_effective_learning_rate,
    critical_learning_rate,
    effective_learning_rate,
)

RATE_UNIT = "1/λ<sub>max</sub>"
RATE_LABEL = "effective learning rate ε/(1−m)"
LOSS_LABEL = "expected loss"


@dataclass(frozen=True)
class Style:
    """How an optimizer is drawn."""

    color: str
    dash: str
    symbol: str

    @property
    def line(self) -> dict[str, str]:
        """A trace's line in this style."""
        return {"color": self.color, "dash": self.dash}

    @property
    def marked(self) -> dict[str, object]:
        """A trace of lines and markers in this style."""
        marker = {"color": self.color, "symbol": self.symbol}
        return {"mode": "lines+markers", "line": self.line, "marker": marker}


over_batch_size = partial(figure, x="batch size B", x_unit="examples")
STYLES = {SGD: Style(BLUE, "solid", "circle"), MOMENTUM: Style(VERMILLION, "dash", "square")}


def note(model: Spectrum) -> str:
    """The provenance line of a figure computed from `model`."""
    kind = "every direction" if model.name == "exact" else f"{model.curvature.size} occupied levels"
    return (
        f"Noisy quadratic model, {model.dims:,} dimensions, {model.name} spectrum ({kind}); "
        "closed form in 64-bit floats, computed when this page was built."
    )


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
        steps = draw(method, curve, k, name=method.name, line=STYLES[method].line)
        _best(fig, method, float(steps) * batch_size, float(curve.loss[k]), "target reached")
        reached.append(
            f"{method.name} takes {steps:,} steps, {steps * batch_size / 1e6:.3g} million examples"
        )
    draw(SGD, first, 0, name="SGD, one example a step", line={"color": INK, "dash": "dot"})
    fig.add_hline(y=target_loss, line={"color": MUTED, "width": 1})
    fig.update_layout(title={"text": "; ".join(reached)})
    return provenance(fig, note(model))


def steps_to_target(model: Spectrum, curves: Curves) -> go.Figure:
    """Steps to the target against batch size, with perfect scaling."""
    fig = over_batch_size(
        y=f"steps to a loss of {chapter.TARGET:g}",
        y_unit=None,
        title="Perfect scaling ends; vertical lines: where the work has doubled",
        log="xy",
        y_range=(1e2, 2e7),
        alt="Steps to the target loss against batch size: a straight line that becomes flat",
    )
    fig.update_yaxes(hoverformat=",d")
    first = curves[SGD.name]
    b = first.batch_size.astype(np.float64)
    line(fig, b, first.steps[0] * b[0] / b, "perfect scaling", color=INK, dash="dot", width=1.5)
    for method in METHODS:
        curve = curves[method.name]
        fig.add_scatter(
            x=curve.batch_size, y=curve.steps, name=method.name, **STYLES[method].marked
        )
        at = chapter.doubling_batch_size(curve)
        fig.add_vline(x=at, line={"color": STYLES[method].color, "width": 1, "dash": "dot"})
    return provenance(fig, note(model))


def rates_to_target(model: Spectrum, curves: Curves) -> go.Figure:
    """Tuned effective learning rate against batch size, with the critical ones."""
    fig = over_batch_size(
        y=f"tuned {RATE_LABEL}",
        y_unit=RATE_UNIT,
        log="xy",
        y_range=(1e-3, 100),
        title="The tuned learning rate grows with the batch until it meets the critical one",
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
            **STYLES[method].marked,
        )
        _critical_line(fig, model, method)
    return provenance(fig, note(model))


def against_batch_size(model: Spectrum, curves: Curves) -> go.Figure:
    """Two panels over batch size: loss at the end of the budget, and the tuned learning rate.

    Vertical lines stand at the boundaries of `regimes`, which the title names.
    """
    fig = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.06)
    boundaries = []
    for method in METHODS:
        curve = curves[method.name]
        at = chapter.regimes(curve).boundary
        boundaries.append(f"{'none' if math.isnan(at) else chapter.about(at)} ({method.name})")
        for row, y in ((1, curve.loss), (2, curve.effective_learning_rate)):
            fig.add_scatter(
                x=curve.batch_size,
                y=y,
                name=method.name,
                legendgroup=method.name,
                showlegend=row == 1,
                **STYLES[method].marked,
                row=row,
                col=1,
            )
        _critical_line(fig, model, method, "2")
        if math.isfinite(at):
            # After the traces: panels that are still empty would be left out.
            fig.add_vline(x=at, line={"color": STYLES[method].color, "width": 1, "dash": "dot"})
    _scaling_line(fig, curves[SGD.name], row=2, col=1)
    sizes = curves[SGD.name].batch_size
    ends = np.log10([sizes.min() / 1.3, sizes.max() * 1.3])
    fig.update_xaxes(type="log", range=ends.tolist())
    fig.update_xaxes(title_text="batch size B (examples)", row=2, col=1)
    # Powers of ten alone: half of a page's height leaves no room for a 2 and a 5 between them.
    fig.update_yaxes(type="log", dtick=1)
    fig.update_yaxes(title_text=LOSS_LABEL, range=[-4.6, 0.8], row=1, col=1)
    fig.update_yaxes(
        title_text=f"tuned {RATE_LABEL}<br>({RATE_UNIT})", range=[-2.6, 2], row=2, col=1
    )
    fig.update_layout(
        height=640,
        title={"text": "Boundary batch size: " + ", ".join(boundaries)},
        meta={"alt": "Loss and tuned learning rate against batch size under a fixed budget"},
    )
    return provenance(fig, note(model))


def valley(model: Spectrum, curves: Curves, batch_size: int, points: int = 80) -> go.Figure:
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
        # Where the wall shoots up, and at the mark itself, so that it lies on its curve.
        steep = critical * (1 - np.geomspace(1e-4, 0.5, points))
        own = float(curve.learning_rate[k])
        rates = np.unique([*np.geomspace(1e-3 * (1 - m), critical, points), *steep, own])
        fig.add_scatter(
            x=effective_learning_rate(rates, m),
            y=expected_loss(model, rates, batch_size, [steps], m)[:, 0],
            mode="lines",
            line=STYLES[method].line,
            name=f"{method.name}, {steps:,} steps",
        )
        fig.add_scatter(
            x=curve.effective_learning_rate,
            y=curve.loss,
            mode="lines",
            line={"color": STYLES[method].color, "dash": "dot", "width": 1},
            name=f"{method.name}: best at every batch size",
        )
        best, loss = float(curve.effective_learning_rate[k]), float(curve.loss[k])
        _best(fig, method, best, loss, "best")
        limit = float(critical_effective_learning_rate(model.sharpness, m))
        fig.add_vline(x=limit, line={**STYLES[method].line, "width": 1})
        found.append(f"{method.name} best at {chapter.about(best)}, loss {chapter.about(loss)}")
    fig.update_layout(title={"text": "; ".join(found)})
    return provenance(fig, note(model))


def reduced(model: Spectrum, curves: Mapping[str, TunedCurve]) -> go.Figure:
    """Tuned learning rate over its largest against batch size over the boundary.

    In these units all budgets fit on one figure.
    """
    fig = figure(
        x="batch size B / boundary",
        x_unit=None,
        y="tuned learning rate / its largest",
        y_unit=None,
        log="xy",
        x_range=(1e-2, 1e2),
        y_range=(3e-3, 3),
        title="Capped at the critical rate, S20's schedule makes a corner; a constant one does not",
        alt="Tuned learning rates in reduced units: a corner under S20's schedule, rounded without",
    )
    fig.add_scatter(
        x=chapter.AROUND,
        y=np.minimum(chapter.AROUND, 1.0),
        mode="lines",
        line={"color": INK, "dash": "dot", "width": 1.5},
        name="a corner",
    )
    fig.add_scatter(
        x=chapter.AROUND / chapter.textbook_hinge().boundary,
        y=chapter.textbook_rate(chapter.AROUND),
        mode="lines",
        line={"color": MUTED, "width": 1.5},
        name="1/(1 + B<sub>noise</sub>/B)",
    )
    colors, symbols = (BLUE, GREEN, PURPLE), ("circle", "triangle-up", "x")
    for (name, curve), color, symbol in zip(curves.items(), colors, symbols, strict=False):
        fig.add_scatter(
            x=curve.batch_size / chapter.regimes(curve).boundary,
            y=curve.effective_learning_rate / np.nanmax(curve.effective_learning_rate),
            mode="markers",
            marker={"color": color, "symbol": symbol, "size": 9},
            name=name,
        )
    return provenance(fig, note(model))


def spectra_compared(
    exact: Mapping[str, tuple[Sequence[int], Sequence[int]]], binned: Curves
) -> go.Figure:
    """How many more steps the binned spectrum needs than the exact one, in percent.

    `exact` holds batch sizes and steps for each method.
    """
    fig = over_batch_size(
        y="steps, binned against exact spectrum",
        y_unit="% more",
        log="x",
        y_range=(-2, 5),
        alt="Relative difference in steps to the target between binned and exact spectrum",
    )
    more: list[float] = []
    for method in METHODS:
        sizes, steps = exact[method.name]
        curve = binned[method.name]
        at = [int(np.flatnonzero(curve.batch_size == b)[0]) for b in sizes]
        fig.add_scatter(
            x=list(sizes),
            y=100 * (curve.steps[at] / np.array(steps, dtype=np.float64) - 1),
            name=method.name,
            # A line through a few points only would invent what lies between them.
            **{**STYLES[method].marked, "mode": "lines+markers" if len(at) > 4 else "markers"},
        )
        more.extend(fig.data[-1].y)
    fig.add_hline(y=0, line={"color": MUTED, "width": 1})
    title = f"The binned spectrum takes {chapter.from_fewer_to_more(more)} steps"
    fig.update_layout(title={"text": title})
    return provenance(
        fig,
        "Steps to the target loss at the tuned learning rate, exact and binned spectrum in closed "
        "form, computed when this page was built.",
    )


def algorithms(
    model: Spectrum, losses: Mapping[str, FloatArray], batch_sizes: Sequence[int]
) -> go.Figure:
    """Loss under a budget for several algorithms, each at its tuned learning rate."""
    fig = over_batch_size(
        y=f"{LOSS_LABEL} at the end",
        y_unit=None,
        log="xy",
        y_range=(8e-3, 8),
        title=(
            "Averaging pays at small batches, momentum at large ones, preconditioning at every size"
        ),
        alt="Loss against batch size for SGD, momentum, weight averaging and preconditioning",
    )
    styles = [*STYLES.values(), Style(GREEN, "dot", "triangle-up"), Style(PURPLE, "dashdot", "x")]
    for (name, loss), style in zip(losses.items(), styles, strict=True):
        fig.add_scatter(x=list(batch_sizes), y=loss, name=name, **style.marked)
    return provenance(fig, note(model))


def _best(fig: go.Figure, method: Method, x: float, y: float, what: str) -> None:
    """A large mark at the point that a curve is about."""
    style = STYLES[method]
    fig.add_scatter(
        x=[x],
        y=[y],
        mode="markers",
        marker={"color": style.color, "symbol": style.symbol, "size": 11},
        showlegend=False,
        name=f"{method.name}: {what}",
    )


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
    line = {**STYLES[method].line, "width": 1}
    fig.add_shape(type="line", x0=0, x1=1, y0=limit, y1=limit, line=line, **place)
    fig.add_annotation(
        text=f"critical, {method.name}",
        font={"size": 12, "color": STYLES[method].color},
        x=0,
        y=math.log10(limit),  # shapes on a logarithmic axis want the value, annotations its log
        xanchor="left",
        yanchor="bottom",
        showarrow=False,
        **place,
    )


# --- What the page shows ---------------------------------------------------------------------


def descents() -> Explorer:
    """Loss against work, moved by B; it opens where only momentum still pays."""
    return explorer(
        partial(descent, chapter.model(), chapter.to_target(), target_loss=chapter.TARGET),
        {"batch_size": Slider(chapter.SIZES, label="batch size B", value=4096, format=examples)},
        caption=(
            f"The runs end at a loss of {chapter.TARGET:g}, the grey line. "
            "Go back to a batch size of 1 and step it up. Look for the batch size from which the "
            "solid curve ends to the right of the dotted one, work growing with the batch. "
            "For momentum it comes later."
        ),
    )


def three_routes(recursion: Callable[..., FloatArray]) -> go.Figure:
    """One expected loss in closed form, by the page's own recursion, and by random numbers.

    The recursion is drawn at every twelfth of the steps, Monte Carlo between them as mean ± four
    standard errors.
    """
    fig = figure(
        x="steps",
        x_unit=None,
        y=LOSS_LABEL,
        y_unit=None,
        log="y",
        title="Three routes, one expected loss",
        alt="Expected loss against steps by closed form, recursion and Monte Carlo",
    )
    steps, each = np.arange(chapter.CHECK_STEPS + 1), chapter.CHECK_STEPS // 12
    middle = slice(each // 2, None, each)
    for method in METHODS:
        name, (closed, runs) = method.name, chapter.check(method)
        error = runs.std(axis=0, ddof=1) / math.sqrt(len(runs))
        fig.add_scatter(
            x=steps,
            y=closed,
            mode="lines",
            line=STYLES[method].line,
            name=f"{name}: closed form",
        )
        fig.add_scatter(
            x=steps[::each],
            y=chapter.recursion_of(method, recursion)[::each],
            mode="markers",
            marker={
                "color": STYLES[method].color,
                "symbol": f"{STYLES[method].symbol}-open",
                "size": 11,
            },
            name=f"{name}: recursion",
        )
        fig.add_scatter(
            x=steps[middle],
            y=runs.mean(axis=0)[middle],
            error_y={"array": 4 * error[middle], "thickness": 1.5, "width": 4},
            mode="markers",
            marker={"color": STYLES[method].color, "symbol": "x", "size": 7},
            name=f"{name}: Monte Carlo",
        )
    return provenance(
        fig,
        f"Exact spectrum, {chapter.exact_model().dims:,} dimensions, batch size "
        f"{chapter.CHECK_BATCH_SIZE}; Monte Carlo of {chapter.CHECK_RUNS} runs at seed 0, bars "
        "± four standard errors.",
    )


def budgets() -> Explorer:
    """Loss and learning rate against batch size, moved by the budget and the schedule."""
    curves, schedules = chapter.budget_curves(), [chapter.CONSTANT, chapter.DECAYED]
    return explorer(
        lambda budget, schedule: against_batch_size(chapter.model(), curves[budget, schedule]),
        {
            "budget": Slider(list(chapter.BUDGETS), label="budget", value="32 epochs"),
            "schedule": Slider(schedules, label="learning rate", value=chapter.CONSTANT),
        },
        caption=(
            f"An epoch is {chapter.EPOCH:,} examples. "
            "Epochs: look for the flat stretch of the loss, and see it end where the learning rate "
            "meets its critical value; more epochs move that corner right. Steps: the loss falls "
            "with the batch all the way, and the learning rate no longer runs along the dotted "
            "line."
        ),
    )


def valleys() -> Explorer:
    """Loss against the learning rate, moved by the budget and B."""
    curves, sizes = chapter.budget_curves(), chapter.BATCH_SIZES
    kinds = {
        **{name: curves[name, chapter.CONSTANT] for name in ("32 epochs", "2,000 steps")},
        f"to loss {chapter.TARGET}": chapter.to_target(),
    }
    return explorer(
        lambda budget, batch_size: valley(chapter.model(), kinds[budget], batch_size),
        {
            "budget": Slider(list(kinds), label="budget", value="32 epochs"),
            "batch_size": Slider(sizes, label="batch size B", value=16, format=examples),
        },
        caption=(
            "Under 32 epochs, look for the valley sliding right without changing its shape, one "
            "doubling of the rate for one of the batch, until plain SGD's is cut off by its wall "
            "and rises. Under 2,000 steps it sinks instead. Dotted: the lowest points of all batch "
            "sizes."
        ),
    )
