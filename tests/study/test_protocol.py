"""S20's statistics: best k of n, the tuned learning rate, its bar, and the edge rule."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgdnoise.study.protocol import (
    MAX_EXTENSION,
    TEST_ACCURACY,
    TRAIN_LOSS,
    Cell,
    best_of,
    grow,
    refine,
    summarise,
    tune,
)


def cell(mean, std=0.1):
    return Cell(mean, std, 5, 5, 4)


def test_s20_keeps_12_of_15_and_5_of_7_in_figure_3():
    assert best_of(15) == 12
    assert best_of(5) == 4
    assert best_of(3) == 2
    assert best_of(1) == 1
    assert best_of(7, 5 / 7) == 5


def test_best_k_by_hand():
    got = summarise([90.0, 94.0, 92.0, 93.0, 91.0], TEST_ACCURACY)
    assert got.mean == pytest.approx((94 + 92 + 93 + 91) / 4)
    assert got.std == pytest.approx(math.sqrt(((1.5**2 + 0.5**2) * 2) / 3))
    assert summarise([0.3, 0.1, 0.2, 0.5, 0.4], TRAIN_LOSS).mean == pytest.approx(0.25)


def test_selection_inflates_as_reference_says():
    # Gaussian runs, best 12 of 15: the mean is 0.33 σ too high, and 0.76 of the spread is left.
    values = np.random.default_rng(0).standard_normal((20_000, 15))
    cells = [summarise(row, TEST_ACCURACY) for row in values]
    assert np.mean([c.mean for c in cells]) == pytest.approx(0.33, abs=0.01)
    assert np.mean([c.std for c in cells]) == pytest.approx(0.76, abs=0.02)


def test_diverged_runs_rank_last_and_too_many_make_a_cell_invalid():
    one = summarise([math.nan, 1.0, 2.0, 3.0, 4.0], TEST_ACCURACY)
    assert one.valid
    assert one.mean == pytest.approx(2.5)
    two = summarise([math.nan, math.inf, 2.0, 3.0, 4.0], TEST_ACCURACY)
    assert not two.valid
    assert math.isnan(two.mean)


def test_tuned_point_and_its_bar():
    cells = {(0,): cell(90.0), (1,): cell(92.0, 0.5), (2,): cell(91.6), (3,): cell(80.0)}
    tuned = tune(cells, TEST_ACCURACY)
    assert tuned.point == (1,)
    # Within one standard deviation of the optimum's mean, the optimum's own: 91.6 ≥ 92 − 0.5.
    assert tuned.bar_range() == (1, 2)
    assert tuned.bound == (0,)
    assert tuned.at_low == (False,)
    assert tuned.at_high == (False,)
    loss = tune({p: Cell(100 - c.mean, c.std, 5, 5, 4) for p, c in cells.items()}, TRAIN_LOSS)
    assert loss.point == (1,)


def test_an_optimum_on_the_edge_is_a_bound():
    rising = {(k,): cell(90.0 + k) for k in range(4)}
    assert tune(rising, TEST_ACCURACY).bound == (1,)
    falling = {(k,): cell(90.0 - k) for k in range(4)}
    assert tune(falling, TEST_ACCURACY).bound == (-1,)


def test_a_diverged_learning_rate_closes_the_grid():
    cells = {(k,): cell(90.0 + k) for k in range(3)} | {(3,): Cell(math.nan, math.nan, 5, 0, 4)}
    tuned = tune(cells, TEST_ACCURACY)
    assert tuned.point == (2,)
    assert tuned.bound == (0,)
    assert tune({(3,): cells[(3,)]}, TEST_ACCURACY) is None


def test_ties_go_to_the_smallest_learning_rate():
    assert tune({(1,): cell(90.0), (0,): cell(90.0)}, TEST_ACCURACY).point == (0,)


def test_grid_grows_by_three_steps_a_side_and_no_more():
    frozen = ((0, 3),)
    grid = frozen
    sizes = []
    for _ in range(6):
        rising = {(k,): cell(90.0 + k) for k in range(grid[0][0], grid[0][1] + 1)}
        grid = grow(grid, frozen, [tune(rising, TEST_ACCURACY)])
        sizes.append(grid)
    assert sizes[:3] == [((0, 4),), ((0, 5),), ((0, 6),)]
    assert sizes[3:] == [((0, 3 + MAX_EXTENSION),)] * 3


def test_a_bar_that_touches_the_edge_grows_the_grid_too():
    cells = {(0,): cell(91.95), (1,): cell(92.0), (2,): cell(90.0)}
    assert grow(((0, 2),), ((0, 2),), [tune(cells, TEST_ACCURACY)]) == ((-1, 2),)


def test_where_everything_diverged_the_grid_grows_downwards():
    assert grow(((0, 2),), ((0, 2),), [None]) == ((-1, 2),)


@given(
    st.lists(st.floats(0, 100), min_size=3, max_size=9),
    st.floats(0, 5),
)
def test_the_optimum_lies_in_its_bar_and_nothing_beats_it(means, std):
    cells = {(k,): cell(mean, std) for k, mean in enumerate(means)}
    tuned = tune(cells, TEST_ACCURACY)
    assert tuned.point in tuned.bar
    assert tuned.cell.mean == max(means)
    assert all(cells[p].mean >= tuned.cell.mean - std for p in tuned.bar)
    outside = [c.mean for p, c in cells.items() if p not in tuned.bar]
    assert all(mean < tuned.cell.mean - std for mean in outside)


def test_two_axes_grow_on_their_own():
    cells = {(a, b): cell(90.0 + a - b**2) for a in range(3) for b in range(-1, 2)}
    assert grow(((0, 2), (-1, 1)), ((0, 2), (-1, 1)), [tune(cells, TEST_ACCURACY)]) == (
        (0, 3),
        (-1, 1),
    )


def hill(*means, at=-1.0):
    """Complete cells a step apart, an infinite mean where runs are lost."""
    lost = Cell(math.nan, math.nan, 5, 0, 4)
    return {(at + k,): cell(mean) if math.isfinite(mean) else lost for k, mean in enumerate(means)}


def refined(cells, spacing, objective=TEST_ACCURACY):
    return refine(cells, tune(cells, objective), spacing, objective)


def test_the_first_halving_is_made_everywhere():
    for cells in (hill(90, 92, 91), hill(90, 92, math.inf), hill(math.inf, 92, 91)):
        assert refined(cells, 0.5) == [(-0.5,), (0.5,)]
    loss = {p: Cell(-c.mean, c.std, 5, 5, 4) for p, c in hill(90, 92, 91).items()}
    assert refined(loss, 0.5, TRAIN_LOSS) == [(-0.5,), (0.5,)]


def halved(left, top, right):
    """Cells half a step about the best, on a grid of steps that it has outside of them."""
    near = {(k / 2,): one for (k,), one in hill(left, top, right).items()}
    return hill(80, top, 80) | near


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("left", "right", "again"),
    [
        # The vertex lies at (right − left) / (drops) / 2 of the spacing: 0.35 is the bar.
        (91.0, 91.0, False),
        (90.0, 91.64, False),
        (90.0, 91.66, True),
        (91.64, 90.0, False),
        (91.66, 90.0, True),
        (90.0, 92.0, True),
        (math.inf, 91.0, True),
        (91.0, math.inf, True),
        (92.0, 92.0, True),
    ],
)
def test_the_next_halving_is_made_beside_a_cliff_alone(left, right, again, sign):
    cells = halved(left, 92.0, right)
    tuned = dataclasses.replace(tune(hill(80, 92, 80), TEST_ACCURACY), point=(0.0,))
    objective = TEST_ACCURACY
    if sign < 0:
        cells = {p: dataclasses.replace(c, mean=-c.mean) for p, c in cells.items()}
        objective = TRAIN_LOSS
    wanted = [(-0.25,), (0.25,)] if again else []
    assert refine(cells, tuned, 0.25, objective) == wanted


def test_bounds_and_what_is_lost_are_not_refined():
    for cells in (hill(92, 91, 90), hill(90, 91, 92), hill(math.inf, math.inf, math.inf)):
        assert refined(cells, 0.5) == refined(cells, 0.25) == []


def test_an_objective_knows_its_direction_and_its_words():
    assert (TEST_ACCURACY.sign, TRAIN_LOSS.sign) == (1, -1)
    assert (TEST_ACCURACY.name, TRAIN_LOSS.name) == ("test_accuracy", "train_loss")
    assert TEST_ACCURACY.purpose == "for test accuracy"
    assert TRAIN_LOSS.purpose == "for training loss"
