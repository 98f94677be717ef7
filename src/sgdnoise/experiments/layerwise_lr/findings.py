"""Figures and verdicts of the layer-wise rules: G20's figure 16, over batch sizes, from records.

Verdicts rest on fresh seeds, and two accuracies differ by Student's t on their pooled variance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sgdnoise import analysis, data
from sgdnoise.analysis import Reading, Tuning
from sgdnoise.analysis.intervals import COVERAGE, Estimate
from sgdnoise.analysis.needs import no_optimum
from sgdnoise.claims import Claim, Verdict, alike, directional, every
from sgdnoise.experiments.layerwise_lr.grid import RULES
from sgdnoise.figures.tables import bounded_power, power_of_two
from sgdnoise.papers.numbers import printed
from sgdnoise.study.grid import Key
from sgdnoise.study.scales import NAMES

if TYPE_CHECKING:
    import plotly.graph_objects as go

NEGLIGIBLE = 1.0
"""Points of accuracy within which two rules count as alike; G20 calls a difference negligible
without saying how small it is."""


def _stations(source: pd.DataFrame) -> list[int]:
    return sorted(int(size) for size in source.batch_size.unique())


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


def accuracies(reading: Reading) -> go.Figure:
    """Every rule's accuracy at its tuned rate against the batch size.

    MCLR to the letter is drawn on request: its fall would leave no room for the others.
    """
    from sgdnoise.figures import tuned

    fig = tuned.against(reading, "batch_size")
    if "mclr-signed" not in _rules(reading):
        return fig
    for trace in fig.data:
        name = trace.name or ""
        if name.endswith("fresh seeds"):
            trace.showlegend = False
        if name.startswith(NAMES["mclr-signed"]):
            trace.visible = "legendonly"
    fig.layout.annotations[-1].text += " Hollow: fresh seeds. MCLR to the letter: click its name."
    return fig


def away_from_tuned(reading: Reading, step: int) -> go.Figure:
    """Every rule at a fixed factor from its tuned rate at each batch size, beside the tuned one."""
    from sgdnoise.figures.theme import figure, provenance
    from sgdnoise.figures.tuned import groups, source

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
    from sgdnoise.figures.theme import INK, MUTED, figure, provenance
    from sgdnoise.figures.tuned import groups, source

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
    text = (
        f"B = {batch_size:,}: {outside} runs lie outside of this frame, "
        f"{diverged} diverged or are still to run"
    )
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


def table(reading: Reading) -> pd.DataFrame:
    """One row a batch size, one column a rule: accuracy of fresh seeds, and the tuned rate."""
    optima = reading.optima()
    rows = []
    for size in _stations(optima):
        row: dict[str, object] = {"Batch size": size}
        for rule in _rules(reading):
            row[NAMES[rule]] = _cell(_row(optima, rule, size))
        rows.append(row)
    return pd.DataFrame(rows)


def _rules(reading: Reading) -> list[str]:
    """The rules that this scale has, as they are listed everywhere."""
    there = {str(dict(state.sweep.key)["method"]) for state in reading.states}
    return [rule for rule in NAMES if rule in there]


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
        fresh = "every fresh seed diverged" if row.settled else "fresh seeds to come"
        value = f"({row.test_accuracy_mean:.2f}, {fresh})"
    return f"{value} at {bounded_power(exponent, row['bound'])}"


def _ahead(reading: Reading, rule: str, other: str, size: int) -> Estimate:
    """Accuracy of one rule less that of another at a batch size, by fresh seeds."""
    rows = reading.optima()
    mine, theirs = (reading.reached(_row(rows, name, size).key) for name in (rule, other))
    return mine - theirs


def _scaled(reading: Reading, name: str) -> float:
    """A batch size that G20 names, scaled from CIFAR-10's images to those that are trained on."""
    state = reading.states[0]
    config = state.sweep.config(state.points[0], 0)
    trained_on = config.train_size or data.train_size(config.dataset)
    share = trained_on / data.train_size("cifar10")
    return printed(f"G20-F16.{name}").value * share


def _reference(reading: Reading) -> int:
    """The batch size that is nearest to G20's."""
    asked = _scaled(reading, "batch_size")
    return min(_stations(reading.optima()), key=lambda size: abs(math.log2(size / asked)))


def _lacks(reading: Reading, rule: str, other: str, *sizes: int) -> str:
    """What a comparison of two rules at some batch sizes lacks."""
    rows = reading.optima()
    return no_optimum(reading, [_row(rows, r, size).key for size in sizes for r in (rule, other)])


