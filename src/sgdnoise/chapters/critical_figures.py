"""Figures of the chapter on the critical learning rate; the numbers behind them: `critical`."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from sgdnoise.chapters import EPSILON_EFF, LAMBDA_MAX, computed_here, examples, line, marks, short
from sgdnoise.chapters import critical as chapter
from sgdnoise.figures.explorer import Explorer, Slider, explorer
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
from sgdnoise.theory.stability import (
    critical_effective_learning_rate,
    critical_learning_rate,
    spectral_radius,
    trajectory,
)

FloatArray = NDArray[np.float64]

_GONE = 1e3


def _inside(steep: FloatArray, limit: float = _GONE) -> int:
    """How many positions to draw: after a path has left, they would only stretch the numbers."""
    out = np.abs(steep) > limit
    return int(np.argmax(out)) + 1 if out.any() else steep.size


def descent_figure(learning_rate: float, momentum: float) -> go.Figure:
    """The path of heavy ball over the contours of a bowl, 20 times as steep one way."""
    flat, steep, change = chapter.bowl_path(learning_rate, momentum)
    limit = float(critical_learning_rate(1.0, momentum))
    if learning_rate < limit:
        outcome = f"{chapter.BOWL_STEPS} steps shrink the loss to {short(change)} of what it was"
    elif learning_rate == limit:
        outcome = "At the limit the steep direction neither shrinks nor grows"
    else:
        outcome = f"{chapter.BOWL_STEPS} steps blow the loss up {short(change)} times"
    fig = figure(
        x="flat direction",
        x_unit=None,
        y="steep direction",
        y_unit=None,
        x_range=(-3.4, 3.7),
        y_range=(-1.4, 1.4),
        title=outcome,
        alt="Path of gradient descent with momentum over the contours of a quadratic bowl",
    )
    angle = np.linspace(0, 2 * np.pi, 61)
    for level in (0.1, 0.3, 0.5, 0.75, 1.0):
        radius = level * np.sqrt(1 + chapter.FLAT * chapter.START**2)
        fig.add_scatter(
            x=radius * np.cos(angle) / np.sqrt(chapter.FLAT),
            y=radius * np.sin(angle),
            mode="lines",
            line={"color": MUTED, "width": 1},
            hoverinfo="skip",
            showlegend=False,
        )
    plain = chapter.bowl_path(learning_rate, 0.0)
    end = _inside(plain[1], 4.0) if momentum else 0
    fig.add_scatter(
        x=plain[0][:end],
        y=plain[1][:end],
        mode="lines",
        line={"color": VERMILLION, "dash": "dot", "width": 1.5},
        name="without momentum, at this learning rate",
    )
    end = _inside(steep)
    fig.add_scatter(
        x=flat[:end],
        y=steep[:end],
        mode="lines+markers",
        line={"color": BLUE if learning_rate < limit else VERMILLION, "width": 2},
        marker={"size": 6},
        name="path, one mark a step",
    )
    marks(fig, [0], [0], "minimum", color=INK, symbol="x", size=10)
    return computed_here(fig, f"the recursion itself, {chapter.BOWL_STEPS} steps from (3, 1)")


def descent() -> Explorer:
    """The bowl, moved by ε and m; it opens where only momentum is stable."""
    return explorer(
        descent_figure,
        {
            "learning_rate": Slider(
                chapter.LEARNING_RATES, label="learning rate ε", value=2.2, unit="/ λmax"
            ),
            "momentum": Slider(chapter.MOMENTA, label="momentum m", value=0.5),
        },
        caption=(
            f"The bowl is {1 / chapter.FLAT:g} times as steep one way as the other, and every mark "
            "is a step. The dotted path has no momentum: past 2 its steep direction jumps ever "
            "further, while the flat one would have liked more. Raise the learning rate until the "
            "blue path turns orange too, then raise the momentum until it is blue again. "
            "Past which learning rate does it break at each momentum?"
        ),
    )


def direction_figure(learning_rate: float, momentum: float) -> go.Figure:
    """Position along one direction of curvature 1, beside the pace ρ^k of its decay."""
    steps = np.arange(chapter.DIRECTION_STEPS + 1)
    path = trajectory(learning_rate, 1.0, momentum, steps=chapter.DIRECTION_STEPS)
    radius = float(spectral_radius(learning_rate, 1.0, momentum))
    limit = float(critical_learning_rate(1.0, momentum))
    fig = figure(
        x="step",
        x_unit="updates",
        y="position / start",
        y_unit=None,
        x_range=(-0.5, chapter.DIRECTION_STEPS + 0.5),
        y_range=(-3.2, 3.2),
        title=(
            f"Spectral radius ρ = {radius:.3f}, limit ελ = {limit:g}: the position "
            f"{chapter.kind_of_motion(learning_rate, momentum)}"
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


def direction() -> Explorer:
    """One direction, moved by ελ and m."""
    return explorer(
        direction_figure,
        {
            "learning_rate": Slider(chapter.LEARNING_RATES, label="ε λ", value=0.4),
            "momentum": Slider(chapter.MOMENTA, label="momentum m", value=0.9),
        },
        caption=(
            "At momentum 0.9 raise ελ: the path swings faster and faster, but the dotted pace of "
            "its decay does not change, because |ρ| = √m whatever the curvature. Towards the limit "
            "it first overshoots far beyond its start, and only there does the pace slow down. "
            "At momentum 0 every value of ελ has a pace of its own."
        ),
    )


def limit_figure() -> go.Figure:
    """The largest stable effective learning rate against momentum, formula and experiment."""
    m = np.linspace(0, 0.96, 97)
    last = chapter.limits()[-2]
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
    line(fig, m, critical_effective_learning_rate(1.0, m), "2(1 + m) / (1 − m)", color=BLUE)
    fig.add_scatter(
        x=[row[0] for row in chapter.limits()],
        y=[row[2] / (1 - row[0]) for row in chapter.limits()],
        mode="markers",
        marker={"symbol": "square-open", "color": VERMILLION, "size": 11, "line": {"width": 2}},
        name="found by bisection on runs",
    )
    line(fig, [0, 0.96], [2, 2], "gradient descent: 2", color=MUTED, dash="dot")
    return computed_here(fig, "closed form; 4,000-step runs bisected on the learning rate")


_MAP_LEARNING_RATES = np.linspace(0.04, 4.0, 100)


_MAP_MOMENTA = np.linspace(0.0, 0.98, 70)


def map_figure(condition_number: float) -> go.Figure:
    """Speed over the (ε, m) plane, with the line of stability and the fastest setting."""
    lr, m = np.meshgrid(_MAP_LEARNING_RATES, _MAP_MOMENTA)
    steps = chapter.steps_per_tenth(chapter.worst_radius(lr, m, condition_number))
    settings = chapter.plain_best(condition_number), chapter.polyak(condition_number)
    plain, best = (
        float(chapter.steps_per_tenth(chapter.worst_radius(*setting, condition_number)))
        for setting in settings
    )
    fig = figure(
        x="learning rate ε",
        x_unit=f"1/{LAMBDA_MAX}",
        y="momentum m",
        y_unit=None,
        x_range=(0, 4.05),
        y_range=(-0.03, 1.0),
        title=(
            f"The error falls tenfold in {_steps(plain)} at best without momentum, "
            f"in {short(best)} with"
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
    for (best_lr, best_m), symbol, size, how in zip(
        settings, ("square", "x"), (11, 12), ("without momentum", "with"), strict=True
    ):
        marks(fig, [best_lr], [best_m], f"fastest {how}", color=INK, symbol=symbol, size=size)
    return computed_here(fig, "spectral radius of the slower end of the spectrum")


def _steps(count: float) -> str:
    """A number of steps in words."""
    return f"{short(count)} step" + "s" * (short(count) != "1")


def speed_map() -> Explorer:
    """The map of the speed, moved by the condition number."""
    kappas = chapter.CONDITION_NUMBERS
    return explorer(
        map_figure,
        {"condition_number": Slider(kappas, label="condition number κ", value=20)},
        caption=(
            "Raise κ: all of the map gets slower, and the region that stays fast shrinks towards "
            "the upper right, along the line of stability. The best setting without momentum "
            "(square) needs steps in proportion to κ, the best with momentum (cross) in proportion "
            "to √κ."
        ),
    )


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
            f"After 1/(1 − m) = {memory:.0f} steps the sum has reached "
            f"{100 * share:.0f} % of ε/(1 − m)"
        ),
        alt="Length of the step under a constant gradient against the step, for a sum and a mean",
    )
    for y, name, color, dash in (
        (total, "S20's formula: a sum", BLUE, "solid"),
        ((1 - momentum) * total, "an exponential moving average", VERMILLION, "dash"),
        (np.full(k.shape, memory), f"{EPSILON_EFF}/ε = 1/(1 − m)", MUTED, "dot"),
    ):
        line(fig, k, y, name, color=color, dash=dash, width=2.5)
    return computed_here(fig, "geometric sums")


def ramp() -> Explorer:
    """How long the sum of gradients takes to fill, moved by m."""
    return explorer(
        ramp_figure,
        {"momentum": Slider(chapter.RAMP_MOMENTA, label="momentum m", value=0.9)},
        caption=(
            "The average ends at one step length whatever the momentum; S20's sum ends at the "
            "dotted line. Raise the momentum: the line rises, and it takes longer to get there."
        ),
    )


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
    for k, gap in enumerate(chapter.gaps()):
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
    line(fig, [1e-5, 0.4], [0.1, 0.1], "a tenth", color=MUTED, width=1.5)
    return computed_here(fig, "exact moments along one direction; paths compared at equal steps")


def budget_figure(batch_size: int, momentum: float) -> go.Figure:
    """Final loss against ε_eff at one batch size, without and with momentum."""
    plain, heavy = chapter.tuned(batch_size, 0.0), chapter.tuned(batch_size, momentum)
    fig = figure(
        x="effective learning rate",
        x_unit=f"1/{LAMBDA_MAX}",
        y="expected loss at the end / at the start",
        y_unit=None,
        log="xy",
        x_range=(2**-9, 2**8),
        y_range=(2e-3, 2),
        title=(
            f"{chapter.BUDGET // batch_size:,} steps: best loss {plain.loss:.3g} without momentum, "
            f"{heavy.loss:.3g} with; ratio {heavy.loss / plain.loss:.2f}"
        ),
        alt="Final expected loss against the effective learning rate, without and with momentum",
    )
    for k, (m, best) in enumerate(((0.0, plain), (momentum, heavy))):
        loss = chapter.final_loss(chapter.EFFECTIVE, batch_size, m)
        name = f"momentum {m:g}" if m else "no momentum"
        color = (BLUE, VERMILLION)[k]
        fig.add_scatter(
            x=chapter.EFFECTIVE,
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
    line(fig, [2, 2], [2e-3, 2], f"2/{LAMBDA_MAX}", color=MUTED, dash="dot")
    return computed_here(fig, "exact moments, 25 curvatures from 1/1000 to 1")


def budget() -> Explorer:
    """Final loss against the learning rate, moved by B and m; it opens where momentum leads."""
    large = chapter.BUDGET_BATCH_SIZES[-1]
    over = {m: chapter.over_plain(large, m) for m in chapter.BUDGET_MOMENTA}
    ahead = max(m for m in over if over[m] < 1)
    behind = min(m for m in over if over[m] > 1)
    return explorer(
        budget_figure,
        {
            "batch_size": Slider(
                chapter.BUDGET_BATCH_SIZES, label="batch size B", value=1024, format=examples
            ),
            "momentum": Slider(chapter.BUDGET_MOMENTA, label="momentum m", value=0.9),
        },
        caption=(
            "The dotted line holds SGD back, and momentum passes it. Go to smaller batch sizes: "
            "both best points move left, at last one halving of the learning rate for one of B, "
            "and the two curves are one around them. Then go to the largest batch size, of "
            f"{chapter.BUDGET // large} updates, and raise the momentum from "
            f"{min(over):g}: up to {ahead:g} it ends below SGD, from {behind:g} on above."
        ),
    )
