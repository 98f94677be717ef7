"""Where a tuned rate lies, on hills and beside cliffs whose best rate is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sgdnoise.analysis.locate import Located, locate, scores
from sgdnoise.analysis.simulation import Hill, found
from sgdnoise.study.protocol import TEST_ACCURACY, TRAIN_LOSS

X = np.array([-3.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 3.0])


def hill(peak, x=X, seeds=5, spread=0.02, seed=0):
    noise = spread * np.random.default_rng(seed).standard_normal((len(x), seeds))
    return 98 - 0.4 * (x[:, None] - peak) ** 2 + noise


def at(table, objective=TEST_ACCURACY, x=X):
    return locate(x, table, objective, 0.8)


@pytest.mark.parametrize("peak", [-0.24, 0.0, 0.1, 0.2])
def test_on_a_hill_it_is_the_vertex(peak):
    one = at(hill(peak))
    assert one.by == "parabola"
    assert one.value == pytest.approx(peak, abs=0.05)
    assert one.low < one.value < one.high
    assert one.half < 0.1
    # To two rates on either side of the best one of the grid.
    centre = int(np.argmin(abs(X - peak)))
    assert one.fitted == tuple(X[centre - 2 : centre + 3])


def test_more_seeds_narrow_it_and_what_a_seed_adds_everywhere_does_not_count():
    few, many = at(hill(0.1, seeds=3)), at(hill(0.1, seeds=30))
    assert many.half < 0.5 * few.half
    shifted = hill(0.1) + np.arange(5.0)  # each seed by itself is another point better
    same = at(shifted)
    assert (same.value, same.low, same.high) == pytest.approx(
        (at(hill(0.1)).value, at(hill(0.1)).low, at(hill(0.1)).high)
    )


def test_a_loss_is_located_on_a_log_scale_and_the_other_way_up():
    loss = 2.0 ** -(hill(0.2) - 98)
    one, other = at(loss, TRAIN_LOSS), at(hill(0.2))
    assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))
    assert np.isnan(scores(np.array([[math.inf, math.nan, 0.0]]), TRAIN_LOSS)).all()


def test_on_an_edge_it_is_a_bound_and_no_estimate():
    for table in (hill(-4.0), hill(4.0)):
        one = at(table)
        assert one.by == "edge"
        assert not one.is_estimate
        assert math.isnan(one.low)
    assert at(hill(0.0)).is_estimate


def test_where_nothing_is_valid_there_is_nothing():
    one = at(np.full((9, 5), math.nan))
    assert (one.by, one.is_estimate) == ("nothing valid", False)
    assert math.isnan(one.value)


def test_a_single_seed_gives_a_value_without_an_interval():
    one = at(hill(0.1, seeds=1))
    assert one.by == "one seed"
    assert one.value == pytest.approx(0.1, abs=0.1)
    assert math.isnan(one.low)


def cut(table, first_lost, seeds=None):
    table = table.copy()
    table[first_lost:, : seeds or table.shape[1]] = math.nan
    return table


def test_beside_a_cliff_the_interval_is_of_rates_and_a_step_wider():
    # The best rate is 0.25 and everything from 0.5 on is lost.
    one = at(cut(hill(0.25), 5))
    assert one.by == "set"
    assert (one.low, one.high) == (-0.5, 0.5)
    # The top of the hill whose far side is cut off, and not beyond the cliff.
    assert one.value == pytest.approx(0.25, abs=0.1)
    beyond = at(cut(hill(2.0), 5))
    assert beyond.value == 0.25


def test_a_rate_is_lost_where_too_few_seeds_live():
    one_lost = hill(0.25)
    one_lost[5:, 0] = math.nan
    assert at(one_lost).by == "parabola"  # four of five are enough
    assert at(cut(hill(0.25), 5, seeds=2)).by == "set"


def test_a_drop_that_is_no_parabola_is_a_cliff_too():
    table = hill(0.1)
    table[5:] -= 20.0
    one = at(table)
    assert one.by == "set"
    assert one.low <= 0.1 <= one.high
    assert abs(one.value - 0.1) < 0.16


def test_rates_that_are_not_significantly_worse_all_belong_to_the_interval():
    table = cut(hill(0.0, spread=0.5, seeds=3), 6)
    one = at(table)
    assert one.by == "set"
    # With three seeds that scatter by half a point nothing within an octave is told apart.
    assert one.low <= -1.0
    sure = at(cut(hill(0.0, spread=0.01, seeds=15), 5))
    assert sure.half < one.half


@pytest.mark.parametrize("cliff", [math.inf, 1.0, 0.5, 0.2])
@pytest.mark.parametrize("seeds", [3, 15])
def test_the_interval_holds_the_best_rate_as_often_as_it_says(cliff, seeds):
    rng = np.random.default_rng([seeds, int(10 * min(cliff, 9))])
    held, off = [], []
    for _ in range(150):
        truth = Hill(peak=rng.uniform(-0.5, 0.5), cliff=cliff)
        one = found(truth, seeds, rng).peak
        if one.is_estimate:
            held.append(one.holds(truth.peak))
            off.append(one.value - truth.peak)
    # 95 % is meant; beside a cliff the set is a little wider than need be.
    assert len(held) > 120
    assert np.mean(held) >= 0.915
    # Neither side is preferred: a tenth of an octave is seven percent of the rate.
    assert abs(np.mean(off)) < 0.1


def test_it_is_an_interval_with_the_way_it_was_found():
    one = Located(1.0, 0.5, 1.5, "parabola")
    assert str(one) == "1 [0.5, 1.5]"
    assert one.half == 0.5
