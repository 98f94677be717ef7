"""Analysis against made-up records whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sgdnoise import analysis
from sgdnoise.analysis.tuning import best_means, parabola_peak, resampled_peaks
from sgdnoise.theory.regimes import Hinge, fit_hinge


def test_best_means_is_the_protocols_own_statistic():
    from sgdnoise.study.protocol import summarise

    table = np.random.default_rng(1).normal(size=(6, 15))
    table[0, :4] = np.nan
    table[1, :2] = np.nan
    for objective in ("test_accuracy", "train_loss"):
        got = best_means(table, objective, 0.8)
        want = [summarise(row, objective).mean for row in table]
        np.testing.assert_allclose(got, want, equal_nan=True)
    assert math.isnan(best_means(table, "test_accuracy", 0.8)[0])


@pytest.mark.parametrize("peak", [-1.7, 0.0, 0.25, 2.49])
def test_parabola_finds_the_vertex_of_a_parabola(peak):
    x = np.arange(-5.0, 6.0)
    y = 90 - 0.3 * (x - peak) ** 2
    assert parabola_peak(x, y, "test_accuracy") == pytest.approx(peak, abs=1e-9)
    assert parabola_peak(x, -y, "train_loss") == pytest.approx(peak, abs=1e-9)


def test_parabola_falls_back_to_the_argmax_and_stays_inside():
    x = np.arange(4.0)
    assert parabola_peak(x, np.array([1.0, 2.0, np.nan, np.nan]), "test_accuracy") == 1.0
    assert parabola_peak(x, np.array([0.0, 1.0, 2.0, 4.0]), "test_accuracy") == 3.0
    assert parabola_peak(x, np.array([0.0, 4.0, np.nan, 3.0]), "test_accuracy") == 1.0
    # A cliff on one side moves it by half a step at most.
    assert parabola_peak(x, np.array([97.9, 98.0, 10.0, 10.0]), "test_accuracy") >= 0.5
    assert math.isnan(parabola_peak(x, np.full(4, np.nan), "test_accuracy"))


def test_the_interval_covers_the_true_optimum_as_often_as_it_says():
    rng = np.random.default_rng(2)
    x, truth, hits = np.arange(-3.0, 4.0), 0.4, 0
    for trial in range(60):
        table = 90 - 0.5 * (x[:, None] - truth) ** 2 + rng.normal(0, 0.5, (7, 15))
        low, high = np.quantile(
            resampled_peaks(x, table, "test_accuracy", 1.0, seed=trial), [0.025, 0.975]
        )
        hits += low <= truth <= high
    # 95% nominal; a bootstrap of 15 runs is a little short. Below 80% would be another thing.
    assert hits >= 48


@pytest.mark.parametrize(
    "truth", [Hinge(1.0, 4.0, 0.0), Hinge(0.5, 6.5, -2.0), Hinge(0.8, 3.3, 1.0)]
)
def test_hinge_recovers_a_hinge(truth):
    x = np.arange(11.0)
    y = truth.level + truth.slope * np.minimum(x - truth.knee, 0)
    fit = fit_hinge(x, y[None])[0]
    assert fit.slope == pytest.approx(truth.slope, abs=0.03)
    assert fit.knee == pytest.approx(truth.knee, abs=0.06)
    assert fit.level == pytest.approx(truth.level, abs=0.03)


def test_hinge_of_a_line_puts_the_knee_at_the_end():
    x = np.arange(8.0)
    fit = fit_hinge(x, 0.7 * x[None])[0]
    assert fit.slope == pytest.approx(0.7)
    assert fit.knee == pytest.approx(7.0)
    assert math.isnan(fit_hinge(x[:3], x[None, :3])[0].slope)


def test_hinge_leaves_out_what_is_missing_row_by_row():
    x = np.arange(9.0)
    y = np.minimum(x, 5)
    holed = y.copy()
    holed[[2, 7]] = np.nan
    whole, part = fit_hinge(x, np.stack([y, holed]))
    assert part.knee == pytest.approx(whole.knee, abs=0.05)
    assert part.slope == pytest.approx(1.0, abs=0.02)


def test_hinge_is_the_best_of_a_brute_force_search():
    rng = np.random.default_rng(5)
    x = np.arange(8.0)
    y = np.minimum(x, 4.3) + rng.normal(0, 0.3, 8)
    fit = fit_hinge(x, y[None])[0]

    def loss(slope, knee, level):
        return ((level + slope * np.minimum(x - knee, 0) - y) ** 2).sum()

    for knee in np.linspace(1, 7, 61):
        design = np.stack([np.minimum(x - knee, 0), np.ones(8)], 1)
        slope, level = np.linalg.lstsq(design, y, rcond=None)[0]
        assert loss(fit.slope, fit.knee, fit.level) <= loss(slope, knee, level) + 1e-3


def test_regimes_say_whether_a_flat_part_was_seen():
    rng = np.random.default_rng(3)
    sizes = 2 ** np.arange(11)
    flat = np.minimum(np.arange(11.0), 6)
    seen = analysis.regimes(sizes, flat, flat + rng.normal(0, 0.1, (100, 11)))
    assert seen.flat_seen
    assert seen.boundary.low <= 64 <= seen.boundary.high
    assert seen.slope.low <= 1 <= seen.slope.high
    line = np.arange(11.0)
    unseen = analysis.regimes(sizes, line, line + rng.normal(0, 0.1, (100, 11)))
    assert not unseen.flat_seen
