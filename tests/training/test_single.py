"""The single-run engine against a loop written anew, and against itself: resumed, split, killed."""

from __future__ import annotations

import math

import made_up
import pytest
import torch
from torch.nn import functional as F

from sgdnoise import data, models, optim
from sgdnoise.config import make_config
from sgdnoise.data.augment import augmentation
from sgdnoise.errors import InputError
from sgdnoise.schedule import hold_then_decay
from sgdnoise.training import state, train
from sgdnoise.training.run import build_model
from sgdnoise.training.single import train_single
from sgdnoise.training.state import evaluate, evaluation_steps
from sgdnoise.training.streams import batch_indices, stream
from sgdnoise.training.tasks import task_of


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def images():
    return made_up.tinted(pixels=16, train=256)


def config(**changes):
    base = {**made_up.WIDE_RESNET, "ghost_batch_size": 16, "steps": 12}
    return make_config(**{**base, **changes})


def run(one, images, **options):
    return train_single(one, images, build_model(one, images), **options)


def test_equals_a_loop_written_anew(images):
    one = config(warmup_steps=3, clip_norm=0.5, clip_steps=6)
    model = build_model(one, images)
    start = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    optimizer = torch.optim.SGD(model.parameters(), 1.0, one.momentum, weight_decay=5e-4)
    schedule = hold_then_decay(12, 2.0)
    augment = augmentation("s20", images)
    order = batch_indices(one, 256, 0, 12)
    for step in range(12):
        optimizer.param_groups[0]["lr"] = 0.05 * schedule(step) * min(1, (step + 1) / 3)
        x = augment(images.train_images[order[step]], stream(0, f"augment/{step}"))
        loss = F.cross_entropy(model(x), images.train_labels[order[step]])
        optimizer.zero_grad()
        loss.backward()
        if step < 6:
            torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
    model.eval()
    with torch.no_grad():
        x, y = images.train_arrays()
        u, v = images.test_arrays()
        want_train = F.cross_entropy(model(x), y).item()
        want_test = F.cross_entropy(model(u), v).item()
    end = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
    got = run(one, images)
    assert got.status == "done"
    # float32 in another memory layout; a wrong order, rate or clip is off by far more.
    assert got.metrics["train_loss"] == pytest.approx(want_train, rel=1e-3)
    assert got.metrics["test_loss"] == pytest.approx(want_test, rel=1e-3)
    assert got.metrics["distance"] == pytest.approx((end - start).norm().item(), rel=1e-3)
    first = next(model.parameters()).numel()
    assert got.metrics["distance_first_tensor"] == pytest.approx(
        (end - start)[:first].norm().item(), rel=2e-3
    )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"norm": "none", "model": "wrn-10-1"},
        {"optimizer": "lars", "trust_coefficient": 0.02},
        {"sampling": "independent", "gradient_noise": 0.5, "discard_fraction": 0.25},
    ],
    ids=["ghost", "skipinit with dropout", "lars", "noise and discarding"],
)
def test_resumed_in_the_middle_is_bit_equal(images, tmp_path, monkeypatch, changes):
    one = config(**changes)
    whole = run(one, images)
    monkeypatch.setattr(state, "CHECKPOINT_SECONDS", 0.0)

    class Killed(Exception):
        pass

    def kill_at_7(done, count=[0]):  # noqa: B006  counts over the calls of this one test
        count[0] += done
        if count[0] == 7:
            raise Killed

    path = tmp_path / "run.pt"
    with pytest.raises(Killed):
        run(one, images, checkpoint=path, on_step=kill_at_7)
    assert path.exists()
    steps = []
    again = run(one, images, checkpoint=path, on_step=steps.append)
    assert 5 <= len(steps) <= 6
    assert again.metrics == whole.metrics
    assert again.curves == whole.curves
    # Nobody has recorded the result yet.
    assert path.exists()