def as_good(reading: Reading) -> Verdict:
    """Whether MCLR and LARS differ by less than a negligible part at G20's batch size."""
    size = _reference(reading)
    gap = _ahead(reading, "mclr", "lars", size)
    why = f"MCLR minus LARS is {gap} points, by fresh seeds."
    verdict = alike(why, gap, unit="points", margin=NEGLIGIBLE)
    return replace(verdict, about=f"MCLR is as good as LARS at B = {size:,}")


def _not_compared(reading: Reading) -> str:
    return _lacks(reading, "mclr", "lars", _reference(reading))


def falls_behind(reading: Reading) -> Verdict:
    """Whether MCLR loses against LARS from G20's batch size to the largest one."""
    reference, largest = _reference(reading), _stations(reading.optima())[-1]
    near, far = (_ahead(reading, "mclr", "lars", size) for size in (reference, largest))
    change = far - near
    why = f"from B = {reference:,} to {largest:,} MCLR's lead over LARS changes by {change} points."
    return directional(why, change, unit="points", sign=-1, margin=NEGLIGIBLE)


def _too_small(reading: Reading) -> str:
    """What the fall behind LARS lacks: batches as large as those that G20 speaks of."""
    largest, limit = _stations(reading.optima())[-1], _scaled(reading, "limit")
    if lost := _lacks(reading, "mclr", "lars", _reference(reading), largest):
        return lost
    if largest >= limit:
        return ""
    return (
        f"G20 speaks of batches beyond {limit:,.0f} at this size, and the largest is {largest:,}."
    )


def helps(reading: Reading, rule: str) -> Verdict:
    """Whether a rule gains more over momentum at the largest batch than at the smallest.

    S20 has it that it gains at large batches, where curvature decides, and nothing at small ones:
    so it must be ahead at the largest, and by more than at the smallest.
    """
    sizes = _stations(reading.optima())
    near, far = (_ahead(reading, rule, "momentum", size) for size in (sizes[0], sizes[-1]))
    parts = {
        f"its lead at B = {sizes[-1]:,}": far,
        f"the change of its lead from B = {sizes[0]:,}": far - near,
    }
    why = f"it leads momentum by {near} points at B = {sizes[0]:,}, and by {far} at {sizes[-1]:,}."
    return every(why, parts, unit="points", margin=NEGLIGIBLE)


def _helps_lacks(reading: Reading, rule: str) -> str:
    sizes = _stations(reading.optima())
    return _lacks(reading, rule, "momentum", sizes[0], sizes[-1])


# --- Beside the claims ----------------------------------------------------------------------------


def falls_from(reading: Reading, rule: str = "mclr") -> str:
    """From which batch size on a reading of MCLR is surely behind LARS, every larger one included.

    At a level that Bonferroni divides among the batch sizes. Empty where the scale has no such
    rule.
    """
    if rule not in _rules(reading):
        return ""
    sizes, behind = _stations(reading.optima()), []
    level = 1 - (1 - COVERAGE) / len(sizes)
    known = [size for size in sizes if not _lacks(reading, rule, "lars", size)]
    gaps = {size: _ahead(reading, rule, "lars", size) for size in known}
    for size in reversed(known):
        if not gaps[size].at(level).high < 0:
            break
        behind.append(size)
    listed = ", ".join(f"{gap} at B = {size:,}" for size, gap in gaps.items())
    left = [size for size in sizes if size not in known]
    lacking = f" (not compared at {', '.join(f'{size:,}' for size in left)})" if left else ""
    name = NAMES[rule]
    said = (
        f"From B = {behind[-1]:,} on {name} is surely behind LARS"
        if behind
        else f"There is no batch size from which on {name} is surely behind LARS"
    )
    return f"{said}{lacking}: {name} minus LARS is {listed or 'nothing known'} points."


def against_nesterov(reading: Reading) -> str:
    """Whether tuned Nesterov momentum does as well as LARS, as Nado et al. (2021) have it.

    Empty where the scale has no such rule.
    """
    if "nesterov" not in _rules(reading):
        return ""
    sizes = _stations(reading.optima())
    if lacking := _lacks(reading, "nesterov", "lars", *sizes):
        return f"Tuned Nesterov momentum does as well as LARS: *not tested here*; {lacking}"
    parts = {f"B = {size:,}": _ahead(reading, "nesterov", "lars", size) for size in sizes}
    verdict = every("", parts, unit="points", margin=NEGLIGIBLE, same=True)
    listed = ", ".join(f"{gap} at {name}" for name, gap in parts.items())
    return (
        f"Tuned Nesterov momentum does as well as LARS, within {NEGLIGIBLE:g} point: "
        f"*{verdict.word}*. Nesterov minus LARS is {listed} points."
    )


