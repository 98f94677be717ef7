"""Batch sizes that change within a run, and momentum that starts anew each epoch, by hand."""

from __future__ import annotations

import made_up
import pytest
import torch
from torch.nn import functional as F

from sgdnoise import data
from sgdnoise.config import make_config
from sgdnoise.errors import InputError
from sgdnoise.schedule import hold_then_decay
from sgdnoise.training import bundles, graphed, state
from sgdnoise.training.result import is_stacked, why_not_graphed
from sgdnoise.training.run import build_model
from sgdnoise.training.single import train_single
from sgdnoise.training.stacked import train_stacked
from sgdnoise.training.streams import batch_indices, stream

N = 256


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def images():
    return made_up.tinted(pixels=8, train=N)


def config(**changes):
    """A net without norms on tiny images."""
    base = {
        "dataset": "made-up",
        "model": "f1",
        "norm": "none",
        "batch_size": 32,
        "learning_rate": 0.1,
        "momentum": 0.9,
        "epochs": 4.0,
        "schedule": "constant",
    }
    return make_config(**{**base, **changes})


def run(one, images, **options):
    return train_single(one, images, build_model(one, images), **options)


def slices(one, sizes):
    """The batches of these sizes, cut off a row of permutations or drawn one by one."""
    if one.sampling == "independent":
        draws = [torch.randperm(N, generator=stream(one.seed, f"batch/{k}")) for k in range(99)]
        return [draw[:size] for draw, size in zip(draws, sizes, strict=False)]
    row = torch.cat(
        [torch.randperm(N, generator=stream(one.seed, f"epoch/{k}")) for k in range(20)]
    )
    return list(row[: sum(sizes)].split(sizes))


def by_hand(one, images, sizes, rates, fresh=()):
    """Final losses and distance of the plain loop over these batch sizes and learning rates.

    The optimizer is made anew before the steps in `fresh`.
    """
    model = build_model(one, images).train()
    for norm in model.modules():
        if hasattr(norm, "ghost_batch_size"):
            norm.ghost_batch_size = one.ghost_batch_size  # it takes the smaller of this and a batch
    start = torch.cat([p.detach().reshape(-1) for p in model.parameters()])

    def new():
        return torch.optim.SGD(model.parameters(), 1.0, one.momentum, weight_decay=one.weight_decay)

    optimizer = new()
    x, y = images.train_arrays()
    for step, (index, rate) in enumerate(zip(slices(one, sizes), rates, strict=True)):
        if step in fresh:
            optimizer = new()
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        F.cross_entropy(model(x[index]), y[index]).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        u, v = images.test_arrays()
        end = torch.cat([p.reshape(-1) for p in model.parameters()])
        return {
            "train_loss": F.cross_entropy(model(x), y).item(),
            "test_loss": F.cross_entropy(model(u), v).item(),
            "distance": (end - start).norm().item(),
        }


def assert_close(result, want, rel=2e-4):
    assert result.status == "done"
    for name, value in want.items():
        assert result.metrics[name] == pytest.approx(value, rel=rel), name


PHASES = ((0.5, 2, 1.5), (2, 0.25, 0.5))
SIZES = [32] * 4 + [64] * 6 + [8] * 64
RATES = [0.1] * 4 + [0.15] * 6 + [0.05] * 64


@pytest.mark.parametrize("sampling", ["reshuffle", "independent"])
@pytest.mark.parametrize("steps", [None, 40])
def test_phases_equal_a_loop_written_anew(images, sampling, steps):
    one = config(phases=PHASES, sampling=sampling, steps=steps, epochs=None if steps else 4.0)
    got = run(one, images)
    assert_close(got, by_hand(one, images, SIZES[:steps], RATES[:steps]))
    assert got.curves["step"][-1] == (steps or 74)


def test_batches_that_divide_nothing_straddle_epochs_and_phases(images):
    one = config(batch_size=30, phases=((1.3, 1.5, 1),), epochs=3.0)
    # 1.3 epochs are 332.8 examples: 12 batches of 30 pass them; 408 of 768 are left for 45 each.
    sizes = [30] * 12 + [45] * 9
    assert_close(run(one, images), by_hand(one, images, sizes, [0.1] * 21))


@pytest.mark.parametrize("norm", ["ghost", "batch"])
def test_ghosts_are_as_large_as_the_batch_at_most(images, norm):
    one = config(norm=norm, ghost_batch_size=16, batch_size=8, phases=((1, 8, 2.0),), epochs=3.0)
    sizes, rates = [8] * 32 + [64] * 8, [0.1] * 32 + [0.2] * 8
    want = by_hand(one, images, sizes, rates)
    assert_close(run(one, images), want, rel=1e-3)
    # In parts of whole ghosts it is the same run; a batch norm's batch stays whole.
    assert_close(run(one, images, micro_batch=20), want, rel=1e-3)


