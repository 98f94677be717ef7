"""Figures of `gradient-statistics`: G20's figures 1, 3 to 5, 7 and 8 from records."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from sgdnoise.analysis import Reading
from sgdnoise.experiments.gradient_statistics import measured as m
from sgdnoise.experiments.gradient_statistics.grid import RULES
from sgdnoise.records.record import Record

if TYPE_CHECKING:
    import plotly.graph_objects as go


# --- Batches of all sizes at the same weights ---------------------------------------------------


def layer_of_figure_3(reading: Reading) -> str:
    """The tensor of G20's figure 3, at which a slider over layers starts; empty for no runs."""
    found = m.drawn(reading)
    return m.fully_connected(found[0]) if found else ""


def layers(reading: Reading) -> list[str]:
    """The tensors that a reader can pick; none before anything is drawn."""
    found = m.drawn(reading)
    return m.tensors(found[0]) if found else []


def moments(reading: Reading) -> list[int]:
    """Some of the updates after which batches were drawn: 0, the initial weights, to the last."""
    found = m.drawn(reading)
    if not found:
        return []
    steps = [0, *(int(step) for step in m.curve(found[0], "step"))]
    return sorted({*steps[:: max(1, len(steps) // 5)], steps[-1]})


def _moment(record: Record, step: int) -> int:
    return [0, *m.curve(record, "step")].index(step)


def first_gradients(reading: Reading) -> go.Figure:
    """G20's figure 3: mean |g| against batch size at the initial weights, in its layer."""
    return gradient_sizes(reading, layer_of_figure_3(reading), 0)


def gradient_sizes(reading: Reading, layer: str, step: int) -> go.Figure:
    """Mean |g| of a layer against batch size after some updates, beside G20's law and the fit.

    Raises:
        InputError: for a layer that the net lacks.
    """
    from sgdnoise.figures.theme import BLUE, INK, MUTED, figure, provenance
    from sgdnoise.figures.tuned import source

    found = m.drawn(reading)
    fig = figure(
        x="batch size n",
        x_unit="examples",
        y="mean |g| over the layer",
        y_unit=None,
        log="xy",
        y_range=_span(found, layer),
        alt=f"Mean size of the gradient of {layer} against batch size, with G20's law and the fit",
    )
    if found:
        n = np.array(m.batch_sizes(found[0]))
        rows = np.array([m.mean_sizes(r, layer)[_moment(r, step)] for r in found])
        laws = [m.size_law(r, layer, _moment(r, step)) for r in found]
        mean = rows.mean(axis=0)
        cross = 2 ** float(np.mean(np.log2([max(law.crossover, 1e-9) for law in laws])))
        fig.add_scatter(
            x=n,
            y=mean,
            error_y={"array": _std(rows), "thickness": 1.5, "width": 4},
            mode="markers",
            marker={"color": BLUE, "size": 9},
            name="measured",
        )
        fig.add_scatter(
            x=n,
            y=np.mean([law.at(n) for law in laws], axis=0),
            mode="lines",
            line={"color": BLUE},
            name=f"√(a² + b² (1/n − 1/N)), b²/a² = {_short(cross)}",
        )
        fig.add_scatter(
            x=n,
            y=mean[0] / np.sqrt(n),
            mode="lines",
            line={"color": INK, "dash": "dash"},
            name="G20's law, 1/√n",
        )
        floor = float(np.mean([law.floor for law in laws]))
        fig.add_scatter(
            x=n[[0, -1]],
            y=[floor, floor],
            mode="lines",
            line={"color": MUTED, "dash": "dot", "width": 1},
            name="the fitted signal a",
        )
        when = "at the start" if step == 0 else f"after {step:,} updates"
        fig.update_layout(
            title={
                "text": f"{layer} {when}: all {n[-1]:,} examples leave {mean[-1] / mean[0]:.0%} "
                f"of a single example's |g|, G20's law {n[-1] ** -0.5:.0%}"
            }
        )
    return provenance(fig, source(reading).and_also("Bars: standard deviations over seeds."))


def _span(found: list[Record], layer: str) -> tuple[float, float] | None:
    """One range for all moments of a slider."""
    if not found:
        return None
    seen = np.concatenate([m.mean_sizes(r, layer).ravel() for r in found])
    return float(seen.min()) / 2, float(seen.max()) * 2


def _short(value: float) -> str:
    return f"{value:,.0f}" if value < 1e5 else "more than there are"


def _std(rows: np.ndarray) -> np.ndarray:
    return rows.std(axis=0, ddof=1) if len(rows) > 1 else np.zeros(rows.shape[1])


def loss_drops(reading: Reading, step: int) -> go.Figure:
    """What a step after some updates takes off the batch's own loss and off that of all."""
    from sgdnoise.figures.theme import BLUE, INK, VERMILLION, figure, provenance
    from sgdnoise.figures.tuned import source

    found = m.drawn(reading)
    fig = figure(
        x="batch size n",
        x_unit="examples",
        y="fall of the loss in one step / ε",
        y_unit="nats",
        log="x",
        alt="Fall of the batch's own loss and of the loss of all examples against batch size",
    )
    if found:
        n = np.array(m.batch_sizes(found[0]))
        own, whole = (
            np.array([m.loss_drops(r, of)[_moment(r, step)] for r in found])
            for of in ("batch", "whole")
        )
        for rows, name, colour, dash in (
            (own, "of the batch's own loss", VERMILLION, "dash"),
            (whole, "of the loss of all examples", BLUE, "solid"),
        ):
            fig.add_scatter(
                x=n,
                y=rows.mean(axis=0),
                error_y={"array": _std(rows), "thickness": 1.5, "width": 4},
                mode="lines+markers",
                line={"color": colour, "dash": dash},
                name=name,
            )
        fig.add_scatter(
            x=n,
            y=own.mean(axis=0)[0] / n,
            mode="lines",
            line={"color": INK, "dash": "dot"},
            name="G20's law, 1/n",
        )
        when = "At the start" if step == 0 else f"After {step:,} updates"
        fig.update_layout(
            title={
                "text": f"{when} a step of one example {_moves(whole.mean(axis=0)[0])} the loss "
                "of all"
            }
        )
    return provenance(fig, source(reading))


def _moves(fall: float) -> str:
    return "lowers" if fall > 0 else "raises"


# --- Runs at each batch size --------------------------------------------------------------------


def against_size(
    reading: Reading,
    number: Callable[[Record], float],
    y: str,
    what: str,
    y_unit: str | None = None,
    power: float | None = None,
    log: bool = True,
    lacking: str = "",
) -> go.Figure:
    """A number of each run against its batch size, under both rules of the rate.

    Args:
        reading: the records.
        number: of a run.
        y: what it is called.
        what: the same in the title, which tells by how much it changes from end to end.
        y_unit: its unit.
        power: of the batch size, by G20's law; drawn through the smallest batch at the equal rate.
        log: whether its axis is logarithmic.
        lacking: what it means that a run has no such number. Where some runs have none the mean of
            the others would tell of these alone: no mark stands there, and the title says so.
    """
    from sgdnoise.figures.theme import DASHES, INK, PALETTE, SYMBOLS, figure, provenance
    from sgdnoise.figures.titles import changes
    from sgdnoise.figures.tuned import source

    every = m.sizes(reading)
    fig = figure(
        x="batch size n",
        x_unit="examples",
        y=y,
        y_unit=y_unit,
        log="xy" if log else "x",
        alt=f"{y} against batch size, under both rules of the learning rate",
    )
    ends: dict[str, tuple[float, float]] = {}
    gaps: list[str] = []
    for k, rule in enumerate(RULES):
        table = [m.over_seeds(m.runs(reading, rule, n), number) for n in every]
        finite = [row[np.isfinite(row)] for row in table]
        for at, n in enumerate(every if lacking else ()):
            # Of a run that is not there nothing is known.
            there = sum(run is not None for run in m.runs(reading, rule, n))
            if without := there - len(finite[at]):
                gaps.append(f"at n = {n:,} {lacking} in {without} of {there} seeds ({rule} rate)")
                finite[at] = finite[at][:0]
        mean = [row.mean() if len(row) else np.nan for row in finite]
        std = [row.std(ddof=1) if len(row) > 1 else 0.0 for row in finite]
        fig.add_scatter(
            x=every,
            y=mean,
            error_y={"array": std, "thickness": 1.5, "width": 4},
            mode="lines+markers",
            line={"color": PALETTE[k], "dash": DASHES[k]},
            marker={"symbol": SYMBOLS[k]},
            name=_rule(reading, rule),
        )
        if power is not None and rule == "equal" and np.isfinite(mean[0]):
            fig.add_scatter(
                x=every,
                y=mean[0] * (np.array(every) / every[0]) ** power,
                mode="lines",
                line={"color": INK, "dash": "dot", "width": 1.5},
                name=f"G20's law, slope {power:g}",
            )
        if not gaps or math.isfinite(mean[0] + mean[-1]):
            ends[f"{rule} rate"] = (float(mean[0]), float(mean[-1]))
    points = ", ".join(f"by {last - first:+.1f} points ({n})" for n, (first, last) in ends.items())
    said = (
        f"From n = {every[0]:,} to {every[-1]:,} {what} changes {changes(ends) if log else points}"
    )
    title = "; ".join([said, *gaps] if ends else gaps)
    title = title[:1].upper() + title[1:]
    from_where = source(reading).and_also("Bars: standard deviations over seeds.")
    if gaps:
        from_where = from_where.and_also(f"No mark stands where {lacking} in some seeds.")
    return provenance(fig.update_layout(title={"text": title}), from_where)


def _rule(reading: Reading, rule: str) -> str:
    first, last = (
        m.configs(reading, rule, n)[0].learning_rate
        for n in (m.sizes(reading)[0], m.sizes(reading)[-1])
    )
    rates = f"ε = {first:.2g}" if first == last else f"ε = {first:.2g} to {last:.2g}"
    return f"{rule} rate, {rates}"


def accuracies(reading: Reading) -> go.Figure:
    """G20's figure 1: test accuracy against batch size."""
    return against_size(reading, m.accuracy, "test accuracy", "accuracy", "%", log=False)


def first_steps(reading: Reading) -> go.Figure:
    """G20's figure 4: the mean step over the learning rate in the first epoch."""
    return against_size(reading, m.first_step, "mean |Δw|/ε, first epoch", "the step", power=-0.5)


def first_falls(reading: Reading) -> go.Figure:
    """G20's figure 7: the fall of the loss an update, over the learning rate, first epoch."""
    return against_size(
        reading,
        m.first_fall,
        "fall of the loss an update / ε, first epoch",
        "the fall of the loss",
        "nats",
        power=-1.0,
        lacking="the loss rises",
    )


def ways(reading: Reading) -> go.Figure:
    """G20's figure 5, its areas: the way that weights cover in all of training."""
    return against_size(reading, m.way, "way of a weight, Σ|Δw|", "the way", power=-1.5)


def fluctuations(reading: Reading) -> go.Figure:
    """How much the training loss fluctuates about its trend, against batch size."""
    return against_size(
        reading, m.fluctuation, "fluctuation of the training loss", "the fluctuation", "nats"
    )


def trained(reading: Reading) -> list[int]:
    """The batch sizes of which at least one run is recorded and did not diverge."""
    return [n for n in m.sizes(reading) if any(r for k in RULES for r in m.runs(reading, k, n))]


def training(reading: Reading, size: int) -> go.Figure:
    """G20's figures 5 and 8 at one batch size: loss at each epoch's end, every seed, both rules."""
    from sgdnoise.figures.theme import DASHES, PALETTE, figure, provenance
    from sgdnoise.figures.tuned import source

    fig = figure(
        x="epoch",
        x_unit=None,
        y="loss of the whole training set",
        y_unit="nats",
        log="y",
        y_range=_losses(reading),
        alt=f"Training loss against epochs at batch size {size}, under both rules of the rate",
    )
    said = []
    for k, rule in enumerate(RULES):
        found = m.runs(reading, rule, size)
        first = True
        for record in found:
            if record is None:
                continue
            loss = m.curve(record, "epoch_loss")
            fig.add_scatter(
                x=np.arange(len(loss)),
                y=loss,
                mode="lines",
                line={"color": PALETTE[k], "dash": DASHES[k], "width": 1.2},
                name=f"B = {size:,}, {rule} rate, ε = {record.config.learning_rate:.2g}",
                legendgroup=rule,
                showlegend=first,
            )
            first = False
        values = m.over_seeds(found, m.fluctuation)
        if np.isfinite(values).any():
            said.append(f"{np.nanmean(values):.2g} ({rule})")
    text = f"B = {size:,}: late fluctuation {', '.join(said)}" if said else f"B = {size:,}"
    fig.update_layout(title={"text": text})
    return provenance(fig, source(reading))


def _losses(reading: Reading) -> tuple[float, float]:
    seen = [
        m.curve(record, "epoch_loss")
        for rule in RULES
        for size in m.sizes(reading)
        for record in m.runs(reading, rule, size)
        if record is not None
    ]
    flat = np.concatenate(seen) if seen else np.array([])
    flat = flat[np.isfinite(flat) & (flat > 0)]
    return (float(flat.min()) / 1.5, float(flat.max()) * 1.5) if len(flat) else (0.01, 3.0)