def first_steps(reading: Reading, rule: str) -> dict[int, np.ndarray]:
    """‖Δw‖ of the first update at the tuned rate by batch size, a number a seed.

    It is the distance that a run is measured to have come after its first step. NaN where none is.
    """
    found = {}
    for size in _stations(reading.optima()):
        (state,) = (
            s
            for s in reading.states
            if {"method": rule, "batch_size": size}.items() <= dict(s.sweep.key).items()
        )
        best = state.tuned.get("test_accuracy")
        values = []
        for seed in range(reading.seeds):
            run = state.sweep.config(best.point, seed).id if best else ""
            curves = reading.records[run].curves if run in reading.records else {}
            first = (curves.get("step") or [0])[0] == 1
            values.append((curves.get("distance") or [math.nan])[0] if first else math.nan)
        found[size] = np.array(values, dtype=np.float64)
    return found


def steps_slope(reading: Reading, rule: str) -> Estimate:
    """Slope of log₂ of the first step's length against log₂ of the batch size, seed by seed."""
    steps = first_steps(reading, rule)
    x = np.log2(list(steps))
    each = np.log2(np.array(list(steps.values())))
    each = each[:, np.isfinite(each).all(axis=0)]
    slopes = (x - x.mean()) @ each / ((x - x.mean()) ** 2).sum()
    return Estimate.mean(slopes)


def step_lengths(reading: Reading) -> go.Figure:
    """The first step's length of each rule at its tuned rate, against the batch size."""
    from sgdnoise.figures.theme import figure, provenance
    from sgdnoise.figures.titles import over_first_to_last
    from sgdnoise.figures.tuned import groups, source, ticks_at

    fig = figure(
        x="batch size B",
        x_unit="examples",
        y="length of the first update ‖Δw‖",
        y_unit=None,
        log="xy",
        alt="Length of the first update at the tuned rate against batch size, by update rule",
    )
    ticks_at(fig, _stations(reading.optima()))
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


SHRINKS = 0.1
"""How steep a step may fall with the batch size and count as not shrinking: G20's law for equal
rates has a slope of −1/2."""


def survives(reading: Reading) -> str:
    """What is left of G20's explanation that steps which vanish are why large batches lose.

    One sentence, from words alone: of each rule, whether its first step at the tuned rate shrinks
    with the batch size, and whether it loses accuracy from the smallest batch to the largest.
    """
    sizes = _stations(reading.optima())
    words = {}
    for rule in _rules(reading):
        if _lacks(reading, rule, rule, sizes[0], sizes[-1]):
            continue
        slope = steps_slope(reading, rule)
        shrinks = directional("", slope, unit="slope", sign=-1, margin=SHRINKS).word
        near, far = (
            reading.reached(_row(reading.optima(), rule, size).key)
            for size in (sizes[0], sizes[-1])
        )
        loses = directional("", near - far, unit="points", margin=NEGLIGIBLE).word
        words[rule] = (shrinks, loses)
    return of_vanishing(words, sizes[0], sizes[-1])


def of_vanishing(words: Mapping[str, tuple[str, str]], small: int, large: int) -> str:
    """The sentence, from each rule's words: that its step shrinks, and that it loses accuracy."""
    against = ("absent", "contradicted")
    steady = {rule: loses for rule, (shrinks, loses) in words.items() if shrinks in against}
    shrinking = [loses for shrinks, loses in words.values() if shrinks == "reproduced"]
    between = f"from B = {small:,} to {large:,}"
    losing = [NAMES[rule] for rule, loses in steady.items() if loses == "reproduced"]
    if losing:
        return (
            f"**Vanishing steps are not the explanation**: {between} the first update does not "
            f"shrink with {', '.join(losing)}, and accuracy is lost all the same."
        )
    if steady and set(steady.values()) <= set(against) and "reproduced" in shrinking:
        return (
            f"**Vanishing steps remain a possible explanation**: {between} the rules whose first "
            "update does not shrink lose nothing, and one whose update shrinks does."
        )
    listed = "; ".join(f"{NAMES[r]} {shrinks} and {loses}" for r, (shrinks, loses) in words.items())
    return (
        f"**Whether vanishing steps are the explanation is not decided**: {between} the verdicts "
        f"on shrinking steps and on lost accuracy are, by rule, {listed or 'not to be had'}."
    )


CLAIMS = (
    Claim("G20-F16.mclr-as-good-as-lars", as_good, needs=_not_compared),
    Claim("G20-F16.mclr-falls-behind", falls_behind, needs=_too_small),
    *(
        Claim(
            f"S20-C3.{rule}-helps-large-only",
            partial(helps, rule=rule),
            needs=partial(_helps_lacks, rule=rule),
        )
        for rule in RULES[1:]
    ),
)
