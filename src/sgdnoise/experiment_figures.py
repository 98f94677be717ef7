"""Figures of the experiments: what S20 plots, from records, with the sweep behind each optimum.

Each function takes what `analysis` gives and returns a plotly figure; none reads a file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from IPython.display import HTML

from sgdnoise import analysis
from sgdnoise.analysis import Interval, Regimes, Tuning
from sgdnoise.experiments import METHODS, Experiment, Key, SweepState
from sgdnoise.figures import (
    DASHES,
    INK,
    MUTED,
    PALETTE,
    SYMBOLS,
    Source,
    band,
    figure,
    interval_marks,
    provenance,
)
from sgdnoise.paper import printed, table
from sgdnoise.protocol import best_of
from sgdnoise.records import Record

NAMES = {
    "sgd": "SGD",
    "momentum": "SGD with momentum 0.9",
    "lars": "LARS",
    "percent-delta": "PercentDelta",
    "mclr": "MCLR",
}
MAIN_PARTS = ("method", "batch_size", "epochs")
"""The parts of a sweep's key that are not a variant of it."""

_VARIANTS: dict[tuple[str, Any], str] = {
    ("norm", "ghost"): "with batch norm",
    ("norm", "batch"): "with batch norm",
    ("norm", "none"): "without batch norm",
    ("weight_decay", 0.0): "without weight decay",
}
PURPOSES = {"test_accuracy": "for test accuracy", "train_loss": "for training loss"}
LABELS = {"test_accuracy": ("test accuracy", "%"), "train_loss": ("final training loss", "nats")}


def power_of_two(exponent: float) -> str:
    """A power of two as text: 2⁻³."""
    digits = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
    return "2" + f"{exponent:g}".translate(digits)


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
    shared.sort(key=lambda of: list(NAMES).index(dict(of)["method"]))
    found: list[tuple[int, Group]] = []
    for of in shared:
        method = dict(of)["method"]
        # SGD and momentum look the same on every page, also where only one of them is there.
        place = max(list(NAMES).index(method), found[-1][0] + 1 if found else 0)
        more = variant_name(analysis.without(of, "method"))
        name = f"{NAMES[method]}, {more}" if more else NAMES[method]
        colour = PALETTE[place % len(PALETTE)]
        found.append((place, Group(of, x, name, colour, DASHES[place], SYMBOLS[place])))
    return [group for _, group in found]


def variant_name(variant: Key) -> str:
    """What a variant of a sweep is called; empty for none."""
    return ", ".join(_VARIANTS[item] for item in variant)


def provenance_line(
    experiment: Experiment, scale: str, seeds: int, records: Mapping[str, Record]
) -> str:
    """Scale, runs, seeds, code, device and dates behind a figure, in one line."""
    if not records:
        return f"Scale {scale}: no runs recorded yet."
    made = [record.provenance for record in records.values()]

    def all_of(name: str) -> str:
        return ", ".join(sorted({str(p.get(name, "unknown")) for p in made}))

    dates = sorted(str(p.get("date", "")) for p in made)
    kept = best_of(seeds, experiment.sweeps[scale]()[0].best)
    when = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    return (
        f"Scale {scale}: {len(records)} runs, {seeds} seeds a point, best {kept} kept; "
        f"code {all_of('code')}; {all_of('device')}; {all_of('precision')}; {when}."
    )


AXES = {"batch_size": ("batch size B", "examples"), "epochs": ("epochs", None)}


def against(optima: pd.DataFrame, x: str, objective: str, note: Source) -> go.Figure:
    """S20's figures 1a, 1b, 2a and 2b: what tuned learning rates reach.

    Filled marks with bars are mean and standard deviation of the best k runs, as S20 has it.
    Hollow marks are all runs of seeds that the tuning never saw.

    Args:
        optima: of an experiment over x, tuned for test accuracy or for `objective`.
        x: `batch_size` or `epochs`.
        objective: what is shown.
        note: provenance.
    """
    label, unit = LABELS[objective]
    fig = figure(
        x=AXES[x][0],
        x_unit=AXES[x][1],
        y=label,
        y_unit=unit,
        log="xy" if objective == "train_loss" else "x",
        alt=f"{label} at the tuned learning rate against {AXES[x][0]}",
    )
    for group in groups(optima.key, x):
        rows = group.rows(optima)
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
    _ticks(fig, optima[x])
    return provenance(fig, note)


