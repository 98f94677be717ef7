"""The noisy quadratic model beside a measurement: the same budget, each in its own reduced units.

Nobody knows a net's curvature and noise in the model's units, so nothing absolute is compared.
Batch sizes are divided by the bend of a hinge fit, learning rates by its level beyond the bend (in
the model the critical rate, as tuning finds it), losses by that of the smallest batch; along a
growing budget everything is divided by its first value. What is left is the shape, and the ratios
between plain SGD and momentum, which the model fixes without any free number. Accuracies have no
counterpart in it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from sgdnoise import data
from sgdnoise.analysis import Interval, Reading, Regimes, Tuning, key_name
from sgdnoise.config import RunConfig
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
from sgdnoise.figures.titles import changes
from sgdnoise.figures.tuned import Group, groups, source
from sgdnoise.schedule import hold_then_decay
from sgdnoise.study.grid import Key
from sgdnoise.study.scales import METHODS, NAMES
from sgdnoise.theory import nqm
from sgdnoise.theory.nqm import EpochBudget, StepBudget, TunedCurve
from sgdnoise.theory.regimes import hinge_of_rates
from sgdnoise.theory.stability import critical_learning_rate

MODEL_NOTE = (
    "Lines: noisy quadratic model, 10,000 dimensions, binned spectrum, S20's schedule, computed "
    "with this page."
)

BARS_NOTE = "Bars: 95 % intervals."
"""What the bars at tuned rates are that `analysis.locate` gives."""


def _run_of(one: Tuning) -> RunConfig:
    """A run of a sweep: all of them share the budget, the batch size and the data."""
    sweep = one.state.sweep
    return sweep.config(tuple(axis.low for axis in sweep.axes), 0)


def _any_run(tuned: Mapping[Key, Tuning]) -> RunConfig:
    return _run_of(next(iter(tuned.values())))


def budget_of(tuned: Mapping[Key, Tuning]) -> EpochBudget | StepBudget:
    """The budget that the runs of an experiment over batch sizes share."""
    config = _any_run(tuned)
    if config.steps is not None:
        return StepBudget(config.steps)
    assert config.epochs is not None
    return EpochBudget(config.epochs, data.images_of(config))


@functools.cache
def curves(reading: Reading) -> dict[str, TunedCurve]:
    """The model's tuned curve of each method, at all powers of two up to the training set's size.

    The budget is the experiment's own, and the learning rate follows S20's schedule.
    """
    tuned = reading.tuned()
    model, budget = nqm.spectrum("binned"), budget_of(tuned)
    largest = data.images_of(_any_run(tuned))
    sizes = [2**k for k in range(largest.bit_length())]
    methods = [m for m in METHODS if any(dict(key)["method"] == m for key in tuned)]
    return {
        method: nqm.tuned_curve(budget, sizes, METHODS[method], spectrum=model, decay=True)
        for method in methods
    }


def units(curve: TunedCurve) -> tuple[float, float, float]:
    """Slope, boundary and level of a model curve, by the hinge that is fitted to measurements."""
    hinge = hinge_of_rates(curve.batch_size, curve.effective_learning_rate)
    return hinge.slope, hinge.boundary, 2**hinge.level


def rates_in_reduced_units(reading: Reading) -> go.Figure:
    """Tuned learning rate over its level against batch size over the boundary, model and net.

    Marks with bars are the net's (as `analysis.locate` has it, 95 % interval), lines the model's.
    Each is divided by the bend and the level beyond it of its own hinge, which always has one: the
    title says where no batch size is surely beyond it, so that it is no boundary.
    """
    tuned, model = reading.tuned(), curves(reading)
    fig = _reduced(
        "tuned learning rate / level beyond the bend", "Tuned learning rates by batch size"
    )
    said: dict[str, str] = {}
    sure: dict[str, bool] = {}
    for group in groups(tuned, "batch_size"):
        method = dict(group.of)["method"]
        curve = model[method]
        slope, boundary, level = units(curve)
        _line(fig, group, curve.batch_size / boundary, curve.effective_learning_rate / level)
        fit = reading.regimes[method]
        if np.isfinite(fit.slope.value):
            there = "" if math.isfinite(fit.slope.low) else " (no interval)"
            said[group.name] = f"{fit.slope.value:.2f}{there} measured, {slope:.2f} in the model"
            sure[group.name] = fit.flat_seen
        marks = group.tunings(tuned)
        _intervals(
            fig,
            np.array(list(marks)) / fit.boundary.value,
            [one.peak for one in marks.values()],
            fit.level.value,
            marker=_marker(group),
            customdata=[key_name(one.state.sweep.key) for one in marks.values()],
            name=f"{group.name}, measured",
        )
    if said:
        fig.update_layout(title={"text": _slopes_told(said, sure)})
    return provenance(fig, source(reading).and_also(f"{MODEL_NOTE} {BARS_NOTE}"))


def _slopes_told(said: Mapping[str, str], sure: Mapping[str, bool]) -> str:
    """The slopes of hinge fits, by curve, and whether what they lie below is a boundary."""
    if any(sure.values()):
        first, unsure = "The slope below the boundary", ", no boundary established"
    else:
        first, unsure = "No boundary is established; slopes of the hinge fits", ""
    parts = [f"{text} ({name}{'' if sure[name] else unsure})" for name, text in said.items()]
    return f"{first}: {'; '.join(parts)}"


def _reduced(y: str, alt: str) -> go.Figure:
    return figure(
        x="batch size B / bend of the hinge fit",
        x_unit=None,
        y=y,
        y_unit=None,
        log="xy",
        alt=f"{alt} in reduced units, measured and in the model",
    )


def _line(fig: go.Figure, group: Group, x: np.ndarray, y: np.ndarray) -> None:
    """The model's curve of a group."""
    fig.add_scatter(
        x=x,
        y=y,
        mode="lines",
        line={"color": group.colour, "dash": group.dash, "width": 2},
        name=f"{group.name}, model",
    )


