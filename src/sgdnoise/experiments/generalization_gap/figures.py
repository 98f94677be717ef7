"""The figures of H17's ladder, and of what stands about it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from sgdnoise import data
from sgdnoise.analysis import Estimate, Reading
from sgdnoise.experiments.generalization_gap.grid import NOISE, RUNGS
from sgdnoise.experiments.generalization_gap.ladder import (
    RECIPES,
    at,
    half_of,
    has,
    main,
    rows,
    rung_of,
    step,
)
from sgdnoise.figures.theme import (
    DASHES,
    MUTED,
    PALETTE,
    SYMBOLS,
    figure,
    paper_value,
    provenance,
)
from sgdnoise.figures.tuned import source, ticks_at
from sgdnoise.records.record import Record
from sgdnoise.study.grid import SweepState

if TYPE_CHECKING:
    import plotly.graph_objects as go


def ladder(reading: Reading) -> go.Figure:
    """Test accuracy rung by rung: ours with the mean's 95% interval, and H17's own."""
    drawn = main(reading)
    rungs = rows(drawn)
    fig = figure(
        x="recipe",
        x_unit=None,
        y="test accuracy",
        y_unit="%",
        title=_finding(drawn),
        alt="Test accuracy of each rung of H17's ladder, ours and the paper's",
    )
    fig.add_scatter(
        x=rungs.rung,
        y=rungs.accuracy,
        error_y={"array": rungs.half, "thickness": 1.5, "width": 4},
        mode="lines+markers",
        marker={"size": 11, "color": PALETTE[0]},
        line={"color": PALETTE[0], "dash": "dot"},
        name="measured, 95 % of the mean",
    )
    if math.isfinite(rungs.accuracy[0]):
        fig.add_hline(y=rungs.accuracy[0], line={"color": MUTED, "dash": "dash", "width": 1})
    paper_value(
        fig,
        rungs.rung.tolist(),
        rungs.printed.tolist(),
        name="H17, table 1 (its own data and length)",
    )
    fig.update_xaxes(
        categoryorder="array",
        categoryarray=list(RUNGS),
        tickvals=list(RUNGS),
        ticktext=[RECIPES[rung].removeprefix("the ").replace(" (", "<br>(") for rung in RUNGS],
    )
    # The legend stands between the title and the plot.
    fig.update_layout(title={"y": 0.97, "yanchor": "top"}, margin={"t": 90})
    return provenance(fig, source(reading))


def _finding(drawn: Reading) -> str | None:
    """What the ladder shows, in numbers; None for as long as an end of it is missing."""
    large, last = step(drawn, at("LB"), at("SB")).value, step(drawn, at("+RA"), at("SB")).value
    if not (math.isfinite(large) and math.isfinite(last)):
        return None
    ends = ("SB", "LB", "+RA")
    done = all(state.settled for state in drawn.states if rung_of(state) in ends)
    said = f"Large batch: {_apart(large)} the small one; with as many updates: {_apart(last)}"
    return said if done else f"{said} (so far)"


def _apart(points: float) -> str:
    return f"{abs(points):.1f} points {'below' if points < 0 else 'above'}"


def climbed(reading: Reading) -> list[str]:
    """The rungs above SB, beside which each is drawn, of which at least one run did not diverge."""
    rungs = rows(main(reading))
    return [rung for rung in rungs.rung[rungs.seeds > rungs.diverged] if rung != "SB"]


def climb(reading: Reading, rung: str) -> go.Figure:
    """One rung's test accuracy along its training, every seed, over that of SB."""
    drawn = main(reading)
    records = drawn.records
    fig = figure(
        x="updates",
        x_unit=None,
        y="test accuracy",
        y_unit="%",
        log="x",
        y_range=_accuracies(drawn.runs),
        title=f"{RECIPES[rung]} and the small batch (SB)",
        alt=f"Test accuracy against updates on rung {rung}, beside the small batch",
    )
    for k, name in enumerate(dict.fromkeys(("SB", rung))):
        (state,) = [s for s in drawn.states if rung_of(s) == name]
        for i, config in enumerate(state.needed):
            record = records.get(config.id)
            if record is None or record.status != "done":
                continue
            x, y = _test_curve(record)
            fig.add_scatter(
                x=x,
                y=y,
                mode="lines+markers",
                line={"color": PALETTE[k], "dash": DASHES[k], "width": 1.5},
                marker={"symbol": SYMBOLS[k], "size": 6},
                name=RECIPES[name],
                legendgroup=name,
                showlegend=i == 0,
            )
    return provenance(fig, source(reading))


def _test_curve(record: Record) -> tuple[list[float], list[float]]:
    """Updates and test accuracy along a run, its end included."""
    steps = [float(step or 0) for step in record.curves.get("test_step", [])]
    values = [float(v or 0) for v in record.curves.get("test_accuracy", [])][: len(steps)]
    last = record.config.total_steps(data.images_of(record.config))
    return [*steps, float(last)], [*values, float(record.metrics["test_accuracy"] or 0.0)]


def _accuracies(runs: Sequence[Record]) -> tuple[float, float]:
    seen = [v for r in runs if r.status == "done" for v in _test_curve(r)[1]]
    return (min(seen) - 2, max(seen) + 2) if seen else (0.0, 100.0)


