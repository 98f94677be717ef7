"""Intervals by Student's t: against scipy's own tests, and against simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from sgdnoise.analysis.intervals import (
    Estimate,
    Interval,
    combined,
    pooled_variance,
    quantile,
    slope_through,
    spread_ratio,
)


def test_a_mean_has_the_interval_of_scipys_t_test():
    values = np.array([1.0, 2.0, 4.0, 4.5])
    mean = Estimate.mean(values)
    theirs = stats.ttest_1samp(values, 0.0)
    ci = theirs.confidence_interval(0.95)
    assert (mean.value, mean.dof) == (pytest.approx(2.875), 3)
    assert (mean.interval.low, mean.interval.high) == pytest.approx((ci.low, ci.high))
    assert mean.p == pytest.approx(theirs.pvalue)
    wider = mean.at(0.99)
    assert wider.high == pytest.approx(theirs.confidence_interval(0.99).high)


def test_a_difference_is_welchs():
    rng = np.random.default_rng(0)
    a, b = rng.normal(1, 1, 5), rng.normal(0, 3, 9)
    gap = Estimate.mean(a) - Estimate.mean(b)
    theirs = stats.ttest_ind(a, b, equal_var=False)
    ci = theirs.confidence_interval(0.95)
    assert gap.p == pytest.approx(theirs.pvalue)
    assert (gap.interval.low, gap.interval.high) == pytest.approx((ci.low, ci.high))


def test_groups_alike_pool_their_variance():
    rng = np.random.default_rng(1)
    a, b = rng.normal(1, 1, 4), rng.normal(0, 1, 6)
    variance, dof = pooled_variance([a, b])
    assert dof == 8
    # The equal-variance t-test pools the same two groups.
    error = math.sqrt(variance * (1 / 4 + 1 / 6))
    theirs = stats.ttest_ind(a, b)
    assert (a.mean() - b.mean()) / error == pytest.approx(theirs.statistic)
    mean = Estimate.pooled(a, [a, b])
    assert (mean.error, mean.dof) == (pytest.approx(math.sqrt(variance / 4)), 8)


def test_lost_runs_do_not_count_and_a_single_one_has_no_interval():
    assert pooled_variance([[1.0, math.nan], [2.0]])[1] == 0
    assert pooled_variance([[1.0, 3.0, math.nan]]) == (2.0, 1)
    three = Estimate.pooled([1.0, 3.0, math.nan], [[1.0, 3.0, math.nan]])
    # The error is by the two that lived, not by three.
    assert (three.value, three.error) == (2.0, pytest.approx(1.0))
    single = Estimate.mean([1.0])
    assert single.value == 1.0
    assert math.isnan(single.interval.low)
    assert math.isnan(single.p)
    assert math.isnan(Estimate.mean([]).value)
    assert (single - three).dof == 0
    assert math.isnan((single - three).interval.low)


def test_the_average_of_estimates_is_that_of_their_values():
    one, two = Estimate(1.0, 0.3, 4), Estimate(2.0, 0.4, 4)
    both = Estimate.average([one, two])
    assert (both.value, both.error) == (1.5, pytest.approx(0.25))
    assert both.dof == pytest.approx(0.5**4 / (0.3**4 / 4 + 0.4**4 / 4))


def test_without_spread_an_estimate_is_exact():
    exact = Estimate.mean([2.0, 2.0, 2.0])
    assert (exact.interval.low, exact.interval.high, exact.p) == (2.0, 2.0, 0.0)
    assert Estimate.mean([0.0, 0.0]).p == 1.0


def test_the_difference_of_intervals_of_any_shape_keeps_open_sides_open():
    # Of symmetric intervals it is the usual one.
    gap = Interval(3.0, 2.7, 3.3) - Interval(1.0, 0.6, 1.4)
    assert (gap.value, gap.low, gap.high) == pytest.approx((2.0, 1.5, 2.5))
    opened = Interval(3.0, 2.7, math.inf) - Interval(1.0, 0.6, 1.4)
    assert (opened.low, opened.high) == pytest.approx((1.5, math.inf))
    other = Interval(3.0, 2.7, 3.3) - Interval(1.0, 0.6, math.inf)
    assert other.low == -math.inf
    assert other.high == pytest.approx(2 + 0.5)


@pytest.mark.parametrize("seeds", [3, 5, 15])
def test_differences_hold_the_truth_as_often_as_they_say(seeds):
    rng = np.random.default_rng(seeds)
    held = 0
    for _ in range(1000):
        sides = []
        for mean, spread in ((1.0, 1.0), (0.0, 2.0)):
            groups = spread * rng.standard_normal((3, seeds))
            sides.append(Estimate.pooled(mean + groups[0], groups))
        mine, other = sides
        held += (mine - other).interval.holds(1.0)
    assert 930 <= held <= 970


def test_students_t_is_wide_for_few_seeds():
    assert quantile(2) == pytest.approx(4.303, abs=1e-3)
    assert quantile(1e9) == pytest.approx(1.960, abs=1e-3)
    assert math.isnan(quantile(0))


def test_two_one_sided_tests_are_the_interval_turned_round():
    gap = Estimate(0.2, 0.1, 7)
    # At the margin that the 95 % interval just reaches, each side has 2.5 %.
    reach = gap.interval.high
    assert gap.p_within(reach) == pytest.approx(0.025)
    assert gap.p_within(reach + 0.1) < 0.025 < gap.p_within(reach - 0.1)
    assert gap.p_within(0.2) == pytest.approx(0.5)
    assert gap.p_within(0.1) > 0.5
    assert Estimate(1.2, 0.1, 7).p_within(reach, target=1.0) == pytest.approx(0.025)
    assert math.isnan(Estimate(1.0, math.nan, 0).p_within(2.0))
    assert Estimate(1.0, 0.0, 3).p_within(2.0) == 0.0
    assert Estimate(3.0, 0.0, 3).p_within(2.0) == 1.0


def test_weights_combine_intervals_as_variances_do():
    one, two = Interval(3.0, 2.7, 3.3), Interval(1.0, 0.6, 1.4)
    both = combined([(2.0, one), (-0.5, two), (0.0, Interval(9.0, -math.inf, math.inf))])
    assert (both.value, both.half) == pytest.approx((5.5, math.hypot(0.6, 0.2)))
    # An uneven interval, its weight negative, gives its upper side to the lower bound.
    uneven = combined([(-2.0, Interval(1.0, 0.9, 1.4)), (1.0, Interval(0.0, -0.6, 0.1))])
    assert (uneven.low, uneven.high) == pytest.approx((-3.0, -2 + math.hypot(0.2, 0.1)))
    opened = combined([(0.5, Interval(1.0, 0.5, math.inf)), (-0.5, one)])
    assert (opened.low, opened.high) == (pytest.approx(-1 - math.hypot(0.25, 0.15)), math.inf)


def test_the_slope_through_intervals_is_least_squares_of_their_values():
    x, y = [7.0, 8.0, 9.5, 10.0], [1.0, 0.5, 2.0, 2.5]
    errors = [0.3, 0.1, 0.2, 0.4]
    found = slope_through(x, [Interval(v, v - e, v + e) for v, e in zip(y, errors, strict=True)])
    assert found.value == pytest.approx(np.polyfit(x, y, 1)[0])
    # Its error by simulation: normal values whose 95 % intervals have these halves.
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(20_000, 4)) * np.array(errors) / stats.norm.ppf(0.975)
    slopes = np.polyfit(x, (np.array(y) + noise).T, 1)[0]
    assert found.half == pytest.approx(stats.norm.ppf(0.975) * slopes.std(), rel=0.03)
    assert np.mean(abs(slopes - found.value) <= found.half) == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize("x", [[], [7.0], [7.0, 7.0]])
def test_one_place_has_no_slope(x):
    assert math.isnan(slope_through(x, [Interval(1.0, 0.0, 2.0)] * len(x)).value)


@pytest.mark.parametrize("seeds", [5, 15])
@pytest.mark.parametrize("step", [0.0, 100 / 773])
def test_spreads_hold_the_truth_as_often_as_they_say(seeds, step):
    """Also of accuracies that go in whole examples, each a good part of their spread."""
    rng = np.random.default_rng(seeds)
    held = 0
    for _ in range(1000):
        wide, narrow = 0.5 * rng.standard_normal(seeds), 0.25 * rng.standard_normal(seeds)
        if step:
            # As scattered as the rounded values are, which rounding adds a little to.
            wide, narrow = (step * np.round(values / step) for values in (wide, narrow))
        truth = np.log2((0.5**2 + step**2 / 12) / (0.25**2 + step**2 / 12)) / 2
        held += spread_ratio(wide, narrow).holds(truth)
    assert 930 <= held <= 970


def test_a_ratio_of_spreads_is_that_of_f():
    found = spread_ratio([1.0, 3.0, math.nan, 5.0], [1.0, 2.0, 3.0])
    assert found.value == pytest.approx(1.0)
    # F of 2 and 2 degrees of freedom is a ratio of exponentials: its quantile is p / (1 − p).
    assert 2 ** (2 * (found.high - found.value)) == pytest.approx(0.975 / 0.025)
    assert 2 ** (2 * (found.value - found.low)) == pytest.approx(0.975 / 0.025)
    turned = spread_ratio([1.0, 2.0, 3.0], [1.0, 3.0, 5.0])
    assert (turned.value, turned.low, turned.high) == pytest.approx(
        (-found.value, -found.high, -found.low)
    )
    wider = spread_ratio([1.0, 3.0, 5.0], [1.0, 2.0, 3.0], 0.975)
    assert wider.low < found.low < found.high < wider.high
    for lone in ([1.0], [], [2.0, 2.0], [math.nan, 1.0]):
        assert math.isnan(spread_ratio(lone, [1.0, 2.0]).value)
        assert math.isnan(spread_ratio([1.0, 2.0], lone).low)
