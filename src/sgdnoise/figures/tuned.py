"""Figures of the experiments: what S20 plots, from records, with the sweep behind each optimum.

Each function takes what `analysis` gives and returns a plotly figure; none reads a file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from sgdnoise import analysis
from sgdnoise.analysis import Reading, Regimes, Tuning
from sgdnoise.figures.tables import power_of_two, runs_outside
from sgdnoise.figures.theme import (
    DASHES,
    INK,
    MUTED,
    PALETTE,
    SYMBOLS,
    Source,
    figure,
    interval_marks,
    provenance,
)
from sgdnoise.figures.titles import best_of_each
from sgdnoise.study.grid import Key
from sgdnoise.study.protocol import best_of
from sgdnoise.study.scales import NAMES

_VARIANTS: dict[tuple[str, Any], str] = {
    ("norm", "ghost"): "with batch norm",
    ("norm", "batch"): "with batch norm",
    ("norm", "none"): "without batch norm",
    ("weight_decay", 0.0): "without weight decay",
    ("warmup_epochs", 0): "without warm-up",
}


@dataclass(frozen=True)
class Group:
    """The sweeps of one curve: all of a key but what the curve runs over.

    Attributes:
        of: what they share, such as (("method", "sgd"),).
        x: what the curve runs over, `batch_size` or `epochs`.
        name: in the legend.
        colour, dash, symbol: how it is drawn.
    """

    of: Key
    x: str
    name: str
    colour: str
    dash: str
    symbol: str

    def has(self, key: Key) -> bool:
        """Whether a sweep belongs to it."""
        return analysis.without(key, self.x) == self.of

    def rows(self, optima: pd.DataFrame) -> pd.DataFrame:
        """Its rows of a table of optima, in the order of x."""
        return optima[optima.key.map(self.has).astype(bool)].sort_values(self.x)

    def tunings(self, tuned: Mapping[Key, Tuning]) -> dict[float, Tuning]:
        """Its tunings, by x."""
        return {dict(key)[self.x]: one for key, one in tuned.items() if self.has(key)}


def groups(keys: Iterable[Key], x: str) -> list[Group]:
    """The curves that sweeps make over x, plain SGD's before momentum's."""
    shared = list(dict.fromkeys(analysis.without(key, x) for key in keys))
    shared.sort(key=lambda of: _place(dict(of)["method"]))
    found: list[tuple[int, Group]] = []
    methods = [dict(of)["method"] for of in shared]
    variants = [variant_name(analysis.without(of, "method")) for of in shared]
    # A method that all curves share is not told: a long name is cut on a narrow screen.
    told = len(set(methods)) > 1 or not all(variants)
    for of, method, more in zip(shared, methods, variants, strict=True):
        # SGD and momentum look the same on every page, also where only one of them is there.
        place = max(_place(method), found[-1][0] + 1 if found else 0)
        name = ", ".join(filter(None, [NAMES.get(method, method) if told else "", more]))
        # Beyond the palette's end a colour comes again, with other dashes and symbols.
        again = place + place // len(PALETTE)
        colour, dash, symbol = (
            style[at % len(style)]
            for style, at in ((PALETTE, place), (DASHES, again), (SYMBOLS, again))
        )
        found.append((place, Group(of, x, name, colour, dash, symbol)))
    return [group for _, group in found]


def _place(method: str) -> int:
    known = list(NAMES)
    return known.index(method) if method in known else len(known)


def variant_name(variant: Key) -> str:
    """What a variant of a sweep is called; empty for none."""
    return ", ".join(map(_variant, variant))


def _variant(item: tuple[str, Any]) -> str:
    name, value = item
    forms = {"train_size": "on {:,} images", "warmup_epochs": "{} epochs of warm-up"}
    form = {**forms, "steps": "{:,} updates"}.get(name, f"{name} {{}}")
    return _VARIANTS.get(item, form.format(value))


def provenance_line(reading: Reading) -> str:
    """Scale, runs, seeds, code, device and dates behind a figure, in one line."""
    study = reading.study
    # Not of all records: those of an earlier design may stand beside this reading's.
    made = [record.provenance for record in reading.runs]
    if not made:
        return f"Scale {study.scale}: no runs recorded yet."

    def all_of(name: str) -> str:
        return ", ".join(sorted({str(p.get(name, "unknown")) for p in made}))

    dates = sorted(str(p.get("date", "")) for p in made)
    needed = len({config.id for state in reading.states for config in state.needed})
    runs = f"{len(made)} runs" if len(made) == needed else f"{len(made)} of {needed} runs so far"
    seeds = _seeds_a_point(reading)
    each = " to ".join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))
    best = reading.states[0].sweep.best
    kept = "all" if best == 1 else f"best {best_of(reading.seeds, best)}"
    when = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    return (
        f"Scale {study.scale}: {runs}, {each} {'seed' if each == '1' else 'seeds'} a point, "
        f"{kept} kept; code {all_of('code')}; {all_of('device')}; {all_of('precision')}; {when}."
    )


def _seeds_a_point(reading: Reading) -> list[int]:
    """How many seeds are recorded at the grid points that have any, each number once."""
    found = set()
    for state in reading.states:
        seeds = range(min(reading.study.seeds, state.sweep.most_seeds))
        found |= {
            sum(state.sweep.config(point, seed).id in reading.records for seed in seeds)
            for point in state.points
        }
    return sorted(found - {0})


def source(reading: Reading) -> Source:
    """The provenance of a figure, and where the built book lists its runs."""
    page = run_page(*reading.study.place) if reading.records else None
    return Source(provenance_line(reading), page)


def run_page(scale: str, name: str) -> str:
    """Where the built book has the page of a store's file, from its top."""
    return f"records/{scale}/{name}.html"


