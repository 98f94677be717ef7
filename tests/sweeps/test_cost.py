"""What runs will cost: from records of the same net, or assumed of a GPU until there are any."""

from __future__ import annotations

import dataclasses
import math
from functools import partial

import pytest

from sgdnoise.config import make_config
from sgdnoise.experiments import study_of
from sgdnoise.records.made import record_of
from sgdnoise.sweeps import cost
from sgdnoise.training.devices import device_of
from sgdnoise.training.result import Result


def timed(config, seconds, device="cuda"):
    """A record of this run on this kind of device, by itself."""
    record = record_of(Result(config, "done", {"test_accuracy": 90.0}, seconds=seconds))
    if device == "cuda":
        record.provenance["device"] = "NVIDIA H200"
    return {config.id: record}


def at(scale):
    """Where runs train that begin at a scale."""
    return partial(device_of, scale)


def config(**changes):
    base = {"dataset": "cifar10", "model": "wrn-16-4", "norm": "ghost", "learning_rate": 0.1}
    return make_config(**{**base, "batch_size": 128, "epochs": 200.0, **changes})


@pytest.mark.parametrize(
    ("batch_size", "epoch"),
    [(8, 1.0), (16, 1.0), (128, 0.65), (256, 3600 / 7000), (1024, 3600 / 7000)],
)
def test_an_epoch_takes_what_the_engine_is_held_to(batch_size, epoch):
    seconds = cost.assumed_seconds(config(batch_size=batch_size))
    assert seconds == pytest.approx(200 * epoch, rel=1e-2)
    assert cost.assumed_seconds(config(batch_size=batch_size, epochs=20.0)) == pytest.approx(
        seconds / 10, rel=1e-2
    )


def test_a_run_that_ended_early_tells_nothing_of_a_whole_one():
    whole, lost = config(), config(learning_rate=9.0)
    records = timed(whole, 100.0) | timed(lost, 1.0)
    records[lost.id] = dataclasses.replace(records[lost.id], status="diverged")
    assert cost.estimate_seconds([whole], records, "cuda") == pytest.approx([100.0])
    alone = {lost.id: records[lost.id]}
    assert math.isnan(cost.estimate_seconds([whole], alone, "cuda")[0])


def test_between_the_bounds_it_falls_with_the_batch_size():
    seconds = [cost.assumed_seconds(config(batch_size=2**k, steps=None)) for k in range(4, 9)]
    assert sorted(seconds, reverse=True) == seconds
    assert len(set(seconds)) == 5
    # Halfway in log₂ B between 16 and 128, which is no power of two.
    middle = cost.assumed_seconds(config(batch_size=45))
    assert middle == pytest.approx(200 * (1.0 + 0.65) / 2, rel=1e-2)


def test_a_smaller_training_set_has_as_long_epochs_in_proportion():
    whole, part = config(epochs=10.0), config(epochs=10.0, train_size=25_000)
    assert cost.assumed_seconds(part) == pytest.approx(cost.assumed_seconds(whole), rel=1e-2)


def test_the_first_two_runs_of_scale_paper_are_told_their_time():
    first = study_of("constant-epoch", "paper", 1).needed({})[:2]
    seconds = sum(cost.assumed_seconds(config) for config in first)
    # 200 epochs at 3600/7000 s and at 0.65 s.
    assert seconds == pytest.approx(200 * (3600 / 7000 + 0.65), rel=1e-3)


def test_a_record_of_the_same_net_tells_better_than_what_is_assumed():
    one, other = study_of("constant-epoch", "paper", 1).needed({})[:2]
    assert math.isnan(cost.estimate_seconds([other], {})[0])
    (told,) = cost.estimate_seconds([other], timed(one, 1.0), "cuda")
    assert 0 < told < 10 < cost.assumed_seconds(other)


def test_a_run_is_told_by_records_of_the_device_that_it_trains_on():
    one, other = study_of("constant-step", "cpu", 1).needed({})[:2]
    slow, fast = timed(one, 100.0, "cpu"), timed(other, 0.1, "cuda")
    (told,) = cost.expected_seconds(at("cpu"), [other], slow | fast)
    assert told == cost.estimate_seconds([other], slow)[0] > 10
    (there,) = cost.estimate_seconds([other], slow | fast, "cuda")
    assert there == pytest.approx(0.1, rel=0.1)
    assert math.isnan(cost.expected_seconds(at("cpu"), [other], fast)[0])


def test_other_records_are_asked_where_the_own_tell_nothing_and_a_gpu_is_assumed():
    one, other = study_of("constant-epoch", "paper", 1).needed({})[:2]
    dense = make_config(
        dataset="digits", model="digits-mlp", batch_size=8, learning_rate=0.1, epochs=1.0
    )
    near, far = (timed(one, seconds) for seconds in (1.0, 50.0))
    told = cost.estimate_seconds([other], near, "cuda")
    # Where the own records tell, no others are read.
    assert cost.expected_seconds(at("paper"), [other], near, pytest.fail) == pytest.approx(told)
    assert cost.expected_seconds(at("paper"), [other], {}, lambda: near) == pytest.approx(told)
    assert cost.expected_seconds(at("paper"), [other], {}, lambda: far)[0] > told[0]
    assumed = cost.assumed_seconds(other)
    assert cost.expected_seconds(at("paper"), [other], {}) == pytest.approx(assumed)
    # A processor's time is not assumed.
    assert math.isnan(cost.expected_seconds(at("digits"), [dense], near)[0])
