"""What a reading says of made-up records whose truth is known."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from made_up import noisy, reading, two_regimes

from sgdnoise.analysis import Reading
from sgdnoise.analysis.intervals import Interval
from sgdnoise.analysis.needs import no_optimum
from sgdnoise.study.grid import FRESH_SEED
from sgdnoise.study.plan import outcomes

SEEDS = 5


@pytest.fixture(scope="module")
def two():
    return reading("constant-epoch", "digits", SEEDS, noisy(two_regimes))


def test_fresh_seeds_are_not_those_of_the_tuning(two):
    optima = two.optima()
    row = optima[(optima.method == "sgd") & (optima.batch_size == 1)].iloc[0]
    plain_at_1 = [
        record
        for record in two.records.values()
        if record.config.batch_size == 1 and record.config.momentum == 0
    ]
    fresh = [r.metrics["test_accuracy"] for r in plain_at_1 if r.config.seed >= FRESH_SEED]
    assert len(fresh) == SEEDS
    assert row.test_accuracy_fresh == pytest.approx(np.mean(fresh))
    assert row.test_accuracy_fresh_std == pytest.approx(np.std(fresh, ddof=1))
    assert row.fresh_seeds == SEEDS
    tuning = [
        r.metrics["test_accuracy"]
        for r in plain_at_1
        if r.config.seed < FRESH_SEED and math.log2(r.config.learning_rate) == row.exponent
    ]
    assert row.test_accuracy_mean == pytest.approx(np.mean(sorted(tuning)[-4:]))


def test_outcomes_count_diverged_runs_and_leave_out_failed_ones(two):
    known = outcomes(two.records, ("test_accuracy", "train_loss"))
    diverged = [r for r, record in two.records.items() if record.status == "diverged"]
    assert diverged
    assert all(math.isnan(known[run]["test_accuracy"]) for run in diverged)
    assert two.known == known
    first, record = next(iter(two.records.items()))
    failed = dataclasses.replace(record, status="failed")
    assert first not in outcomes({**two.records, first: failed}, ("test_accuracy",))


def test_an_interval_that_could_not_be_had_says_so():
    nan = math.nan
    assert str(Interval(nan, nan, nan)) == "no fit"
    assert str(Interval(1.5, nan, nan)) == "1.5, no interval"
    assert str(Interval(1.5, 1.0, 2.0)) == "1.5 [1, 2]"


def test_a_part_is_a_reading_of_some_sweeps_and_keeps_its_kind(two):
    plain = two.part(only_plain)
    assert {dict(state.sweep.key)["method"] for state in plain.states} == {"sgd"}
    assert type(plain) is type(two)
    assert plain is two.part(only_plain)
    assert two.part(lambda key: True) is two
    assert set(plain.optima().method) == {"sgd"}
    assert 0 < len(plain.runs) < len(two.runs) == len(two.records)


def only_plain(key):
    return dict(key)["method"] == "sgd"


def test_devices_are_told_by_their_kind(two):
    assert two.devices == ["CPU"]
    run, record = next(iter(two.records.items()))
    gpu = dataclasses.replace(record, provenance={**record.provenance, "device": "NVIDIA H100"})
    assert Reading(two.study, {**two.records, run: gpu}).devices == ["CPU", "GPU"]


def test_where_everything_diverged_the_table_keeps_its_columns(two):
    lost = reading("constant-epoch", "digits", 2, noisy(lambda config, rate: math.inf)).optima()
    assert set(lost.columns) == set(two.optima().columns)
    assert lost.test_accuracy_fresh.isna().all()
    assert (lost.diverged > 0).all()


def test_runs_that_diverged_are_counted_once_each(two):
    for name, scale, ending in (
        ("constant-epoch", "digits", noisy(two_regimes)),
        ("initial-final-lr", "digits", noisy(lambda config, rate: 98 - rate**2)),
    ):
        made = reading(name, scale, 2, ending)
        lost = [r.config for r in made.records.values() if r.status == "diverged"]
        grid = [config for config in lost if config.seed < FRESH_SEED]
        assert made.optima().diverged.sum() == len(grid)
        assert bool(grid) == (name == "constant-epoch")


def test_fresh_seeds_that_diverged_are_counted_and_leave_no_optimum(two):
    key = (("method", "sgd"), ("batch_size", 16))
    (state,) = (state for state in two.states if state.sweep.key == key)
    assert no_optimum(two, [key]) == ""
    gone = {
        run: dataclasses.replace(two.records[run], status="diverged", metrics={})
        for run in state.fresh_runs[:2]
    }
    some = Reading(two.study, {**two.records, **gone})
    rows = some.optima().set_index("key")
    assert (rows.fresh_seeds[key], rows.fresh_diverged[key]) == (SEEDS - 2, 2)
    assert no_optimum(some, [key]) == (
        "2 of 5 fresh seeds at the best rate of SGD diverged at B = 16."
    )


def test_where_fewer_seeds_are_enough_that_many_stand_behind_a_point():
    made = reading("constant-step", "cpu", 5, noisy(lambda config, rate: 60 - rate**2))
    few = made.part(lambda key: "train_size" not in dict(key))
    fair = made.part(lambda key: "train_size" in dict(key))
    assert (fair.seeds, few.seeds, made.seeds) == (5, 3, 5)
    # A word that rests on both has no more than the fewest behind it.
    assert (fair.fewest_seeds, few.fewest_seeds, made.fewest_seeds) == (5, 3, 3)
    assert Reading(made.study.with_seeds(2), {}).part(few_images).seeds == 2


def few_images(key):
    return "train_size" not in dict(key)