def _marker(group: Group) -> dict[str, Any]:
    return {"color": group.colour, "symbol": group.symbol, "size": 9}


def _intervals(
    fig: go.Figure, x: np.ndarray, peaks: Sequence[Interval], unit: float, **trace: Any
) -> None:
    """Marks at tuned learning rates (given as log₂) over a unit, with their intervals."""
    rates = 2.0 ** np.array([(peak.value, peak.low, peak.high) for peak in peaks]) / unit
    interval_marks(fig, x, *rates.T, **trace)


def losses_in_reduced_units(reading: Reading) -> go.Figure:
    """Final training loss over that of the smallest batch, against batch size over the bend.

    The net's is the loss at the learning rate tuned for test accuracy, as S20's figure 1b has it;
    the model knows one loss only and is tuned for it.
    """
    optima, model = reading.optima(), curves(reading)
    fig = _reduced("training loss / that of the smallest batch", "Training loss by batch size")
    said = []
    for group in groups(optima.key, "batch_size"):
        method, rows = dict(group.of)["method"], group.rows(optima)
        curve = model[method]
        first = int(np.flatnonzero(curve.batch_size >= rows.batch_size.min())[0])
        sizes = curve.batch_size[first:] / units(curve)[1]
        _line(fig, group, sizes, curve.loss[first:] / curve.loss[first])
        fig.add_scatter(
            x=rows.batch_size / reading.regimes[method].boundary.value,
            y=rows.train_loss_mean / rows.train_loss_mean.iloc[0],
            mode="markers",
            marker=_marker(group),
            customdata=rows.sweep.tolist(),
            name=f"{group.name}, measured",
        )
        net = float(rows.train_loss_mean.iloc[-1] / rows.train_loss_mean.iloc[0])
        at = math.log2(rows.batch_size.iloc[-1])
        own = float(np.interp(at, np.log2(curve.batch_size), curve.loss / curve.loss[first]))
        if math.isfinite(net):
            said.append(f"{net:.2g} times measured, {own:.2g} in the model ({group.name})")
    if said:
        text = f"The largest batch's loss over the smallest's: {'; '.join(said)}"
        fig.update_layout(title={"text": text})
    return provenance(fig, source(reading).and_also(MODEL_NOTE))