UNTOLD = "Not all of these runs have been made yet"


def by_batch_size(reading: Reading) -> go.Figure | str:
    """H17's figures 1, 3 and 5: the small batch's recipe, and +RA, against the batch size.

    Empty where the scale has no such runs.
    """
    if not has(reading, at("LB", batch_size=half_of(reading))):
        return ""
    fig = figure(
        x="batch size B",
        x_unit="examples",
        y="test error",
        y_unit="%",
        log="x",
        alt="Test error against the batch size, with one recipe and with as many updates",
    )
    drawn = {
        "one recipe, equal epochs (H17's figure 1)": ("SB", "LB"),
        "equal updates, +RA (H17's figure 3)": ("+RA",),
    }
    said = []
    for k, (name, rungs) in enumerate(drawn.items()):
        states = [s for s in reading.states if rung_of(s) in rungs]
        states = [s for s in states if {part for part, _ in s.sweep.key} <= {"rung", "batch_size"}]
        states.sort(key=lambda s: s.needed[0].batch_size)
        sizes = [s.needed[0].batch_size for s in states]
        reached = [reading.reached(s.sweep.key) for s in states]
        fig.add_scatter(
            x=sizes,
            y=[100 - one.value for one in reached],
            error_y={"array": [one.interval.half for one in reached], "thickness": 1.5, "width": 4},
            mode="lines+markers",
            line={"color": PALETTE[k], "dash": DASHES[k]},
            marker={"symbol": SYMBOLS[k], "size": 9},
            name=name,
        )
        if k == 0:
            ticks_at(fig, sizes)
        if len(sizes) > 1 and all(math.isfinite(reached[at].value) for at in (0, -1)):
            rise = reached[0].value - reached[-1].value
            equal = "equal updates" if "+RA" in rungs else "equal epochs"
            said.append(f"{rise:+.2f} points from B = {sizes[0]:,} to {sizes[-1]:,} at {equal}")
    text = f"The error changes by {'; '.join(said)}" if said else UNTOLD
    fig.update_layout(title={"text": text})
    return provenance(fig, source(reading))


def noise_and_rate(reading: Reading) -> go.Figure | str:
    """H17's figure 6: at half the large batch, noise on the losses beside a larger rate.

    Empty where the scale has no such runs.
    """
    half = half_of(reading)
    keys = {
        "neither": at("LB", batch_size=half),
        "the larger rate (+LR)": at("+LR", batch_size=half),
        "noise": at(NOISE, batch_size=half),
    }
    if not has(reading, *keys.values()):
        return ""
    fig = figure(
        x="updates",
        x_unit=None,
        y="test accuracy",
        y_unit="%",
        alt=f"Test accuracy along training at B = {half:,}: noise, a larger rate, and neither",
    )
    ends = []
    for k, (name, key) in enumerate(keys.items()):
        (state,) = [s for s in reading.states if s.sweep.key == key]
        x, means = _mean_curve(state, reading.records)
        fig.add_scatter(
            x=x,
            y=[one.value for one in means],
            error_y={"array": [one.interval.half for one in means], "thickness": 1.5, "width": 4},
            mode="lines+markers",
            line={"color": PALETTE[k], "dash": DASHES[k]},
            marker={"symbol": SYMBOLS[k], "size": 8},
            name=f"{name}, B = {half:,}",
        )
        if means:
            ends.append(f"{name} {means[-1].value:.1f} %")
    fig.update_layout(title={"text": f"At the end: {', '.join(ends)}" if ends else UNTOLD})
    return provenance(fig, source(reading))


def _mean_curve(
    state: SweepState, records: Mapping[str, Record]
) -> tuple[list[float], list[Estimate]]:
    """Updates, and the mean over a sweep's finished runs of the test accuracy there."""
    runs = [records[c.id] for c in state.needed if c.id in records]
    curves = [_test_curve(run) for run in runs if run.status == "done"]
    if not curves:
        return [], []
    x = curves[0][0]
    values = np.array([y for steps, y in curves if steps == x])
    return x, [Estimate.mean(column) for column in values.T]


def distances(reading: Reading) -> go.Figure:
    """H17's figure 2: ‖w − w₀‖ against the logarithm of the step, one run of each rung."""
    drawn = main(reading)
    records = drawn.records
    fig = figure(
        x="updates",
        x_unit=None,
        y="distance from the start ‖w − w₀‖",
        y_unit=None,
        log="x",
        alt="Distance of the weights from their start against updates, one run of each rung",
    )
    ends = []
    for k, state in enumerate(drawn.states):
        done = [c for c in state.needed if c.id in records and records[c.id].curves]
        if not done:
            continue
        curves = records[done[0].id].curves
        fig.add_scatter(
            x=curves["step"],
            y=curves["distance"],
            mode="lines+markers",
            line={"color": PALETTE[k], "dash": DASHES[k]},
            marker={"symbol": SYMBOLS[k], "size": 6},
            name=RECIPES[rung_of(state)],
        )
        ends.append(f"{rung_of(state)} {curves['distance'][-1]:.3g}")
    text = f"Distance at the end: {', '.join(ends)}" if ends else UNTOLD
    fig.update_layout(title={"text": text})
    return provenance(fig, source(reading).and_also("A straight line is growth with log t."))
