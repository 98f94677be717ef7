"""Figures of the chapter on temperature; the numbers behind them are in `temperature`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from sgdnoise.chapters import EPSILON_CRIT, computed_here, examples, fraction, line, short
from sgdnoise.chapters import temperature as chapter
from sgdnoise.figures.explorer import Explorer, Slider, explorer
from sgdnoise.figures.theme import (
    BLUE,
    DASHES,
    INK,
    MUTED,
    PALETTE,
    SYMBOLS,
    VERMILLION,
    band,
    figure,
)
from sgdnoise.theory import sde
from sgdnoise.theory.moments import moments
from sgdnoise.theory.stability import critical_learning_rate

FloatArray = NDArray[np.float64]

_EDGES = np.linspace(-3.0, 4.0, 36)


def _rate(values: Sequence[float], value: float) -> Slider:
    return Slider(values, label="learning rate ε", value=value, format=fraction)


def _histogram(positions: FloatArray) -> FloatArray:
    return 100 * np.histogram(positions, _EDGES)[0] / positions.size


def valleys_figure(learning_rate: float, batch_size: int) -> go.Figure:
    """Histogram of the runs at (ε, B), above the loss, with the reference runs' outline."""
    runs, kept = (
        chapter.valley_runs(learning_rate, batch_size),
        chapter.valley_runs(*chapter.REFERENCE),
    )
    fig = figure(
        x="parameter x",
        x_unit=None,
        y="runs that end there",
        y_unit="% per 0.2",
        x_range=(-2.6, 3.6),
        y_range=(0, 55),
        title=(
            f"{100 * chapter.share_in_wide(runs):.0f} % of the runs have moved to the wide valley "
            f"(outline: {100 * chapter.share_in_wide(kept):.0f} %)"
        ),
        alt="Histogram of final positions of SGD runs in a loss with a narrow and a wide valley",
    )
    x = np.linspace(-2.6, 3.6, 125)
    fig.add_scatter(
        x=x,
        y=chapter.valleys_loss(x),
        yaxis="y2",
        mode="lines",
        line={"color": MUTED, "dash": "dot", "width": 2},
        name="loss (right axis)",
    )
    centres = (_EDGES[:-1] + _EDGES[1:]) / 2
    fig.add_bar(
        x=centres,
        y=_histogram(runs),
        width=0.2,
        marker={"color": BLUE, "opacity": 0.75},
        name="runs at the sliders' ε and B",
    )
    fig.add_scatter(
        x=np.repeat(_EDGES, 2)[1:-1],
        y=np.repeat(_histogram(kept), 2),
        mode="lines",
        line={"color": VERMILLION, "width": 2.5},
        name=f"for comparison: ε = {fraction(chapter.REFERENCE[0])}, B = {chapter.REFERENCE[1]}",
    )
    fig.update_layout(
        yaxis2={
            "overlaying": "y",
            "side": "right",
            "range": [0, 5.5],
            "showgrid": False,
            "title": {"text": "loss"},
        },
        bargap=0,
    )
    how = f"{chapter.RUNS:,} simulated runs a setting, {chapter.EXAMPLES:,} examples each"
    return computed_here(fig, how)


def valleys() -> Explorer:
    """The two valleys, moved by ε and B; it opens on both of them doubled."""
    runs = chapter.valley_runs
    far, doubled = (
        f"{100 * chapter.share_in_wide(runs(*at)):.0f} %" for at in ((1 / 2, 32), (1 / 8, 8))
    )
    return explorer(
        valleys_figure,
        {
            "learning_rate": _rate(chapter.LEARNING_RATES, 2.0**-4),
            "batch_size": Slider(
                chapter.BATCH_SIZES, label="batch size B", value=4, format=examples
            ),
        },
        caption=(
            "The bars and the orange outline are two different settings, and the bars need half as "
            "many steps. Move one slider alone: the bars leave the outline. Move the other as far, "
            "and they return to it while the learning rate is small. "
            f"At 1/8 and 8 they no longer do: {doubled} have moved. "
            f"At 1/2 and 32 it is {far}: the longer step drives runs out, though the batch grew."
        ),
    )


