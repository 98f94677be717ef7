"""Figures and verdicts of the layer-wise rules: G20's figure 16, over batch sizes, from records.

The accuracies that verdicts rest on are those of fresh seeds, which the tuning of a rate never saw.
Two are told apart by twice the standard error of their difference; a single seed has none, and then
there is no verdict.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from sgdnoise import analysis, data
from sgdnoise.analysis.tuning import Tuning
from sgdnoise.experiments import Key
from sgdnoise.experiments.layerwise_lr.grid import RULES
from sgdnoise.figures.tables import bounded_power, power_of_two
from sgdnoise.figures.theme import INK, MUTED, Source, figure, provenance
from sgdnoise.figures.tuned import NAMES, groups
from sgdnoise.papers.numbers import printed
from sgdnoise.records.record import Record

NEGLIGIBLE = 1.0
"""Points of accuracy within which two rules count as alike; G20 calls a difference negligible
without saying how small it is."""

IMAGES = 50_000
"""CIFAR-10's training set, for which G20's batch sizes are meant."""

OPEN = "not yet measured."


@dataclass(frozen=True)
class Difference:
    """A difference of two accuracies in points, with its standard error."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:+.2f} ± {self.error:.2f}"


def _stations(source: pd.DataFrame) -> list[int]:
    return sorted(int(size) for size in source.batch_size.unique())


def steps_away(tuned: Mapping[Key, Tuning]) -> list[int]:
    """Factors from the tuned rate, log₂, that have a mean at some batch size for every rule.

    Rules of which nothing is recorded do not count.
    """
    measured: dict[str, set[int]] = {}
    for key, one in tuned.items():
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


def measured_sizes(tuned: Mapping[Key, Tuning]) -> list[int]:
    """The batch sizes at which at least one rule has an optimum."""
    return sorted(
        {
            int(dict(key)["batch_size"])
            for key, one in tuned.items()
            if one.state.tuned.get("test_accuracy") is not None
        }
    )


