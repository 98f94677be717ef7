"""Figures and tables of the random walk: H17's figures 2a, 2b, 4 and 7, and its longer phase."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from sgdnoise.analysis import Reading
from sgdnoise.analysis.intervals import Estimate
from sgdnoise.chapters.random_walk import convex_draws
from sgdnoise.experiments.random_walk import curves, findings
from sgdnoise.experiments.random_walk.grid import DROP, ROOT, SAME, STOP
from sgdnoise.figures.tables import with_spread
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
from sgdnoise.figures.tuned import source
from sgdnoise.phrases import enumerated
from sgdnoise.study.grid import SweepState
from sgdnoise.theory import growth

RATES = {SAME: "one learning rate", ROOT: "rate ∝ √B"}
"""What the two kinds of runs are called."""


def _signs(k: int) -> tuple[str, str, str]:
    """Colour, dash and symbol of the k-th batch size; the seventh is told from the first."""
    colours = (*PALETTE, INK)
    return colours[k % len(colours)], DASHES[k % 6], SYMBOLS[(k + k // 6) % 6]


def _mean_curve(
    reading: Reading, state: SweepState, name: str
) -> tuple[np.ndarray, np.ndarray] | None:
    """Mean distance over the seeds at the steps that all their curves have."""
    runs = []
    for record in curves.finished(reading, state).values():
        steps, values = record.curves.get("step", []), record.curves.get(name, [])
        found = {t: d for t, d in zip(steps, values, strict=False) if t and d is not None}
        if found:
            runs.append(found)
    if not runs:
        return None
    common = sorted(set.intersection(*(set(one) for one in runs)))
    return np.array(common), np.array([np.mean([one[t] for one in runs]) for t in common])


def measured_rates(reading: Reading) -> list[str]:
    """The kinds of rate at which some run has a distance along its way."""
    return [
        rate
        for rate in RATES
        if any(
            _mean_curve(reading, s, "distance")
            for s in curves.constant_rate(reading, rate).values()
        )
    ]


def distances(reading: Reading, rate: str = SAME, tensor: str = "whole vector") -> go.Figure | str:
    """‖w − w₀‖ against log t at each batch size, mean over seeds, and the fitted lines."""
    fig = figure(
        x="updates t",
        x_unit=None,
        y=f"distance ‖w − w₀‖, {tensor}",
        y_unit=None,
        log="x",
        alt="Distance of the weights from their start against updates at each batch size",
    )
    slopes = {}
    for k, (size, state) in enumerate(curves.constant_rate(reading, rate).items()):
        found = _mean_curve(reading, state, curves.DISTANCES[tensor])
        if found is None:
            continue
        t, d = found
        colour, dash, symbol = _signs(k)
        fig.add_scatter(
            x=t,
            y=d,
            mode="lines+markers",
            line={"color": colour, "dash": dash, "width": 1.5},
            marker={"symbol": symbol, "size": 7, "color": colour},
            name=f"B = {size:,}, ε = {state.needed[0].learning_rate:.3g}",
        )
        keep = t >= t[-1] / curves.WINDOW
        if keep.sum() >= growth.LEAST_POINTS:
            law = growth.log_law(t[keep], d[keep])
            slopes[size] = law.parameters[1]
            fig.add_scatter(
                x=t[keep],
                y=law.fitted,
                mode="lines",
                line={"color": MUTED, "width": 1},
                showlegend=False,
                hoverinfo="skip",
            )
    if not fig.data:
        return f"*No run has the distance of its {tensor} along its curve.*"
    title = f"{RATES[rate]}: distance against log t"
    if slopes:
        least, most = min(slopes, key=slopes.__getitem__), max(slopes, key=slopes.__getitem__)
        name = RATES[rate][:1].upper() + RATES[rate][1:]
        title = (
            f"{name}: a factor of e in updates adds {slopes[least]:.2f} at "
            f"B = {least:,} and {slopes[most]:.2f} at B = {most:,}"
        )
    fig.update_layout(title={"text": title})
    return provenance(fig, source(reading).and_also("Means over seeds; thin lines: a + b log t."))


def measured_sizes(reading: Reading) -> list[int]:
    """The batch sizes at which some run at the one rate has a distance along its way."""
    return [
        size
        for size, state in curves.constant_rate(reading, SAME).items()
        if _mean_curve(reading, state, "distance")
    ]


def laws_at(reading: Reading, size: int) -> go.Figure:
    """Every seed's distances at one batch size, beside the two laws fitted to their mean.

    ΔAIC is that of the claim, and R² that of the table: means over seeds, each of its own curve.
    """
    state = curves.constant_rate(reading, SAME)[size]
    fig = figure(
        x="updates t",
        x_unit=None,
        y="distance ‖w − w₀‖",
        y_unit=None,
        log="x",
        title=f"B = {size:,}",
        alt="Distance against updates at one batch size, a line in log t and a power law",
    )
    for k, (seed, record) in enumerate(sorted(curves.finished(reading, state).items())):
        fig.add_scatter(
            x=record.curves.get("step", []),
            y=record.curves.get("distance", []),
            mode="markers",
            marker={"size": 5, "opacity": 0.5, "color": PALETTE[0]},
            name=f"runs at B = {size:,}",
            legendgroup="runs",
            showlegend=not k,
            hovertext=f"seed {seed}",
        )
    found = _mean_curve(reading, state, "distance")
    if found is not None:
        t, d = found
        keep = t >= t[-1] / curves.WINDOW
        if keep.sum() >= growth.LEAST_POINTS:
            t, d = t[keep], d[keep]
            log, power = growth.log_law(t, d), growth.power_law(t, d)
            for law, name, colour, dash in (
                (log, "a + b log t", PALETTE[1], "solid"),
                (power, f"c t^p, p = {power.parameters[1]:.2f}", PALETTE[2], "dash"),
            ):
                fig.add_scatter(
                    x=t,
                    y=law.fitted,
                    mode="lines",
                    line={"color": colour, "dash": dash},
                    name=name,
                )
            lead = findings.leads_by_size(reading)[size]
            said = curves.leading(lead.value) + ("" if curves.surely(lead) else ", not surely")
            fig.update_layout(
                title={
                    "text": f"B = {size:,}: {said}; ΔAIC {lead} over seeds "
                    f"(mean R² {' and '.join(_mean_r_squared(reading, state))})"
                }
            )
    return provenance(fig, source(reading))


def _mean_r_squared(reading: Reading, state: SweepState) -> list[str]:
    """R² of a + b log t and of c t^p, each fitted to one seed's curve, in the mean over seeds."""
    found = (
        curves.each(reading, state, lambda t, d: growth.log_law(t, d).r_squared),
        curves.each(reading, state, lambda t, d: growth.power_law(t, d).r_squared),
    )
    return [f"{np.mean(list(of.values())):.3f}" if of else "nan" for of in found]


