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
