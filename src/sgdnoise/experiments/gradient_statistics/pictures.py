"""Figures of `gradient-statistics`: G20's figures 1 to 5, 7 and 8 from records."""

from __future__ import annotations

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


def layers(reading: Reading) -> list[str]:
    """The tensors that a reader can pick; none before anything is drawn."""
    found = m.drawn(reading)
    return m.tensors(found[0]) if found else []


def moments(reading: Reading) -> list[int]:
    """Some of the updates after which batches were drawn, 0 for the initial weights."""
    found = m.drawn(reading)
    if not found:
        return []
    steps = [0, *(int(step) for step in m.curve(found[0], "step"))]
    return steps[:: max(1, len(steps) // 5)]


def _moment(record: Record, step: int) -> int:
    return [0, *m.curve(record, "step")].index(step)


def first_gradients(reading: Reading) -> go.Figure:
    """G20's figure 3: mean |g| against batch size at the first update, in its layer."""
    found = m.drawn(reading)
    return gradient_sizes(reading, m.fully_connected(found[0]) if found else "", 0)


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
        fig.add_hline(y=floor, line={"color": MUTED, "dash": "dot", "width": 1})
        when = "at the start" if step == 0 else f"after {step:,} updates"
        fig.update_layout(
            title={
                "text": f"{layer} {when}: all examples leave {mean[-1] / mean[0]:.0%}, "
                f"G20's law {n[-1] ** -0.5:.0%}"
            }
        )
    return provenance(fig, source(reading))


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
    for k, rule in enumerate(RULES):
        table = [m.over_seeds(m.runs(reading, rule, n), number) for n in every]
        finite = [row[np.isfinite(row)] for row in table]
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
        ends[f"{rule} rate"] = (float(mean[0]), float(mean[-1]))
    points = ", ".join(f"by {last - first:+.1f} points ({n})" for n, (first, last) in ends.items())
    said = changes(ends) if log else points
    title = f"From n = {every[0]:,} to {every[-1]:,} {what} changes {said}"
    return provenance(fig.update_layout(title={"text": title}), source(reading))


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


# --- Curvature of layers ------------------------------------------------------------------------


def picked(reading: Reading) -> list[str]:
    """The tensors whose curvature is measured."""
    found = m.measured_layers(reading, m.meeting(reading))
    return m.tensors(found[0]) if found else []


def radii(reading: Reading, layer: str) -> go.Figure:
    """G20's figure 2 over training: one layer's radius of curvature and |w/g|, over all others'.

    Raises:
        InputError: for a layer that the net lacks.
    """
    from sgdnoise.figures.theme import BLUE, MUTED, VERMILLION, band, figure, provenance
    from sgdnoise.figures.tuned import source

    found = m.measured_layers(reading, m.meeting(reading))
    fig = figure(
        x="epoch",
        x_unit=None,
        y="radius of curvature, median of the layer",
        y_unit="w²/nat",
        log="y",
        alt=f"Radius of curvature of {layer} and |w/g| against epochs, with the other layers",
    )
    if found:
        names = m.tensors(found[0])
        m.check_tensor(found[0], layer)
        at, x = names.index(layer), m.curve(found[0], "layer_curvature_epoch")
        radius, ratio = (_typical(found, f"layer_{q}") for q in ("radius", "ratio"))
        for k, _ in enumerate(names):
            if k != at:
                fig.add_scatter(
                    x=x,
                    y=radius[:, k],
                    mode="lines",
                    line={"color": MUTED, "width": 1, "dash": "dot"},
                    name="the other layers",
                    legendgroup="others",
                    showlegend=k == (at == 0),
                )
        low, high = (_typical(found, f"layer_error_{q}")[:, at] for q in ("low", "high"))
        band(
            fig,
            x,
            radius[:, at] * low,
            radius[:, at] * high,
            color=VERMILLION,
            name="half of the weights",
        )
        fig.add_scatter(
            x=x, y=radius[:, at], mode="lines+markers", line={"color": BLUE}, name=f"{layer}, true"
        )
        fig.add_scatter(
            x=x,
            y=ratio[:, at],
            mode="lines+markers",
            line={"color": VERMILLION, "dash": "dash"},
            name=f"{layer}, |w/g|",
        )
        fig.update_layout(
            title={
                "text": f"|w/g| over the radius: {ratio[0, at] / radius[0, at]:.2g} at the start, "
                f"{ratio[-1, at] / radius[-1, at]:.2g} at the end"
            }
        )
    return provenance(fig, source(reading))


def _typical(found: list[Record], quantity: str) -> np.ndarray:
    """Geometric mean over runs of a layers' quantity, shape (moments, tensors)."""
    with np.errstate(divide="ignore"):
        logs = np.log([m.layer_curves(record, quantity) for record in found])
    return np.asarray(np.exp(logs.mean(axis=0)))


def distances(reading: Reading) -> go.Figure:
    """The distance to the minimum at the end against batch size, beside G20's law (E28)."""
    from sgdnoise.figures.theme import BLUE, INK, MUTED, figure, provenance
    from sgdnoise.figures.tuned import source

    every = m.layer_sizes(reading)
    fig = figure(
        x="batch size B",
        x_unit="examples",
        y="distance to the minimum |g/h|, median",
        y_unit=None,
        log="xy",
        alt="Distance of the weights to their minima after training against batch size, by layer",
    )
    by_size = {n: found for n in every if (found := m.measured_layers(reading, n))}
    if by_size:
        names = m.tensors(next(iter(by_size.values()))[0])
        rows = np.array([_typical(found, "layer_distance")[-1] for found in by_size.values()])
        x = np.array(list(by_size))
        for k, name in enumerate(names):
            fig.add_scatter(
                x=x,
                y=rows[:, k],
                mode="lines",
                line={"color": MUTED, "width": 1},
                name="each tensor",
                legendgroup="tensors",
                showlegend=k == 0,
                hovertemplate=f"{name}: %{{y:.3g}}<extra></extra>",
            )
        mean = np.exp(np.log(rows).mean(axis=1))
        fig.add_scatter(
            x=x,
            y=mean,
            mode="lines+markers",
            line={"color": BLUE},
            name="their mean, of the logarithms",
        )
        law = np.sqrt(x[0] / x)
        fig.add_scatter(
            x=x,
            y=mean[0] * law,
            mode="lines",
            line={"color": INK, "dash": "dot"},
            name="G20's law, 1/√n",
        )
        fig.update_layout(
            title={
                "text": f"From B = {x[0]:,} to {x[-1]:,} the distance changes by a factor of "
                f"{mean[-1] / mean[0]:.2g}; G20's law has {law[-1]:.2g}"
            }
        )
    return provenance(fig, source(reading))
