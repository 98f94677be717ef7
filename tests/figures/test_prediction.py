"""The noisy quadratic model in reduced units, beside made-up and known measurements."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from sgdnoise.analysis.intervals import Interval
from sgdnoise.analysis.regimes import Regimes
from sgdnoise.analysis.tuning import key_name
from sgdnoise.config import make_config
from sgdnoise.experiments import EXPERIMENTS, advance
from sgdnoise.figures import prediction
from sgdnoise.figures.theme import Source
from sgdnoise.schedule import hold_then_decay
from sgdnoise.theory import nqm
from sgdnoise.theory.nqm import EpochBudget, StepBudget, TunedCurve

NOTE = Source("made up", "records/digits/x.html")


class Tuned:
    """As much of a tuning as the predictions read."""

    def __init__(self, sweep, peak):
        self.state = advance(sweep, 1, {})
        self.peak = Interval(peak, peak - 0.5, peak + 0.5)


def tunings(name, peak):
    sweeps = EXPERIMENTS[name].sweeps["digits"]()
    return {sweep.key: Tuned(sweep, peak(dict(sweep.key))) for sweep in sweeps}


def regimes(slope=1.0, boundary=32.0, level=2.0):
    def exact(value):
        return Interval(value, value * 0.9, value * 1.1)

    return Regimes(exact(slope), exact(boundary), exact(level), True)


def test_the_units_of_an_exact_corner_are_its_own():
    sizes = 2 ** np.arange(12)
    rate = 0.5 * np.minimum(sizes / 64.0, 1.0)
    curve = TunedCurve(sizes, sizes, rate, rate, rate, np.full(12, "reached", dtype=object))
    assert prediction.units(curve) == pytest.approx((1.0, 64.0, 0.5), rel=1e-6)


def test_the_budget_is_that_of_the_runs():
    epochs = prediction.budget_of(tunings("constant-epoch", lambda key: 0.0))
    assert epochs == EpochBudget(40.0, 1024)
    assert prediction.budget_of(tunings("constant-step", lambda key: 0.0)) == StepBudget(1280)


def test_the_models_ratios_are_those_of_the_critical_learning_rates():
    tuned = tunings("constant-epoch", lambda key: math.log2(min(key["batch_size"], 32)) - 5)
    model = prediction.curves(tuned)
    assert list(model) == ["sgd", "momentum"]
    table = prediction.ratios_table({"sgd": regimes(), "momentum": regimes(1, 64, 8)}, model)
    rows = table.set_index("")
    # (1 + m) / (1 − m) = 19 for the critical effective learning rates at m = 0.9.
    assert float(rows.model["learning rate beyond it, momentum over plain SGD"]) == pytest.approx(
        19, rel=0.05
    )
    assert float(rows.model["boundary, momentum over plain SGD"]) == pytest.approx(19, rel=0.1)
    assert float(rows.model["slope below the boundary, SGD"]) == pytest.approx(1, abs=0.02)
    assert rows.measured["boundary, momentum over plain SGD"] == "2"
    assert rows.measured["learning rate beyond it, momentum over plain SGD"] == "4"


def test_marks_and_lines_share_their_units():
    tuned = tunings("constant-epoch", lambda key: math.log2(min(key["batch_size"], 32)) - 4)
    model = prediction.curves(tuned)
    fits = {"sgd": regimes(), "momentum": regimes()}
    fig = prediction.rates_in_reduced_units(tuned, fits, model, NOTE)
    marks = {trace.name: trace for trace in fig.data}["SGD, measured"]
    # B over 32, 2 · min(B, 32)/32 over 2: a corner at (1, 1).
    sizes = 2.0 ** np.arange(11)
    np.testing.assert_allclose(marks.x, sizes / 32)
    np.testing.assert_allclose(marks.y, np.minimum(sizes / 32, 1))
    np.testing.assert_allclose(marks.error_y.array, marks.y * (2**0.5 - 1))
    np.testing.assert_allclose(marks.error_y.arrayminus, marks.y * (1 - 2**-0.5))
    assert marks.customdata[0] == "sgd-1"
    line = {trace.name: trace for trace in fig.data}["SGD, model"]
    knee = int(np.argmin(np.abs(np.log(np.asarray(line.x)))))
    assert 0.5 < line.y[knee] <= 1.2
    assert fig.layout.meta["records"] == NOTE.records

    optima = pd.DataFrame(
        [
            {
                **dict(key),
                "key": key,
                "sweep": key_name(key),
                "train_loss_mean": 0.1 * dict(key)["batch_size"],
            }
            for key in tuned
        ]
    )
    fig = prediction.losses_in_reduced_units(tuned, optima, fits, model, NOTE)
    traces = {trace.name: trace for trace in fig.data}
    np.testing.assert_allclose(traces["SGD, measured"].y, sizes)
    assert traces["SGD, model"].y[0] == 1
    assert np.all(np.diff(traces["SGD, model"].y) > -1e-3)


def test_over_budgets_the_model_is_tuned_for_the_runs_own_steps():
    tuned = tunings("unlimited-epochs", lambda key: -math.log2(key["epochs"]))
    tuned = {key: one for key, one in tuned.items() if "weight_decay" not in dict(key)}
    epochs, rates = prediction.rates_over_budgets(tuned)
    np.testing.assert_allclose(epochs, 10.0 * 2 ** np.arange(8))
    # Independently: 40 epochs of 1,024 examples at B = 8 are 5,120 steps; a grid of rates.
    steps = 5120
    grid = np.geomspace(0.01, 2, 200)
    pieces = nqm.monotone_segments(hold_then_decay(steps), steps)
    losses = nqm.loss_under_schedule(nqm.spectrum("binned"), grid, 8, pieces, 0.9)[:, -1]
    assert rates[2] == pytest.approx(grid[int(np.argmin(losses))] / 0.1, rel=0.03)
    fig = prediction.rates_relative_to_first({"train_loss": tuned}, NOTE)
    np.testing.assert_allclose(fig.data[0].x, epochs / 10)
    np.testing.assert_allclose(fig.data[0].y, 10 / epochs)
    np.testing.assert_allclose(fig.data[1].y, rates / rates[0])


def test_a_tuned_pair_beats_its_neighbours_and_the_one_rate_schedule():
    config = make_config(
        dataset="digits",
        model="digits-mlp",
        batch_size=8,
        learning_rate=0.1,
        momentum=0.9,
        epochs=80.0,
    )
    model, steps = nqm.spectrum("binned"), 10240

    def loss(initial, final):
        factor = (initial / final) ** (1 / 10)
        pieces = nqm.monotone_segments(hold_then_decay(steps, factor), steps)
        return float(nqm.loss_under_schedule(model, initial * 0.1, 8, pieces, 0.9)[..., -1])

    initial, final = prediction.tuned_pair(config)
    best = loss(initial, final)
    for a, b in ((1.2, 1), (1 / 1.2, 1), (1, 2), (1, 0.5)):
        assert loss(initial * a, final * b) >= best * (1 - 1e-9)
    assert best <= nqm.tuned_under_schedule(model, 8, steps, 0.9)[1] * 1.001


def test_pairs_are_drawn_over_their_first_values():
    tuned = tunings("initial-final-lr", lambda key: 0.0)
    pairs = pd.DataFrame(
        {
            "objective": ["train_loss", "train_loss", "test_accuracy"],
            "epochs": [80, 20, 20],
            "initial": [-3, -2, 5],
            "final": [-9, -7, 5],
        }
    )
    fig = prediction.pairs_relative_to_first(tuned, pairs, NOTE)
    traces = {trace.name: trace for trace in fig.data}
    measured = traces["initial, measured for the training loss"]
    np.testing.assert_allclose(measured.x, [1, 4])
    np.testing.assert_allclose(measured.y, [1, 0.5])
    np.testing.assert_allclose(traces["final, measured for the training loss"].y, [1, 0.25])
    assert traces["final, model"].y[0] == 1
    assert traces["final, model"].y[-1] < traces["initial, model"].y[-1]
