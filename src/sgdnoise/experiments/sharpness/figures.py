"""Figures of `sharpness`: either curvature beside the bound of the rate, and runs that survive."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import plotly.graph_objects as go

from sgdnoise.analysis import Reading, key_name
from sgdnoise.experiments.sharpness.measured import (
    GUESS,
    LOST,
    QUANTITIES,
    bound,
    curve,
    is_probed,
    is_swept,
    measured,
    ratio,
    setting,
)
from sgdnoise.figures.theme import (
    DASHES,
    INK,
    MUTED,
    PALETTE,
    SYMBOLS,
    figure,
    interval_marks,
    provenance,
)
from sgdnoise.figures.tuned import source, ticks_at
from sgdnoise.study.scales import METHODS, NAMES

EFFECTIVE = "2/ε<sub>eff</sub>"
"""Plain SGD's bound at the effective rate."""


def sliders(reading: Reading, probed: bool) -> dict[str, dict[str, Any]]:
    """Sliders over the methods and batch sizes that are recorded, with all of their warm-ups.

    Args:
        reading: of the experiment.
        probed: whether those along which curvature is measured are meant, or the rates that are
            tried with warm-up and without.
    """
    at = setting(reading)

    def there(method: str, size: int, length: int) -> bool:
        if probed:
            return bool(measured(reading, method, size, length))
        one = reading.tuned("train_loss")[at.arm(method, size, length)]
        return bool(np.isfinite(one.table).any())

    shown = at.sizes if probed else at.warmed
    pairs = {
        (method, size)
        for method in at.methods
        for size in shown
        if all(there(method, size, length) for length in at.lengths(probed, size))
    }
    methods = [method for method in at.methods if any(method == m for m, _ in pairs)]
    sizes = [size for size in shown if all((m, size) in pairs for m in methods)]
    warm_up = {
        "values": at.lengths(True, at.full),
        "label": "warm-up",
        "unit": at.unit,
        "value": 0,
    }
    found: dict[str, dict[str, Any]] = {
        "method": {
            "values": methods,
            "label": "method",
            "format": NAMES.get,
            "value": next(iter(methods), None),
        },
        "size": {
            "values": sizes if methods else [],
            "label": "batch size B",
            "unit": "examples",
            "format": "{:,}".format,
            "value": at.full if probed else at.large[0],
        },
    }
    return {**found, "length": warm_up} if probed else found


def first_at_the_bound(reading: Reading) -> go.Figure:
    """`at_the_bound` of plain SGD, where there is any of it."""
    return at_the_bound(reading, setting(reading).methods[0])


def second_at_the_bound(reading: Reading) -> go.Figure | None:
    """`at_the_bound` of momentum, where it is not the first."""
    more = setting(reading).methods[1:]
    return at_the_bound(reading, more[0]) if more else None


def at_the_bound(reading: Reading, method: str) -> go.Figure:
    """Either curvature over the bound of the rate while a net learns, by batch size."""
    at = setting(reading)
    kinds = [(name, QUANTITIES[name], False) for name in QUANTITIES]
    if METHODS[method]:
        kinds.append(("batch_sharpness", f"batch sharpness, over {EFFECTIVE}", True))
    ratios = [
        [
            ratio(measured(reading, method, size), quantity, effective=effective).interval
            for size in at.sizes
        ]
        for quantity, _, effective in kinds
    ]
    ends = [2.0**one.high for found in ratios for one in found if math.isfinite(one.high)]
    fig = figure(
        x="batch size B",
        x_unit="examples",
        y="curvature / bound of the rate",
        y_unit=None,
        log="xy",
        x_range=(at.smallest / 2, 2 * at.full),
        y_range=(0.005, max(8.0, 1.5 * max(ends, default=0.0))),
        title=f"{NAMES[method]}, while the net learns, without warm-up",
        alt="Sharpness and batch sharpness over the bound 2(1 + m)/ε against batch size",
    )
    for k, (found, (_, name, _)) in enumerate(zip(ratios, kinds, strict=True)):
        interval_marks(
            fig,
            # Side by side, so that neither hides the other.
            [size * 1.12 ** (k - (len(kinds) - 1) / 2) for size in at.sizes],
            *([2.0 ** getattr(one, end) for one in found] for end in ("value", "low", "high")),
            marker={"symbol": SYMBOLS[k], "color": PALETTE[k], "size": 11},
            name=name,
        )
    fig.add_hline(y=1.0, line={"color": INK, "width": 1, "dash": "dot"})
    ticks_at(fig, at.sizes)
    return provenance(fig, source(reading.part(is_probed)))