AXES = {"batch_size": ("batch size B", "examples"), "epochs": ("epochs", None)}


def against(
    reading: Reading,
    x: str,
    objective: str = "test_accuracy",
    *,
    tuned_for: str = "test_accuracy",
    variant: Key | None = None,
) -> go.Figure:
    """S20's figures 1a, 1b, 2a and 2b: what tuned learning rates reach.

    Filled marks with bars are mean and standard deviation of the best k runs, as S20 has it.
    Hollow marks are all runs of seeds that the tuning never saw. These are made at the rate tuned
    for the first objective, so that a figure of what another one tunes has none.

    Args:
        reading: of an experiment over x.
        x: `batch_size` or `epochs`.
        objective: what is shown.
        tuned_for: what its learning rates are tuned for.
        variant: of which sweeps; None for all.
    """
    optima = reading.optima(tuned_for, variant)
    hollow = tuned_for == reading.objectives[0].name
    if not hollow:
        optima = optima.assign(**{f"{objective}_fresh": np.nan})
    label, unit, log = _axis(reading, objective)
    curves = {group.name: group.rows(optima) for group in groups(optima.key, x)}
    fig = figure(
        x=AXES[x][0],
        x_unit=AXES[x][1],
        y=label,
        y_unit=unit,
        log=log,
        alt=f"{label} at the tuned learning rate against {AXES[x][0]}",
        title=best_of_each(curves, x, reading.objective(objective)),
    )
    for group in groups(optima.key, x):
        rows = curves[group.name]
        fig.add_scatter(
            x=rows[x],
            y=rows[f"{objective}_mean"],
            error_y={"array": rows[f"{objective}_std"], "thickness": 1.5, "width": 4},
            mode="lines+markers",
            marker={"symbol": group.symbol, "color": group.colour},
            line={"color": group.colour, "dash": group.dash},
            customdata=rows.sweep.tolist(),
            name=group.name,
            legendgroup=group.name,
        )
        if not hollow:
            continue
        fig.add_scatter(
            x=rows[x],
            y=rows[f"{objective}_fresh"],
            error_y={"array": rows[f"{objective}_fresh_std"], "thickness": 1, "width": 0},
            mode="markers",
            marker={"symbol": f"{group.symbol}-open", "color": group.colour, "size": 10},
            customdata=rows.sweep.tolist(),
            name=f"{group.name}, fresh seeds",
            legendgroup=group.name,
        )
    ticks_at(fig, optima[x])
    bars = "Bars: standard deviations over runs."
    if not hollow:
        bars += f" Rates tuned {reading.objective(tuned_for).purpose}: no fresh seeds run at these."
    return provenance(fig, source(reading).and_also(bars))