@pytest.mark.parametrize("changes", [{}, {"gradient_noise": 0.7}, {"batch_size": 100}])
def test_micro_batches_of_whole_ghosts_change_nothing(images, changes):
    one = config(batch_size=64, steps=3).replace(**changes)
    whole = run(one, images, micro_batch=1000)
    split = run(one, images, micro_batch=32)
    for name in ("train_loss", "test_loss", "distance"):
        assert split.metrics[name] == pytest.approx(whole.metrics[name], rel=2e-3), name
    assert split.curves["gradient_norm"][0] == pytest.approx(
        whole.curves["gradient_norm"][0], rel=1e-4
    )


def test_parts_hold_whole_ghosts(images):
    model = build_model(config(), images)
    for size in range(33, 257):
        one = config(batch_size=size)
        parts = state.parts(one, model, 40)
        assert [p.start for p in parts[1:]] == [p.stop for p in parts[:-1]]
        assert parts[0].start == 0
        assert parts[-1].stop == size
        assert all((p.stop - p.start) % 16 == 0 for p in parts[:-1])
        # The remainder of the last part is split as that of the whole batch would be.
        assert 2 * (size - parts[-1].start) >= 16
    plain = config(norm="batch", batch_size=200)
    assert len(state.parts(plain, build_model(plain, images), 40)) == 1


def test_gradient_noise_and_discarding_are_what_they_say(images):
    one = config(steps=1, batch_size=64, gradient_noise=0.5, discard_fraction=0.25)
    model = build_model(one, images).train()
    index = batch_indices(one, 256, 0, 1)[0]
    x = augmentation("s20", images)(images.train_images[index], stream(0, "augment/0"))
    losses = F.cross_entropy(model(x), images.train_labels[index], reduction="none")
    keep = losses.detach().argsort()[16:]
    z = optim.noise_weights(64, 0.5, stream(0, "noise/0"))
    (z * losses)[keep].mean().backward()
    want = torch.cat([p.grad.reshape(-1) for p in model.parameters()]).norm().item()
    got = run(one, images).curves
    assert got["gradient_norm"][0] == pytest.approx(want, rel=2e-3)


def test_discarding_at_random_leaves_as_many_out_whatever_their_losses(images):
    one = config(steps=1, batch_size=64, discard_fraction=0.25, discard_by="random")
    model = build_model(one, images).train()
    index = batch_indices(one, 256, 0, 1)[0]
    x = augmentation("s20", images)(images.train_images[index], stream(0, "augment/0"))
    losses = F.cross_entropy(model(x), images.train_labels[index], reduction="none")
    keep = torch.rand(64, generator=stream(0, "discard/0")).argsort()[16:]
    losses[keep].mean().backward()
    want = torch.cat([p.grad.reshape(-1) for p in model.parameters()]).norm().item()
    got = run(one, images)
    assert got.curves["gradient_norm"][0] == pytest.approx(want, rel=2e-3)
    by_loss = run(one.replace(discard_by="loss"), images).curves["gradient_norm"][0]
    assert abs(by_loss / want - 1) > 0.02


@pytest.mark.parametrize("sampling", ["reshuffle", "independent"])
@pytest.mark.parametrize(
    ("batch_size", "epochs", "steps"),
    [
        (50, 1.0, 4),
        (30, 1.0, 7),  # the seventh begins in the first epoch and ends in the second
        (20, 0.5, 5),
        (20, 1.1, 11),  # 1.1 × 200 comes out above 220
        (50, 0.01, 1),
        (50, None, 12),
    ],
)
def test_discarding_ends_with_its_epochs(sampling, batch_size, epochs, steps):
    images = made_up.tinted(pixels=8, train=200)
    one = config(
        model="f1",
        norm="none",
        augment="none",
        batch_size=batch_size,
        learning_rate=0.2,
        schedule="constant",
        discard_fraction=0.3,
        discard_epochs=epochs,
        sampling=sampling,
    )
    model = build_model(one, images)
    start = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
    optimizer = torch.optim.SGD(model.parameters(), 0.2, 0.9, weight_decay=5e-4)
    x, y = images.train_arrays()
    far = {}
    for step, index in enumerate(batch_indices(one, 200, 0, 12)):
        losses = F.cross_entropy(model(x[index]), y[index], reduction="none")
        dropped = math.floor(0.3 * batch_size) if step < steps else 0
        optimizer.zero_grad()
        losses.sort().values[dropped:].mean().backward()
        optimizer.step()
        end = torch.nn.utils.parameters_to_vector(model.parameters()).detach()
        far[step + 1] = (end - start).norm().item()
    got = run(one, images)
    assert got.metrics["distance"] == pytest.approx(far[12], rel=1e-4)
    assert got.curves["distance"] == pytest.approx([far[s] for s in got.curves["step"]], rel=1e-3)


