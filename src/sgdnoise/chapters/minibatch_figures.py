"""Figures of the chapter on a minibatch's update."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from sgdnoise.chapters import computed_here, line
from sgdnoise.chapters import minibatch as chapter
from sgdnoise.data.sizes import train_size
from sgdnoise.figures.explorer import Explorer, Slider, explorer
from sgdnoise.figures.theme import DASHES, INK, MUTED, PALETTE, SYMBOLS, figure
from sgdnoise.schedule import scale_learning_rate
from sgdnoise.theory import minibatch


def part(batch_size: int) -> str:
    """M/N as the slider names it."""
    return f"{batch_size / chapter.EXAMPLES:.3g}"


def spread_of(batch_size: int, sampling: minibatch.Sampling) -> float:
    """Standard deviation of the exact law, of that of a single example's gradient."""
    trace = np.trace(minibatch.covariance(chapter.toy().gradients, batch_size, sampling))
    return float(np.sqrt(trace / chapter.toy().centred))


def cloud_figure(batch_size: int) -> go.Figure:
    """Mean gradients of batches drawn three ways, with the ellipses of their exact laws."""
    without, having, coins = (spread_of(batch_size, s) for s in minibatch.SAMPLINGS)
    fig = figure(
        x="gradient, first coordinate",
        x_unit=None,
        y="gradient, second coordinate",
        y_unit=None,
        x_range=(-0.3, 2.3),
        y_range=(-0.3, 2.3),
        title=(
            f"M/N = {part(batch_size)}: spread {without:.3f} without replacement, "
            f"{having:.3f} with, {coins:.3f} by coins"
        ),
        alt="Mean gradients of batches drawn in three ways, and ellipses of their exact laws",
    )
    for k, (sampling, name) in enumerate(chapter.NAMES.items()):
        shown = chapter.cloud(batch_size, sampling)[: chapter.SHOWN]
        fig.add_scatter(
            x=shown[:, 0],
            y=shown[:, 1],
            mode="markers",
            marker={"color": PALETTE[k], "symbol": SYMBOLS[k], "size": 4, "opacity": 0.35},
            name=name,
            legendgroup=sampling,
            showlegend=False,
        )
        ring = chapter.ellipse(batch_size, sampling)
        fig.add_scatter(
            x=ring[:, 0],
            y=ring[:, 1],
            mode="lines",
            line={"color": PALETTE[k], "dash": DASHES[k], "width": 2.5},
            # The legend has the ellipse for both: the marks are too small and too pale for it.
            name=name,
            legendgroup=sampling,
            hoverinfo="skip",
        )
    g = chapter.toy().mean
    line(fig, [0, g[0]], [0, g[1]], "mean gradient g", color=INK, width=2)
    return computed_here(
        fig,
        f"{chapter.SHOWN} batches of N = {chapter.EXAMPLES} a sampling; ellipses: two standard "
        "deviations, exact",
    )


def clouds() -> Explorer:
    """The three clouds, moved by M/N."""
    return explorer(
        cloud_figure,
        {"batch_size": Slider(chapter.BATCHES, label="M/N", value=32, format=part)},
        caption=(
            "Move to the right, to a batch of everything: the blue cloud shrinks to a point, and "
            "the orange one does not. Move to the left: these two become one. The green cloud "
            "stays longer along the mean gradient at every size but the last: a coin for each "
            "example makes the number of examples random, and with it the length of the step."
        ),
    )


def factor_figure() -> go.Figure:
    """The trace of the covariance over C/M against M/N, drawn and exact, on digits."""
    fig = figure(
        x="M/N",
        x_unit=None,
        y="tr cov ĝ over tr C/M",
        y_unit=None,
        x_range=(0, 1.02),
        y_range=(-0.05, 1.25),
        title=_factor_title(),
        alt="Covariance of a minibatch's gradient over that of an unlimited set, three samplings",
    )
    for k, (sampling, name) in enumerate(chapter.NAMES.items()):
        rows = chapter.on_digits(sampling)
        share = np.array([row.batch_size for row in rows]) / rows[-1].batch_size
        line(
            fig,
            share,
            [row.exact / row.unlimited for row in rows],
            f"{name}, exact",
            color=PALETTE[k],
            dash=DASHES[k],
        )
        fig.add_scatter(
            x=share,
            y=[row.drawn / row.unlimited for row in rows],
            error_y={"array": [2 * row.error / row.unlimited for row in rows]},
            mode="markers",
            marker={"color": PALETTE[k], "symbol": SYMBOLS[k], "size": 8},
            name=f"{name}, drawn",
        )
    return computed_here(
        fig, "softmax regression on digits, 400 drawn batches a point, bars two standard errors"
    )


