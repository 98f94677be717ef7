"""A sweep goes on where it began: of its runs' device are the runs to come and what is shared."""

from __future__ import annotations

import dataclasses

import pytest
from made_up import records
from sweeps.test_run import one_sweep

from sgdnoise.study.study import Experiment, Study
from sgdnoise.sweeps.place import Places

F1 = {"dataset": "mnist", "model": "f1"}
NAMES = {"cpu": "CPU, some", "cuda": "NVIDIA H200"}


def study(*sweeps, scale="cpu"):
    return Study.of(Experiment("some", {scale: lambda: list(sweeps)}, {scale: 2}), scale)


def on(configs, *devices):
    """Their records, of these devices one after the other, by run."""
    made = records(configs, lambda config: {"test_accuracy": 90.0, "train_loss": 1.0})
    return {
        one.id: dataclasses.replace(one, provenance={**one.provenance, "device": NAMES[device]})
        for one, device in zip(made, devices, strict=True)
    }


@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize("began", ["cpu", "cuda"])
def test_a_sweep_goes_on_where_it_began_and_another_as_asked_or_beside_it(began, gpu):
    begun, other = one_sweep(16, **F1), one_sweep(32, **F1)
    runs = study(begun, other).needed({})
    first, *rest = (run for run in runs if run.batch_size == 16)
    places = Places(study(begun, other), on([first], began), gpu=gpu)
    assert {places.of(run) for run in rest} == {began}
    (new,) = {places.of(run) for run in runs if run.batch_size == 32}
    assert new == ("cuda" if gpu else began)
    for device in NAMES:
        (mine,) = on([rest[0]], device).values()
        assert places.takes(mine) == (device == began)
        (others,) = on([runs[-1]], device).values()
        assert places.takes(others) == (not gpu or device == "cuda")


@pytest.mark.parametrize("gpu", [False, True])
def test_beside_sweeps_of_both_devices_one_begins_as_asked_or_as_usual(gpu):
    some = study(*(one_sweep(size, **F1) for size in (16, 32, 64)))
    runs = {run.batch_size: run for run in some.needed({})}
    new = runs.pop(64)
    places = Places(some, on(runs.values(), "cpu", "cuda"), gpu=gpu)
    assert places.of(new) == Places(some, {}, gpu=gpu).of(new) == ("cuda" if gpu else "cpu")


def test_records_of_two_devices_bind_a_sweep_to_none():
    some = study(one_sweep(16, **F1))
    one, two, three, *_ = some.needed({})
    places = Places(some, on([one, two], "cpu", "cuda"))
    assert places.of(three) == "cpu"
    assert all(places.takes(r) for r in on([three, three], "cpu", "cuda").values())
    assert Places(some, on([one, two], "cpu", "cuda"), gpu=True).of(three) == "cuda"


def test_what_needs_one_device_trains_there_wherever_its_sweep_began():
    stacked = study(one_sweep(16))
    one, two, *_ = stacked.needed({})
    assert Places(stacked, on([one], "cuda"), gpu=True).of(two) == "cpu"
    half = study(one_sweep(16, **F1, precision="bfloat16"))
    one, two, *_ = half.needed({})
    assert Places(half, on([one], "cpu")).of(two) == "cuda"
    net = {"dataset": "cifar10", "model": "wrn-16-4", "norm": "ghost"}
    large = study(one_sweep(16, **net), scale="gpu")
    one, two, *_ = large.needed({})
    assert Places(large, on([one], "cpu")).of(two) == "cuda"
