"""Figures of the chapter on random walks."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from sgdnoise.chapters import computed_here, line, marks, short
from sgdnoise.chapters import random_walk as chapter
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

# A dotted line is left for the line in log t, which one of the curves follows.
_DASHES = tuple(dash for dash in DASHES if dash != "dot")


def slow_figure(alpha: float, temperature: float) -> go.Figure:
    """Four distances over two decades against log t, each from 0 to 1, and the line."""
    walk = chapter.walk_path(alpha, temperature)
    others = chapter.other_paths()
    fig = figure(
        x="steps t",
        x_unit=None,
        y="distance, its rise over the window",
        y_unit=None,
        log="x",
        x_range=(walk.time[0] * 0.95, walk.time[-1] * 1.05),
        y_range=(-0.03, 1.03),
        title=(
            f"R² of a line in log t: {walk.log.r_squared:.3f} on a random potential, "
            f"{others[0].log.r_squared:.3f} for {chapter.QUARTER} without one"
        ),
        alt="Four distances against the logarithm of time, and a straight line",
    )
    for k, path in enumerate((walk, *others)):
        fig.add_scatter(
            x=path.time,
            y=path.rising,
            mode="lines+markers",
            line={"color": PALETTE[k], "dash": _DASHES[k]},
            marker={"symbol": SYMBOLS[k], "size": 6},
            name=f"{path.name.split(',')[0]}: R² {path.log.r_squared:.3f}",
        )
    # Last, so that it lies above the curve that follows it.
    line(fig, walk.time[[0, -1]], [0, 1], "a line in log t", color=INK, dash="dot", width=2)
    fig.update_layout(legend={"traceorder": "normal"})
    return computed_here(fig, "800 walkers on 400 potentials, and three laws in closed form")


def slow() -> Explorer:
    """The four distances, moved by α and temperature."""
    walks = [chapter.walk_path(a, t) for a in chapter.ALPHAS if a < 2 for t in chapter.TEMPERATURES]
    r, free = [walk.log.r_squared for walk in walks], chapter.other_paths()[-1]
    return explorer(
        slow_figure,
        {
            "alpha": Slider(
                chapter.ALPHAS,
                label="exponent α",
                value=chapter.START[0],
            ),
            "temperature": Slider(
                chapter.TEMPERATURES,
                label="temperature T",
                value=chapter.START[1],
            ),
        },
        caption=(
            f"Only the blue walk moves. At every α below 2 and every temperature its R² lies "
            f"between {min(r):.3f} and {max(r):.3f}, above the {free.log.r_squared:.3f} of free "
            "diffusion. A higher temperature mostly lowers it, and not always. At α = 2, the value "
            "that H17 reads off its nets, the potential is a plane, and the walker leaves in "
            "proportion to t at any temperature. Most of these curves would pass for a line in "
            "log t, with a few seeds' noise."
        ),
    )


def law_figure(alpha: float, temperature: float) -> go.Figure:
    """The walk's rms distance beside (log t)^(2/α) and √t, both through its last point."""
    walk = chapter.walked(alpha, temperature)
    t, rms = walk.times.astype(float), walk.rms
    found = chapter.powers(alpha, temperature)
    fig = figure(
        x="steps t",
        x_unit=None,
        y="rms distance",
        y_unit="sites",
        log="xy",
        x_range=(9, 33_000),
        y_range=(1, 40_000),
        title=(
            f"Over the last factor of {chapter.WINDOW} as (log t)<sup>{found.of_log:.2f}</sup>, to "
            f"{_share(found.log_misfit)}, or as t<sup>{found.of_time:.2f}</sup>, to "
            f"{_share(found.time_misfit)}; H17, in the long run: (log t)<sup>{found.law:.3g}</sup>"
        ),
        alt="Distance of the walk against time, beside a power of log t and free diffusion",
    )
    marks(fig, t, rms, "the walk", color=BLUE, size=7)
    line(
        fig,
        t,
        rms[-1] * (np.log(t) / np.log(t[-1])) ** (2 / alpha),
        "(log t)<sup>2/α</sup> through the last point",
        color=VERMILLION,
    )
    line(fig, t, np.sqrt(t), "free diffusion, √t", color=INK, dash="dash")
    return computed_here(fig, "800 walkers on 400 potentials; at α = 2 in closed form")


def _share(misfit: float) -> str:
    """A misfit in percent, as titles have it."""
    return f"{100 * misfit:.1f} %" if misfit >= 0.0005 else "0 %"