def ratios_table(reading: Reading) -> pd.DataFrame:
    """Pure numbers of the two regimes: what the model says without anything fitted, and the net."""
    regimes = reading.regimes
    own = {method: units(curve) for method, curve in curves(reading).items()}
    rows = [
        (
            f"slope below the {_end(fit)}, {NAMES[method]}",
            str(fit.slope),
            f"{own[method][0]:.2f}",
        )
        for method, fit in regimes.items()
    ]
    if {"sgd", "momentum"} <= regimes.keys():
        sgd, momentum = regimes["sgd"], regimes["momentum"]
        for name, part, measured in (
            ("boundary", 1, momentum.boundary.value / sgd.boundary.value),
            ("learning rate beyond it", 2, momentum.level.value / sgd.level.value),
        ):
            rows.append(
                (
                    f"{name}, momentum over plain SGD",
                    f"{measured:.3g}" if np.isfinite(measured) else "no fit",
                    f"{own['momentum'][part] / own['sgd'][part]:.3g}",
                )
            )
    return pd.DataFrame(rows, columns=["", "measured", "model"])


def _end(fit: Regimes) -> str:
    """What a hinge's slope lies below: a boundary only where a flat part was surely seen."""
    return "boundary" if fit.flat_seen else "bend of the fit (no boundary established)"


def rates_over_budgets(tuned: Mapping[Key, Tuning]) -> tuple[np.ndarray, np.ndarray]:
    """The model's tuned effective learning rate at the epoch budgets of an experiment.

    Returns:
        Epochs in rising order and learning rates, each (budgets,), at the experiment's own batch
        size, momentum and training set size.
    """
    model = nqm.spectrum("binned")
    epochs, rates = [], []
    for config in _runs_by_budget(tuned):
        assert config.epochs is not None
        steps = config.total_steps(data.images_of(config))
        rate, _ = nqm.tuned_under_schedule(model, config.batch_size, steps, config.momentum)
        epochs.append(config.epochs)
        rates.append(rate / (1 - config.momentum))
    return np.array(epochs), np.array(rates)


def _runs_by_budget(tuned: Mapping[Key, Tuning]) -> list[RunConfig]:
    runs = {config.epochs or 0.0: config for config in map(_run_of, tuned.values())}
    return [runs[epochs] for epochs in sorted(runs)]


def _over_first(what: str) -> go.Figure:
    return figure(
        x="epochs / fewest epochs",
        x_unit=None,
        y="tuned learning rate / at the fewest",
        y_unit=None,
        log="xy",
        alt=f"{what} against the epoch budget, both over their first value",
    )


def rates_relative_to_first(reading: Reading, variant: Key | None = None) -> go.Figure:
    """Tuned learning rate against epochs, both over their first value: net and model."""
    fig = _over_first("Tuned learning rate")
    tuned: Mapping[Key, Tuning] = {}
    ends: dict[str, tuple[float, float]] = {}
    for k, objective in enumerate(reading.objectives):
        tuned = reading.tuned(objective.name, variant)
        rows = sorted((float(dict(key)["epochs"]), one.peak) for key, one in tuned.items())
        rows = [(epochs, peak) for epochs, peak in rows if np.isfinite(peak.value)]
        if not rows:
            continue
        first, last = (2.0 ** rows[k][1].value for k in (0, -1))
        ends[objective.purpose] = (first, last)
        _intervals(
            fig,
            np.array([epochs for epochs, _ in rows]) / rows[0][0],
            [peak for _, peak in rows],
            2.0 ** rows[0][1].value,
            marker={"color": PALETTE[k], "symbol": SYMBOLS[k], "size": 9},
            name=f"measured, {objective.purpose}",
        )
    epochs, rates = rates_over_budgets(tuned)
    fig.add_scatter(
        x=epochs / epochs[0],
        y=rates / rates[0],
        mode="lines",
        line={"color": INK, "width": 2},
        name="model, for its one loss",
    )
    ends["the model"] = (float(rates[0]), float(rates[-1]))
    text = f"With {epochs[-1] / epochs[0]:,g} times the epochs the rate changes {changes(ends)}"
    fig.update_layout(title={"text": text})
    return provenance(fig, source(reading).and_also(f"{MODEL_NOTE} {BARS_NOTE}"))


