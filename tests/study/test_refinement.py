"""How a sweep goes on: it grows, is refined about its optima, and asks for fresh seeds."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgdnoise.study.grid import FRESH_SEED, Axis, Sweep, advance
from sgdnoise.study.protocol import TEST_ACCURACY, TRAIN_LOSS

PLAIN = Sweep(
    key=(("method", "sgd"),),
    fixed=(
        ("dataset", "digits"),
        ("model", "digits-mlp"),
        ("batch_size", 32),
        ("epochs", 1.0),
        ("momentum", 0.0),
    ),
    axes=(Axis("effective_learning_rate", -2, 2),),
)
HALVED = replace(PLAIN, halvings=2)
BOTH = replace(HALVED, objectives=(TEST_ACCURACY, TRAIN_LOSS))


def peaked(best=0.1, loss_best=0.1, cliff=math.inf):
    """Endings by log₂ of the rate: a hill of accuracy and a valley of loss up to a cliff."""

    def ending(config):
        rate = math.log2(config.learning_rate)
        if rate > cliff:
            return {"test_accuracy": math.nan, "train_loss": math.nan}
        tilt = 1e-3 * (config.seed % FRESH_SEED)
        return {
            "test_accuracy": 90 - (rate - best) ** 2 + tilt,
            "train_loss": 1 + (rate - loss_best) ** 2 + tilt,
        }

    return ending


def finish(sweep, ending, seeds=3, chosen=lambda missing: missing):
    """The last state of a sweep whose missing runs are made in parts, and their outcomes."""
    there = {}
    while True:
        state = advance(sweep, seeds, there)
        missing = [config for config in state.needed if config.id not in there]
        if not missing:
            return state, there
        there |= {config.id: ending(config) for config in chosen(missing)}


def along(state):
    return [point[0] for point in state.points]


def test_a_sweep_is_settled_once_its_fresh_seeds_are_there_too():
    state, there = finish(PLAIN, peaked())
    assert len(state.fresh_runs) == 3
    for run in state.fresh_runs:
        part = advance(PLAIN, 3, {one: there[one] for one in there if one != run})
        assert not part.settled
        assert (part.tuned, part.fresh_runs) == (state.tuned, state.fresh_runs)


STEPS = [-2, -1, 0, 1, 2]


def test_without_halvings_nothing_changes():
    state, _ = finish(PLAIN, peaked(cliff=1.5))
    assert along(state) == STEPS
    assert state.settled
    # The first grid is what it was, refined or not.
    assert advance(PLAIN, 3, {}).needed == advance(HALVED, 3, {}).needed


def test_half_steps_stand_about_the_optimum():
    state, _ = finish(HALVED, peaked())
    assert along(state) == [-2, -1, -0.5, 0, 0.5, 1, 2]
    assert state.grid == ((-2, 2),)
    assert state.tuned["test_accuracy"].point == (0,)
    once, _ = finish(replace(HALVED, halvings=1), peaked(cliff=0.7))
    assert along(once) == [-2, -1, -0.5, 0, 0.5, 1, 2]


def test_each_objective_has_its_own_and_the_first_one_the_fresh_seeds():
    state, _ = finish(BOTH, peaked(best=0.1, loss_best=-0.9))
    assert along(state) == [-2, -1.5, -1, -0.5, 0, 0.5, 1, 2]
    assert [state.tuned[name].point for name in ("test_accuracy", "train_loss")] == [(0,), (-1,)]
    assert state.fresh_runs == tuple(BOTH.config((0,), FRESH_SEED + seed).id for seed in range(3))
    same, _ = finish(BOTH, peaked())
    assert along(same) == [-2, -1, -0.5, 0, 0.5, 1, 2]


def test_the_grid_grows_before_it_is_refined():
    state, _ = finish(HALVED, peaked(best=3.1))
    # The optimum at 3, which 4 closes off.
    assert state.grid == ((-2, 4),)
    assert along(state) == [-2, -1, 0, 1, 2, 2.5, 3, 3.5, 4]


def test_refining_never_grows_the_grid():
    # A half step's wide bar touches the edge only once it is refined.
    def ending(config):
        rate = math.log2(config.learning_rate)
        scatter = (-9.0, -4.0, 6.0)[config.seed % FRESH_SEED] if abs(rate - 0.5) < 1e-9 else 0.0
        value = 90 - (rate - 0.4) ** 2 + scatter
        return {"test_accuracy": value, "train_loss": 1.0}

    state, _ = finish(HALVED, ending)
    assert state.tuned["test_accuracy"].at_low[0]
    assert state.grid == ((-2, 2),)


@pytest.mark.parametrize(
    ("best", "cliff", "quarters"),
    [
        # The optimum at half a step, its far neighbour lost.
        (0.7, 0.8, [0.25, 0.75]),
        (0.0, 0.3, [-0.25, 0.25]),
        (-0.9, 1.5, []),
        (0.1, math.inf, []),
    ],
)
def test_quarter_steps_stand_beside_a_cliff_alone(best, cliff, quarters):
    state, _ = finish(HALVED, peaked(best=best, cliff=cliff))
    assert [rate for rate in along(state) if rate % 0.5] == quarters
    # Never an eighth.
    assert all(rate * 4 == int(rate * 4) for rate in along(state))


def test_quarter_steps_stand_beside_a_fall_that_loses_no_run():
    def falls(config):
        rate = math.log2(config.learning_rate)
        value = 90 + rate - (40 if rate > 0.2 else 0) + 1e-3 * (config.seed % FRESH_SEED)
        return {"test_accuracy": value, "train_loss": 1.0}

    state, _ = finish(HALVED, falls)
    # From 0 the vertex is pinned half-way down to −0.5.
    assert [rate for rate in along(state) if rate % 0.5] == [-0.25, 0.25]


def test_an_optimum_on_an_edge_is_not_refined():
    state, _ = finish(HALVED, peaked(best=99.0))
    assert along(state) == list(range(-2, 6))
    assert state.tuned["test_accuracy"].bound == (1,)
    # For the other objective it is.
    state, _ = finish(BOTH, peaked(best=99.0, loss_best=0.1))
    assert along(state) == [-2, -1, -0.5, 0, 0.5, 1, 2, 3, 4, 5]
    lost, _ = finish(HALVED, peaked(cliff=-99.0))
    assert along(lost) == list(range(-5, 3))
    assert lost.settled
    assert lost.fresh_runs == ()


def test_seeds_are_no_more_than_a_sweep_takes():
    few = replace(HALVED, most_seeds=2)
    for seeds, runs in ((1, 1), (2, 2), (3, 2), (15, 2)):
        state, there = finish(few, peaked(), seeds)
        assert {config.seed for config in state.needed} == {
            *range(runs),
            *range(FRESH_SEED, FRESH_SEED + runs),
        }
        assert len(there) == 8 * runs
        assert len(state.fresh_runs) == runs
    assert PLAIN.most_seeds == FRESH_SEED - 1


@settings(max_examples=40, deadline=None)
@given(
    best=st.floats(-3, 3),
    loss_best=st.floats(-3, 3),
    cliff=st.one_of(st.just(math.inf), st.floats(-1, 3)),
    order=st.randoms(use_true_random=False),
)
def test_in_whatever_order_runs_are_made_the_same_are_needed(best, loss_best, cliff, order):
    ending = peaked(best, loss_best, cliff)
    state, there = finish(BOTH, ending)

    def some(missing):
        return order.sample(missing, order.randint(1, len(missing)))

    other, found = finish(BOTH, ending, chosen=some)
    assert found == there
    assert other.needed == state.needed
    assert (other.points, other.tuned, other.fresh_runs) == (
        state.points,
        state.tuned,
        state.fresh_runs,
    )
    # From any part of it only what is missing is made, and nothing else is asked for.
    part = dict(order.sample(sorted(there.items()), order.randint(0, len(there))))
    while missing := [c for c in advance(BOTH, 3, part).needed if c.id not in part]:
        assert all(config.id in there for config in missing)
        part |= {config.id: ending(config) for config in missing}
    assert part == there


def test_runs_of_other_sweeps_do_not_matter():
    state, there = finish(HALVED, peaked())
    elsewhere, _ = finish(replace(HALVED, halvings=0), peaked(best=-1.0))
    extra = {config.id + "-other": {"test_accuracy": 99.0} for config in elsewhere.needed}
    shuffled = list({**there, **extra}.items())
    random.Random(0).shuffle(shuffled)
    assert advance(HALVED, 3, dict(shuffled)) == state