def learning_rates(optima: pd.DataFrame, regimes: Mapping[str, Regimes], note: Source) -> go.Figure:
    """S20's figure 1c: the tuned effective learning rate against batch size.

    Bars are S20's (every learning rate within one standard deviation of the best mean); lines are
    the fitted hinge; an arrow marks an optimum on the edge of its grid, a bound and no estimate.
    """
    fig = figure(
        x="batch size B",
        x_unit="examples",
        y="tuned effective learning rate ε/(1−m)",
        y_unit=None,
        log="xy",
        alt="Tuned effective learning rate against batch size, SGD and momentum, with fitted lines",
    )
    for group in groups(optima.key, "batch_size"):
        method = dict(group.of)["method"]
        rows = group.rows(optima[optima.exponent.notna()])
        symbols = [{1: "arrow-up", -1: "arrow-down"}.get(b, group.symbol) for b in rows.bound]
        interval_marks(
            fig,
            rows.batch_size,
            *(2.0 ** rows[name] for name in ("exponent", "bar_low", "bar_high")),
            marker={"symbol": symbols, "color": group.colour, "size": 10},
            customdata=rows.sweep.tolist(),
            name=group.name,
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
            + (f"boundary {fit.boundary.value:.0f}" if fit.flat_seen else "no flat part seen"),
        )
    _ticks(fig, optima.batch_size)
    wide = optima.exponent.max() - optima.exponent.min() > 6
    fig.update_yaxes(dtick=np.log10(4 if wide else 2), tickformat="~g")
    return provenance(fig, note)


def accuracy_frame(optima: pd.DataFrame, objective: str) -> tuple[float, float]:
    """One range of the value axis for all positions of a slider, set by the tuned values.

    As far below the worst tuned value as the tuned values spread (above the worst, for a loss):
    what fails altogether leaves the frame instead of flattening all else.
    """
    values = optima[f"{objective}_mean"]
    low, high = float(values.min()), float(values.max())
    if objective == "train_loss":
        return low / 2, high * 20
    spread = max(high - low, 0.5)
    return low - spread, high + 0.25 * spread


