"""What the records say of S20's figure 3."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sgdnoise.analysis import Estimate, Interval, Reading, key_name
from sgdnoise.analysis.regimes import LEAST_CARRIED, line_slope
from sgdnoise.claims import Claim, Verdict, alike, directional
from sgdnoise.figures.tables import power_of_two
from sgdnoise.phrases import enumerated

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from sgdnoise.study.grid import SweepState


def tuned_pairs(reading: Reading) -> pd.DataFrame:
    """S20's figure 3: initial and final learning rate tuned together, a row a budget and objective.

    Exponents are log₂ of effective learning rates, with S20's error bars; `bound` is true where an
    optimum lies on an edge of its grid.
    """
    rows = []
    for state in reading.states:
        steps = [axis.step for axis in state.sweep.axes]
        for objective, best in state.tuned.items():
            if best is None:
                continue
            row = {**dict(state.sweep.key), "sweep": key_name(state.sweep.key)}
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
    return pd.DataFrame(rows, columns=None if rows else _COLUMNS)


_COLUMNS = [
    *("epochs", "sweep", "objective", "value"),
    *(f"{name}{part}" for name in ("initial", "final") for part in ("", "_low", "_high", "_bound")),
]
"""Those of no pairs at all, where everything diverged."""


def pairs_against_epochs(reading: Reading, which: str) -> go.Figure:
    """S20's figure 3c or 3d: the tuned initial or final learning rate against the epoch budget."""
    from sgdnoise.figures.budgets import tuned_rates
    from sgdnoise.figures.theme import figure, provenance
    from sgdnoise.figures.titles import rates_change
    from sgdnoise.figures.tuned import source, ticks_at

    fig = figure(
        x="epochs",
        x_unit=None,
        y=f"tuned {which} effective learning rate",
        y_unit=None,
        log="xy",
        alt=f"Tuned {which} learning rate against epochs, for test accuracy and training loss",
    )
    pairs = tuned_pairs(reading)
    curves = {
        objective.purpose: pairs[pairs.objective == objective.name].sort_values("epochs")
        for objective in reading.objectives
    }
    for k, (purpose, rows) in enumerate(curves.items()):
        tuned_rates(fig, k, rows, which, purpose)
    fig.update_layout(title={"text": rates_change(curves, which)})
    ticks_at(fig, pairs.epochs)
    bars = (
        "Bars: S20's, from the least to the largest rate of all pairs whose mean lies within one "
        "standard deviation of the best."
    )
    return provenance(fig, source(reading).and_also(bars))


def measured_budgets(reading: Reading) -> list[float]:
    """The epoch budgets at which anything is recorded."""
    return [dict(s.sweep.key)["epochs"] for s in reading.states if s.cells.get("test_accuracy")]


def beside_the_model(reading: Reading) -> go.Figure:
    """Both tuned rates for the training loss, and the noisy quadratic model's."""
    from sgdnoise.figures.prediction import pairs_relative_to_first

    return pairs_relative_to_first(reading, tuned_pairs(reading))


