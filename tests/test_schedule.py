"""Budgets and schedules: drop times, products and steps against arithmetic done another way."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from step_by_step import segments

from sgdnoise import schedule as s

# --- budgets ---


def test_an_epoch_budget_in_steps_is_the_nearest_whole_number():
    assert s.steps_for_epochs(200, 50_000, 64) == 156_250
    # 9765.625: S20 cuts it down to 9765, and its step budget is stated as that number.
    assert s.steps_for_epochs(200, 50_000, 1024) == 9766
    assert s.steps_for_epochs(200, 50_000, 50_000) == 200
    assert s.steps_for_epochs(0.001, 100, 100) == 1


@pytest.mark.parametrize("epochs", [1, 7.5, 200])
def test_an_epoch_budget_is_exact_to_half_a_batch(epochs):
    for batch in range(1, 1024, 37):
        shown = s.steps_for_epochs(epochs, 1024, batch) * batch
        assert abs(shown - epochs * 1024) <= batch / 2 or shown == batch


@pytest.mark.parametrize(
    "arguments", [(0, 10, 2), (-1, 10, 2), (math.inf, 10, 2), (1, 0, 1), (1, 10, 11), (1, 10, 0)]
)
def test_impossible_budgets_are_refused(arguments):
    with pytest.raises(ValueError, match="must"):
        s.steps_for_epochs(*arguments)


# --- S20's schedule ---


@pytest.mark.parametrize("total", [20, 97, 9765, 9766, 156_250])
def test_s20_drops_ten_times_in_the_second_half(total):
    table = s.tabulate(s.hold_then_decay(total), total)
    ratios = table[1:] / table[:-1]
    drops = np.flatnonzero(ratios != 1)
    assert len(drops) == 10
    np.testing.assert_array_equal(ratios[drops], 0.5)
    assert table[0] == 1
    assert table[-1] == 2.0**-10
    # By whole-number arithmetic: drop k comes at the first step t with t ≥ N/2 + k·N/20.
    expected = [math.ceil(Fraction(total, 2) + k * Fraction(total, 20)) for k in range(10)]
    np.testing.assert_array_equal(drops + 1, expected)


def test_at_9765_steps_there_is_no_eleventh_drop():
    # An interval rounded to 488 steps would have it at 4882 + 10·488 = 9762.
    table = s.tabulate(s.hold_then_decay(9765), 9765)
    assert table.min() == 2.0**-10
    assert s.hold_then_decay(9765)(9765 + 488) == 2.0**-10
    assert segments(s.hold_then_decay(9765), 9765)[0] == (1.0, 4883)


def test_segments_rebuild_the_table():
    schedule = s.hold_then_decay(1234, factor=3.0, hold=0.3, drops=4)
    pieces = segments(schedule, 1234)
    rebuilt = np.concatenate([np.full(n, m) for m, n in pieces])
    np.testing.assert_array_equal(rebuilt, s.tabulate(schedule, 1234))
    assert len(pieces) == 5


def test_schedules_without_drops_are_constant():
    for schedule in (
        s.hold_then_decay(50, drops=0),
        s.hold_then_decay(50, hold=1.0),
        s.constant(50),
        s.milestones(50, []),
    ):
        np.testing.assert_array_equal(s.tabulate(schedule, 50), 1.0)
        assert segments(schedule, 50) == [(1.0, 50)]


def test_separate_initial_and_final_learning_rates():
    initial, final = 0.8, 3e-4
    factor = (initial / final) ** (1 / 10)
    table = initial * s.tabulate(s.hold_then_decay(1000, factor=factor), 1000)
    assert table[0] == initial
    assert table[-1] == pytest.approx(final, rel=1e-12)


def test_log_spaced_steps_end_with_the_run():
    steps = s.log_spaced_steps(9765, 14)
    assert steps[0] == 1
    assert steps[-1] == 9765
    assert steps == sorted(set(steps))
    assert len(steps) <= 14
    assert s.log_spaced_steps(3, 14) == [1, 2, 3]


# --- the other shapes ---


def test_milestones_follow_the_epoch_clock():
    # H17's ResNet-44 at 391 steps an epoch, against the epoch of each step counted whole.
    regime = s.H17_REGIMES["resnet44"]
    table = regime.learning_rate * s.tabulate(regime.schedule(200 * 391), 200 * 391)
    epoch = np.arange(len(table)) // 391
    expected = np.select([epoch < 81, epoch < 122, epoch < 164], [0.1, 1e-2, 1e-3], 1e-4)
    np.testing.assert_allclose(table, expected, rtol=1e-12)


def test_every_h17_regime_changes_at_whole_epochs():
    for regime in s.H17_REGIMES.values():
        for per_epoch in (1, 13, 391, 1563):
            total = round(regime.epochs * per_epoch)
            pieces = segments(regime.schedule(total), total)
            ends = np.cumsum([n for _, n in pieces])[:-1]
            np.testing.assert_array_equal(ends, [epoch * per_epoch for epoch, _ in regime.drops])


def test_nets_of_one_regime_share_it():
    assert s.H17_REGIMES["f1-64"] == s.H17_REGIMES["f1"]
    assert s.H17_REGIMES["h17-wrn-16-4"] == s.H17_REGIMES["wrn-16-4"]


def test_cosine_is_symmetric_and_falls():
    table = s.tabulate(s.cosine(1000), 1001)
    assert table[0] == 1
    assert table[-1] == pytest.approx(0, abs=1e-15)
    assert (np.diff(table) < 0).all()
    np.testing.assert_allclose(table + table[::-1], 1, rtol=1e-12)
    assert s.tabulate(s.cosine(1000), 1000).mean() == pytest.approx(0.5, abs=1e-3)
    assert s.cosine(10, final=0.1)(10) == pytest.approx(0.1)


def test_warm_up_is_linear_and_then_leaves_the_schedule_alone():
    plain = s.hold_then_decay(100)
    table = s.tabulate(s.warm_up(plain, 8), 100)
    np.testing.assert_allclose(table[:8], np.arange(1, 9) / 8)
    np.testing.assert_array_equal(table[8:], s.tabulate(plain, 100)[8:])
    for steps in (0, 1):
        np.testing.assert_array_equal(
            s.tabulate(s.warm_up(plain, steps), 100), s.tabulate(plain, 100)
        )


# --- scaling with the batch size ---


def test_linear_scaling_keeps_the_temperature_and_sqrt_the_step_covariance():
    for batch in (64, 512, 4096):
        assert s.scale_learning_rate(0.1, batch, 128, "linear") / batch == pytest.approx(0.1 / 128)
        rate = s.scale_learning_rate(0.1, batch, 128, "sqrt")
        assert rate**2 / batch == pytest.approx(0.1**2 / 128)


def test_sqrt_scaling_from_a_finite_set_keeps_the_covariance_of_a_draw():
    # Every batch of a population of 6 numbers, enumerated.
    values = np.array([3.0, -1.0, 0.5, 2.0, -4.0, 1.0])

    def spread(batch: int) -> float:
        return float(np.var([np.mean(chosen) for chosen in combinations(values, batch)]))

    rate = s.scale_learning_rate(0.1, 4, 2, "sqrt", train_size=6)
    assert rate**2 * spread(4) == pytest.approx(0.1**2 * spread(2), rel=1e-12)
    correction = s.scale_learning_rate(1, 16384, 128, "sqrt", 50_000) / math.sqrt(128)
    assert correction == pytest.approx(1.22, abs=0.005)


# --- batch-size schedules ---


def sizes(schedule):
    return [schedule.at(t).batch_size for t in range(schedule.total_steps)]


def test_g20_first_epoch_is_small():
    schedule = s.batch_schedule(8192, 50_000, s.small_first_epoch(1 / 16, 0.1), epochs=100)
    # 98 batches of 512 are 176 examples more than an epoch; the rest are round(603.78) of 8192.
    assert sizes(schedule) == [512] * 98 + [8192] * 604
    assert [schedule.at(t).rate_factor for t in (0, 97, 98, 701, 5000)] == [0.1, 0.1, 1, 1, 1]
    assert schedule.seen(98) == 50_176
    assert schedule.examples == 50_176 + 604 * 8192


def by_counting(batch_size, n, phases, epochs, steps):
    """Batch sizes of all updates, one after the other, as anyone would count them."""
    seen, taken = Fraction(0), []
    while True:
        factor = max((p for p in phases if p[0] * n <= seen), default=(0, 1, 1))[1]
        size = round(factor * batch_size)
        # An update is made if more than half of it lies within the budget.
        left = epochs * n - seen if steps is None else math.inf
        if left <= Fraction(size, 2) or len(taken) == steps:
            return taken
        taken.append(size)
        seen += size


@pytest.mark.parametrize("budget", [{"epochs": Fraction(5)}, {"steps": 60}])
@pytest.mark.parametrize(("batch_size", "n"), [(8, 64), (7, 65), (16, 100)])
@pytest.mark.parametrize(
    "phases",
    [
        ((Fraction(1), 2, 1.0), (Fraction(3), 4, 0.5)),
        ((Fraction(0), Fraction(1, 2), 0.1), (Fraction(1, 3), 1, 1.0)),
        ((Fraction(3, 2), 3, 1.0),),
    ],
)
def test_phases_are_counted_update_by_update(budget, batch_size, n, phases):
    want = by_counting(batch_size, n, phases, budget.get("epochs"), budget.get("steps"))
    floats = [tuple(map(float, phase)) for phase in phases]
    schedule = s.batch_schedule(
        batch_size, n, floats, **{k: v if k == "steps" else float(v) for k, v in budget.items()}
    )
    assert sizes(schedule) == want
    assert [schedule.seen(t) for t in range(len(want) + 1)] == [
        sum(want[:t]) for t in range(len(want) + 1)
    ]
    for step in range(len(want)):
        assert schedule.end(step) == next(
            (t for t in range(step, len(want)) if want[t] != want[step]), len(want)
        )


def test_without_phases_it_is_the_plain_budget():
    for batch_size, n, epochs in [(7, 65, 3.3), (64, 64, 0.2), (3, 10, 1.0)]:
        plain = s.batch_schedule(batch_size, n, epochs=epochs)
        assert plain.total_steps == s.steps_for_epochs(epochs, n, batch_size)
        assert plain.examples == plain.total_steps * batch_size
    assert s.batch_schedule(7, 65, steps=4).total_steps == 4


@pytest.mark.parametrize(
    "call",
    [
        lambda: s.hold_then_decay(0),
        lambda: s.hold_then_decay(10, factor=0),
        lambda: s.hold_then_decay(10, hold=1.5),
        lambda: s.hold_then_decay(10, drops=-1),
        lambda: s.constant(0),
        lambda: s.cosine(0),
        lambda: s.cosine(10, final=2),
        lambda: s.warm_up(s.constant(3), -1),
        lambda: s.milestones(0, []),
        lambda: s.milestones(10, [(0.5, 0.1), (0.5, 0.01)]),
        lambda: s.milestones(10, [(0.0, 0.1)]),
        lambda: s.milestones(10, [(1.1, 0.1)]),
        lambda: s.milestones(10, [(0.5, -0.1)]),
        lambda: s.scale_learning_rate(0, 2, 1, "sqrt"),
        lambda: s.scale_learning_rate(0.1, 0, 1, "sqrt"),
        lambda: s.scale_learning_rate(0.1, 2, 1, "cube"),  # type: ignore[arg-type]
        lambda: s.scale_learning_rate(0.1, 10, 1, "sqrt", train_size=10),
        lambda: s.scale_learning_rate(0.1, 2, 1, "linear", train_size=10),
        lambda: s.batch_schedule(2, 10),
        lambda: s.batch_schedule(2, 10, epochs=1, steps=1),
        lambda: s.batch_schedule(11, 10, epochs=1),
        lambda: s.batch_schedule(2, 10, [(0, 6, 1)], epochs=1),
        lambda: s.batch_schedule(2, 10, [(0, 0.1, 1)], epochs=1),
        lambda: s.batch_schedule(2, 10, [(1, 2, 1)], epochs=1),
        lambda: s.batch_schedule(2, 10, [(1, 2, 1)], steps=5),
        lambda: s.batch_schedule(8, 10, [(1, 1, 1), (1.2, 1, 1), (1.3, 1, 1)], epochs=9),
        lambda: s.batch_schedule(32, 16, steps=3),
        lambda: s.batch_schedule(0, 16, steps=3),
        lambda: s.batch_schedule(-4, 16, steps=3),
        lambda: s.batch_schedule(1, 0, steps=3),
        lambda: s.batch_schedule(4, 16, steps=0),
        *(
            lambda wrong=wrong: s.batch_schedule(4, 16, [(*wrong,)], steps=9)
            for wrong in (
                *((0, 1, math.nan), (0, 1, -1), (0, 1, 0), (0, 1, math.inf)),
                *((0, math.nan, 1), (0, math.inf, 1), (0, 1e308, 1)),
                *((-1e-3, 1, 1), (math.nan, 1, 1), (math.inf, 1, 1)),
            )
        ),
        lambda: s.log_spaced_steps(0, 3),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(call):
    with pytest.raises(ValueError, match=r"\w") as caught:
        call()
    assert "\n" not in str(caught.value)