def _axis(reading: Reading, name: str) -> tuple[str, str, Literal["x", "xy"]]:
    """Label and unit of an objective, and the log axes: both for one that falls."""
    objective = reading.objective(name)
    return objective.label, objective.unit, "x" if objective.higher_is_better else "xy"


def frame_of(reading: Reading, objective: str, variant: Key | None = None) -> tuple[float, float]:
    """One range of the value axis for all positions of a slider, set by the tuned values.

    As far below the worst tuned value as the tuned values spread (above the worst, for a loss):
    what fails altogether leaves the frame instead of flattening all else.
    """
    values = reading.optima(objective, variant)[f"{objective}_mean"]
    low, high = float(values.min()), float(values.max())
    if not reading.objective(objective).higher_is_better:
        return low / 2, high * 20
    spread = max(high - low, 0.5)
    return low - spread, high + 0.25 * spread


def sweep_at(
    reading: Reading,
    x: str,
    value: float,
    objective: str = "test_accuracy",
    variant: Key | None = None,
) -> go.Figure:
    """The whole sweep behind the optima at one batch size or epoch budget: every run.

    Small marks are single runs, the line the mean of the best k, the large mark the optimum.
    Learning rates at which too many runs diverged have no mean. The title counts the runs that
    diverged (or, in a sweep that is not complete, have not been run), and those outside of the
    frame, which is the same at all positions of a slider and holds every rate that was tried.
    """
    tuned = reading.tuned(objective, variant)
    frame = frame_of(reading, objective, variant)
    label, unit, log = _axis(reading, objective)
    purpose = reading.objective(objective).purpose
    place = f"B = {value:,}" if x == "batch_size" else f"{value:g} epochs, {purpose}"
    diverged = outside = 0
    whole = True
    tried = np.concatenate([one.exponents for one in tuned.values()])
    fig = figure(
        x="effective learning rate ε/(1−m)",
        x_unit=None,
        y=label,
        y_unit=unit,
        log=log,
        x_range=(2.0 ** (tried.min() - 0.5), 2.0 ** (tried.max() + 0.5)),
        y_range=frame,
        alt=f"{label} of every run against learning rate, {place}",
    )
    for group in groups(tuned, x):
        one = group.tunings(tuned).get(value)
        if one is None:
            continue
        sweep = one.state.sweep
        whole &= one.state.settled
        rates = 2.0**one.exponents
        diverged += int((~np.isfinite(one.table)).sum())
        outside += int(((one.table < frame[0]) | (one.table > frame[1])).sum())
        fig.add_scatter(
            x=np.repeat(rates, len(one.seeds)),
            y=one.table.ravel(),
            mode="markers",
            marker={"size": 4, "opacity": 0.45, "color": group.colour, "symbol": group.symbol},
            customdata=[sweep.config(point, s).id for point in one.points for s in one.seeds],
            name=f"{group.name}, runs",
            showlegend=False,
        )
        fig.add_scatter(
            x=rates,
            y=analysis.best_means(one.table, one.objective, sweep.best),
            mode="lines",
            line={"color": group.colour, "dash": group.dash},
            name=group.name,
        )
        best = one.state.tuned.get(objective)
        if best is not None:
            fig.add_scatter(
                x=[2.0 ** best.point[0]],
                y=[best.cell.mean],
                mode="markers",
                marker={
                    "size": 14,
                    "color": group.colour,
                    "symbol": group.symbol,
                    "line": {"width": 2, "color": INK},
                },
                customdata=[analysis.key_name(sweep.key)],
                name=f"{group.name}: {best.cell.mean:.4g} at {power_of_two(best.point[0])}",
            )
    ticks = [e for e in range(math.ceil(tried.min()), int(tried.max()) + 1) if e % 2 == 0]
    fig.update_xaxes(tickvals=[2.0**e for e in ticks], ticktext=[power_of_two(e) for e in ticks])
    lost = "diverged" if whole else "diverged or are still to run"
    text = f"{place}: {runs_outside(outside)}, {diverged} {lost}"
    fig.update_layout(title={"text": text, "font": {"color": MUTED}})
    return provenance(fig, source(reading))