def along(reading: Reading, method: str, size: int, length: int) -> go.Figure:
    """Either curvature along the runs of an arm, every seed, beside the bound of the rate."""
    at = setting(reading)
    records = measured(reading, method, size, length)
    # What the budget counts, so that batch sizes share an axis.
    of_update = size / at.images if at.unit == "epochs" else 1
    fig = figure(
        x=at.unit,
        x_unit=None,
        y="curvature",
        y_unit=None,
        log="xy",
        x_range=(0.8 * of_update, 1.2 * at.budget / 2),
        y_range=(0.05, 200.0),
        alt="Sharpness and batch sharpness along runs, with the bound 2(1 + m)/ε",
    )
    for k, (quantity, name) in enumerate(QUANTITIES.items()):
        for number, record in enumerate(records):
            fig.add_scatter(
                x=curve(record, "step") * of_update,
                y=curve(record, quantity),
                mode="lines+markers",
                marker={"size": 5, "color": PALETTE[k]},
                line={"width": 1.5, "color": PALETTE[k]},
                opacity=0.6,
                customdata=[record.id] * len(record.curves["step"]),
                name=name,
                legendgroup=name,
                showlegend=number == 0,
            )
    if records:
        (first, *_) = records
        step = curve(first, "step")
        ramp = np.minimum(1, step / max(first.config.warmup_steps, 1))
        lines = [(False, "bound 2(1+m)/ε" if first.config.momentum else "bound 2/ε", INK)]
        if first.config.momentum:
            lines.append((True, EFFECTIVE, MUTED))
        for effective, name, colour in lines:
            fig.add_scatter(
                x=step * of_update,
                y=bound(first, effective) / ramp,
                mode="lines",
                line={"color": colour, "dash": "dash", "width": 2},
                name=name,
            )
    how = f"with {length} {at.unit} of warm-up" if length else "without warm-up"
    text = f"{NAMES[method]}, B = {size:,}, {how}: {len(records)} runs at the tuned rate"
    fig.update_layout(title={"text": text, "font": {"color": MUTED}})
    below = sum(int((curve(record, name) <= 0).sum()) for record in records for name in QUANTITIES)
    told = source(reading.part(is_probed))
    return provenance(
        fig, told.and_also(f"{below} values at or below zero are not drawn.") if below else told
    )


def survival(reading: Reading, method: str, size: int) -> go.Figure:
    """The share of runs that do not fall apart against the rate, with warm-up and without."""
    tuned, at = reading.tuned("train_loss"), setting(reading)
    fig = figure(
        x="effective learning rate ε/(1−m)",
        x_unit=None,
        y="runs that learn",
        y_unit="%",
        log="x",
        y_range=(-4.0, 104.0),
        alt="Share of runs that learn against learning rate, with warm-up and without",
    )
    arms = ((0, "without"), (at.warm_up, f"{at.warm_up} {at.unit} of"))
    for k, (length, name) in enumerate(arms):
        one = tuned[at.arm(method, size, length)]
        there = np.isfinite(one.table).any(1)
        share = 100 * (one.table <= LOST * GUESS).mean(1)
        fig.add_scatter(
            x=2.0 ** one.exponents[there],
            y=share[there],
            mode="lines+markers",
            marker={"symbol": SYMBOLS[k], "color": PALETTE[k]},
            line={"dash": DASHES[k], "color": PALETTE[k]},
            customdata=[key_name(one.state.sweep.key)] * int(there.sum()),
            name=f"{name} warm-up",
        )
    fig.update_xaxes(dtick=math.log10(2), tickformat="~g")
    text = f"{NAMES[method]}, B = {size:,}"
    fig.update_layout(title={"text": text, "font": {"color": MUTED}})
    return provenance(fig, source(reading.part(is_swept)))
