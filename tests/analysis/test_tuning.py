"""Analysis against made-up records whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from made_up import noisy, reading, two_regimes

from sgdnoise.analysis.intervals import pooled_variance
from sgdnoise.analysis.tuning import best_means
from sgdnoise.study.protocol import TEST_ACCURACY, TRAIN_LOSS, summarise


def test_best_means_is_the_protocols_own_statistic():
    table = np.random.default_rng(1).normal(size=(6, 15))
    table[0, :4] = np.nan
    table[1, :2] = np.nan
    for objective in (TEST_ACCURACY, TRAIN_LOSS):
        got = best_means(table, objective, 0.8)
        want = [summarise(row, objective).mean for row in table]
        np.testing.assert_allclose(got, want, equal_nan=True)
    assert math.isnan(best_means(table, TEST_ACCURACY, 0.8)[0])


def test_the_variance_is_that_of_the_rates_that_are_alike():
    two = reading("constant-epoch", "digits", 5, noisy(two_regimes))
    for key, one in two.tuned().items():
        tuned = one.state.tuned["test_accuracy"]
        assert tuned is not None
        about = [point for point, near in zip(one.points, one.about, strict=True) if near]
        assert tuned.point in about
        assert set(about) <= set(tuned.bar)
        fresh = two.reached(key)
        values = [two.known[run]["test_accuracy"] for run in one.state.fresh_runs]
        assert fresh.value == pytest.approx(np.mean(values))
        groups = [values, *one.table[one.about]]
        assert (fresh.error, fresh.dof) == pytest.approx(
            (lambda v, d: (math.sqrt(v / 5), d))(*pooled_variance(groups))
        )


def test_what_was_reached_of_a_loss_is_its_log():
    made = reading(
        "unlimited-epochs", "digits", 3, noisy(lambda c, r: 98 - r * r, lambda c, r: 0.5)
    )
    key = made.states[0].sweep.key
    for found in (made.reached(key, "train_loss"), made.best(key, "train_loss")):
        assert found.value == pytest.approx(-1.0)
        assert found.error == pytest.approx(0.0, abs=1e-9)


def test_a_loss_shares_its_variance_with_no_other_rate():
    rng = np.random.default_rng(0)

    def ending(config):
        rate = math.log2(config.effective_learning_rate)
        loud = 1.0 if abs(rate) < 0.1 else 0.01  # near its best rate, 2⁰
        octaves = loud * rng.standard_normal()
        accuracy = 98 - 0.1 * rate**2 + 0.2 * rng.standard_normal()
        return {"test_accuracy": accuracy, "train_loss": 2.0**octaves}

    made = reading("constant-epoch", "digits", 5, ending)
    tried = 0
    for key, one in made.tuned().items():
        tuned = one.state.tuned["test_accuracy"]
        if tuned is None or one.about.sum() < 2:
            continue
        tried += 1
        row = one.points.index(tuned.point)
        assert list(np.flatnonzero(one.alike(TRAIN_LOSS))) == [row]
        assert (one.alike(TEST_ACCURACY) == one.about).all()
        runs = [one.state.sweep.config(tuned.point, seed).id for seed in one.seeds]
        fresh, tuning = (
            [-math.log2(made.known[run]["train_loss"]) for run in some]
            for some in (one.state.fresh_runs, runs)
        )
        found = made.reached(key, "train_loss")
        assert (found.error, found.dof) == pytest.approx(
            (lambda v, d: (math.sqrt(v / 5), d))(*pooled_variance([fresh, tuning]))
        )
    assert tried > 5