def ticks_at(fig: go.Figure, values: Sequence[float] | pd.Series) -> None:
    """Ticks at the batch sizes or epochs themselves, every second one if there are many."""
    ticks = sorted({float(value) for value in values})
    ticks = ticks[:: 2 if len(ticks) > 8 else 1]
    fig.update_xaxes(tickvals=ticks, ticktext=[f"{t:,g}" for t in ticks])


def common_exponents(tuned: Mapping[Key, Tuning]) -> list[int]:
    """The learning rates, log₂, that at least two sweeps tried: what a slider can pass."""
    # Points between whole powers of two are each sweep's own.
    tried = [int(e) for one in tuned.values() for e in one.exponents if float(e).is_integer()]
    return sorted({e for e in tried if tried.count(e) > 1})


def measured_rates(reading: Reading, objective: str = "test_accuracy") -> list[int]:
    """Those of `common_exponents` at which any sweep has a mean that `frame_of` holds."""
    tuned, (low, high) = reading.tuned(objective), frame_of(reading, objective)
    found = {
        int(exponent)
        for one in tuned.values()
        for exponent, mean in zip(
            one.exponents,
            analysis.best_means(one.table, one.objective, one.state.sweep.best),
            strict=True,
        )
        if low <= mean <= high and float(exponent).is_integer()
    }
    return [exponent for exponent in common_exponents(tuned) if exponent in found]


def measured_at(
    reading: Reading, x: str, objective: str = "test_accuracy", variant: Key | None = None
) -> list[float]:
    """The values of x, `batch_size` or `epochs`, at which any run is recorded and finite."""
    tuned = reading.tuned(objective, variant)
    found = (dict(key)[x] for key, one in tuned.items() if np.isfinite(one.table).any())
    return sorted(set(found))


def rates_by_batch_size(alt: str) -> go.Figure:
    """An empty figure of tuned rates against batch sizes."""
    return figure(
        x="batch size B",
        x_unit="examples",
        y="tuned effective learning rate ε/(1−m)",
        y_unit=None,
        log="xy",
        alt=alt,
    )


RATES_NOTE = (
    "Marks: the best rate of each grid. Bars: S20's, from the least to the largest rate whose mean "
    "lies within one standard deviation of the best. Crosses: the best rate, also between the "
    "grid's points; the lines are fitted to them. An arrow: the best rate lies on an edge of its "
    "grid, a bound and no estimate."
)
"""What `learning_rates` draws; the crosses are where `analysis.locate` puts the best rate."""