def _factor_title() -> str:
    half = next(row for row in chapter.on_digits("without") if row.batch_size == 512)
    return (
        f"A batch of half the examples has {half.drawn / half.unlimited:.2f} of the noise that "
        "1/M gives it"
    )


SIZES = tuple(2**k for k in range(7, 16))


def root_figure(small: int) -> go.Figure:
    """By how much the learning rate has to grow to keep the covariance, beside √(M_L/M_S)."""
    n = train_size("cifar10")
    sizes = [m for m in SIZES if m > small]
    exact = [scale_learning_rate(1.0, m, small, "sqrt", n) for m in sizes]
    over = exact[-1] / np.sqrt(sizes[-1] / small)
    fig = figure(
        x=f"large batch {chapter.LARGE_BATCH}",
        x_unit="examples",
        y=f"{chapter.LARGE_RATE}/{chapter.SMALL_RATE}",
        y_unit=None,
        log="xy",
        x_range=(100, 40_000),
        y_range=(1, 300),
        title=(
            f"From {small:,} to {sizes[-1]:,} of {n:,}: {exact[-1]:.1f} times the rate, "
            f"{over - 1:.0%} above the square root"
        ),
        alt="Factor of the learning rate that keeps the covariance of an update, and the root",
    )
    line(fig, sizes, exact, f"exact, N = {n:,}", color=PALETTE[0])
    line(
        fig,
        sizes,
        np.sqrt(np.array(sizes) / small),
        f"√({chapter.LARGE_BATCH}/{chapter.SMALL_BATCH}), H17's equation 7",
        color=PALETTE[1],
        dash="dash",
    )
    line(fig, sizes, np.array(sizes) / small, "linear", color=MUTED, dash="dot")
    exactly = f"√[(1/{chapter.SMALL_BATCH} − 1/N)/(1/{chapter.LARGE_BATCH} − 1/N)]"
    return computed_here(fig, exactly)


def roots() -> Explorer:
    """The exact root rule, moved by M_S."""
    return explorer(
        root_figure,
        {
            "small": Slider(
                (32, 128, 512, 2048), label="size of the small batch", value=128, format=","
            )
        },
        caption=(
            "Look at the right end: where the large batch is most of the training set, the noise "
            "it has left is so small that no root makes up for it, whatever the small batch is."
        ),
    )


def epoch_figure(batch_size: int) -> go.Figure:
    """Variance of the weights' displacement by noise within an epoch, both ways to draw."""
    n = chapter.EXAMPLES
    k = np.arange(n // batch_size + 1)
    ways = {
        "independent batches": minibatch.epoch_walk(k, batch_size, n, reshuffled=False),
        "one reshuffled epoch": minibatch.epoch_walk(k, batch_size, n, reshuffled=True),
    }
    own = ways["independent batches"][1]
    fig = figure(
        x="examples seen in the epoch",
        x_unit=f"of N = {n}",
        y="variance of the summed noise",
        y_unit="one step’s",
        title=(
            f"At the end of the epoch: {ways['independent batches'][-1] / own:.0f} steps’ variance "
            "when drawn independently, 0 when reshuffled"
        ),
        alt="Variance of the sum of the noise of an epoch's batches against examples seen",
    )
    for j, (name, variance) in enumerate(ways.items()):
        fig.add_scatter(
            x=k * batch_size,
            y=variance / own,
            mode="lines+markers",
            line={"color": PALETTE[j], "dash": DASHES[j]},
            marker={"symbol": SYMBOLS[j], "size": 6},
            name=name,
        )
    return computed_here(fig, "exact; the gradient is the same all epoch long")


def epochs() -> Explorer:
    """The sum of an epoch's noise, moved by M."""
    return explorer(
        epoch_figure,
        {"batch_size": Slider((2, 4, 8, 16), label="batch size M", value=4)},
        caption=(
            "The orange arch returns to nothing at every batch size: within an epoch each batch's "
            "noise is paid back by the others'. H17 prints +g gᵀ/(N − 1) for the covariance "
            "between batches, where the right one is −C/(N − 1): another matrix and another sign. "
            "With H17's the arch would never come down."
        ),
    )