def slopes_of(reading: Reading) -> go.Figure:
    """H17's slopes against the batch size, at one rate and at one that grows as √B."""
    fig = figure(
        x="batch size B",
        x_unit="examples",
        y="distance gained in a factor of e of updates",
        y_unit=None,
        log="x",
        alt="Slope of distance against log t by batch size at two kinds of learning rate",
    )
    for k, (rate, name) in enumerate(RATES.items()):
        by = {s: list(v.values()) for s, v in curves.slopes_by_size(reading, rate).items() if v}
        found = {size: Estimate.mean(values) for size, values in by.items()}
        colour, dash, symbol = _signs(k)
        interval_marks(
            fig,
            list(found),
            [one.value for one in found.values()],
            [one.interval.low for one in found.values()],
            [one.interval.high for one in found.values()],
            mode="lines+markers",
            line={"color": colour, "dash": dash},
            marker={"symbol": symbol, "color": colour, "size": 8},
            name=name,
        )
    spans = [
        f"from {min(trace.y):.2f} to {max(trace.y):.2f} at {trace.name}"
        for trace in fig.data
        if len(trace.y)
    ]
    fig.update_layout(title={"text": "Slopes go " + ", ".join(spans) if spans else ""})
    sizes = list(curves.constant_rate(reading, SAME))
    fig.update_xaxes(tickvals=sizes, ticktext=[f"{size:,}" for size in sizes])
    return provenance(fig, source(reading).and_also("Bars: 95% intervals over seeds."))


def table(reading: Reading) -> pd.DataFrame:
    """One row a batch size: both laws, and the distance at the end."""
    rows = []
    for size, state in curves.constant_rate(reading, SAME).items():
        runs = curves.finished(reading, state).values()
        there = [one for record in runs if (one := curves.curve(record)) is not None]

        def mean(values: list[float]) -> float:
            return float(np.mean(values)) if values else float("nan")

        ends = curves.final_distances(reading, state)
        straight, power = _mean_r_squared(reading, state)
        rows.append(
            {
                "Batch size": f"{size:,}",
                "Mean distance at the end": f"{mean(list(ends.values())):.2f}",
                "R² of a + b log t": straight,
                "R² of c t^p": power,
                "ΔAIC, lead of log t": f"{mean([growth.lead_of_log(*c) for c in there]):+.1f}",
                "Points in a fit": f"{mean([float(len(c[0])) for c in there]):.0f}",
                "Correlation of residuals with the next": (
                    f"{mean([growth.log_law(*c).autocorrelation for c in there]):+.2f}"
                ),
                "p of a + b t^p": f"{mean([growth.free_power(*c) for c in there]):+.2f}",
            }
        )
    return pd.DataFrame(rows).replace({"nan": "–", "+nan": "–"})


