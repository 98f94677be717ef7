"""Figures of the layer-wise rules: G20's figure 16, its sweeps, and how long the first step is."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go

from sgdnoise import analysis
from sgdnoise.analysis import Reading, Tuning
from sgdnoise.experiments.layerwise_lr.findings import first_steps, rules_in, stations
from sgdnoise.figures.tables import power_of_two, runs_outside
from sgdnoise.figures.theme import INK, MUTED, figure, provenance
from sgdnoise.figures.titles import over_first_to_last
from sgdnoise.figures.tuned import against, groups, source, ticks_at
from sgdnoise.study.grid import Key
from sgdnoise.study.scales import NAMES


def steps_away(reading: Reading) -> list[int]:
    """Factors from the tuned rate, log₂, that have a mean at some batch size for every rule.

    Rules of which nothing is recorded do not count.
    """
    measured: dict[str, set[int]] = {}
    for key, one in reading.tuned().items():
        best = one.state.tuned.get("test_accuracy")
        if best is not None:
            steps = (one.exponents - best.point[0])[np.isfinite(_means(one))]
            measured.setdefault(str(dict(key)["method"]), set()).update(map(int, steps))
    found = [steps for steps in measured.values() if steps]
    return sorted(set.intersection(*found)) if found else []


def _means(one: Tuning) -> np.ndarray:
    """The best-k mean at each rate, of the runs that are there; NaN where too few are finite."""
    cells = one.state.cells["test_accuracy"]
    return np.array([cells[p].mean if p in cells else math.nan for p in one.points])


def measured_sizes(reading: Reading) -> list[int]:
    """The batch sizes at which at least one rule has an optimum."""
    return sorted(
        {
            int(dict(key)["batch_size"])
            for key, one in reading.tuned().items()
            if one.state.tuned.get("test_accuracy") is not None
        }
    )


APART = 1.05
"""By which factor the marks of two rules at one batch size stand apart, so that all show."""


def accuracies(reading: Reading) -> go.Figure:
    """Every rule's accuracy at its tuned rate against the batch size.

    MCLR to the letter is drawn on request: its fall would leave no room for the others. The title
    is of those that are drawn.
    """
    fig = against(reading, "batch_size")
    place = {NAMES[rule]: k for k, rule in enumerate(rules_in(reading))}
    for trace in fig.data:
        k = place[trace.name.removesuffix(", fresh seeds")]
        trace.x = np.array(trace.x) * APART ** (k - (len(place) - 1) / 2)
        trace.connectgaps = True
    fig.layout.annotations[
        -1
    ].text += " Rules stand a little apart, so that all show; a line skips what is not complete."
    if "mclr-signed" not in rules_in(reading):
        return fig
    fig.layout.title = against(reading.part(_is_drawn), "batch_size").layout.title
    for trace in fig.data:
        name = trace.name or ""
        if name.endswith("fresh seeds"):
            trace.showlegend = False
        if name.startswith(NAMES["mclr-signed"]):
            trace.visible = "legendonly"
    fig.layout.annotations[-1].text += " Hollow: fresh seeds. MCLR to the letter: click its name."
    return fig


def _is_drawn(key: Key) -> bool:
    return bool(dict(key)["method"] != "mclr-signed")


def away_from_tuned(reading: Reading, step: int) -> go.Figure:
    """Every rule at a fixed factor from its tuned rate at each batch size, beside the tuned one."""
    tuned = reading.tuned()
    fig = figure(
        x="batch size B",
        x_unit="examples",
        y="test accuracy",
        y_unit="%",
        log="x",
        y_range=_frame(tuned),
        title=f"each rule at {power_of_two(step)} times its tuned rate",
        alt="Test accuracy against batch size with the rates off by a factor, by update rule",
    )
    sizes = sorted({int(dict(key)["batch_size"]) for key in tuned})
    for group in groups(tuned, "batch_size"):
        of_size = group.tunings(tuned)
        at_best, at_step = [], []
        for one in (of_size[size] for size in sizes):
            best = one.state.tuned.get("test_accuracy")
            there = one.exponents == (best.point[0] + step if best else math.nan)
            at_best.append(best.cell.mean if best else math.nan)
            at_step.append(float(_means(one)[there][0]) if there.any() else math.nan)
        fig.add_scatter(
            x=sizes,
            y=at_best,
            mode="lines",
            line={"color": group.colour, "width": 1, "dash": "dot"},
            name=f"{group.name}, tuned",
            showlegend=False,
        )
        fig.add_scatter(
            x=sizes,
            y=at_step,
            mode="lines+markers",
            marker={"symbol": group.symbol},
            line={"color": group.colour, "dash": group.dash},
            customdata=[analysis.key_name(of_size[size].state.sweep.key) for size in sizes],
            name=group.name,
        )
    fig.update_xaxes(tickvals=sizes, ticktext=[f"{size:,}" for size in sizes])
    return provenance(fig, source(reading))


def sweep_at(reading: Reading, batch_size: int) -> go.Figure:
    """The whole sweep of each rule at one batch size: every run, against rate over tuned rate."""
    tuned = reading.tuned()
    frame = _frame(tuned)
    diverged = outside = 0
    fig = figure(
        x="rate / tuned rate",
        x_unit=None,
        y="test accuracy",
        y_unit="%",
        log="x",
        y_range=frame,
        alt=f"Test accuracy of every run against its rate at batch size {batch_size}, by rule",
    )
    for group in groups(tuned, "batch_size"):
        one = group.tunings(tuned)[batch_size]
        best, seeds = one.state.tuned.get("test_accuracy"), one.table.shape[1]
        if best is None:
            continue
        x = 2.0 ** (one.exponents - best.point[0])
        diverged += int((~np.isfinite(one.table)).sum())
        outside += int(((one.table < frame[0]) | (one.table > frame[1])).sum())
        fig.add_scatter(
            x=np.repeat(x, seeds),
            y=one.table.ravel(),
            mode="markers",
            marker={"size": 5, "opacity": 0.45, "color": group.colour, "symbol": group.symbol},
            customdata=[
                one.state.sweep.config(point, seed).id
                for point in one.points
                for seed in range(seeds)
            ],
            name=f"{group.name}, runs",
            showlegend=False,
        )
        fig.add_scatter(
            x=x,
            y=_means(one),
            mode="lines",
            line={"color": group.colour, "dash": group.dash},
            name=f"{group.name}: {best.cell.mean:.4g} at {power_of_two(best.point[0])}",
        )
    fig.add_vline(x=1.0, line={"color": INK, "width": 1, "dash": "dot"})
    lost = f"{diverged} diverged or are still to run"
    text = f"B = {batch_size:,}: {runs_outside(outside)}, {lost}"
    fig.update_layout(title={"text": text, "font": {"color": MUTED}})
    return provenance(fig, source(reading))


def _frame(tuned: Mapping[Key, Tuning]) -> tuple[float, float]:
    """One range for all positions of a slider: as far below the tuned values as these spread."""
    best = [
        tuning.cell.mean
        for one in tuned.values()
        if (tuning := one.state.tuned.get("test_accuracy")) is not None
    ]
    if not best:
        return 0.0, 100.0
    spread = max(max(best) - min(best), 2.0)
    return min(best) - spread, max(best) + 0.25 * spread


def step_lengths(reading: Reading) -> go.Figure:
    """The first step's length of each rule at its tuned rate, against the batch size."""
    fig = figure(
        x="batch size B",
        x_unit="examples",
        y="length of the first update ‖Δw‖",
        y_unit=None,
        log="xy",
        alt="Length of the first update at the tuned rate against batch size, by update rule",
    )
    ticks_at(fig, stations(reading.optima()))
    for group in groups(reading.tuned(), "batch_size"):
        steps = first_steps(reading, dict(group.of)["method"])
        finite = {size: each[np.isfinite(each)] for size, each in steps.items()}
        there = {size: each for size, each in finite.items() if len(each)}
        fig.add_scatter(
            x=list(there),
            y=[float(np.median(each)) for each in there.values()],
            mode="lines+markers",
            marker={"symbol": group.symbol},
            line={"color": group.colour, "dash": group.dash},
            name=group.name,
        )
    fig.update_layout(title={"text": f"The first step changes {over_first_to_last(fig)}"})
    return provenance(fig, source(reading).and_also("Medians over seeds."))