def pair_surface(reading: Reading, epochs: float, objective: str) -> go.Figure:
    """The whole grid behind one budget's optimum: the best-k mean at every pair of rates."""
    from sgdnoise.figures.theme import figure, provenance
    from sgdnoise.figures.tuned import source

    (state,) = [s for s in reading.states if dict(s.sweep.key)["epochs"] == epochs]
    shown = reading.objective(objective)
    label, unit = shown.label, shown.unit
    cells = state.cells[objective]
    first, last = state.sweep.axes
    xs, ys = (sorted({point[a] for point in cells}) for a in (0, 1))
    z = [[cells[(x, y)].mean if (x, y) in cells else np.nan for x in xs] for y in ys]
    best = state.tuned[objective]
    at = (
        f"best {label} {best.cell.mean:.4g} {unit} "
        f"at ε₀ {power_of_two(best.point[0] * first.step)}, "
        f"ε<sub>f</sub> {power_of_two(best.point[1] * last.step)}"
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
    # The figure's title says of what: a long one over the bar leaves a phone half of its width.
    title = unit
    if not shown.higher_is_better:
        values, title = np.log10(values), f"log₁₀<br>{unit}"
    ends = {}
    if shown.higher_is_better and best is not None:
        # Accuracies far from the best would take all the colours. Plotly takes both ends or none.
        top = float(np.nanmax(values))
        ends = {"zmin": top - FAR_OFF, "zmax": top}
    fig.add_heatmap(
        x=[power_of_two(x * first.step) for x in xs],
        y=[power_of_two(y * last.step) for y in ys],
        z=values,
        customdata=[[key_name(state.sweep.key)] * len(xs)] * len(ys),
        **ends,
        colorscale="Cividis",
        reversescale=not shown.higher_is_better,
        colorbar={"title": {"text": title}, "thickness": 14},
    )
    fig.update_xaxes(type="category")
    fig.update_yaxes(type="category")
    _draw_equal_rates(fig, [x * first.step for x in xs], [y * last.step for y in ys])
    return provenance(fig, source(reading))


def _draw_equal_rates(fig: go.Figure, initial: list[float], final: list[float]) -> None:
    """Draw where both rates are the same, over the part of the grid that has such pairs.

    On an axis of categories a shape's coordinates are their serial numbers.
    """
    from sgdnoise.figures.theme import INK, PAPER

    ends = _equal_rates(initial, final)
    if ends is None:
        return
    x, y = (
        [float(at) for at in np.interp(ends, rates, range(len(rates)))]
        for rates in (initial, final)
    )
    # Dark dashes on a white line: seen on the bright and on the dark end of the colours.
    for line in ({"color": PAPER, "width": 4}, {"color": INK, "width": 2, "dash": "dash"}):
        fig.add_shape(type="line", x0=x[0], x1=x[1], y0=y[0], y1=y[1], line=line)


def _equal_rates(initial: list[float], final: list[float]) -> tuple[float, float] | None:
    """From where to where, in log₂, a grid has pairs of equal rates; None where it has no line."""
    if not initial or not final:
        return None
    low, high = max(initial[0], final[0]), min(initial[-1], final[-1])
    return (low, high) if low < high else None


FAR_OFF = 3.0
"""Points of accuracy below the best, from which on a pair has the colours' dark end."""


def how_to_read(reading: Reading) -> str:
    """What to look for in `pair_surface`, as far as the grids of these records have it."""
    said = [
        "Look at the shape of the bright region: where it is long along the final learning rate, "
        "that rate matters little."
    ]
    if places := _too_large(reading):
        said.append(
            f"In {places} no pair comes within {FAR_OFF:g} points of the best test accuracy: the "
            "largest rates tried there are too large."
        )
    if any(_equal_rates(*rates) for rates in map(_rates_tried, _by_budget(reading)) if all(rates)):
        said.append("Above the dashed line the final rate is the larger one, and the rate rises.")
    return " ".join(said)


def _too_large(reading: Reading) -> str:
    """Where the largest rates tried lose accuracy with every partner; empty for nowhere."""
    lost: dict[str, list[str]] = {"the right column": [], "the top row": []}
    for state in _by_budget(reading):
        best, cells = state.tuned.get("test_accuracy"), state.cells.get("test_accuracy", {})
        if best is None or not state.settled:
            continue
        for axis, where in enumerate(lost):
            end = max(point[axis] for point in cells)
            means = [cell.mean for point, cell in cells.items() if point[axis] == end]
            # The mean of a pair whose runs diverged is no number, and is not near.
            if not any(best.cell.mean - mean <= FAR_OFF for mean in means):
                lost[where].append(_budget(state))
    at = {where: f"{enumerated(found)} epochs" for where, found in lost.items() if found}
    if len(at) == 2 and len(set(at.values())) == 1:
        return f"{' and in '.join(at)} at {at['the top row']}"
    return " and in ".join(f"{where} at {epochs}" for where, epochs in at.items())


def _by_budget(reading: Reading) -> list[SweepState]:
    return sorted(reading.states, key=lambda state: float(dict(state.sweep.key)["epochs"]))


def _budget(state: SweepState) -> str:
    return f"{dict(state.sweep.key)['epochs']:g}"


def _rates_tried(state: SweepState) -> list[list[float]]:
    """Initial and final rates of a grid, in log₂, as far as any run is recorded."""
    cells = state.cells.get("test_accuracy", {})
    return [
        sorted({point[axis] * one.step for point in cells})
        for axis, one in enumerate(state.sweep.axes)
    ]


def rising(reading: Reading) -> str:
    """Which tuned pairs have a rate that rises, in words; empty for none."""
    said = []
    for state in _by_budget(reading):
        first, last = (axis.step for axis in state.sweep.axes)
        for objective in reading.objectives:
            best = state.tuned.get(objective.name)
            if best is None or best.point[1] * last <= best.point[0] * first:
                continue
            initial, final = best.point[0] * first, best.point[1] * last
            falls = any(point[1] * last < point[0] * first for point in best.bar)
            said.append(
                f"{objective.purpose.capitalize()} the best pair at {_budget(state)} epochs has a "
                f"rate that rises, from {power_of_two(initial)} to {power_of_two(final)}. "
                f"{'Pairs that fall lie' if falls else 'No pair that falls lies'} within one "
                "standard deviation of its mean."
            )
    return " ".join(said)


def _of(reading: Reading, which: str, objective: str) -> pd.Series:
    """log₂ of a tuned rate by budget; NaN where it is on an edge of its grid."""
    pairs = tuned_pairs(reading)
    rows = pairs[pairs.objective == objective].set_index("epochs").sort_index()
    return rows[which].where(~rows[f"{which}_bound"].astype(bool)).astype(float)


def _lacks(reading: Reading, which: str, objectives: tuple[str, ...]) -> str:
    """What a comparison over budgets lacks."""
    known = (
        pd.concat([_of(reading, which, name) for name in objectives], axis=1).notna().all(axis=1)
    )
    if known.sum() >= LEAST_CARRIED:
        return ""
    lost = sum(any(one.tuned.get(o) is None for o in objectives) for one in reading.states)
    diverged = f", every pair of rates diverged at {lost}" if lost else ""
    return (
        f"the best {which} rate lies inside its grid at {known.sum()} of {len(reading.states)} "
        f"budgets{diverged}; it takes {LEAST_CARRIED}."
    )


def _no_narrower(interval: Interval, reach: float) -> Interval:
    """An interval that is no narrower than the grid lets it be.

    Optima of a grid are known to half a step each, also where all of them are the same point and
    scatter tells nothing.

    Args:
        interval: from the scatter of the optima.
        reach: how far half a step in every optimum can move the value.
    """
    value = interval.value
    return Interval(value, min(interval.low, value - reach), max(interval.high, value + reach))


def _apart(reading: Reading, which: str, sign: int, step: float) -> Verdict:
    """Whether a rate tuned for the test set lies on one side of that tuned for the loss."""
    apart = (_of(reading, which, "test_accuracy") - _of(reading, which, "train_loss")).dropna()
    # Half a step in either rate.
    found = _no_narrower(Estimate.mean(apart.to_numpy()).interval, step)
    by = ", ".join(f"{value:+g} at {epochs:g} epochs" for epochs, value in apart.items())
    return directional(
        f"log₂ of the best {which} rate for the test set divided by that for the training loss is "
        f"{by}; the mean is {found}.",
        found,
        unit="log2 ratio",
        sign=sign,
        margin=step,
        rests_on="budgets",
    )


def starts_hotter(reading: Reading) -> Verdict:
    """Whether the initial rate for the test set is the larger one."""
    return _apart(reading, "initial", 1, INITIAL_STEP)


def ends_colder(reading: Reading) -> Verdict:
    """Whether the final rate for the test set is the smaller one."""
    return _apart(reading, "final", -1, FINAL_STEP)


def _slope(reading: Reading, which: str, step: float) -> tuple[Interval, str]:
    """The slope of the rate for the test set over the budget, and the sentence that says it."""
    rates = _of(reading, which, "test_accuracy").dropna()
    x = np.log2(rates.index.to_numpy(dtype=np.float64))
    off = abs(x - x.mean())
    slope = line_slope(x.tolist(), rates.tolist())
    slope = _no_narrower(slope, step / 2 * float(off.sum() / (off**2).sum()))
    of = "" if len(rates) == len(reading.states) else f"{len(rates)} of "
    return slope, (
        f"its slope against the budget is {slope}, over {of}{len(reading.states)} budgets, with "
        f"rates tried in factors of {2**step:g}."
    )


def initial_stays(reading: Reading) -> Verdict:
    """Whether the initial rate for the test set is the same at all budgets."""
    slope, why = _slope(reading, "initial", INITIAL_STEP)
    return alike(why, slope, unit="slope", margin=CONSTANT, rests_on="budgets")


def final_falls(reading: Reading) -> Verdict:
    """Whether the final rate for the test set falls with the budget."""
    slope, why = _slope(reading, "final", FINAL_STEP)
    return directional(why, slope, unit="slope", sign=-1, margin=CONSTANT, rests_on="budgets")


INITIAL_STEP, FINAL_STEP = 1.0, 2.0
"""In log₂: the grids' steps, within which two optima are one."""

CONSTANT = 0.2
"""How steep a rate may be that S20 calls constant: as for its figure 2."""


def bounds(reading: Reading) -> str:
    """How many of the tuned rates are bounds and no estimates, in Markdown; empty for none."""
    pairs = tuned_pairs(reading)
    count = int(pairs[["initial_bound", "final_bound"]].to_numpy().sum())
    if not count:
        return ""
    return (
        f"{count} of the {2 * len(pairs)} tuned rates lie on an edge of their grid: they are "
        "bounds, not estimates."
    )


_BOTH = ("test_accuracy", "train_loss")
_initial, _final = (partial(_lacks, which=w, objectives=_BOTH) for w in ("initial", "final"))
_initial_test, _final_test = (
    partial(_lacks, which=w, objectives=_BOTH[:1]) for w in ("initial", "final")
)

CLAIMS = (
    Claim("S20-F3.starts-hotter", starts_hotter, needs=_initial),
    Claim("S20-F3.ends-colder", ends_colder, needs=_final),
    Claim("S20-F3.initial-stays", initial_stays, needs=_initial_test),
    Claim("S20-F3.final-falls", final_falls, needs=_final_test),
)