def test_the_schedule_keeps_the_budgets_clock(images):
    shape = hold_then_decay(40)
    phases = ((1, 4, 1),)
    one = config(phases=phases, schedule="hold-then-decay", epochs=5.0, warmup_steps=3)
    sizes = [32] * 8 + [128] * 8
    warm = [min(1, (k + 1) / 3) for k in range(16)]
    epochs = [0.1 * w * shape(sum(sizes[:k]) // 32) for k, w in enumerate(warm)]
    assert_close(run(one, images), by_hand(one, images, sizes, epochs))
    shape = hold_then_decay(16)
    updates = [0.1 * w * shape(k) for k, w in enumerate(warm)]
    assert_close(
        run(one.replace(epochs=None, steps=16), images), by_hand(one, images, sizes, updates)
    )


def test_growing_the_batch_in_place_of_decaying_the_rate(images):
    one = config(phases=((2, 2, 1), (3, 4, 1)))
    sizes = [32] * 16 + [64] * 4 + [128] * 2
    assert_close(run(one, images), by_hand(one, images, sizes, [0.1] * 22))


def test_a_curves_loss_is_a_mean_over_examples(images, monkeypatch):
    monkeypatch.setattr(state, "CURVE_POINTS", 0)  # the first step and the last
    one = config(steps=3, epochs=None, learning_rate=1e-12, phases=((1 / 4, 0.125, 1),))
    model = build_model(one, images)
    with torch.no_grad():
        model[-1].weight.mul_(100)  # so that losses differ
    x, y = images.train_arrays()
    losses = F.cross_entropy(model(x), y, reduction="none").detach()
    first, second, third = (losses[index].mean().item() for index in slices(one, [32, 32, 4]))
    got = train_single(one, images, model).curves
    assert got["step"] == [1, 3]
    want = [first, (32 * second + 4 * third) / 36]
    assert got["train_loss"] == pytest.approx(want, rel=1e-3)
    assert abs((second + third) / 2 / want[1] - 1) > 1e-2


def test_noise_and_discarding_know_each_batch_size(images):
    one = config(gradient_noise=0.5, discard_fraction=0.25, phases=((1, 2, 1),), epochs=2.0)
    got = run(one, images)
    assert got.status == "done"
    assert got.curves["step"][-1] == 8 + 4


def test_indices_of_several_sizes_have_no_shape():
    one = config(phases=PHASES)
    with pytest.raises(ValueError, match="several batch sizes"):
        batch_indices(one, N, 3, 5)


def test_stacked_runs_have_one_batch_size():
    assert why_not_graphed(config(phases=PHASES)) is None
    small = {"dataset": "digits", "model": "digits-mlp", "norm": None}
    digits = config(**small)
    assert is_stacked(digits)
    phased = [config(**small, phases=PHASES, seed=k) for k in range(2)]
    assert [len(bundle) for bundle in bundles(phased)] == [1, 1]
    with pytest.raises(InputError, match="phases"):
        train_stacked(phased[:1], data.load("digits"), lambda c: None)


@pytest.mark.parametrize("changes", [{"phases": PHASES}, {"momentum_reset": True, "epochs": 6.0}])
def test_resumed_in_the_middle_is_bit_equal(images, tmp_path, monkeypatch, changes):
    one = config(**changes)
    whole = run(one, images)
    monkeypatch.setattr(state, "CHECKPOINT_SECONDS", 0.0)

    class Killed(Exception):
        pass

    for kill_at in (3, 5, 9, 17):
        done = []

        def kill(k, done=done, kill_at=kill_at):
            done.append(k)
            if len(done) == kill_at:
                raise Killed

        path = tmp_path / f"{kill_at}.pt"
        with pytest.raises(Killed):
            run(one, images, checkpoint=path, on_step=kill)
        again = run(one, images, checkpoint=path)
        assert again.metrics == whole.metrics
        assert again.curves == whole.curves


@pytest.mark.parametrize("sampling", ["reshuffle", "independent"])
@pytest.mark.parametrize(
    ("batch_size", "fresh"),
    [
        (32, {8, 16, 24}),
        # 5.33 batches an epoch: its first batch is the first whose examples all lie in it.
        (48, {6, 11, 16}),
        (N, {1, 2, 3}),
    ],
)
def test_momentum_reset_is_an_optimizer_made_anew_each_epoch(images, sampling, batch_size, fresh):
    one = config(batch_size=batch_size, momentum_reset=True, sampling=sampling, weight_decay=1e-3)
    sizes = [batch_size] * round(4 * N / batch_size)
    rates = [0.1] * len(sizes)
    want = by_hand(one, images, sizes, rates, fresh)
    assert_close(run(one, images), want)
    kept = by_hand(one, images, sizes, rates)
    assert abs(kept["distance"] / want["distance"] - 1) > 1e-2


def test_momentum_reset_follows_the_epochs_of_phases(images):
    one = config(momentum_reset=True, phases=PHASES)
    assert_close(run(one, images), by_hand(one, images, SIZES, RATES, {6, 10, 42}))


@pytest.mark.parametrize("changes", [{}, {"batch_size": 48}, {"optimizer": "lars"}])
def test_the_loop_of_graphs_resets_momentum_at_the_same_steps(images, monkeypatch, changes):
    monkeypatch.setattr(graphed, "CHUNK_EXAMPLES", 160)
    one = config(momentum_reset=True, **changes)
    want = run(one, images)
    (got,) = graphed.train_graphed([one], images, lambda c: build_model(c, images))
    assert got.metrics == want.metrics
    assert got.curves == want.curves
    kept = run(one.replace(momentum_reset=False), images)
    assert kept.metrics != want.metrics


def test_a_stack_of_runs_resets_no_momentum():
    small = {"dataset": "digits", "model": "digits-mlp", "norm": None}
    assert not is_stacked(config(**small, momentum_reset=True))