def law() -> Explorer:
    """The law of equation 3, moved by α and temperature."""
    alpha, temperature = chapter.LAW_START
    return explorer(
        law_figure,
        {
            "alpha": Slider(chapter.ALPHAS, label="exponent α", value=alpha),
            "temperature": Slider(chapter.TEMPERATURES, label="temperature T", value=temperature),
        },
        caption=(
            "Look for positions at which the marks lie on the orange curve: at few they do, within "
            f"{chapter.LAST:,} steps. A cold walker waits at its first barriers, a hot one has not "
            "met them. Move α to 2: the marks rise faster than free diffusion, and the orange "
            "curve, which is log t there, has nothing to do with them. The title says how near "
            "each of the two powers comes to the marks, both with their exponents free."
        ),
    )


def sinai_figure() -> go.Figure:
    """E x² over its limit at α = 1, in exact laws on drawn potentials, with their spread."""
    time, over, error = chapter.sinai()
    fig = figure(
        x="steps t",
        x_unit=None,
        y="E x² / its limit, 61/45 (T log t)⁴",
        y_unit=None,
        log="xy",
        x_range=(8, 3e8),
        y_range=(0.5, 100),
        title=(
            f"After {short(time[-1])} steps E x² is {over[-1]:.2f} ± {error[-1]:.2f} times its "
            "limit"
        ),
        alt="Mean square distance of Sinai's walk over its limit against time, with a band",
    )
    keep = time >= 8
    time, over, error = time[keep], over[keep], error[keep]
    how = f"mean of {chapter.POTENTIALS} potentials, T = {chapter.SINAI_TEMPERATURE:g}"
    band(fig, time, over - error, over + error, color=BLUE, name="± its standard error")
    line(fig, time, over, f"exact, {how}", color=BLUE)
    line(fig, [8, 3e8], [1, 1], "limit (Kesten; Golosov 1986)", color=MUTED, dash="dot")
    return computed_here(
        fig,
        f"powers of the chance to step from site to site of {chapter.SITES}, no random numbers but "
        "the potentials; the band is one standard error over them",
    )


def field_figure() -> go.Figure:
    """Walks in more dimensions, hot and cold."""
    cool, warm = chapter.FIELD_TEMPERATURES
    cold, hot = chapter.field(16, cool), chapter.field(16, warm)
    fig = figure(
        x="steps t",
        x_unit=None,
        y="rms distance",
        y_unit="proposed step",
        log="xy",
        title=(
            f"In 16 dimensions, rms distance after {cold.times[-1]:,} steps: "
            f"{cold.rms[-1]:.0f} at T = {cool:g}, {hot.rms[-1]:.0f} at T = {warm:g}, "
            f"{np.sqrt(cold.times[-1]):.0f} free"
        ),
        alt="Distance of walks in 2 and 16 dimensions against time at two temperatures",
    )
    for k, dimensions in enumerate(chapter.DIMENSIONS):
        for j, temperature in enumerate(chapter.FIELD_TEMPERATURES):
            walk = chapter.field(dimensions, temperature)
            fig.add_scatter(
                x=walk.times,
                y=walk.rms,
                mode="lines+markers",
                line={"color": PALETTE[k], "dash": DASHES[j]},
                marker={"symbol": SYMBOLS[k], "size": 6},
                name=f"{dimensions} dimensions, T = {temperature:g}",
            )
    line(fig, walk.times, np.sqrt(walk.times), "free, √t", color=MUTED, dash="dot")
    return computed_here(fig, "α = 1, 40 fields of 256 random waves a curve, Metropolis steps")


def logistic_figure() -> go.Figure:
    """Separable logistic regression: recursion and closed form, at three margins."""
    fig = figure(
        x="steps t",
        x_unit=None,
        y="weight w",
        y_unit=None,
        log="x",
        title=f"Gain per factor of e in steps: {_gains()}, nearly 1/margin",
        alt="Weight of logistic regression on separable data against steps at three margins",
    )
    for k, margin in enumerate(chapter.MARGINS):
        time, steps, exact = chapter.logistic(margin)
        marks(
            fig,
            time,
            steps,
            f"margin {margin:g}, gradient descent",
            color=PALETTE[k],
            symbol=SYMBOLS[k],
        )
        line(fig, time, exact, f"margin {margin:g}, closed form", color=PALETTE[k], dash=DASHES[k])
    return computed_here(fig, "gradient descent at ε = 0.1, and the solution of its flow")


def _gains() -> str:
    found = []
    for margin in chapter.MARGINS:
        time, steps, _ = chapter.logistic(margin)
        gain = (steps[-1] - steps[-4]) / np.log(time[-1] / time[-4])
        found.append(f"{gain:.2f} at margin {margin:g}")
    return ", ".join(found)
