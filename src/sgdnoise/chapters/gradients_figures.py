"""Figures of the chapter on gradients; the numbers behind them are in `gradients`."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from sgdnoise.chapters import computed_here, examples, fraction, line, marks, short
from sgdnoise.chapters import gradients as chapter
from sgdnoise.chapters.errata_g20 import printed_law
from sgdnoise.figures.explorer import Explorer, Slider, explorer
from sgdnoise.figures.theme import BLUE, INK, MUTED, PALETTE, VERMILLION, figure

_N = np.array(chapter.SIZES, dtype=np.float64)


def _ratio(value: float) -> str:
    return fraction(value) if value else "0"


def size_figure(spread: float, batch_size: int) -> go.Figure:
    """Mean |g| against n at a spread of the true gradients, with one batch size marked."""
    seen = chapter.simulated(spread)
    here = chapter.SIZES.index(batch_size)
    printed = float(printed_law(batch_size))
    fig = figure(
        x="batch size n",
        x_unit="examples",
        y="mean |g| of the layer / σ",
        y_unit=None,
        log="xy",
        x_range=(0.8, 5200),
        y_range=(0.005, 1.5),
        title=(
            f"n = {batch_size:,}: the mean size of a gradient is {short(seen[here])} σ, G20's law "
            f"has {short(printed)} σ"
        ),
        alt="Mean size of a layer's batch gradient against batch size, simulated and by two laws",
    )
    dense = np.geomspace(1, chapter.EXAMPLES, 121)
    line(fig, dense, printed_law(dense), "G20 as printed, 2σ/√(πn)", color=INK, dash="dash")
    line(fig, dense, chapter.law(spread).at(dense), "√(a² + b² (1/n − 1/N))", color=BLUE)
    marks(fig, _N, seen, "simulated", color=BLUE, size=8)
    marks(fig, [batch_size], [seen[here]], "at the slider's n", color=VERMILLION, size=14)
    if spread:
        fig.add_hline(y=chapter.law(spread).floor, line={"color": MUTED, "dash": "dot"})
        alike = chapter.crossover(chapter.law(spread))
        fig.add_vline(x=alike, line={"color": MUTED, "dash": "dot"})
    how = f"{chapter.PARAMETERS:,} parameters, N = {chapter.EXAMPLES:,} examples"
    return computed_here(fig, how)


def sizes() -> Explorer:
    """The law of a gradient's mean size, moved by the signal in the layer and the batch size."""
    return explorer(
        size_figure,
        {
            "spread": Slider(
                chapter.SPREADS,
                label="signal over noise τ/σ",
                value=chapter.SPREAD,
                format=_ratio,
            ),
            "batch_size": Slider(chapter.SIZES, label="batch size n", value=1024, format=examples),
        },
        caption=(
            "The dotted lines are where signal and noise are alike, and what the signal alone "
            "leaves. At a ratio of 0, as G20 assumes, the marks keep the slope of its law and fall "
            "to zero at last, since a batch of all examples has no noise. Any other ratio bends "
            "them onto a plateau: the larger the signal, the earlier."
        ),
    )


_EDGES = np.linspace(-0.5, 0.5, 61)


def layer_figure(batch_size: int) -> go.Figure:
    """How one layer's batch gradients are distributed, over its true gradients."""
    everything = chapter.batch_gradients(chapter.SPREAD)
    mine = everything[chapter.SIZES.index(batch_size)]
    centres = (_EDGES[1:] + _EDGES[:-1]) / 2
    width = float(_EDGES[1] - _EDGES[0])
    std = float(np.sqrt(chapter.SPREAD**2 + chapter.finite(batch_size, chapter.EXAMPLES)))
    fig = figure(
        x="gradient of a parameter / σ",
        x_unit=None,
        y="density",
        y_unit="1/σ",
        x_range=(-0.5, 0.5),
        y_range=(0, 8),
        title=(
            f"n = {batch_size:,}: a spread of {short(std)} σ; true gradients make "
            f"{chapter.SPREAD**2 / std**2:.0%} of its square, noise the rest"
        ),
        alt="Distribution of the batch gradients of a layer above that of its true gradients",
    )
    count = np.histogram(mine, _EDGES)[0] / (len(mine) * width)
    fig.add_bar(x=centres, y=count, width=width, marker={"color": BLUE}, name="batch gradients")
    normal = np.exp(-((centres / std) ** 2) / 2) / (std * np.sqrt(2 * np.pi))
    line(fig, centres, normal, "normal of that spread", color=INK, dash="dash")
    truth = np.exp(-((centres / chapter.SPREAD) ** 2) / 2) / (chapter.SPREAD * np.sqrt(2 * np.pi))
    line(fig, centres, truth, "true gradients", color=VERMILLION)
    fig.update_layout(bargap=0)
    return computed_here(fig, f"τ = σ/{1 / chapter.SPREAD:g}, {chapter.PARAMETERS:,} parameters")