def learning_rates(reading: Reading) -> go.Figure:
    """S20's figure 1c: the tuned effective learning rate against batch size; see `RATES_NOTE`."""
    optima, regimes = reading.optima(), reading.regimes
    fig = rates_by_batch_size(
        "Tuned effective learning rate against batch size, SGD and momentum, with fitted lines"
    )
    said = []
    for k, group in enumerate(groups(optima.key, "batch_size")):
        method = dict(group.of)["method"]
        rows = group.rows(optima[optima.exponent.notna()])
        # The second method's marks are larger and hollow: where both lie on one point, both show.
        symbol = f"{group.symbol}-open" if k else group.symbol
        symbols = [{1: "arrow-up", -1: "arrow-down"}.get(b, symbol) for b in rows.bound]
        interval_marks(
            fig,
            rows.batch_size,
            *(2.0 ** rows[name] for name in ("exponent", "bar_low", "bar_high")),
            marker={"symbol": symbols, "color": group.colour, "size": 9 + 4 * k},
            customdata=rows.sweep.tolist(),
            name=group.name,
        )
        fig.add_scatter(
            x=rows.batch_size,
            y=2.0**rows.peak,
            mode="markers",
            marker={"symbol": "x-thin-open", "color": group.colour, "size": 7},
            customdata=rows.sweep.tolist(),
            name=f"{group.name}, between the points",
        )
        fit = regimes[method]
        if not np.isfinite(fit.slope.value):
            continue
        sizes = np.geomspace(rows.batch_size.min(), rows.batch_size.max(), 200)
        fig.add_scatter(
            x=sizes,
            y=fit.level.value * np.minimum(sizes / fit.boundary.value, 1) ** fit.slope.value,
            mode="lines",
            line={"color": group.colour, "dash": group.dash, "width": 2},
            name=f"slope {fit.slope.value:.2f}, "
            + (f"boundary {_bend(fit)}" if fit.bends else "no flat part seen"),
        )
        end = f"B = {_bend(fit)}" if fit.bends else "the largest batch"
        if fit.slope.value > 0:
            said.append(f"up to {end} ({group.name})")
    if said:
        text = f"The line through the tuned rates rises {', '.join(said)}"
        fig.update_layout(title={"text": text})
    ticks_at(fig, optima.batch_size)
    wide = optima.exponent.max() - optima.exponent.min() > 6
    fig.update_yaxes(dtick=np.log10(4 if wide else 2), tickformat="~g")
    return provenance(fig, source(reading).and_also(RATES_NOTE))


def _bend(fit: Regimes) -> str:
    """Where the line bends, and that no bend at all would fit as well, where it does."""
    return f"{fit.boundary.value:.0f}{'' if fit.flat_seen else ' or further'}"


def at_learning_rate(
    reading: Reading, exponent: int, objective: str = "test_accuracy"
) -> go.Figure:
    """What one fixed effective learning rate reaches at every batch size, beside the tuned one."""
    tuned, frame = reading.tuned(objective), frame_of(reading, objective)
    label, unit, log = _axis(reading, objective)
    fig = figure(
        x="batch size B",
        x_unit="examples",
        y=label,
        y_unit=unit,
        log=log,
        y_range=frame,
        title=f"ε/(1−m) = {power_of_two(exponent)} at every batch size",
        alt=f"{label} against batch size at one learning rate, and at the tuned one",
    )
    sizes = sorted({int(dict(key)["batch_size"]) for key in tuned})
    for group in groups(tuned, "batch_size"):
        of_size = group.tunings(tuned)
        fixed, best = [], []
        for one in (of_size[size] for size in sizes):
            means = analysis.best_means(one.table, one.objective, one.state.sweep.best)
            at = np.flatnonzero(one.exponents == exponent)
            fixed.append(float(means[at[0]]) if len(at) else np.nan)
            optimum = one.state.tuned.get(objective)
            best.append(optimum.cell.mean if optimum else np.nan)
        anchors = [analysis.key_name(of_size[size].state.sweep.key) for size in sizes]
        fig.add_scatter(
            x=sizes,
            y=best,
            mode="lines",
            line={"color": group.colour, "width": 1, "dash": "dot"},
            name=f"{group.name}, tuned at each B",
        )
        fig.add_scatter(
            x=sizes,
            y=fixed,
            mode="lines+markers",
            marker={"symbol": group.symbol},
            line={"color": group.colour, "dash": group.dash},
            customdata=anchors,
            name=f"{group.name}, this rate",
        )
    ticks_at(fig, sizes)
    return provenance(fig, source(reading))
