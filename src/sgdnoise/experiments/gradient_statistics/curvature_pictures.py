"""Figures of the curvature of layers in `gradient-statistics`: G20's figure 2 and its E28."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from sgdnoise.analysis import Reading
from sgdnoise.analysis.intervals import Estimate
from sgdnoise.experiments.gradient_statistics import measured as m
from sgdnoise.records.record import Record

if TYPE_CHECKING:
    import plotly.graph_objects as go


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
            name="radius × quartiles of |w/g|/R",
        )
        fig.add_scatter(
            x=x,
            y=radius[:, at],
            mode="lines+markers",
            line={"color": BLUE},
            name=f"{layer}, radius R",
        )
        fig.add_scatter(
            x=x,
            y=ratio[:, at],
            mode="lines+markers",
            line={"color": VERMILLION, "dash": "dash"},
            name=f"{layer}, |w/g|",
        )
        first, last = (float(ratio[k, at] / radius[k, at]) for k in (0, -1))
        # A median of |w/g| that is zero is one of weights that are.
        why = "" if first else ", as w = 0 there"
        text = f"|w/g| over the radius: {first:.2g} at the start{why}, {last:.2g} at the end"
        fig.update_layout(title={"text": text})
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
        each = [[m.last_distance(record) for record in found] for found in by_size.values()]
        mean = np.array([2 ** np.mean(of) for of in each])
        off = [2 ** np.std(of, ddof=1) if len(of) > 1 else 1.0 for of in each]
        fig.add_scatter(
            x=x,
            y=mean,
            error_y={
                "array": mean * (np.array(off) - 1),
                "arrayminus": mean * (1 - 1 / np.array(off)),
                "thickness": 1.5,
                "width": 4,
            },
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
        # Seed by seed, as in the verdict.
        first, last = (
            m.over_seeds(m.runs(reading, "equal", int(n)), m.last_distance) for n in x[[0, -1]]
        )
        change = Estimate.mean(last - first).interval
        said = f"{mean[-1] / mean[0]:.3g}"
        if math.isfinite(change.half):
            said += f" [{2**change.low:.3g}, {2**change.high:.3g}]"
        fig.update_layout(
            title={
                "text": f"From B = {x[0]:,} to {x[-1]:,} the distance changes by a factor of "
                f"{said}; G20's law has {law[-1]:.2g}"
            }
        )
    return provenance(
        fig,
        source(reading).and_also(
            f"Curvature is measured at {len(every)} of {len(m.sizes(reading))} batch sizes. Bars: "
            "standard deviations over seeds, of the logarithm."
        ),
    )