def layer() -> Explorer:
    """The layer's gradients, moved by the batch size."""
    return explorer(
        layer_figure,
        {"batch_size": Slider(chapter.SIZES[3:], label="batch size n", value=64, format=examples)},
        caption=(
            "The bars narrow as the batch grows, and stop at the orange curve: what is left is no "
            "noise, and no batch averages it away."
        ),
    )


def one_parameter_figure() -> go.Figure:
    """E|g| of one parameter: the folded normal's mean beside the root of squares."""
    exact, root = chapter.one_parameter()
    over = root / exact - 1
    fig = figure(
        x="true gradient |G| / its noise s",
        x_unit=None,
        y="E|ĝ| / s",
        y_unit=None,
        log="xy",
        title=f"The root of squares is at most {over.max():.0%} above the exact mean",
        alt="Mean absolute value of a normal variable against its mean, exact and approximate",
    )
    line(fig, chapter.RATIOS, exact, "folded normal, exact", color=BLUE)
    line(fig, chapter.RATIOS, root, "√(G² + 2s²/π)", color=VERMILLION, dash="dash")
    line(fig, chapter.RATIOS, np.full_like(chapter.RATIOS, chapter.NORMAL_MEAN), "noise alone, G20",
         color=INK, dash="dot")  # fmt: skip
    return computed_here(fig, "closed forms")


def steps_figure() -> go.Figure:
    """The mean step against n at three rules of the learning rate, with and without signal."""
    fig = figure(
        x="batch size n",
        x_unit="examples",
        y="mean step / that of a batch of 1",
        y_unit=None,
        log="xy",
        title="A rate that grows as √n keeps the step of pure noise, and lengthens that of signal",
        alt="Mean step of a weight against batch size at three rules of the learning rate",
    )
    rules = {0.0: "ε constant", 0.5: "ε ∝ √n", 1.0: "ε ∝ n"}
    for k, (power, name) in enumerate(rules.items()):
        for spread, dash, what in ((chapter.SPREAD, "solid", "signal"), (0.0, "dot", "none")):
            steps = chapter.step_length(_N[:-1], spread, power)
            line(fig, _N[:-1], steps, f"{name}, {what}", color=PALETTE[k], dash=dash)
    return computed_here(fig, f"signal: τ = σ/{1 / chapter.SPREAD:g}; N = {chapter.EXAMPLES:,}")


def drop_figure(rate: float, signal: float) -> go.Figure:
    """What one step takes off the batch's own loss and off the loss of all, against n."""
    at = chapter.bowl(signal)
    own, whole = at.own_drop(rate, _N), at.whole_drop(rate, _N)
    seen = np.array([chapter.stepped(rate, signal, n) for n in chapter.SIZES]) / at.trace
    first = "lowers" if whole[0] > 0 else "raises"
    fig = figure(
        x="batch size n",
        x_unit="examples",
        y="fall of the loss in a step / (ε trΣ)",
        y_unit=None,
        log="x",
        title=(
            f"A step of one example {first} the loss of all by {short(abs(whole[0]) / at.trace)} "
            f"ε trΣ, and lowers its own by {short(own[0] / at.trace)} ε trΣ"
        ),
        alt="Fall of the batch's own loss and of the loss of all in one step against batch size",
    )
    line(fig, _N, own / at.trace, "the batch's own loss", color=VERMILLION, dash="dash")
    line(fig, _N, whole / at.trace, "the loss of all examples", color=BLUE)
    line(fig, _N, 1 / _N, "G20's law, 1/n", color=INK, dash="dot")
    marks(fig, _N, seen[:, 0], "simulated, own", color=VERMILLION, symbol="x", size=8)
    marks(fig, _N, seen[:, 1], "simulated, all", color=BLUE, symbol="circle-open", size=9)
    fig.add_hline(y=0, line={"color": MUTED, "width": 1})
    return computed_here(fig, f"a quadratic in {chapter.DIMENSIONS} dimensions, fresh examples")


def drops() -> Explorer:
    """The two falls of the loss, moved by the learning rate and the signal."""
    rate, signal = chapter.OPENS
    return explorer(
        drop_figure,
        {
            "rate": Slider(chapter.RATES, label="learning rate ε", value=rate, format="g"),
            "signal": Slider(
                chapter.SIGNALS, label="signal over noise |G|²/trΣ", value=signal, format=fraction
            ),
        },
        caption=(
            "The dotted line is G20's law. The dashed curve falls with it while the batch is "
            "small, but it is the batch's own loss, and no other batch has that. The solid curve "
            "is the loss that is trained: it rises with n, and the faster the larger the rate."
        ),
    )
