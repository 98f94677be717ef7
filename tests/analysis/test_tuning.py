"""Analysis against made-up records whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sgdnoise.analysis.regimes import fit_regimes
from sgdnoise.analysis.tuning import best_means, parabola_peak, resampled_peaks
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


@pytest.mark.parametrize("peak", [-1.7, 0.0, 0.25, 2.49])
def test_parabola_finds_the_vertex_of_a_parabola(peak):
    x = np.arange(-5.0, 6.0)
    y = 90 - 0.3 * (x - peak) ** 2
    assert parabola_peak(x, y, TEST_ACCURACY) == pytest.approx(peak, abs=1e-9)
    assert parabola_peak(x, -y, TRAIN_LOSS) == pytest.approx(peak, abs=1e-9)


def test_parabola_falls_back_to_the_argmax_and_stays_inside():
    x = np.arange(4.0)
    assert parabola_peak(x, np.array([1.0, 2.0, np.nan, np.nan]), TEST_ACCURACY) == 1.0
    assert parabola_peak(x, np.array([0.0, 1.0, 2.0, 4.0]), TEST_ACCURACY) == 3.0
    assert parabola_peak(x, np.array([0.0, 4.0, np.nan, 3.0]), TEST_ACCURACY) == 1.0
    # A cliff on one side moves it by half a step at most.
    assert parabola_peak(x, np.array([97.9, 98.0, 10.0, 10.0]), TEST_ACCURACY) >= 0.5
    assert math.isnan(parabola_peak(x, np.full(4, np.nan), TEST_ACCURACY))


def test_the_interval_covers_the_true_optimum_as_often_as_it_says():
    rng = np.random.default_rng(2)
    x, truth, hits = np.arange(-3.0, 4.0), 0.4, 0
    for trial in range(60):
        table = 90 - 0.5 * (x[:, None] - truth) ** 2 + rng.normal(0, 0.5, (7, 15))
        low, high = np.quantile(
            resampled_peaks(x, table, TEST_ACCURACY, 1.0, seed=trial), [0.025, 0.975]
        )
        hits += low <= truth <= high
    # 95% nominal; a bootstrap of 15 runs is a little short. Below 80% would be another thing.
    assert hits >= 48


def test_regimes_say_whether_a_flat_part_was_seen():
    rng = np.random.default_rng(3)
    sizes = 2 ** np.arange(11)
    flat = np.minimum(np.arange(11.0), 6)
    seen = fit_regimes(sizes, flat, flat + rng.normal(0, 0.1, (100, 11)))
    assert seen.flat_seen
    assert seen.boundary.low <= 64 <= seen.boundary.high
    assert seen.slope.low <= 1 <= seen.slope.high
    line = np.arange(11.0)
    unseen = fit_regimes(sizes, line, line + rng.normal(0, 0.1, (100, 11)))
    assert not unseen.flat_seen