def away_from_tuned(tuned: Mapping[Key, Tuning], step: int, note: Source) -> go.Figure:
    """Every rule at a fixed factor from its tuned rate at each batch size, beside the tuned one."""
    fig = figure(
        x="batch size B",
        x_unit="examples",
        y="test accuracy",
        y_unit="%",
        log="x",
        y_range=_frame(tuned),
        title=f"each rule at {power_of_two(step)} times its tuned rate",
        alt="Test accuracy against batch size with the rates off by a factor, four update rules",
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
    return provenance(fig, note)


def sweep_at(tuned: Mapping[Key, Tuning], batch_size: int, note: Source) -> go.Figure:
    """The whole sweep of each rule at one batch size: every run, against rate over tuned rate."""
    frame = _frame(tuned)
    diverged = outside = 0
    fig = figure(
        x="rate / tuned rate",
        x_unit=None,
        y="test accuracy",
        y_unit="%",
        log="x",
        y_range=frame,
        alt=f"Test accuracy of every run against its rate at batch size {batch_size}, four rules",
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
    text = (
        f"B = {batch_size:,}: {outside} runs lie outside of this frame, "
        f"{diverged} diverged or are still to run"
    )
    fig.update_layout(title={"text": text, "font": {"color": MUTED}})
    return provenance(fig, note)


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


def table(optima: pd.DataFrame) -> pd.DataFrame:
    """One row a batch size, one column a rule: accuracy of fresh seeds, and the tuned rate."""
    rows = []
    for size in _stations(optima):
        row: dict[str, object] = {"Batch size": size}
        for rule in RULES:
            row[NAMES[rule]] = _cell(_row(optima, rule, size))
        rows.append(row)
    return pd.DataFrame(rows)


def _row(optima: pd.DataFrame, rule: str, size: int) -> pd.Series:
    return optima[(optima.method == rule) & (optima.batch_size == size)].iloc[0]


def _cell(row: pd.Series) -> str:
    exponent = row.get("exponent", math.nan)
    if not np.isfinite(exponent):
        return "not yet measured" if row.seeds == 0 else "all diverged"
    if row.fresh_seeds:
        spread = row.test_accuracy_fresh_std
        value = f"{row.test_accuracy_fresh:.2f}"
        value += f" ± {spread:.2f}" if np.isfinite(spread) else " (one seed)"
    else:
        value = f"({row.test_accuracy_mean:.2f}, fresh seeds to come)"
    return f"{value} at {bounded_power(exponent, row['bound'])}"


def difference(optima: pd.DataFrame, rule: str, other: str, size: int) -> Difference | None:
    """Accuracy of one rule less that of another at a batch size; None before both have one.

    The error is NaN where a rule has a single fresh seed.
    """
    rows = [_row(optima, name, size) for name in (rule, other)]
    if any(row.fresh_seeds == 0 or not np.isfinite(row.test_accuracy_fresh) for row in rows):
        return None
    errors = [row.test_accuracy_fresh_std / math.sqrt(row.fresh_seeds) for row in rows]
    return Difference(
        rows[0].test_accuracy_fresh - rows[1].test_accuracy_fresh, float(np.hypot(*errors))
    )


def verdicts(optima: pd.DataFrame, records: Mapping[str, Record]) -> str:
    """What of G20's figure 16 and its remarks these records show and what not; Markdown.

    Batch sizes of G20 are scaled to the training set: the one nearest to 1,024 of 50,000, and those
    at or beyond 8,192 of 50,000.

    Args:
        optima: `analysis.optima` for test accuracy.
        records: one at least, which tells how many images are trained on.
    """
    sizes = _stations(optima)
    config = next(iter(records.values())).config
    share = (config.train_size or data.train_size(config.dataset)) / IMAGES
    asked = printed("G20-F16.batch_size").value * share
    reference = min(sizes, key=lambda size: abs(math.log2(size / asked)))
    largest = sizes[-1]
    lines = [
        f"- **MCLR is as good as LARS at B = {reference:,}**: {_alike(optima, reference)}",
        f"- **MCLR falls behind LARS at large batches**: {_falls(optima, reference, largest)}",
    ]
    if largest < printed("G20-F16.limit").value * share:
        lines[-1] += " G20 speaks of batches beyond any here."
    lines += [
        f"- **{NAMES[rule]} helps at large batches and not at small ones**: "
        f"{_helps(optima, rule, sizes[0], largest)}"
        for rule in RULES[1:]
    ]
    return "\n".join(lines)


def _judged(difference: Difference | None) -> str | None:
    """Why there is no verdict, or None where there can be one."""
    if difference is None:
        return OPEN
    if not math.isfinite(difference.error):
        return f"{difference.value:+.2f} points, but one seed has no spread: no verdict."
    return None


def _alike(optima: pd.DataFrame, size: int) -> str:
    gap = difference(optima, "mclr", "lars", size)
    why_not = _judged(gap)
    if gap is None or why_not:
        return str(why_not)
    if abs(gap.value) + 2 * gap.error <= NEGLIGIBLE:
        verdict = f"within {NEGLIGIBLE:g} point, shown."
    elif abs(gap.value) - 2 * gap.error > NEGLIGIBLE:
        verdict = f"more than {NEGLIGIBLE:g} point apart, not reproduced."
    else:
        verdict = f"too uncertain to tell whether within {NEGLIGIBLE:g} point."
    return f"{gap} points; {verdict}"


def _falls(optima: pd.DataFrame, reference: int, largest: int) -> str:
    near = difference(optima, "mclr", "lars", reference)
    far = difference(optima, "mclr", "lars", largest)
    why_not = _judged(near) or _judged(far)
    if near is None or far is None or why_not:
        return str(why_not)
    change = Difference(far.value - near.value, math.hypot(far.error, near.error))
    verdict = "shown." if change.value < -2 * change.error else "not shown."
    return f"from B = {reference:,} to {largest:,} by {change} points; {verdict}"


def _helps(optima: pd.DataFrame, rule: str, smallest: int, largest: int) -> str:
    near = difference(optima, rule, "momentum", smallest)
    far = difference(optima, rule, "momentum", largest)
    why_not = _judged(near) or _judged(far)
    if near is None or far is None or why_not:
        return str(why_not)
    shown = far.value > 2 * far.error and near.value <= 2 * near.error
    return (
        f"{near} points over momentum at B = {smallest:,}, {far} at {largest:,}; "
        f"{'shown' if shown else 'not shown'}."
    )