def test_gradient_and_stride_statistics_of_plain_sgd(images):
    got = run(config(momentum=0.0, weight_decay=0.0, learning_rate=0.25), images).curves
    # One step of plain SGD: Δw = −ε g, at every logged step of the first half.
    for k, step in enumerate(got["step"]):
        if step <= 6:
            assert got["stride_abs"][k] == pytest.approx(0.25 * got["gradient_abs"][k], rel=2e-3)
            assert got["stride_norm"][k] == pytest.approx(0.25 * got["gradient_norm"][k], rel=2e-3)


def test_divergence_is_recorded_at_its_step(images):
    got = run(config(norm="none", learning_rate=1e6, momentum=0.0), images)
    assert got.status == "diverged"
    assert set(got.metrics) == {"diverged_at"}
    assert 1 <= got.metrics["diverged_at"] <= 12
    assert all(math.isfinite(v) for values in got.curves.values() for v in values)


@pytest.mark.parametrize("at_once", [1000, 36])  # 96 images are two batches of 36 and one of 24
def test_evaluation_is_over_the_whole_set_and_leaves_the_mode(images, monkeypatch, at_once):
    monkeypatch.setattr(state, "EVALUATION_BATCH", at_once)
    model = build_model(config(), images).train()
    task = task_of(config(), images, model)
    loss, accuracy = evaluate(task, task.test, model, config())
    assert model.training
    model.eval()
    with torch.no_grad():
        logits = model(images.test_arrays()[0])
    assert loss == pytest.approx(F.cross_entropy(logits, images.test_labels).item(), rel=1e-5)
    right = (logits.argmax(1) == images.test_labels).sum().item()
    assert accuracy == pytest.approx(100 * right / 96)


def test_looking_at_the_test_set_costs_what_it_may():
    assert evaluation_steps(100, 32, 10_000) == set()
    for total, batch, test in [(10_000, 128, 10_000), (700, 64, 500), (50, 1024, 3000)]:
        steps = evaluation_steps(total, batch, test)
        assert len(steps) <= 8
        assert len(steps) * test <= state.EVALUATION_SHARE * 3 * total * batch
        assert all(0 < s < total for s in steps)
    assert evaluation_steps(9000, 128, 10_000) == {1000 * k for k in range(1, 9)}


def test_a_norm_over_one_example_is_refused_before_training(images):
    with pytest.raises(InputError, match="at least 2"):
        run(config(batch_size=1), images)
    with pytest.raises(InputError, match=r"batch size 1 leaves .* choose at least 2, or norm none"):
        run(config(batch_size=1, norm="batch"), images)
    with pytest.raises(InputError, match=r"batch size 3 in ghosts of 2 .* a multiple of 2, or l"):
        run(config(batch_size=3, ghost_batch_size=2), images)


def test_a_failure_on_the_way_is_a_failed_result(monkeypatch, images):
    def out_of_memory(*args, **kwargs):
        raise RuntimeError("CUDA out of memory.\nmore lines")

    monkeypatch.setattr(data, "load", lambda *a, **k: images)
    monkeypatch.setattr("sgdnoise.training.run.train_single", out_of_memory)
    (result,) = train([config()])
    assert result.status == "failed"
    assert result.reason == "CUDA out of memory."


def test_seeds_differ_and_repeat(images):
    first, again, other = (run(config(seed=s), images) for s in (0, 0, 1))
    assert first.metrics == again.metrics
    assert first.metrics["train_loss"] != other.metrics["train_loss"]


def test_every_augmentation_and_model_name_of_a_config_is_checked_early(images):
    with pytest.raises(InputError, match="augmentation"):
        run(config(augment="mixup"), images)
    with pytest.raises(InputError, match="unknown optimizer"):
        run(config(optimizer="adam"), images)
    with pytest.raises(InputError):
        models.build("wrn-11-1")