def by_updates(reading: Reading) -> str:
    """How far apart the batch sizes are after as many updates as the largest one has."""
    means = {
        size: found
        for size, state in curves.constant_rate(reading, SAME).items()
        if (found := _mean_curve(reading, state, "distance")) is not None
    }
    if len(means) < 2:
        return ""
    last = min(t[-1] for t, _ in means.values())
    then = {size: float(np.interp(np.log(last), np.log(t), d)) for size, (t, d) in means.items()}
    ends = {size: float(d[-1]) for size, (_, d) in means.items()}

    def span(values: dict[int, float]) -> str:
        return f"from {min(values.values()):.2f} to {max(values.values()):.2f}"

    return (
        f"After equal epochs the mean distances go {span(ends)}; after equally many updates, "
        f"{last:,.0f}, they go {span(then)}. What is left of the order then is not a matter of how "
        "many updates there were."
    )


IN_TITLE = 20
"""The number of bins whose powers the title of H17's figure 4 tells, and which is drawn at first:
the marks of more bins hide each other."""


def spread(reading: Reading) -> go.Figure | str:
    """H17's figure 4 for several numbers of bins, and the same on a convex loss."""
    draws = findings.draws(reading)
    if not draws:
        return "*No run has draws of the loss about its start.*"
    z, change = (np.concatenate(part) for part in zip(*draws, strict=True))
    powers = [findings.power(*one, IN_TITLE) for one in draws]
    convex = convex_draws()
    fig = figure(
        x="distance ‖w − w₀‖",
        x_unit=None,
        y="rms change of the loss",
        y_unit="nats",
        log="xy",
        title=(
            f"The loss's spread grows as the power {np.mean(powers):.2f} of distance, "
            f"and as {findings.power(*convex, IN_TITLE):.2f} on a convex loss"
        ),
        alt="Root mean square change of the loss against distance from the start",
    )
    for k, bins in enumerate(findings.BINS):
        x, y = findings.binned(z, change, bins)
        colour, _, symbol = _signs(k)
        fig.add_scatter(
            x=x,
            y=y,
            mode="markers",
            marker={"symbol": symbol, "color": colour, "size": 7},
            name=f"{bins} bins",
            visible=True if bins == IN_TITLE else "legendonly",
        )
    x, y = findings.binned(*convex, IN_TITLE)
    fig.add_scatter(
        x=x,
        y=y,
        mode="lines+markers",
        line={"color": INK, "width": 1, "dash": "dot"},
        marker={"symbol": "diamond", "size": 6, "color": INK},
        name=f"softmax regression, convex, {IN_TITLE} bins",
    )
    end = np.array([0.1, 10.0])
    middle = findings.binned(z, change, IN_TITLE)[1][-1]
    fig.add_scatter(
        x=end,
        y=middle * end / 10,
        mode="lines",
        line={"color": MUTED, "dash": "dash", "width": 1.5},
        name="in proportion",
    )
    others = enumerated(f"{bins}" for bins in findings.BINS if bins != IN_TITLE)
    note = (
        f"Draws of {len(draws)} starts together. Powers are those in {IN_TITLE} bins; a click on a "
        f"grey name in the legend shows {others} bins too."
    )
    return provenance(fig, source(reading).and_also(note))


def epochs_after(reading: Reading) -> float:
    """How many epochs at a tenth of the rate follow a phase, of whatever length."""
    (more,) = {
        float(state.needed[0].epochs or 0.0) - length
        for length, key in findings.phases_by_length(reading, DROP).items()
        for state in reading.states
        if state.sweep.key == key
    }
    return more


def phases(reading: Reading) -> str:
    """What the rows of the table of phases have in common, and what they differ in."""
    return (
        "Each row trains at the high rate for another length, and then for "
        f"{epochs_after(reading):g} epochs more at a tenth of it."
    )


def phase_table(reading: Reading) -> pd.DataFrame:
    """One row a length of the high-rate phase: accuracy at its end, and after the drop."""
    lengths = findings.phases_by_length(reading, STOP)
    after = findings.phases_by_length(reading, DROP)
    more = epochs_after(reading)
    recipes = {row["key"]: row for row in reading.recipes.to_dict("records")}

    def cell(key: object) -> str:
        row = recipes[key]
        return with_spread(row["test_accuracy_fresh"], row["test_accuracy_fresh_std"])

    return pd.DataFrame(
        [
            {
                "Epochs at the high rate": f"{length:g}",
                "Test accuracy at their end (%)": cell(key),
                f"After {more:g} more at a tenth (%)": cell(after[length]),
            }
            for length, key in lengths.items()
        ]
    )