def collapse_figure() -> go.Figure:
    """Share of runs in the wide valley against temperature: one curve, until ε is too large."""
    rows, coldest = chapter.escapes(), 2e-3
    alike, apart = (fraction(lr / chapter.CRITICAL) for lr in chapter.one_curve())
    fig = figure(
        x="temperature T = ε/B",
        x_unit="ε per example",
        y="runs in the wide valley",
        y_unit="%",
        log="x",
        x_range=(coldest, 0.3),
        y_range=(-3, 103),
        title=(
            f"Up to {alike} of the narrow valley's critical learning rate all settings fall on one "
            f"curve, from {apart} on they leave it"
        ),
        alt="Share of runs in the wide valley against temperature for all settings",
    )
    own = [r.temperature for r in rows if r.temperature > coldest]
    at = np.unique([*own, *np.geomspace(5e-3, 0.04, 12)])
    fig.add_scatter(
        x=at,
        y=[100 * chapter.sde_share_in_wide(float(t), float(t) * chapter.EXAMPLES) for t in at],
        mode="lines",
        line={"color": INK, "width": 2},
        name="the SDE",
    )
    for k, lr in enumerate(chapter.LEARNING_RATES):
        mine = [r for r in rows if r.learning_rate == lr]
        fig.add_scatter(
            x=[r.temperature for r in mine],
            y=[100 * r.share for r in mine],
            error_y={"array": [200 * r.error for r in mine], "thickness": 1.2, "width": 3},
            mode="markers",
            marker={"symbol": SYMBOLS[k], "color": PALETTE[k], "size": 9},
            name=f"ε = {fraction(lr)} = {lr / chapter.CRITICAL:g} {EPSILON_CRIT}",
            customdata=[r.batch_size for r in mine],
            hovertemplate="B = %{customdata}: %{y:.1f} %",
        )
    outside = [r.share for r in rows if r.temperature < coldest]
    shares = " to ".join(f"{100 * s:.2g}" for s in sorted({min(outside), max(outside)}))
    how = (
        f"{chapter.RUNS:,} simulated runs a point, bars ± two standard errors; line: "
        f"Fokker–Planck; {len(outside)} of the {len(rows)} settings, below T = {coldest:g}, lie "
        f"outside the frame, at {shares} %"
    )
    return computed_here(fig, how)


