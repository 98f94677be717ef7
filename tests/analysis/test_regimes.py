"""The two regimes and straight lines: against scipy, and against made-up truths."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from sgdnoise.analysis.locate import Located
from sgdnoise.analysis.regimes import LEAST_CARRIED, fit_regimes, line_slope
from sgdnoise.analysis.simulation import FALL, KNEE, SLOPE, regimes_of, slope_coverage

SIZES = [2**k for k in range(11)]


def peaks(values, by="parabola"):
    return [Located(float(v), float(v) - 0.1, float(v) + 0.1, by) for v in values]


def hinge(knee, slope=1.0, noise=0.0, seed=0):
    x = np.arange(11.0)
    return slope * np.minimum(x - knee, 0) + noise * np.random.default_rng(seed).standard_normal(11)


def test_without_noise_the_fit_is_exact():
    fit = fit_regimes(SIZES, peaks(hinge(5.0)))
    assert fit.slope.value == pytest.approx(1.0, abs=1e-6)
    assert fit.boundary.value == pytest.approx(32, rel=1e-3)
    assert fit.level.value == pytest.approx(1.0, abs=1e-6)
    assert (fit.carried, fit.flat_seen, fit.bends) == (5, True, True)
    assert fit.slope.half < 0.02


def test_the_intervals_are_as_wide_as_the_scatter_makes_them():
    near, far = (fit_regimes(SIZES, peaks(hinge(5.0, noise=n))) for n in (0.05, 0.2))
    assert far.slope.half > 3 * near.slope.half
    assert near.slope.holds(1.0)
    assert near.boundary.holds(32)


def test_a_line_without_a_flat_part_has_an_open_boundary():
    fit = fit_regimes(SIZES, peaks(hinge(10.0, noise=0.1)))
    assert math.isinf(fit.boundary.high)
    assert not fit.flat_seen
    assert fit.slope.holds(1.0)
    assert not fit_regimes(SIZES, peaks(hinge(10.0))).bends


def test_a_bend_may_be_fitted_and_not_be_sure():
    fit = fit_regimes(SIZES, peaks(hinge(9.0, noise=0.5, seed=2)))
    assert fit.bends
    assert not fit.flat_seen
    assert fit.boundary.value < SIZES[-1]


def test_a_slope_that_too_few_batch_sizes_carry_is_no_estimate():
    two = fit_regimes(SIZES, peaks(hinge(1.5, noise=0.02)))
    assert two.carried == LEAST_CARRIED - 1
    assert math.isfinite(two.slope.value)
    assert math.isnan(two.slope.low)
    assert math.isfinite(fit_regimes(SIZES, peaks(hinge(3.5, noise=0.02))).slope.low)


def test_bounds_are_left_out():
    whole = peaks(hinge(5.0, noise=0.05))
    bound = [*whole[:-1], Located(20.0, math.nan, math.nan, "edge")]
    fit, without = fit_regimes(SIZES, bound), fit_regimes(SIZES[:-1], whole[:-1])
    assert fit == without
    few = fit_regimes(SIZES[:4], [*whole[:3], bound[-1]])
    assert math.isnan(few.slope.value)
    assert math.isnan(few.boundary.value)
    assert not few.flat_seen
    assert not few.bends


def test_a_lines_slope_is_scipys_with_its_interval():
    rng = np.random.default_rng(4)
    x, y = np.arange(8.0), -0.5 * np.arange(8.0) + 0.1 * rng.standard_normal(8)
    theirs = stats.linregress(x, y)
    reach = stats.t.ppf(0.975, 6) * theirs.stderr
    slope = line_slope(x.tolist(), y.tolist())
    assert (slope.value, slope.half) == (pytest.approx(theirs.slope), pytest.approx(reach))
    gap = line_slope([*x, 8.0], [*y, math.nan])
    assert gap == slope
    assert math.isnan(line_slope([0.0, 1.0], [0.0, 2.0]).low)
    assert line_slope([0.0, 1.0], [0.0, 2.0]).value == 2.0
    assert math.isnan(line_slope([0.0, 1.0], [0.0, math.nan]).value)


@pytest.mark.parametrize("cliff", [math.inf, 0.5])
def test_slope_and_boundary_hold_the_truth_as_often_as_they_say(cliff):
    rng = np.random.default_rng(7)
    fits = [regimes_of(cliff, 5, rng) for _ in range(60)]
    slopes = [fit.slope.holds(SLOPE) for fit in fits if math.isfinite(fit.slope.low)]
    boundaries = [fit.boundary.holds(2**KNEE) for fit in fits]
    # 95 % of 60 is 57; 52 or fewer would come out once in eighty times.
    assert len(slopes) >= 55
    assert np.mean(slopes) > 52 / 60
    assert np.mean(boundaries) > 52 / 60


def test_a_slope_over_budgets_holds_the_truth_as_often_as_it_says():
    one = slope_coverage(0.5, 5, 60, np.random.default_rng(8))
    assert one.share > 52 / 60
    assert one.half < abs(FALL)
