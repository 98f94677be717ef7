"""Figures and tables of G20's two ways to enlarge the gradient, from records."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from sgdnoise.analysis import Reading
from sgdnoise.experiments.larger_gradients.grid import FRACTIONS, LEFT_OUT
from sgdnoise.experiments.larger_gradients.measured import (
    ARMS,
    OF,
    as_part,
    first_gradients,
    fluctuations,
    fresh_accuracies,
)
from sgdnoise.figures.tables import bounded_power
from sgdnoise.figures.theme import DASHES, INK, PALETTE, SYMBOLS, figure, interval_marks, provenance
from sgdnoise.figures.tuned import source
from sgdnoise.records.record import Record
from sgdnoise.study.grid import SweepState

LENGTHS = {"free": "", "equal": ", equally long"}
"""What is said of an arm whose updates are all equally long."""


def accuracies(reading: Reading) -> go.Figure:
    """Figure 10 over batch sizes: what each arm reaches at its own tuned rate, by fresh seeds."""
    reading = reading.part(OF["discarding"])
    fig = figure(
        x="batch size B",
        x_unit="examples",
        y="test accuracy",
        y_unit="%",
        log="x",
        alt="Test accuracy against batch size with nothing, small losses or any examples left out",
    )
    sizes: set[int] = set()
    for k, arm in enumerate(("none", "loss", "random")):
        for length, said in LENGTHS.items():
            states = _states(reading, arm=arm, updates=length)
            at = [int(dict(state.sweep.key)["batch_size"]) for state in states]
            found = [reading.reached(state.sweep.key) for state in states]
            if not any(math.isfinite(one.value) for one in found):
                continue
            sizes |= set(at)
            style = {"color": PALETTE[k], "dash": "dot" if said else "solid"}
            interval_marks(
                fig,
                # Side by side, so that bars do not hide each other.
                [size * 2 ** (0.06 * (k - 1)) for size in at],
                [one.value for one in found],
                [one.interval.low for one in found],
                [one.interval.high for one in found],
                mode="lines+markers",
                line=style,
                marker={"symbol": SYMBOLS[k] + ("-open" if said else ""), "size": 9},
                name=f"{ARMS[arm]}{said}",
            )
    ticks = sorted(sizes)
    fig.update_xaxes(tickvals=ticks, ticktext=[f"{size:,}" for size in ticks])
    gains = {
        int(dict(loss.sweep.key)["batch_size"]): reading.reached(loss.sweep.key).value
        - reading.reached(none.sweep.key).value
        for loss, none in zip(
            _states(reading, arm="loss", updates="free"),
            _states(reading, arm="none", updates="free"),
            strict=True,
        )
    }
    told = [f"{gain:+.1f} points at B = {n:,}" for n, gain in gains.items() if math.isfinite(gain)]
    if told:
        text = f"Leaving out the small losses changes accuracy by {', '.join(told)}"
        fig.update_layout(title={"text": text})
    from_where = source(reading).and_also("Fresh seeds; bars: 95 % intervals.")
    if any(trace.line.dash == "dot" for trace in fig.data):
        from_where = from_where.and_also("Dotted: all updates equally long.")
    return provenance(fig, from_where)


def along_the_run(reading: Reading, left_out: float) -> go.Figure:
    """The mean |g| of each arm along the first epochs, with so much left out; medians of seeds."""
    reading = reading.part(OF["gradient"])
    fig = figure(
        x="updates",
        x_unit=None,
        y="mean |g|",
        y_unit=None,
        log="xy",
        y_range=_gradient_frame(reading),
        alt=f"Mean size of the gradient along training with {left_out:.0%} of each batch left out",
    )
    size = int(dict(reading.states[0].sweep.key)["batch_size"])
    last: dict[str, float] = {}
    for k, arm in enumerate(("none", "loss", "random")):
        (state,) = _states(reading, arm=arm, left_out=0.0 if arm == "none" else left_out)
        curves = [record.curves for record in _runs(reading, state)]
        curves = [curve for curve in curves if curve.get("gradient_abs")]
        if not curves:
            continue
        steps = min((curve["step"] for curve in curves), key=len)
        each = [curve["gradient_abs"][: len(steps)] for curve in curves]
        fig.add_scatter(
            x=steps,
            y=np.median(np.array(each, dtype=np.float64), axis=0),
            mode="lines+markers",
            line={"color": PALETTE[k], "dash": DASHES[k]},
            marker={"symbol": SYMBOLS[k]},
            name=ARMS[arm],
        )
        last[arm] = float(fig.data[-1].y[-1])
    whole = last.pop("none", 0.0)
    if whole and last:
        said = [f"{end / whole:.2f} times ({ARMS[arm]})" for arm, end in last.items()]
        at = f"B = {size:,}: at update {fig.data[0].x[-1]:,.0f}, the last logged,"
        text = f"{at} |g| is {', '.join(said)} that of all"
        fig.update_layout(title={"text": text})
    return provenance(fig, source(reading).and_also("Medians over seeds."))


def measured_fractions(reading: Reading) -> list[float]:
    """The parts left out of which a gradient is recorded."""
    reading = reading.part(OF["gradient"])
    return [
        p
        for p in FRACTIONS
        if any(
            record.curves.get("gradient_abs")
            for state in _states(reading, left_out=p)
            for record in _runs(reading, state)
        )
    ]


def _gradient_frame(reading: Reading) -> tuple[float, float] | None:
    """One range for all positions of the slider."""
    seen = [
        value
        for state in reading.states
        for record in _runs(reading, state)
        for value in record.curves.get("gradient_abs", [])
        if value
    ]
    return (min(seen) / 1.1, max(seen) * 1.1) if seen else None


def first_update(reading: Reading) -> go.Figure:
    """Figure 9: how much the mean |g| of the first update grows, against what is left out."""
    reading = reading.part(OF["gradient"])
    fig = figure(
        x="left out of the batch",
        x_unit="%",
        y="mean |g| / that of all",
        y_unit=None,
        alt="Growth of the first gradient against the part left out, by loss and at random",
    )
    percent = [100 * p for p in FRACTIONS]
    whole = first_gradients(reading, "none", 0.0)
    said = []
    for k, arm in enumerate(("loss", "random"), start=1):
        # One net and one batch a seed, so that the ratio is taken seed by seed.
        growth = [first_gradients(reading, arm, p) / whole for p in FRACTIONS]
        growth = [each[np.isfinite(each)] for each in growth]
        if not all(len(each) for each in growth):
            continue
        middle = [float(np.median(each)) for each in growth]
        interval_marks(
            fig,
            percent,
            middle,
            [float(each.min()) for each in growth],
            [float(each.max()) for each in growth],
            marker={"color": PALETTE[k], "symbol": SYMBOLS[k], "size": 9},
            name=ARMS[arm],
        )
        said.append(f"{middle[FRACTIONS.index(LEFT_OUT)]:.2f} times ({ARMS[arm]})")
    if said:
        left = f"With {100 * LEFT_OUT:g} % left out"
        text = f"{left} the first gradient is {', '.join(said)} that of all"
        fig.update_layout(title={"text": text})
    fine = np.linspace(0, FRACTIONS[-1], 91)
    fig.add_scatter(
        x=100 * fine,
        y=1 / np.sqrt(1 - fine),
        mode="lines",
        line={"color": INK, "width": 1, "dash": "dot"},
        name="1/√(1 − p): noise alone",
    )
    return provenance(fig, source(reading).and_also("Medians over seeds; bars from least to most."))


def courses(reading: Reading, exponent: float) -> go.Figure:
    """Figures 11 and 13: the loss of each epoch, a line a seed, at one rate, free updates."""
    reading = reading.part(OF["first-epoch"])
    fig = figure(
        x="epoch",
        x_unit=None,
        y="training loss of the epoch",
        y_unit="nats",
        log="y",
        y_range=_loss_frame(reading),
        alt=f"Training loss of each epoch at rate {bounded_power(exponent, 0)}, a line a seed",
    )
    said, missing = [], []
    for k, arm in enumerate(("whole", "small", "slow")):
        (state,) = _states(reading, arm=arm, updates="free")
        wanted = {state.sweep.config((exponent,), seed).id for seed in range(SHOWN)}
        curves = [reading.records[run].curves for run in sorted(wanted) if run in reading.records]
        lines = [curve["epoch_mean_loss"] for curve in curves if curve.get("epoch_mean_loss")]
        for i, loss in enumerate(lines):
            fig.add_scatter(
                x=list(range(1, len(loss) + 1)),
                y=loss,
                mode="lines",
                line={"color": PALETTE[k], "dash": DASHES[k], "width": 1},
                opacity=0.7,
                name=ARMS[arm],
                legendgroup=arm,
                showlegend=i == 0,
            )
        if lines:
            middle = float(np.median([loss[-1] for loss in lines]))
            said.append(f"{middle:.2g} ({ARMS[arm]})")
        elif exponent > (last := max(point[0] for point in state.points)):
            missing.append(f"the grid of {ARMS[arm]} ends at {bounded_power(last, 0)}")
    if said:
        text = f"{bounded_power(exponent, 0)}: the last loss is {', '.join(said)}"
        text = "; ".join([text, *missing])
        fig.update_layout(title={"text": text})
    return provenance(fig, source(reading).and_also(f"The first {SHOWN} seeds of each."))


SHOWN = 5
"""Seeds whose losses are drawn: more hide each other."""


def _loss_frame(reading: Reading) -> tuple[float, float] | None:
    seen = [
        value
        for state in _states(reading, updates="free")
        for record in _runs(reading, state)
        for value in record.curves.get("epoch_mean_loss", [])
        if value
    ]
    return (min(seen) / 1.2, max(seen) * 1.2) if seen else None


def rates_of_first_epochs(reading: Reading) -> list[float]:
    """log₂ of the rates at which runs of the part `first-epoch` are recorded, free updates."""
    reading = reading.part(OF["first-epoch"])
    (state,) = _states(reading, arm="whole", updates="free")
    runs = {
        point[0]: [state.sweep.config(point, seed).id for seed in range(SHOWN)]
        for point in state.points
    }
    return sorted(
        rate
        for rate, ids in runs.items()
        if any(
            reading.records[i].curves.get("epoch_mean_loss") for i in ids if i in reading.records
        )
    )


def first_epoch_table(reading: Reading) -> pd.DataFrame:
    """Figures 11 to 14 as a table: accuracies, their spread, and how much the loss fluctuates."""
    reading = reading.part(OF["first-epoch"])
    rows = []
    for state in reading.states:
        key = dict(state.sweep.key)
        arm, length = str(key["arm"]), str(key["updates"])
        best = state.tuned.get("test_accuracy")
        values = fresh_accuracies(reading, arm, length)
        values = values[np.isfinite(values)]
        row: dict[str, object] = {
            "First epoch": ARMS[arm] + LENGTHS[length],
            "Batch size": key["batch_size"],
            "Tuned effective rate": (
                bounded_power(best.point[0], best.bound[0]) if best else "not yet known"
            ),
            "Test accuracy (%)": f"{values.mean():.2f}" if len(values) else "not yet measured",
            "Standard deviation (points)": f"{values.std(ddof=1):.2f}" if len(values) > 1 else "",
        }
        if arm != "throughout":
            for when, found in zip(
                ("early", "late"), fluctuations(reading, arm, length), strict=True
            ):
                row[f"Fluctuation of the loss, {when}"] = as_part(found) or ""
        rows.append(row)
    return pd.DataFrame(rows).fillna("")


def _states(reading: Reading, **wanted: object) -> list[SweepState]:
    return [s for s in reading.states if wanted.items() <= dict(s.sweep.key).items()]


def _runs(reading: Reading, state: SweepState) -> Sequence[Record]:
    return [reading.records[run.id] for run in state.needed if run.id in reading.records]