def bowl_figure(learning_rate: float, batch_size: int) -> go.Figure:
    """Mean and spread of SGD and of the SDE in the bowl, over two epochs, both exact."""
    t = float(sde.temperature(learning_rate, batch_size))
    examples = chapter.BOWL_EPOCH * chapter.BOWL_EPOCHS
    limit = float(sde.sde_variance(1.0, chapter.BOWL_NOISE, t))
    steps = np.arange(examples // batch_size + 1)
    state = moments(
        learning_rate, 1.0, chapter.BOWL_NOISE / batch_size, steps, start=chapter.BOWL_START
    )
    spread = np.sqrt(np.maximum(state.variance, 0))
    seen = np.linspace(0, examples, 81)
    mean = chapter.BOWL_START * np.exp(-t * seen)
    deviation = np.sqrt(limit * -np.expm1(-2 * t * seen))
    fig = figure(
        x="time",
        x_unit="epochs",
        y="parameter x",
        y_unit=None,
        x_range=(0, chapter.BOWL_EPOCHS),
        y_range=(-3, 3.5),
        title=(
            f"T = {fraction(t)}, {steps[-1]} steps: standard deviation at the end "
            f"{spread[-1]:.3f}, the SDE's {deviation[-1]:.3f}"
        ),
        alt="Mean and spread of SGD and of the SDE against time in epochs",
    )
    at = seen / chapter.BOWL_EPOCH
    band(
        fig,
        at,
        mean - 2 * deviation,
        mean + 2 * deviation,
        color=BLUE,
        name="SDE at that T, ± 2 standard deviations",
    )
    line(fig, at, mean, "SDE, mean", color=BLUE)
    epochs = steps * batch_size / chapter.BOWL_EPOCH
    for sign, name in ((0, "SGD, mean"), (2, "SGD, ± 2 standard deviations"), (-2, "")):
        fig.add_scatter(
            x=epochs,
            y=state.x + sign * spread,
            mode="lines+markers",
            line={"color": VERMILLION, "width": 2, "dash": "dot" if sign else "solid"},
            marker={"size": 5, "maxdisplayed": 33},
            name=name,
            showlegend=bool(name),
        )
    return computed_here(fig, "exact moments of both, curvature 1")


def bowl() -> Explorer:
    """The bowl, moved by ε and B."""
    limit = float(critical_learning_rate(1.0))
    return explorer(
        bowl_figure,
        {
            "learning_rate": _rate(chapter.BOWL_LEARNING_RATES, 2.0**-3),
            "batch_size": Slider(
                chapter.BOWL_BATCH_SIZES, label="batch size B", value=8, format=examples
            ),
        },
        caption=(
            "Double both, again and again: the blue band, which knows T alone, stays where it is, "
            "and the orange lines stay on it with ever fewer steps. In the end the steps are so "
            "long that the mean arrives early and the spread is too wide. The critical learning "
            f"rate is {limit:g} here. Move only one of the two, and both laws change together."
        ),
    )


def scaling_figure(learning_rate: float) -> go.Figure:
    """Density at the end of the run with that learning rate, beside the SDE's at the same T."""
    run = next(r for r in chapter.scaling_runs() if r.learning_rate == learning_rate)
    spread = chapter.deviation(run.mean, run.second_moment)
    limit = chapter.deviation(run.sde_mean, run.sde_second_moment)
    off = abs(run.second_moment / run.sde_second_moment - 1)
    fig = figure(
        x="parameter x at the end",
        x_unit=None,
        y="density",
        y_unit="per unit of x",
        x_range=(-1.6, 2.0),
        y_range=(0, 1.3),
        title=(
            f"At {short(run.of_critical)} {EPSILON_CRIT}, B = {run.batch_size:g} and {run.steps} "
            f"steps, E x² is off by {short(100 * off)} %"
        ),
        alt="Final law of SGD and of the SDE at equal temperature and equal epochs",
    )
    x = np.linspace(-1.6, 2.0, 145)
    fig.add_scatter(
        x=x,
        y=sde.gaussian_density(x - run.sde_mean, limit**2),
        mode="lines",
        line={"color": BLUE, "width": 5},
        opacity=0.5,
        name="SDE at the same T and time",
    )
    line(
        fig, x, sde.gaussian_density(x - run.mean, spread**2), "SGD", color=VERMILLION, dash="dash"
    )
    return computed_here(fig, "exact Gaussian laws, curvature 1")


def scaling() -> Explorer:
    """Linear scaling as an experiment, moved by ε."""
    rates = [run.learning_rate for run in chapter.scaling_runs()]
    return explorer(
        scaling_figure,
        {"learning_rate": _rate(rates, 2.0**-6)},
        caption=(
            "Every position has the same temperature and has seen the same examples. Look for the "
            "learning rate at which the dashed law of SGD parts from the SDE's."
        ),
    )


def order_figure() -> go.Figure:
    """Error of linear scaling against ε/ε_crit, with the slope measured where ε is small."""
    orders = chapter.scaling_orders()
    fig = figure(
        x=f"learning rate ε / {EPSILON_CRIT}",
        x_unit=None,
        y="relative error against the SDE",
        y_unit=None,
        log="xy",
        x_range=(3e-4, 1.1),
        y_range=(1e-4, 10),
        title=(
            "Equal temperature, equal epochs: the error is of order "
            f"{min(o.slope for o in orders):.2f} to {max(o.slope for o in orders):.2f} "
            f"in ε/{EPSILON_CRIT}"
        ),
        alt="Relative error of linear scaling against the learning rate over its critical value",
    )
    for k, order in enumerate(orders):
        fig.add_scatter(
            x=order.of_critical,
            y=order.error,
            mode="lines+markers",
            line={"color": PALETTE[k], "dash": DASHES[k]},
            marker={"symbol": SYMBOLS[k], "color": PALETTE[k]},
            name=f"{order.name}: slope {order.slope:.2f}",
        )
    return computed_here(
        fig, f"exact moments; slopes by least squares below ε = 0.02 {EPSILON_CRIT}"
    )


def sampling_figure(learning_rate: float, batch_size: int) -> go.Figure:
    """Stationary spread through an epoch: independent and reshuffled batches of 64 examples."""
    law = sde.reshuffled_law(learning_rate, 1.0, 1.0, batch_size, chapter.SAMPLED_EXAMPLES)
    unit = float(sde.sde_variance(1.0, 1.0, sde.temperature(learning_rate, batch_size)))
    batches = chapter.SAMPLED_EXAMPLES // batch_size
    seen = np.arange(batches + 1) * batch_size
    fig = figure(
        x="examples seen since the epoch began",
        x_unit=f"of N = {chapter.SAMPLED_EXAMPLES}",
        y="standard deviation of x",
        y_unit="SDE’s at T = ε/B",
        x_range=(-1, chapter.SAMPLED_EXAMPLES + 1),
        y_range=(0, 1.45),
        title=(
            f"Spread at an epoch's end, of the SDE's: "
            f"{np.sqrt(law.epoch_end / unit):.3g} reshuffled, "
            f"{np.sqrt(law.independent / unit):.3g} independent"
        ),
        alt="Spread of the parameter within an epoch for two ways to draw batches",
    )
    line(fig, [0, chapter.SAMPLED_EXAMPLES], [1.0, 1.0], "SDE at T = ε/B", color=MUTED, dash="dot")
    fig.add_scatter(
        x=[0, chapter.SAMPLED_EXAMPLES],
        y=[np.sqrt(law.independent / unit)] * 2,
        mode="lines",
        line={"color": BLUE, "dash": "dash"},
        name="independent batches",
    )
    fig.add_scatter(
        x=seen,
        y=np.sqrt(law.within_epoch / unit),
        mode="lines+markers",
        line={"color": VERMILLION},
        marker={"size": 6},
        name="reshuffled epochs",
    )
    return computed_here(fig, "exact second moments of the stationary laws, curvature 1")


def sampling() -> Explorer:
    """Independent and reshuffled batches, moved by ε and B."""
    sizes = chapter.SAMPLED_BATCH_SIZES
    return explorer(
        sampling_figure,
        {
            "learning_rate": _rate(chapter.SAMPLED_LEARNING_RATES, 2.0**-4),
            "batch_size": Slider(sizes, label="batch size B", value=4, format=examples),
        },
        caption=(
            "Lower the learning rate: the independent line goes to the SDE's value (or below it, "
            "at large B). The reshuffled curve sinks, most of all at the end of an epoch, where "
            "models are evaluated. Raise the learning rate: the noise is forgotten within the "
            "epoch, and the two draw together, both above the SDE."
        ),
    )


def two_samplings_figure(learning_rate: float, batch_size: int) -> go.Figure:
    """Histograms of simulated runs at an epoch's end beside the exact standard deviations."""
    law = sde.reshuffled_law(learning_rate, 1.0, 1.0, batch_size, chapter.SAMPLED_EXAMPLES)
    exact = {"independent": law.independent, "reshuffle": law.epoch_end}
    ends = chapter.two_samplings(learning_rate, batch_size)
    names = {"independent": "independent batches", "reshuffle": "reshuffled epochs"}
    measured = "; ".join(
        f"{ends[s].std():.4f} in {names[s]} (exact {np.sqrt(exact[s]):.4f})" for s in ends
    )
    edges = np.linspace(-0.4, 0.4, 65)
    fig = figure(
        x="parameter x at an epoch's end",
        x_unit=None,
        y="density",
        y_unit="per unit of x",
        x_range=(-0.4, 0.4),
        title=f"Simulated runs agree: standard deviation {measured}",
        alt="Histograms of the parameter at an epoch's end for two ways to draw batches",
    )
    for s, color in (("independent", BLUE), ("reshuffle", VERMILLION)):
        density = np.histogram(ends[s], edges, density=True)[0]  # type: ignore[index]
        fig.add_scatter(
            x=np.repeat(edges, 2)[1:-1],
            y=np.repeat(density, 2),
            mode="lines",
            line={"color": color, "width": 2, "dash": "solid" if s == "reshuffle" else "dash"},
            fill="tozeroy",
            fillcolor=f"{color}33",
            name=names[s],
        )
    how = f"4,000 simulated runs each, N = {chapter.SAMPLED_EXAMPLES} examples"
    return computed_here(fig, f"{how}, ε = {fraction(learning_rate)}, B = {batch_size}")