def sweep_at(
    tuned: Mapping[Key, Tuning],
    x: str,
    value: float,
    objective: str,
    frame: tuple[float, float],
    note: Source,
) -> go.Figure:
    """The whole sweep behind the optima at one batch size or epoch budget: every run.

    Small marks are single runs, the line the mean of the best k, the large mark the optimum.
    Learning rates at which too many runs diverged have no mean. The title counts the runs that
    diverged (or, in a sweep that is not complete, have not been run), and those outside of `frame`.
    """
    label, unit = LABELS[objective]
    place = f"B = {value:,}" if x == "batch_size" else f"{value:g} epochs, {PURPOSES[objective]}"
    diverged = outside = 0
    whole = True
    tried = common_exponents(tuned)
    fig = figure(
        x="effective learning rate ε/(1−m)",
        x_unit=None,
        y=label,
        y_unit=unit,
        log="xy" if objective == "train_loss" else "x",
        x_range=(2.0 ** (tried[0] - 0.5), 2.0 ** (tried[-1] + 0.5)),
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
            y=analysis.best_means(one.table, objective, sweep.best),
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
    ticks = [e for e in tried if e % 2 == 0]
    fig.update_xaxes(tickvals=[2.0**e for e in ticks], ticktext=[power_of_two(e) for e in ticks])
    lost = "diverged" if whole else "diverged or are still to run"
    text = f"{place}: {outside} runs lie outside of this frame, {diverged} {lost}"
    fig.update_layout(title={"text": text, "font": {"color": MUTED}})
    return provenance(fig, note)


def at_learning_rate(
    tuned: Mapping[Key, Tuning],
    exponent: int,
    objective: str,
    frame: tuple[float, float],
    note: Source,
) -> go.Figure:
    """What one fixed effective learning rate reaches at every batch size, beside the tuned one."""
    label, unit = LABELS[objective]
    fig = figure(
        x="batch size B",
        x_unit="examples",
        y=label,
        y_unit=unit,
        log="xy" if objective == "train_loss" else "x",
        y_range=frame,
        title=f"ε/(1−m) = {power_of_two(exponent)} at every batch size",
        alt=f"{label} against batch size at one learning rate, and at the tuned one",
    )
    sizes = sorted({int(dict(key)["batch_size"]) for key in tuned})
    for group in groups(tuned, "batch_size"):
        of_size = group.tunings(tuned)
        fixed, best = [], []
        for one in (of_size[size] for size in sizes):
            means = analysis.best_means(one.table, objective, one.state.sweep.best)
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
    _ticks(fig, sizes)
    return provenance(fig, note)


def boundary_table(regimes: Mapping[str, Regimes]) -> pd.DataFrame:
    """Slope and boundary of each method with their intervals, beside S20's statements."""
    rows = []
    for method, fit in regimes.items():
        rows.append(
            {
                "method": NAMES[method],
                "slope below the boundary": str(fit.slope),
                "slope, S20": f"{printed('S20-F1.slope').value:g}",
                "boundary batch size": str(fit.boundary) if fit.flat_seen else "no flat part seen",
                "boundary, S20 (its own net)": printed("S20-F1.boundary").value,
                "learning rate beyond it": str(fit.level),
            }
        )
    return pd.DataFrame(rows)


def _ticks(fig: go.Figure, values: Sequence[float] | pd.Series) -> None:
    """Ticks at the batch sizes or epochs themselves, every second one if there are many."""
    ticks = sorted({float(value) for value in values})
    ticks = ticks[:: 2 if len(ticks) > 8 else 1]
    fig.update_xaxes(tickvals=ticks, ticktext=[f"{t:,g}" for t in ticks])


def coverage_sentence(experiment: Experiment, scale: str, seeds: int, optima: pd.DataFrame) -> str:
    """Which scale this is, what it leaves out, and how much of it has been run; Markdown."""
    lines = [f"**Scale `{scale}`.** {experiment.leaves_out[scale]}"]
    least = int(optima.seeds.min()) if len(optima) else 0
    if least < seeds:
        lines.append(f"So far **{least} of {seeds} seeds** have been run at every grid point.")
    elif seeds < experiment.seeds[scale]:
        lines.append(f"Shown are **{seeds} of {experiment.seeds[scale]} seeds**.")
    waiting = int((~optima.settled).sum())
    if waiting:
        lines.append(
            f"{waiting} of {len(optima)} sweeps are not complete, and what they show is "
            f"provisional; `sgdnoise reproduce {experiment.name} --scale {scale}` finishes them."
        )
    return "\n".join(lines)


def common_exponents(tuned: Mapping[Key, Tuning]) -> list[int]:
    """The learning rates, log₂, that at least two sweeps tried: what a slider can pass."""
    tried = [int(e) for one in tuned.values() for e in one.exponents]
    return sorted({e for e in tried if tried.count(e) > 1})


def measured_rates(tuned: Mapping[Key, Tuning], objective: str) -> list[int]:
    """Those of `common_exponents` at which any sweep has a mean."""
    found = {
        int(exponent)
        for one in tuned.values()
        for exponent, mean in zip(
            one.exponents,
            analysis.best_means(one.table, objective, one.state.sweep.best),
            strict=True,
        )
        if np.isfinite(mean)
    }
    return [exponent for exponent in common_exponents(tuned) if exponent in found]


def measured_at(tuned: Mapping[Key, Tuning], x: str) -> list[float]:
    """The values of x, `batch_size` or `epochs`, at which any run is recorded and finite."""
    found = (dict(key)[x] for key, one in tuned.items() if np.isfinite(one.table).any())
    return sorted(set(found))


def constant_epoch_verdicts(optima: pd.DataFrame, regimes: Mapping[str, Regimes]) -> str:
    """What of S20's figure 1 these records show and what not, from the numbers; Markdown."""
    lines = []
    sgd, momentum = regimes["sgd"], regimes["momentum"]
    for method, fit in regimes.items():
        one = fit.slope
        if one.low <= 1 <= one.high:
            verdict = "the interval holds 1."
        elif abs(one.value - 1) <= 0.2:
            verdict = "near 1, but the interval excludes it."
        else:
            pace = "more slowly" if one.value < 1 else "faster"
            verdict = f"it grows {pace} than the batch size."
        lines.append(f"- **Linear scaling, {NAMES[method]}**: the slope is {one}; {verdict}")
    if sgd.flat_seen and momentum.boundary.low > sgd.boundary.high:
        lines.append(
            f"- **Momentum scales further**: its learning rate stops growing at B ≈ "
            f"{momentum.boundary.value:.0f}, plain SGD's at {sgd.boundary.value:.0f}, "
            "and the intervals do not touch."
        )
    else:
        lines.append(
            "- **Momentum scales further**: the intervals of the two boundaries overlap, or one "
            "was not seen; this was not shown."
        )
    wide = optima.pivot(index="batch_size", columns="method")
    gap = wide["test_accuracy_fresh"]["momentum"] - wide["test_accuracy_fresh"]["sgd"]
    error = np.sqrt(
        sum(wide["test_accuracy_fresh_std"][m] ** 2 / wide["fresh_seeds"][m] for m in METHODS)
    )
    below = gap.index <= sgd.boundary.low
    alike = (gap.abs() <= 2 * error)[below]
    ahead = (gap > 2 * error)[gap.index >= 4 * sgd.boundary.value]
    lines.append(
        "- **Below the boundary the methods agree**: within two standard errors "
        + _at_how_many(alike)
    )
    lines.append(
        "- **At four times the boundary and beyond, momentum is ahead**: by more than two standard "
        "errors " + _at_how_many(ahead)
    )
    small = wide["test_accuracy_fresh"]["sgd"][below]
    if len(small) > 1:
        lines.append(
            f"- **Below the boundary accuracy does not depend on B**: plain SGD's lies between "
            f"{small.min():.2f} and {small.max():.2f} %, and at the largest batch it is "
            f"{wide['test_accuracy_fresh']['sgd'].iloc[-1]:.2f} %."
        )
    return "\n".join(lines)


def _at_how_many(holds: pd.Series) -> str:
    if not len(holds):
        return "cannot be said: no batch size that was tried lies there."
    return f"at {int(holds.sum())} of {len(holds)} batch sizes."


def _error(values: np.ndarray) -> float:
    """Standard error of the mean."""
    return float(np.std(values, ddof=1)) / math.sqrt(len(values))


def noise_dominated_sentence(tuned: Mapping[Key, Tuning]) -> str:
    """Whether the smallest batch is in the noise-dominated regime, and how that was seen; Markdown.

    There the temperature ε/B alone decides. So the two smallest batch sizes are compared at equal
    temperature: at the smaller one's best learning rate, over all seeds, and at the ones below.
    """
    lines = []
    for group in groups(tuned, "batch_size"):
        mine = group.tunings(tuned)
        small, large = sorted(mine)[:2]
        shift = np.log2(large / small)
        first, second = mine[small], mine[large]
        best = first.state.tuned.get("test_accuracy")
        if best is None:
            continue
        differences, at_best = [], None
        for row, exponent in enumerate(first.exponents):
            twin = np.flatnonzero(second.exponents == exponent + shift)
            if not len(twin):
                continue
            a, b = (t[np.isfinite(t)] for t in (first.table[row], second.table[twin[0]]))
            if min(len(a), len(b)) < 2:
                continue
            gap = float(b.mean() - a.mean())
            error = math.hypot(_error(a), _error(b))
            if exponent <= best.point[0]:
                differences.append(abs(gap))
            if exponent == best.point[0]:
                at_best = (gap, error)
        if at_best is None:
            lines.append(
                f"- {group.name}: B = {small:,} and {large:,} share no learning rate at equal "
                f"temperature with the best of B = {small:,}; not checked."
            )
            continue
        gap, error = at_best
        lines.append(
            f"- {group.name}: at the temperature that is best at B = {small:,}, the accuracy at "
            f"B = {large:,} is {gap:+.2f} ± {error:.2f} points away (all seeds, standard error): "
            + ("no difference shows." if abs(gap) <= 2 * error else "they differ.")
            + f" Over the {len(differences)} shared temperatures up to that one, the largest "
            f"distance is {max(differences):.2f} points."
        )
    return "\n".join(lines)


def method_gaps(tuned: Mapping[Key, Tuning]) -> pd.DataFrame:
    """Momentum's test accuracy less plain SGD's at equal effective learning rate, by batch size.

    Columns: `batch_size`, `rates` (the shared learning rates up to plain SGD's best), `gap` (mean
    over them, in points) and `error` (standard error, of all seeds there are).
    """
    rows = []
    for group in groups(tuned, "batch_size"):
        if group.of != (("method", "sgd"),):
            continue
        for size, plain in group.tunings(tuned).items():
            heavy = tuned.get((("method", "momentum"), ("batch_size", size)))
            best = plain.state.tuned.get("test_accuracy")
            if heavy is None or best is None:
                continue
            pairs = [
                (plain.table[row], heavy.table[twin[0]])
                for row, exponent in enumerate(plain.exponents)
                if exponent <= best.point[0]
                and len(twin := np.flatnonzero(heavy.exponents == exponent))
            ]
            whole = [pair for pair in pairs if np.isfinite(pair).all() and len(pair[0]) > 1]
            if whole:
                gaps = [b.mean() - a.mean() for a, b in whole]
                error = math.hypot(*(_error(values) for pair in whole for values in pair)) / len(
                    whole
                )
                rows.append((size, len(whole), float(np.mean(gaps)), error))
    return pd.DataFrame(rows, columns=["batch_size", "rates", "gap", "error"])


def momentum_sentence(tuned: Mapping[Key, Tuning]) -> str:
    """Whether momentum changes anything at the smallest batch, and from which on; Markdown."""
    gaps = method_gaps(tuned).sort_values("batch_size")
    if gaps.empty:
        return ""
    first = gaps.iloc[0]
    same = abs(first.gap) <= 2 * first.error
    # Many batch sizes are looked at, and one in twenty would differ by two errors by chance.
    differing = gaps[gaps.gap.abs() > 3 * gaps.error]
    text = (
        f"- At B = {first.batch_size:,.0f}, momentum is {first.gap:+.2f} ± {first.error:.2f} "
        f"points away from plain SGD at equal effective learning rate (mean over {first.rates:.0f} "
        "rates up to plain SGD's best, standard error): "
        + ("no difference shows, as where noise alone decides." if same else "they differ.")
    )
    if same and len(differing):
        other = differing.iloc[0]
        text += (
            f" The first batch size at which they differ by more than three standard errors is "
            f"{other.batch_size:,.0f}: {other.gap:+.2f} ± {other.error:.2f} points."
        )
    return text


def sources_sentence(experiment: Experiment, scale: str, root: Path) -> str:
    """Where the records behind a page are, and the command that makes them; Markdown."""
    return (
        f"The records behind this page are the lines of `{root.name}/{scale}/"
        f"{experiment.name}.jsonl`, one a run, and "
        f"`sgdnoise reproduce {experiment.name} --scale {scale}` makes what is missing of them."
    )


def side_by_side(
    experiment: Experiment,
    scale: str,
    seeds: int,
    mine: Mapping[str, Record],
    committed: Mapping[str, Record],
) -> go.Figure:
    """Tuned learning rates of two stores: the committed as bands, mine as marks."""
    fig = figure(
        x="batch size B",
        x_unit="examples",
        y="tuned effective learning rate ε/(1−m)",
        y_unit=None,
        log="xy",
        alt="Tuned effective learning rates trained on this machine over the committed intervals",
    )
    theirs = analysis.optima(experiment, scale, seeds, committed)
    for group in groups(theirs.key, "batch_size"):
        rows = group.rows(theirs)
        band(
            fig,
            rows.batch_size.to_numpy(),
            2.0 ** rows.peak_low.to_numpy(),
            2.0 ** rows.peak_high.to_numpy(),
            color=group.colour,
            name=f"{group.name}, committed (95 %)",
        )
    if mine:
        ours = analysis.optima(experiment, scale, seeds, mine)
        for group in groups(ours.key, "batch_size"):
            rows = group.rows(ours)
            interval_marks(
                fig,
                rows.batch_size,
                *(2.0 ** rows[name] for name in ("peak", "peak_low", "peak_high")),
                marker={"symbol": group.symbol, "color": group.colour, "size": 9},
                name=f"{group.name}, this machine",
            )
    _ticks(fig, theirs.batch_size)
    note = f"Committed: {provenance_line(experiment, scale, seeds, committed)}"
    return provenance(fig, f"{note} Mine: {provenance_line(experiment, scale, seeds, mine)}")


def step_budget_table(optima: pd.DataFrame) -> pd.DataFrame:
    """Our rows in the form of S20's table 1."""
    rows = optima.sort_values("batch_size")
    return pd.DataFrame(
        {
            "Batch size": rows.batch_size,
            "Optimal test accuracy (%)": [
                _with_spread(m, s)
                for m, s in zip(rows.test_accuracy_mean, rows.test_accuracy_std, strict=True)
            ],
            "Fresh seeds (%)": [
                _with_spread(m, s)
                for m, s in zip(rows.test_accuracy_fresh, rows.test_accuracy_fresh_std, strict=True)
            ],
            "Final training loss": [f"{m:.3g}" for m in rows.train_loss_mean],
            "Optimal effective learning rate": [
                _exponent_with_bar(e, low, high, bound)
                for e, low, high, bound in zip(
                    rows.exponent, rows.bar_low, rows.bar_high, rows.bound, strict=True
                )
            ],
        }
    )


def printed_step_budget_table() -> pd.DataFrame:
    """S20's table 1 in the same form."""
    rows = table("S20-T1")
    return pd.DataFrame(
        {
            "Batch size": rows.batch_size,
            "Optimal test accuracy (%)": [
                f"{m:.1f} ± {s:.1f}"
                for m, s in zip(rows.test_accuracy, rows.test_accuracy_std, strict=True)
            ],
            "Final training loss": [f"{m:.3f}" for m in rows.train_loss],
            "Optimal effective learning rate": [
                _exponent_with_bar(e, low, high, 0)
                for e, low, high in zip(rows.exponent, rows.bar_low, rows.bar_high, strict=True)
            ],
        }
    )


def _with_spread(mean: float, std: float) -> str:
    if not np.isfinite(mean):
        return "–"
    return f"{mean:.2f} ± {std:.2f}" if np.isfinite(std) else f"{mean:.2f} (one seed)"


def _exponent_with_bar(exponent: float, low: float, high: float, bound: float) -> str:
    if not np.isfinite(exponent):
        return "all diverged"
    return f"{bounded_power(exponent, bound)} ({power_of_two(low)} to {power_of_two(high)})"


def bounded_power(exponent: float, bound: float) -> str:
    """A power of two that an optimum still on its grid's edge (`bound` ±1) only bounds."""
    return power_of_two(exponent) + {1: " or more", -1: " or less"}.get(int(bound), "")


def step_budget_verdicts(optima: pd.DataFrame, slope: Interval) -> str:
    """What of S20's table 1 these records show and what not, from the numbers; Markdown."""
    rows = optima.sort_values("batch_size").reset_index(drop=True)
    fresh, spread = rows.test_accuracy_fresh, rows.test_accuracy_fresh_std
    error = spread / np.sqrt(rows.fresh_seeds)
    peak, last = int(np.nanargmax(fresh.to_numpy(dtype=float))), len(rows) - 1
    fall = float(fresh[peak] - fresh[last])
    doubt = float(np.hypot(error[peak], error[last]))
    rise = float(fresh[peak] - fresh[0])
    inside = rise > 2 * float(np.hypot(error[peak], error[0])) and fall > 2 * doubt
    lines = [
        f"- **The accuracy peaks inside the range**: by fresh seeds the best of "
        f"{rows.batch_size[0]} to {rows.batch_size[last]} is B = {rows.batch_size[peak]}; "
        + (
            "both ends are worse by more than two standard errors."
            if inside
            else "not shown, for not both ends are worse by more than two standard errors."
        ),
        *_after_the_peak(rows, peak, fall, doubt),
        f"- **The tuned learning rate against batch size** has log-log slope {slope} over all "
        "batch sizes; equal steps and equal noise would need 0.5 under small learning rates, "
        "equal temperature 1.",
        f"- **How far these runs reach**: {_reach(float(rows.train_loss_mean[last]))}",
    ]
    return "\n".join(lines)


def _after_the_peak(rows: pd.DataFrame, peak: int, fall: float, doubt: float) -> list[str]:
    """What the largest batch loses against the peak, and whether its training loss falls on."""
    last = len(rows) - 1
    if peak == last:
        return [
            "- **The largest batch is worse at equal updates**: it is the best one here, so this "
            "is not shown, and there is no peak whose training loss to compare."
        ]
    ours, best = rows.train_loss_mean[last], rows.train_loss_mean[peak]
    return [
        f"- **The largest batch is worse at equal updates**: by {fall:.2f} ± {doubt:.2f} points "
        f"(standard error); " + ("this is shown." if fall > 2 * doubt else "this is not shown."),
        f"- **Its training loss is nonetheless lower than at the peak**: {ours:.3g} against "
        f"{best:.3g}; " + ("yes." if ours < best else "it is not."),
    ]


def _reach(loss: float) -> str:
    """How the training loss at our largest batch stands to those of S20, which fits its data."""
    theirs = table("S20-T1").sort_values("batch_size")
    first = theirs.iloc[0]
    peak = theirs.iloc[int(theirs.test_accuracy.argmax())]
    said = (
        f"at the largest batch the final training loss is {loss:.3g}, in S20 "
        f"{first.train_loss:.3g} at the smallest batch and {peak.train_loss:.3g} at the peak. "
    )
    if loss > first.train_loss:
        return (
            said + "By that, all of S20's range lies beyond: here every batch leaves data unfitted."
        )
    if loss > peak.train_loss:
        return said + "By that, S20's peak lies beyond."
    return said + "By that, S20's peak lies within."


def rates_against_epochs(
    optima: Mapping[str, pd.DataFrame], slopes: Mapping[str, Interval], note: Source
) -> go.Figure:
    """S20's figure 2c or 2d: the learning rate tuned for the test set and for the training loss."""
    fig = figure(
        x="epochs",
        x_unit=None,
        y="tuned effective learning rate ε/(1−m)",
        y_unit=None,
        log="xy",
        alt="Tuned effective learning rate against epochs, for test accuracy and training loss",
    )
    for k, (objective, rows) in enumerate(optima.items()):
        rows = rows[rows.exponent.notna()].sort_values("epochs")
        name = f"{PURPOSES[objective]}, slope {slopes[objective].value:.2f}"
        _tuned_rates(fig, k, rows, "peak", name)
    _ticks(fig, next(iter(optima.values())).epochs)
    return provenance(fig, note)


def _tuned_rates(fig: go.Figure, k: int, rows: pd.DataFrame, column: str, name: str) -> None:
    """The k-th curve of tuned rates against epochs; `column` holds log₂, with _low and _high."""
    columns = (column, f"{column}_low", f"{column}_high")
    interval_marks(
        fig,
        rows.epochs,
        *(2.0 ** rows[name].astype(float) for name in columns),
        mode="lines+markers",
        marker={"symbol": SYMBOLS[k], "color": PALETTE[k], "size": 10},
        line={"dash": DASHES[k]},
        customdata=rows.sweep.tolist(),
        name=name,
    )


def unlimited_verdicts(optima: Mapping[str, pd.DataFrame], slopes: Mapping[str, Interval]) -> str:
    """What of S20's figure 2 these records show and what not, from the numbers; Markdown."""
    test, train = slopes["test_accuracy"], slopes["train_loss"]
    rows = optima["train_loss"].sort_values("epochs")
    falls = bool((np.diff(rows.train_loss_mean) < 0).all())
    factor = printed("S20-F2.epoch_factor").value

    def beside(slope: Interval, fall: float) -> str:
        theirs = -np.log2(fall) / np.log2(factor)
        if slope.low <= theirs <= slope.high:
            verdict = "the interval holds it"
        elif slope.low > theirs:
            verdict = "here it falls less, or not at all"
        else:
            verdict = "here it falls more" if slope.high < theirs else "there is no interval"
        return (
            f"the slope against the budget is {slope}. In S20 it falls by a factor {fall:g} over "
            f"{factor:g} in epochs, a slope of {theirs:.2f}: {verdict}."
        )

    lines = [
        f"- **The learning rate for the test set**: "
        f"{beside(test, printed('S20-F2.test_lr_fall').value)}",
        f"- **The learning rate for the training loss**: "
        f"{beside(train, printed('S20-F2.train_lr_fall').value)}",
        "- **The one for the test set falls less**: "
        + (
            "the intervals do not touch."
            if test.low > train.high
            else "not shown; the intervals overlap, or the order is the other one."
        ),
        f"- **The training loss falls with every doubling**: {'yes' if falls else 'no'}.",
    ]
    return "\n".join(lines)


def weight_decay_verdict(slopes: Mapping[Key, Mapping[str, Interval]]) -> str:
    """Whether weight decay is why the rate for the training loss does not fall; Markdown.

    The test was fixed before its runs: without weight decay the slope is negative, and below the
    one with it, by intervals that do not touch.

    Args:
        slopes: of log learning rate against log epochs, by variant and objective.

    Returns:
        Empty for a page that does not have both variants.
    """
    without_decay = slopes.get((("weight_decay", 0.0),))
    with_decay = slopes.get(())
    if without_decay is None or with_decay is None:
        return ""
    free, held = without_decay["train_loss"], with_decay["train_loss"]
    if not np.isfinite([free.high, held.low]).all():
        return "The runs that test this are not complete."
    borne_out = free.high < 0 and free.high < held.low
    return (
        f"So the experiment was repeated without weight decay, the test fixed before its runs. "
        f"The slope of the rate for the training loss is {free} without weight decay and {held} "
        "with it: "
        + (
            "**the guess is borne out**, the rate falls once nothing holds the loss up."
            if borne_out
            else "**the guess is not borne out**; the reason is another one."
        )
    )


def tuned_pairs(states: Sequence[SweepState]) -> pd.DataFrame:
    """S20's figure 3: initial and final learning rate tuned together, a row a budget and objective.

    Exponents are log₂ of effective learning rates, with S20's error bars; `bound` is true where an
    optimum lies on an edge of its grid.
    """
    rows = []
    for state in states:
        steps = [axis.step for axis in state.sweep.axes]
        for objective, best in state.tuned.items():
            if best is None:
                continue
            row = {**dict(state.sweep.key), "sweep": analysis.key_name(state.sweep.key)}
            row |= {"objective": objective, "value": best.cell.mean}
            for axis, name in enumerate(("initial", "final")):
                low, high = best.bar_range(axis)
                row |= {
                    name: best.point[axis] * steps[axis],
                    f"{name}_low": low * steps[axis],
                    f"{name}_high": high * steps[axis],
                    f"{name}_bound": best.bound[axis] != 0,
                }
            rows.append(row)
    return pd.DataFrame(rows)


def pairs_against_epochs(pairs: pd.DataFrame, which: str, note: Source) -> go.Figure:
    """S20's figure 3c or 3d: the tuned initial or final learning rate against the epoch budget."""
    fig = figure(
        x="epochs",
        x_unit=None,
        y=f"tuned {which} effective learning rate",
        y_unit=None,
        log="xy",
        alt=f"Tuned {which} learning rate against epochs, for test accuracy and training loss",
    )
    for k, objective in enumerate(PURPOSES):
        rows = pairs[pairs.objective == objective].sort_values("epochs")
        _tuned_rates(fig, k, rows, which, PURPOSES[objective])
    _ticks(fig, pairs.epochs)
    return provenance(fig, note)


def pair_surface(state: SweepState, objective: str, note: Source) -> go.Figure:
    """The whole grid behind one budget's optimum: the best-k mean at every pair of rates."""
    cells = state.cells[objective]
    first, last = state.sweep.axes
    xs, ys = (sorted({point[a] for point in cells}) for a in (0, 1))
    z = [[cells[(x, y)].mean if (x, y) in cells else np.nan for x in xs] for y in ys]
    label, unit = LABELS[objective]
    epochs = dict(state.sweep.key)["epochs"]
    best = state.tuned[objective]
    at = (
        f"best {best.cell.mean:.4g} {unit} at ε₀ {power_of_two(best.point[0] * first.step)}, "
        f"ε_f {power_of_two(best.point[1] * last.step)}"
        if best is not None
        else "all diverged"
    )
    fig = figure(
        x="initial effective learning rate",
        x_unit=None,
        y="final effective learning rate",
        y_unit=None,
        title=f"{epochs:g} epochs: {at}",
        alt=f"{label} over initial and final learning rate after {epochs:g} epochs",
    )
    values = np.array(z, dtype=float)
    title = f"{label} ({unit})"
    if objective == "train_loss":
        values, title = np.log10(values), f"log₁₀ of {title}"
    fig.add_heatmap(
        x=[power_of_two(x * first.step) for x in xs],
        y=[power_of_two(y * last.step) for y in ys],
        z=values,
        customdata=[[analysis.key_name(state.sweep.key)] * len(xs)] * len(ys),
        # Accuracies far from the best would take all the colours.
        zmin=float(np.nanmax(values)) - 3 if objective == "test_accuracy" else None,
        colorscale="Cividis",
        reversescale=objective == "train_loss",
        colorbar={"title": {"text": title}},
    )
    fig.update_xaxes(type="category")
    fig.update_yaxes(type="category")
    return provenance(fig, note)


def pair_verdicts(pairs: pd.DataFrame) -> str:
    """What of S20's figure 3 these records show and what not, from the numbers; Markdown."""
    wide = pairs.pivot(index="epochs", columns="objective")
    initial = wide["initial"]["test_accuracy"] >= wide["initial"]["train_loss"]
    final = wide["final"]["test_accuracy"] <= wide["final"]["train_loss"]
    test = wide["initial"]["test_accuracy"]
    bounds = int(pairs[["initial_bound", "final_bound"]].to_numpy().sum())
    lines = [
        f"- **S20: the test set starts hotter than the training loss.** Its initial learning rate "
        f"is the larger one, or equal, at {int(initial.sum())} of {len(initial)} budgets.",
        f"- **S20: it ends colder.** Its final learning rate is the smaller one, or equal, at "
        f"{int(final.sum())} of {len(final)} budgets.",
        f"- **S20: its initial learning rate stays where it is.** Here it is "
        f"{', '.join(power_of_two(e) for e in test)} at {', '.join(f'{e:g}' for e in test.index)} "
        f"epochs{', the same at all' if test.nunique() == 1 else ''}.",
    ]
    if bounds:
        lines.append(
            f"- {bounds} of the {2 * len(pairs)} tuned rates lie on an edge of their grid: bounds, "
            "no estimates."
        )
    return "\n".join(lines)


def html_table(frame: pd.DataFrame) -> HTML:
    """A table as plain HTML, which follows the page into the dark; pandas' own style does not."""
    return HTML(frame.to_html(index=False, justify="left", border=0))


def interpolation_sentence(optima: pd.DataFrame, records: Mapping[str, Record]) -> str:
    """How much of the training set the longest runs fit, which a small training loss hides."""
    longest = optima.epochs.max()
    fitted = [
        float(record.metrics["train_accuracy"] or 0.0)
        for record in records.values()
        if record.config.epochs == longest and record.metrics.get("train_accuracy") is not None
    ]
    if not fitted:
        return ""
    share = sum(value == 100 for value in fitted) / len(fitted)
    return (
        f"After {longest:,g} epochs {share:.0%} of the runs that did not diverge classify every "
        "training image rightly."
    )
