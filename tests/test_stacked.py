"""The stacked engine against the plain autograd loop, and against itself in other bundles."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from sgdnoise import data
from sgdnoise.config import make_config
from sgdnoise.errors import InputError
from sgdnoise.schedule import hold_then_decay
from sgdnoise.training.result import bundles, significant
from sgdnoise.training.stacked import train_stacked
from sgdnoise.training.streams import batch_indices, stream


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def build(config):
    """An MLP of the tests' own, with torch's default initialisation."""
    with torch.random.fork_rng():
        torch.manual_seed(stream(config.seed, "init").initial_seed())
        return nn.Sequential(
            nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, 10)
        )


def config(**changes):
    base = {
        "dataset": "digits",
        "model": "digits-mlp",
        "batch_size": 16,
        "learning_rate": 0.1,
        "weight_decay": 5e-4,
        "steps": 120,
    }
    return make_config(**{**base, **changes})


def eager(one, digits):
    """The loop that anyone would write: module, autograd, torch.optim.SGD, LambdaLR."""
    model = build(one)
    start = torch.cat([p.detach().reshape(-1) for p in model.parameters()]).double()
    optimizer = torch.optim.SGD(
        model.parameters(), one.learning_rate, one.momentum, weight_decay=one.weight_decay
    )
    total = one.total_steps(1024)
    schedule = hold_then_decay(total, one.decay_factor)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
    x, y = digits.train_arrays()
    order = batch_indices(one, 1024, 0, total)
    for step in range(total):
        loss = nn.functional.cross_entropy(model(x.flatten(1)[order[step]]), y[order[step]])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
    with torch.no_grad():
        test_x, test_y = digits.test_arrays()
        logits = model(test_x.flatten(1))
        end = torch.cat([p.reshape(-1) for p in model.parameters()]).double()
        return {
            "train_loss": nn.functional.cross_entropy(model(x.flatten(1)), y).item(),
            "test_loss": nn.functional.cross_entropy(logits, test_y).item(),
            "test_accuracy": (logits.argmax(1) == test_y).double().mean().item() * 100,
            "distance": (end - start).norm().item(),
        }


@pytest.mark.parametrize("sampling", ["reshuffle", "independent"])
def test_equals_the_autograd_loop(digits, sampling):
    runs = [
        config(seed=seed, learning_rate=lr, momentum=m, decay_factor=f, sampling=sampling)
        for seed, lr, m, f in [(0, 0.1, 0.0, 2.0), (1, 0.05, 0.9, 2.0), (1, 0.2, 0.5, 1.3)]
    ]
    for result in train_stacked(runs, digits, build):
        want = eager(result.config, digits)
        assert result.status == "done"
        for name in ("train_loss", "test_loss", "distance"):
            assert result.metrics[name] == pytest.approx(want[name], rel=1e-5), name
        # One example is 100/773: not even one may fall on the other side of a tie.
        assert result.metrics["test_accuracy"] == pytest.approx(want["test_accuracy"], abs=0.01)


def test_a_run_is_the_same_in_any_bundle(digits):
    runs = [
        config(seed=s, learning_rate=lr, momentum=m)
        for s in range(3)
        for lr in (0.05, 0.1)
        for m in (0.0, 0.9)
    ]
    together = {r.config.id: r for r in train_stacked(runs, digits, build)}
    for part in (runs[:1], runs[3:4], runs[5:12], runs[::-1]):
        for result in train_stacked(part, digits, build):
            assert result.metrics == together[result.config.id].metrics
            assert result.curves == together[result.config.id].curves


def test_divergence_is_recorded_with_its_step_and_spares_its_neighbours(digits):
    calm, wild = config(), config(learning_rate=1e4)
    alone = train_stacked([calm], digits, build)[0]
    a, b = train_stacked([calm, wild], digits, build)
    assert a.metrics == alone.metrics
    assert b.status == "diverged"
    assert set(b.metrics) == {"diverged_at"}
    assert 1 <= b.metrics["diverged_at"] <= 120
    assert len(b.curves["step"]) < len(a.curves["step"])
    assert all(np.isfinite(b.curves["train_loss"]))


def test_curves_are_log_spaced_and_end_at_the_metrics(digits):
    one = train_stacked([config()], digits, build)[0]
    steps = one.curves["step"]
    assert steps[0] == 1
    assert steps[-1] == 120
    assert all(len(values) == len(steps) for values in one.curves.values())
    assert one.curves["test_accuracy"][-1] == significant(one.metrics["test_accuracy"], 4)
    assert one.metrics["distance_first_tensor"] < one.metrics["distance"]
    assert one.seconds > 0


def test_what_only_single_runs_know_is_refused(digits):
    for change in (
        {"augment": "s20"},
        {"clip_norm": 1.0},
        {"gradient_noise": 0.5},
        {"discard_fraction": 0.3},
        {"precision": "bfloat16"},
        {"optimizer": "lars"},
    ):
        with pytest.raises(InputError, match="train it alone"):
            train_stacked([config(**change)], digits, build)
    with pytest.raises(InputError, match="1024"):
        train_stacked([config(batch_size=1025)], digits, build)


def test_bundles_hold_together_what_may_and_nothing_else():
    runs = [
        config(seed=s, learning_rate=lr, momentum=m, batch_size=b)
        for b in (8, 16)
        for s in range(3)
        for lr in (0.1, 0.2)
        for m in (0.0, 0.9)
    ]
    groups = bundles(runs)
    assert sorted(len(g) for g in groups) == [12, 12]
    long = [config(seed=s, batch_size=1, steps=None, epochs=40.0) for s in range(60)]
    parts = bundles(long)
    assert all(len(g) * 40 * 1024 * (1 + 1 / 16) <= 2e6 for g in parts)
    assert [c for g in parts for c in g] == long
    assert sorted(c.id for g in groups for c in g) == sorted(c.id for c in runs)
    conv = [config(model="wrn-10-1", seed=s) for s in range(3)]
    assert [len(g) for g in bundles(conv)] == [1, 1, 1]