def tuned_pair(config: RunConfig) -> tuple[float, float]:
    """The model's best initial and final effective learning rate under S20's schedule (§7.1).

    Both on a grid of eight a factor of two, initial rates up to the critical one and final ones
    from the initial down by a factor of 2¹⁶.
    """
    model = nqm.spectrum("binned")
    steps = config.total_steps(data.images_of(config))
    critical = float(critical_learning_rate(model.sharpness, config.momentum))
    rates = critical * 2.0 ** -np.arange(0, 12, 1 / 8)
    best = (np.inf, np.nan, np.nan)
    for fall in np.arange(0, 16.01, 0.5):
        pieces = nqm.monotone_segments(hold_then_decay(steps, 2 ** (fall / 10)), steps)
        losses = nqm.loss_under_schedule(model, rates, config.batch_size, pieces, config.momentum)
        at = int(np.argmin(losses[:, -1]))
        best = min(best, (float(losses[at, -1]), float(rates[at]), float(rates[at]) * 2**-fall))
    _, initial, final = best
    return initial / (1 - config.momentum), final / (1 - config.momentum)


SHIFT = 1.04
"""By which factor the marks of two rates at one budget stand apart, so that both show."""


def pairs_relative_to_first(reading: Reading, pairs: pd.DataFrame) -> go.Figure:
    """Tuned initial and final learning rates against epochs, over their first values.

    The net's are those for the training loss, the only loss that the model has. The title says over
    which budgets either of them goes: nets may have fewer. An optimum on an edge of its grid is
    told to be one.
    """
    fig = _over_first("Tuned initial and final learning rate")
    configs = _runs_by_budget(reading.tuned())
    epochs = np.array([config.epochs for config in configs], dtype=np.float64)
    predicted = np.array([tuned_pair(config) for config in configs])
    rows = pairs[pairs.objective == "train_loss"].sort_values("epochs")
    factors: dict[str, list[str]] = {"model": [], "measured": []}
    for k, name in enumerate(("initial", "final")):
        fig.add_scatter(
            x=epochs / epochs[0],
            y=predicted[:, k] / predicted[0, k],
            mode="lines",
            line={"color": PALETTE[k], "dash": DASHES[k], "width": 2},
            name=f"{name}, model",
        )
        factors["model"].append(f"{predicted[-1, k] / predicted[0, k]:.2g} ({name})")
        measured = 2.0 ** rows[name].to_numpy(dtype=float)
        if not len(measured):
            continue
        fig.add_scatter(
            x=rows.epochs / rows.epochs.iloc[0] * SHIFT ** (2 * k - 1),
            y=measured / measured[0],
            mode="markers",
            marker={"color": PALETTE[k], "symbol": SYMBOLS[k], "size": 10},
            name=f"{name}, measured for the training loss",
        )
        ends = rows[f"{name}_bound"].iloc[[0, -1]].astype(bool)
        edge = ", on an edge of its grid" if ends.any() else ""
        factors["measured"].append(f"{measured[-1] / measured[0]:.2g} ({name}{edge})")
    fig.add_hline(y=1, line={"color": MUTED, "width": 1})
    text = (
        f"With {epochs[-1] / epochs[0]:,g} times the epochs the model's rates change by factors of "
        f"{' and '.join(factors['model'])}"
    )
    if len(rows) > 1:
        reach = f"{rows.epochs.iloc[-1] / rows.epochs.iloc[0]:,g} times the epochs"
        text += f"; measured, with {reach}: {' and '.join(factors['measured'])}"
    fig.update_layout(title={"text": text})
    note = f"{MODEL_NOTE} The marks of the two rates stand a little apart, so that both show."
    return provenance(fig, source(reading).and_also(note))
