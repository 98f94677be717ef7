"""Where the papers disagree: the grid is frozen, and its arms differ in what they say alone."""

from __future__ import annotations

import hashlib

import pytest

from sgdnoise.experiments.discriminating import findings
from sgdnoise.experiments.discriminating.grid import EXPERIMENT
from sgdnoise.study.study import Study

STATES = list(Study.of(EXPERIMENT, "cpu").states({}))


def arm(name):
    return [state for state in STATES if dict(state.sweep.key)["arm"] == name]


def batch_sizes(run):
    batches = run.batches(run.train_size)
    return [(stretch.step, stretch.batch_size) for stretch in batches.stretches]


def test_the_grid_never_changes():
    digest = hashlib.sha256()
    ids = [run.id for state in STATES for run in state.needed]
    for state in STATES:
        digest.update(repr((state.sweep.key, state.sweep.axes)).encode())
        digest.update("".join(run.id for run in state.needed).encode())
    assert (len(ids), digest.hexdigest()[:16]) == (171, "eb58fcb49301eab3")
    assert len(set(ids)) == len(ids)
    assert findings.CLAIMS == ()


def test_an_arm_differs_from_the_largest_batch_in_one_thing():
    plain = arm("longer")[2].needed[0].replace(steps=1000)
    assert batch_sizes(plain) == [(0, 1000)]
    for name, fields in {
        "noise-back": ("gradient_noise",),
        "small-first": ("phases",),
        "small-last": ("phases",),
        "fixed-length": ("clip_norm", "weight_decay"),
    }.items():
        (state,) = arm(name)
        for run in state.needed:
            back = {field: getattr(plain, field) for field in fields}
            same = plain.replace(learning_rate=run.learning_rate, seed=run.seed)
            assert run.replace(**back) == same


def test_small_batches_have_one_half_of_the_updates():
    (first,), (last,) = arm("small-first"), arm("small-last")
    assert batch_sizes(first.needed[0]) == [(0, 256), (500, 1000)]
    assert batch_sizes(last.needed[0]) == [(0, 1000), (500, 256)]
    assert all(state.needed[0].batches(1000).total_steps == 1000 for state in (first, last))


def test_noise_and_decay_are_of_the_size_that_they_should_have():
    (noise,), (fixed,) = arm("noise-back"), arm("fixed-length")
    assert noise.needed[0].gradient_noise ** 2 == pytest.approx(1000 / 256 - 1)
    run = fixed.needed[0]
    assert run.weight_decay / run.clip_norm == pytest.approx(5e-4)


def test_one_pass_sees_no_image_twice():
    for state in arm("passes"):
        run, key = state.needed[0], dict(state.sweep.key)
        assert run.train_size == key["train_size"]
        examples = run.batches(run.train_size).examples
        assert examples == 1000 * key["batch_size"]
        assert (examples <= run.train_size) == (run.train_size == 50_000 and run.batch_size < 50)
