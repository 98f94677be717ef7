"""The stacked engine against the plain autograd loop, and against itself in other bundles.

Batches of 100 take the kernel two blocks of examples, the second of them short.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from sgdnoise import data
from sgdnoise.config import make_config
from sgdnoise.errors import InputError
from sgdnoise.schedule import hold_then_decay
from sgdnoise.training import mlp_kernel, stacked
from sgdnoise.training.result import bundles, significant
from sgdnoise.training.single import train_single
from sgdnoise.training.stacked import train_stacked
from sgdnoise.training.streams import batch_indices, stream


@pytest.fixture(scope="module")
def digits():
    return data.load("digits")


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def build(config, hidden=(24, 16)):
    """An MLP of the tests' own, with torch's default initialisation."""
    with torch.random.fork_rng():
        torch.manual_seed(stream(config.seed, "init").initial_seed())
        layers = []
        for inputs, outputs in pairwise((64, *hidden)):
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear((64, *hidden)[-1], 10))


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


def eager(one, digits, build=build):
    """The loop that anyone would write: module, autograd, torch.optim.SGD, LambdaLR."""
    model = build(one)
    start = torch.cat([p.detach().reshape(-1) for p in model.parameters()]).double()
    optimizer = torch.optim.SGD(
        model.parameters(),
        one.learning_rate,
        one.momentum,
        weight_decay=one.weight_decay,
        nesterov=one.nesterov,
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


def assert_equals_eager(result, want):
    assert result.status == "done"
    for name in ("train_loss", "test_loss", "distance"):
        assert result.metrics[name] == pytest.approx(want[name], rel=1e-5), name
    # One example is 100/773: not even one may fall on the other side of a tie.
    assert result.metrics["test_accuracy"] == pytest.approx(want["test_accuracy"], abs=0.01)


@pytest.mark.parametrize("sampling", ["reshuffle", "independent"])
@pytest.mark.parametrize("batch_size", [1, 16, 100])
def test_equals_the_autograd_loop(digits, sampling, batch_size):
    # Learning rates that a single example can stand, and decay strong enough to be seen.
    scale = min(1.0, batch_size / 8)
    runs = [
        config(
            seed=seed,
            learning_rate=lr * scale,
            momentum=m,
            decay_factor=f,
            sampling=sampling,
            batch_size=batch_size,
            weight_decay=d,
        )
        for seed, lr, m, f, d in [
            (0, 0.1, 0.0, 2.0, 5e-4),
            (1, 0.05, 0.9, 2.0, 0.0),
            (1, 0.2, 0.5, 1.3, 0.02),
        ]
    ]
    for result in train_stacked(runs, digits, build):
        assert_equals_eager(result, eager(result.config, digits))


@pytest.mark.parametrize("batch_size", [16, 100])
def test_nesterov_is_torchs_in_both_loops(digits, batch_size):
    rates = {"learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.01, "steps": 60}
    one = config(batch_size=batch_size, nesterov=True, **rates)
    for change in ({}, {"learning_rate": 0.02, "seed": 1}):
        run = one.replace(**change)
        want = eager(run, digits)
        (bundled,) = train_stacked([run], digits, build)
        assert_equals_eager(bundled, want)
        alone = nn.Sequential(nn.Flatten(), *build(run))
        assert_equals_eager(train_single(run, digits, alone), want)
    # It is not the heavy ball, with which it shares no bundle.
    plain = one.replace(nesterov=False)
    assert abs(eager(plain, digits)["distance"] / eager(one, digits)["distance"] - 1) > 0.01
    assert len(bundles([one, plain])) == 2


@pytest.mark.parametrize("hidden", [(), (64,), (20, 30, 12)])
def test_equals_the_autograd_loop_at_any_depth(digits, hidden):
    net = partial(build, hidden=hidden)
    for result in train_stacked([config(momentum=0.5)], digits, net):
        assert_equals_eager(result, eager(result.config, digits, net))


@pytest.mark.parametrize("batch_size", [1, 16, 100])
def test_a_run_is_the_same_in_any_bundle(digits, batch_size, monkeypatch):
    runs = [
        config(seed=s, learning_rate=lr, momentum=m, decay_factor=f, batch_size=batch_size)
        for s in range(3)
        for lr, f in ((0.005, 2.0), (0.01, 1.5))
        for m in (0.0, 0.9)
    ]
    together = {r.config.id: r for r in train_stacked(runs, digits, build)}
    monkeypatch.setattr(stacked, "_EXAMPLES_AT_ONCE", 37 * batch_size)  # other cuts, too
    for part in (runs[:1], runs[3:4], runs[5:12], runs[::-1]):
        for result in train_stacked(part, digits, build):
            assert result.metrics == together[result.config.id].metrics
            assert result.curves == together[result.config.id].curves


def test_progress_adds_up(digits, monkeypatch):
    monkeypatch.setattr(stacked, "_EXAMPLES_AT_ONCE", 16 * 50)
    seen = []
    train_stacked([config()], digits, build, seen.append)
    assert sum(seen) == 120
    assert max(seen) <= 50


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


def test_evaluation_is_torchs(digits):
    """Also where classes tie, where logits are far apart, and for runs that are past telling."""
    x, y = (t.contiguous() for t in (digits.test_arrays()[0].flatten(1), digits.test_arrays()[1]))
    nets = [build(config(seed=s)) for s in range(4)]
    with torch.no_grad():
        nets[1][-1].weight[3] = nets[1][-1].weight[7]
        nets[1][-1].bias[3] = nets[1][-1].bias[7] = 1.0
        nets[2][-1].weight.mul_(1e4)
        nets[3][0].bias[5] = float("nan")
        want = [net(x) for net in nets]
    layers = [[m for m in net if isinstance(m, nn.Linear)] for net in nets]
    flat = torch.stack([mlp_kernel.pack(of_net) for of_net in layers]).numpy()
    running = np.array([True, True, True, True])
    sizes = np.array([64, 24, 16, 10])
    losses, accuracies = mlp_kernel.evaluate(flat, sizes, x.numpy(), y.numpy(), running)
    for k in range(3):
        assert losses[k] == pytest.approx(nn.functional.cross_entropy(want[k], y).item(), rel=2e-6)
        right = (want[k].argmax(1) == y).double().mean().item()
        assert accuracies[k] == pytest.approx(100 * right, rel=1e-12)
    assert np.isnan(losses[3])
    running[0] = False
    again, _ = mlp_kernel.evaluate(flat, sizes, x.numpy(), y.numpy(), running)
    assert np.isnan(again[0])
    assert list(again[1:3]) == list(losses[1:3])


def test_exp():
    x = -np.random.default_rng(0).uniform(0, 87, 20_000).astype(np.float32)
    want = np.exp(x.astype(np.float64))
    got = np.array([mlp_kernel._exp(v) for v in x])
    assert np.max(np.abs(got - want) / np.spacing(want.astype(np.float32))) < 2
    assert mlp_kernel._exp(np.float32(0)) == 1
    assert 0 < mlp_kernel._exp(np.float32(-np.inf)) < 2e-38
    assert np.isnan(mlp_kernel._exp(np.float32(np.nan)))


def _tiny_is_zero():
    return bool(np.float32(1e-39) * np.float32(1) == 0)


def test_denormals_are_flushed_while_training_and_only_then(digits, monkeypatch):
    """A velocity that decays must reach zero: short of it, every step takes fifty times as long."""
    seen = []

    def spy(flat, velocity, *rest):
        if not seen:
            flat[0, 64 * 24] = -1e3  # the bias of the first hidden unit, which dies of it
            velocity[0, 0] = 1e-37  # one of its weights, from now on without gradient
        mlp_kernel.train_steps(flat, velocity, *rest)
        seen.append(velocity[0, 0])

    monkeypatch.setattr(stacked, "train_steps", spy)
    monkeypatch.setattr(stacked, "CURVE_POINTS", 2)
    train_stacked([config(momentum=0.9, weight_decay=0.0)], digits, build)
    assert seen[-1] == 0
    assert not _tiny_is_zero()
    torch.set_flush_denormal(True)
    try:
        with mlp_kernel.flushed_denormals():
            assert _tiny_is_zero()
        assert _tiny_is_zero()
    finally:
        torch.set_flush_denormal(False)


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
