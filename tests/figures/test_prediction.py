"""The noisy quadratic model in reduced units, beside made-up and known measurements."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from made_up import regimes

from sgdnoise.analysis import Reading, key_name
from sgdnoise.analysis.intervals import Interval
from sgdnoise.config import make_config
from sgdnoise.experiments import study_of
from sgdnoise.figures import prediction
from sgdnoise.figures import tuned as figures
from sgdnoise.schedule import hold_then_decay
from sgdnoise.study.grid import advance
from sgdnoise.theory import nqm
from sgdnoise.theory.nqm import EpochBudget, StepBudget, TunedCurve


class Tuned:
    """As much of a tuning as the predictions read."""

    def __init__(self, sweep, peak):
        self.state = advance(sweep, 1, {})
        self.peak = Interval(peak, peak - 0.5, peak + 0.5)


class MadeUp(Reading):
    """A reading of tuned rates as said, by key and objective, and of losses by key."""

    def tuned(self, objective="test_accuracy", variant=None):
        sweeps = self.study.experiment.sweeps[self.study.scale]()
        peak = self.__dict__["peaks"][objective]
        found = {sweep.key: Tuned(sweep, peak(dict(sweep.key))) for sweep in sweeps}
        return {
            key: one
            for key, one in found.items()
            if variant is None or not set(dict(key)) - {"method", "batch_size", "epochs"}
        }

    def optima(self, objective="test_accuracy", variant=None):
        loss = self.__dict__["loss"]
        return pd.DataFrame(
            [
                {
                    **dict(key),
                    "key": key,
                    "sweep": key_name(key),
                    "train_loss_mean": loss(dict(key)),
                }
                for key in self.tuned(objective, variant)
            ]
        )


def made_up(name, *, loss=None, fits=None, **peaks):
    """What an experiment at scale `digits` says when its tuned rates are these."""
    of = MadeUp(study_of(name, "digits", 1), {})
    of.__dict__.update(peaks=peaks, loss=loss, regimes=fits)
    return of


def test_the_units_of_an_exact_corner_are_its_own():
    sizes = 2 ** np.arange(12)
    rate = 0.5 * np.minimum(sizes / 64.0, 1.0)
    curve = TunedCurve(sizes, sizes, rate, rate, rate, np.full(12, "reached", dtype=object))
    assert prediction.units(curve) == pytest.approx((1.0, 64.0, 0.5), rel=1e-6)


def test_the_budget_is_that_of_the_runs():
    budgets = [
        prediction.budget_of(made_up(name, test_accuracy=lambda key: 0.0).tuned())
        for name in ("constant-epoch", "constant-step")
    ]
    assert budgets == [EpochBudget(40.0, 1024), StepBudget(1280)]


def test_the_models_ratios_are_those_of_the_critical_learning_rates():
    of = made_up(
        "constant-epoch",
        fits={"sgd": regimes(), "momentum": regimes(1.0, 64.0, 8.0)},
        test_accuracy=lambda key: math.log2(min(key["batch_size"], 32)) - 5,
    )
    assert list(prediction.curves(of)) == ["sgd", "momentum"]
    rows = prediction.ratios_table(of).set_index("")
    # (1 + m) / (1 − m) = 19 for the critical effective learning rates at m = 0.9.
    assert float(rows.model["learning rate beyond it, momentum over plain SGD"]) == pytest.approx(
        19, rel=0.05
    )
    assert float(rows.model["boundary, momentum over plain SGD"]) == pytest.approx(19, rel=0.1)
    assert float(rows.model["slope below the boundary, SGD"]) == pytest.approx(1, abs=0.02)
    assert rows.measured["boundary, momentum over plain SGD"] == "2"
    assert rows.measured["learning rate beyond it, momentum over plain SGD"] == "4"


def test_marks_and_lines_share_their_units():
    of = made_up(
        "constant-epoch",
        fits={"sgd": regimes(), "momentum": regimes()},
        loss=lambda key: 0.1 * key["batch_size"],
        test_accuracy=lambda key: math.log2(min(key["batch_size"], 32)) - 4,
    )
    fig = prediction.rates_in_reduced_units(of)
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
    (note,) = [a.text for a in fig.layout.annotations if a.name == "provenance"]
    assert note == f"{figures.provenance_line(of)} {prediction.MODEL_NOTE} Bars: 95 % intervals."
    slope = prediction.units(prediction.curves(of)["sgd"])[0]
    fitted = of.regimes["sgd"].slope.value
    assert fig.layout.title.text.startswith(
        f"The slope below the boundary: {fitted:.2f} measured, {slope:.2f} in the model (SGD); "
    )

    fig = prediction.losses_in_reduced_units(of)
    traces = {trace.name: trace for trace in fig.data}
    np.testing.assert_allclose(traces["SGD, measured"].y, sizes)
    assert traces["SGD, model"].y[0] == 1
    assert np.all(np.diff(traces["SGD, model"].y) > -1e-3)
    # 0.1 B at B = 1,024 and at 1; the model's last size is the same.
    assert fig.layout.title.text.startswith(
        "The largest batch's loss over the smallest's: 1e+03 times measured, "
        f"{traces['SGD, model'].y[-1]:.2g} in the model (SGD); "
    )


def test_a_slope_below_no_boundary_is_said_to_be_that_of_a_hinge_fit():
    def titled(**fits):
        of = made_up(
            "constant-epoch",
            fits={**{"sgd": regimes(0.9), "momentum": regimes(0.8)}, **fits},
            test_accuracy=lambda key: math.log2(min(key["batch_size"], 32)) - 4,
        )
        fig = prediction.rates_in_reduced_units(of)
        assert fig.layout.xaxis.title.text == "batch size B / bend of the hinge fit"
        model = [prediction.units(curve)[0] for curve in prediction.curves(of).values()]
        said = fig.layout.title.text
        for slope in model:
            said = said.replace(f"{slope:.2f} in the model", "m", 1)
        return said, list(prediction.ratios_table(of)[""][:2])

    unsure = regimes(
        Interval(1.39, math.nan, math.nan), boundary=Interval(253.0, 0.0, math.inf), carried=2
    )
    open_end = regimes(0.7, boundary=Interval(253.0, 16.0, math.inf))
    assert titled() == (
        "The slope below the boundary: 0.90 measured, m (SGD); "
        "0.80 measured, m (SGD with momentum 0.9)",
        ["slope below the boundary, SGD", "slope below the boundary, SGD with momentum 0.9"],
    )
    no = "bend of the fit (no boundary established)"
    assert titled(momentum=unsure) == (
        "The slope below the boundary: 0.90 measured, m (SGD); "
        "1.39 (no interval) measured, m (SGD with momentum 0.9, no boundary established)",
        ["slope below the boundary, SGD", f"slope below the {no}, SGD with momentum 0.9"],
    )
    assert titled(sgd=open_end, momentum=unsure) == (
        "No boundary is established; slopes of the hinge fits: 0.70 measured, m (SGD); "
        "1.39 (no interval) measured, m (SGD with momentum 0.9)",
        [f"slope below the {no}, SGD", f"slope below the {no}, SGD with momentum 0.9"],
    )


def test_over_budgets_the_model_is_tuned_for_the_runs_own_steps():
    of = made_up(
        "unlimited-epochs",
        test_accuracy=lambda key: -2 * math.log2(key["epochs"]),
        train_loss=lambda key: -math.log2(key["epochs"]),
    )
    epochs, rates = prediction.rates_over_budgets(of.tuned("train_loss", ()))
    np.testing.assert_allclose(epochs, 10.0 * 2 ** np.arange(8))
    # Independently: 40 epochs of 1,024 examples at B = 8 are 5,120 steps; a grid of rates.
    steps = 5120
    grid = np.geomspace(0.01, 2, 200)
    pieces = nqm.monotone_segments(hold_then_decay(steps), steps)
    losses = nqm.loss_under_schedule(nqm.spectrum("binned"), grid, 8, pieces, 0.9)[:, -1]
    assert rates[2] == pytest.approx(grid[int(np.argmin(losses))] / 0.1, rel=0.03)
    fig = prediction.rates_relative_to_first(of, ())
    test, train, model = fig.data
    assert test.name == "measured, for test accuracy"
    assert train.name == "measured, for training loss"
    for trace in (test, train, model):
        np.testing.assert_allclose(trace.x, epochs / 10)
    np.testing.assert_allclose(test.y, (10 / epochs) ** 2)
    np.testing.assert_allclose(train.y, 10 / epochs)
    np.testing.assert_allclose(model.y, rates / rates[0])


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
    of = made_up("initial-final-lr", test_accuracy=lambda key: 0.0)
    pairs = pd.DataFrame(
        {
            "objective": ["train_loss", "train_loss", "test_accuracy"],
            "epochs": [80, 20, 20],
            "initial": [-3, -2, 5],
            "final": [-9, -7, 5],
            "initial_bound": [False, False, True],
            "final_bound": [True, False, False],
        }
    )
    fig = prediction.pairs_relative_to_first(of, pairs)
    traces = {trace.name: trace for trace in fig.data}
    measured = traces["initial, measured for the training loss"]
    final = traces["final, measured for the training loss"]
    # A little apart to either side, so that none hides the other.
    np.testing.assert_allclose(measured.x, np.array([1, 4]) / prediction.SHIFT)
    np.testing.assert_allclose(final.x, np.array([1, 4]) * prediction.SHIFT)
    np.testing.assert_allclose(measured.y, [1, 0.5])
    np.testing.assert_allclose(final.y, [1, 0.25])
    assert traces["final, model"].y[0] == 1
    assert traces["final, model"].y[-1] < traces["initial, model"].y[-1]
    initial, final = (traces[f"{name}, model"].y[-1] for name in ("initial", "final"))
    # The model goes on where nothing is measured.
    model = (
        "With 16 times the epochs the model's rates change by factors of "
        f"{initial:.2g} (initial) and {final:.2g} (final)"
    )
    assert fig.layout.title.text == (
        f"{model}; measured, with 4 times the epochs: 0.5 (initial) and 0.25 (final, on an edge of "
        "its grid)"
    )
    assert prediction.pairs_relative_to_first(of, pairs[1:]).layout.title.text == model
    assert prediction.pairs_relative_to_first(of, pairs[2:]).layout.title.text == model
