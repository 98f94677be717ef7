"""Probes leave a run as it was, bit by bit, and record what plain autograd gives at its weights."""

from __future__ import annotations

import math
from typing import get_args

import made_up
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from sgdnoise import data
from sgdnoise.config import Probe, make_config
from sgdnoise.data import Corpus
from sgdnoise.errors import InputError
from sgdnoise.training import bundles, probes, state
from sgdnoise.training.result import is_stacked, why_not_graphed
from sgdnoise.training.run import build_model
from sgdnoise.training.single import train_single
from sgdnoise.training.stacked import train_stacked
from sgdnoise.training.streams import stream

ALL = get_args(Probe)
TOGETHER = tuple(name for name in ALL if name != "layer-curvature")
"""Those that one run can have: two measure the same."""

_UNDEFINED_AT_ZERO = ("layer_error", "layer_ratio", "layer_distance")

N = 200


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def few(monkeypatch):
    """Sizes at which a test takes seconds."""
    few = {"PROBE_EXAMPLES": 64, "BATCHES": 3, "DIAGONAL_PROBES": 2, "DRAWS": 5}
    few |= {"POPULATION": 24, "BATCH_DRAWS": 3, "CURVATURE_MOMENTS": 2}
    for name, value in few.items():
        monkeypatch.setattr(probes, name, value)
    monkeypatch.setattr(probes, "_LANCZOS_STEPS", 6)


@pytest.fixture(scope="module")
def images():
    return made_up.tinted(pixels=8, train=N)


@pytest.fixture(scope="module")
def digits():
    return data.load("digits", train_size=N)


def config(**changes):
    """A run on tinted images with ghost batch norm, of few logged steps."""
    base = {**made_up.WIDE_RESNET, "ghost_batch_size": 16, "steps": 7}
    return make_config(**{**base, **changes})


def small(**changes):
    """A run of the digits MLP, whose weights hardly move unless told otherwise."""
    base = {"dataset": "digits", "model": "digits-mlp", "batch_size": 20, "steps": 1}
    return make_config(**{**base, "learning_rate": 1e-12, **changes})


def run(one, dataset, **options):
    model = build_model(one, dataset)
    return train_single(one, dataset, model, **options), model


def test_unknown_probes_are_refused_with_the_known_ones_named():
    with pytest.raises(InputError) as caught:
        small(probes=("sharpness", "blur"))
    assert "\n" not in str(caught.value)
    for name in (*ALL, "'blur'"):
        assert name in str(caught.value)


def test_two_probes_of_the_same_are_refused(digits):
    with pytest.raises(InputError, match="layer-curvature and layer-gauss-newton measure the same"):
        run(small(probes=ALL), digits)


OF_GHOSTS = ("ghost-batch-sharpness", "ghost-sharpness")
WITHOUT_GHOSTS = tuple(name for name in TOGETHER if name not in OF_GHOSTS)


def test_curvature_by_ghosts_is_refused_where_there_are_none(digits):
    with pytest.raises(InputError, match="ghost-batch-sharpness, ghost-sharpness: the net has no"):
        run(small(probes=OF_GHOSTS), digits)


@pytest.mark.parametrize(
    ("changes", "some"),
    [({}, TOGETHER), ({"norm": "none"}, WITHOUT_GHOSTS)],
    ids=["ghost norm", "dropout"],
)
def test_a_run_is_the_same_with_and_without(images, changes, some):
    without, bare = run(config(**changes), images)
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    got, probed = run(config(**changes, probes=some), images)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert got.metrics == without.metrics
    assert {name: got.curves[name] for name in without.curves} == without.curves
    for name, value in bare.state_dict().items():
        assert torch.equal(probed.state_dict()[name], value), name
    added = set(got.curves) - set(without.curves)
    by_ghosts = {
        "ghost_sharpness",
        "ghost_sharpness_residual",
        "ghost_batch_sharpness",
        "ghost_batch_sharpness_error",
    }
    assert {name.split("/")[0] for name in added} == (by_ghosts if some == TOGETHER else set()) | {
        "weight_distance",
        "sharpness",
        "sharpness_residual",
        "batch_sharpness",
        "batch_sharpness_error",
        "curvature_radius",
        "curvature_radius_rms",
        "approximate_radius",
        "mean_gradient_norm",
        "gradient_covariance_trace",
        "noise_scale",
        "random_draw_distance",
        "random_draw_loss_change",
        "batch_gradient_abs",
        "batch_gradient_variance",
        "batch_loss_drop",
        "whole_loss_drop",
        "epoch_loss",
        "epoch_stride",
        "epoch_mean_loss",
        "layer_curvature_epoch",
        "layer_radius",
        "layer_ratio",
        "layer_error_low",
        "layer_error",
        "layer_error_high",
        "layer_distance",
        "layer_negative",
    }
    epochs = 1  # seven batches of 32 examples, of 200
    odd = {"epoch_stride": epochs, "epoch_mean_loss": epochs}
    for name in added:
        points = 5 if name.startswith("random_draw") else len(got.curves["step"])
        points += name.startswith(("batch_gradient", "batch_loss", "whole_loss"))
        points = epochs + 1 if name.startswith(("layer", "epoch_loss")) else points
        points = odd.get(name, points)
        assert len(got.curves[name]) == points, name
        # At the start SkipInit's branches have neither gradient nor curvature.
        values = got.curves[name][name.startswith(_UNDEFINED_AT_ZERO) :]
        assert not any(map(math.isnan, values)), name


def test_measuring_leaves_modes_gradients_and_running_statistics(images):
    one = config(probes=TOGETHER)
    ready = state.RunState.open(one, images, build_model(one, images), None)
    loss = ready.task.losses(
        ready.model(ready.task.inputs(ready.task.train.examples[:32])),
        ready.task.train.targets[:32],
    ).mean()
    loss.backward()
    ready.count(loss.item())
    model = ready.model
    next(iter(model.children())).eval()  # a mode that differs from the others'
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    gradients = [p.grad.clone() for p in model.parameters()]
    modes = [m.training for m in model.modules()]
    assert True in modes
    assert False in modes
    measured = probes.Probes(ready, 1000)
    measured.measure()
    ready.progress.step = 0
    measured.start()
    assert len(ready.progress.curves) > 10
    assert [m.training for m in model.modules()] == modes
    for p, gradient in zip(model.parameters(), gradients, strict=True):
        assert torch.equal(p.grad, gradient)
    for name, value in model.state_dict().items():
        assert torch.equal(value, kept[name]), name


def test_resumed_in_the_middle_is_bit_equal(images, tmp_path, monkeypatch):
    one = config(probes=TOGETHER)
    whole, _ = run(one, images)
    monkeypatch.setattr(state, "CHECKPOINT_SECONDS", 0.0)

    class Killed(Exception):
        pass

    done = []

    def kill(k):
        done.append(k)
        if len(done) == 4:
            raise Killed

    path = tmp_path / "run.pt"
    with pytest.raises(Killed):
        run(one, images, checkpoint=path, on_step=kill)
    steps = []
    again, _ = run(one, images, checkpoint=path, on_step=steps.append)
    assert len(steps) == 4  # three were saved
    assert again.metrics == whole.metrics
    assert again.curves == whole.curves


def of_subset(digits, model):
    """Loss of the fixed subset as a function that autograd knows, and its examples."""
    index = torch.randperm(N, generator=stream(0, "probe/examples"))[: probes.PROBE_EXAMPLES]
    x, y = digits.train_arrays()
    return index, F.cross_entropy(model(x[index]), y[index])


def gradient_of(loss, model, graph=False):
    grads = torch.autograd.grad(loss, list(model.parameters()), create_graph=graph)
    return torch.cat([g.reshape(-1) for g in grads])


def product(loss, model, vector):
    """H v by differentiating gᵀv."""
    return gradient_of(gradient_of(loss, model, graph=True) @ vector, model)


@pytest.mark.parametrize(
    ("changes", "batches"),
    [
        # Of 200 examples: epochs begin within a batch, which counts where its own examples begin.
        ({"batch_size": 30, "epochs": 3.0}, [7, 7, 6]),
        ({"batch_size": 20, "epochs": 2.0}, [10, 10]),
        # The first epoch in batches of 5.
        ({"epochs": 2.0, "phases": ((0, 0.25, 0.1), (1, 1, 1))}, [40, 10]),
    ],
)
def test_the_loss_of_each_epoch_is_the_mean_over_its_batches(digits, monkeypatch, changes, batches):
    losses, count = [], state.RunState.count

    def noting(self, loss):
        losses.append(loss)
        return count(self, loss)

    monkeypatch.setattr(state.RunState, "count", noting)
    base = {"steps": None, "probes": ("epoch-loss",), **changes}
    got, _ = run(small(**base), digits)
    want = [np.mean(part) for part in np.split(losses, np.cumsum(batches)[:-1])]
    assert got.curves["epoch_mean_loss"] == pytest.approx(want, rel=1e-3)
    plain, _ = run(small(**{**base, "probes": ()}), digits)
    assert plain.metrics == got.metrics


def test_weight_distance_of_all_and_of_each_tensor(digits):
    got, model = run(small(learning_rate=0.5, steps=9, probes=("weight-distance",)), digits)
    start = build_model(small(), digits)
    pairs = zip(model.named_parameters(), start.parameters(), strict=True)
    each = {name: (p - s).norm().item() for (name, p), s in pairs}
    assert set(each) == {f"layers.{i}.{kind}" for i in (0, 1) for kind in ("weight", "bias")}
    for name, distance in each.items():
        assert got.curves[f"weight_distance/{name}"][-1] == pytest.approx(distance, rel=1e-3)
    total = math.sqrt(sum(d * d for d in each.values()))
    assert got.curves["weight_distance"][-1] == pytest.approx(total, rel=1e-3)
    assert got.curves["weight_distance"] == got.curves["distance"]


def test_sharpness_is_the_largest_eigenvalue_at_the_steps_weights(digits, monkeypatch):
    monkeypatch.setattr(probes, "_LANCZOS_STEPS", 60)
    got, model = run(small(learning_rate=0.5, steps=9, probes=("sharpness",)), digits)
    v = torch.randn(sum(p.numel() for p in model.parameters()))
    for _ in range(300):
        v = product(of_subset(digits, model)[1], model, v / v.norm())
    assert got.curves["sharpness"][-1] == pytest.approx(v.norm().item(), rel=5e-3)
    assert got.curves["sharpness_residual"][-1] < 0.01 * v.norm().item()
    # It is measured after the step, and the weights have moved far since the first.
    assert abs(got.curves["sharpness"][0] / got.curves["sharpness"][-1] - 1) > 0.05


def test_batch_sharpness_is_of_batches_of_the_steps_size(digits):
    one = small(steps=2, probes=("batch-sharpness",), phases=((0.1, 3, 1),))
    got, model = run(one, digits)
    x, y = digits.train_arrays()
    for k, size in enumerate((20, 60)):
        seed = stream(0, f"probe/batch-sharpness/{k + 1}").initial_seed()
        generator = torch.Generator().manual_seed(seed)
        ratios = []
        for _ in range(3):
            index = torch.randperm(N, generator=generator)[:size]
            loss = F.cross_entropy(model(x[index]), y[index])
            g = gradient_of(loss, model, graph=True)
            image = product(F.cross_entropy(model(x[index]), y[index]), model, g.detach())
            ratios.append((g @ image / (g @ g)).item())
        assert got.curves["batch_sharpness"][k] == pytest.approx(np.mean(ratios), rel=1e-3)
        error = np.std(ratios, ddof=1) / math.sqrt(3)
        assert got.curves["batch_sharpness_error"][k] == pytest.approx(error, rel=1e-2)


def ghost_loss(model, x, y):
    """The loss with the statistics of ghosts of 16, by PyTorch's own batch norm, ghost by ghost."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.train()
            module.momentum = 0.0
    pieces = zip(x.split(16), y.split(16), strict=True)
    return sum(F.cross_entropy(model(a), b, reduction="sum") for a, b in pieces) / len(y)


@pytest.mark.parametrize("micro_batch", [1000, 40, 5])
def test_by_ghosts_sharpness_is_of_the_loss_with_their_statistics(images, monkeypatch, micro_batch):
    monkeypatch.setattr(probes, "_LANCZOS_STEPS", 40)
    one = config(steps=3, probes=OF_GHOSTS)
    got, model = run(one, images, micro_batch=micro_batch)
    model.eval()
    index = torch.randperm(N, generator=stream(0, "probe/examples"))[: probes.PROBE_EXAMPLES]
    x, y = (part[index] for part in images.train_arrays())
    v = torch.randn(sum(p.numel() for p in model.parameters()))
    for _ in range(60):
        v = product(ghost_loss(model, x, y), model, v / v.norm())
    assert got.curves["ghost_sharpness"][-1] == pytest.approx(v.norm().item(), rel=0.02)
    whole, _ = run(config(steps=3, probes=("sharpness",)), images)
    assert whole.curves["sharpness"][-1] != pytest.approx(v.norm().item(), rel=0.05)

    seed = stream(0, "probe/ghost-batch-sharpness/3").initial_seed()
    generator = torch.Generator().manual_seed(seed)
    ratios = []
    for _ in range(3):
        batch = torch.randperm(N, generator=generator)[: one.batch_size]
        x, y = (part[batch] for part in images.train_arrays())
        g = gradient_of(ghost_loss(model, x, y), model)
        image = product(ghost_loss(model, x, y), model, g)
        ratios.append((g @ image / (g @ g)).item())
    assert got.curves["ghost_batch_sharpness"][-1] == pytest.approx(np.mean(ratios), rel=1e-2)
    error = np.std(ratios, ddof=1) / math.sqrt(3)
    assert got.curves["ghost_batch_sharpness_error"][-1] == pytest.approx(error, rel=0.05)


def test_radii_are_of_the_hessians_diagonal_and_of_the_gradient(digits):
    got, model = run(small(probes=("curvature-radius",)), digits)
    _, loss = of_subset(digits, model)
    bias = model.layers[1].bias
    (g,) = torch.autograd.grad(loss, bias, create_graph=True)
    h = torch.stack([torch.autograd.grad(g[i], bias, retain_graph=True)[0][i] for i in range(10)])
    radii = ((1 + g**2) ** 1.5 / h.abs()).detach().sort().values
    name = "layers.1.bias"
    assert got.curves[f"curvature_radius/{name}"][0] == pytest.approx(radii[4].item(), rel=1e-3)
    rms = 1 / h.square().mean().sqrt().item()
    assert got.curves[f"curvature_radius_rms/{name}"][0] == pytest.approx(rms, rel=1e-3)
    weight = model.layers[0].weight
    (g,) = torch.autograd.grad(of_subset(digits, model)[1], weight)
    ratio = (weight / g).detach().abs().flatten()
    want = np.quantile(ratio.numpy(), 0.5, method="inverted_cdf")
    got_ratio = got.curves["approximate_radius/layers.0.weight"][0]
    assert got_ratio == pytest.approx(want, rel=1e-2)


def test_gradient_statistics_are_those_of_single_examples(digits):
    got, model = run(small(probes=("gradient-statistics",)), digits)
    index, _ = of_subset(digits, model)
    x, y = digits.train_arrays()
    each = torch.stack(
        [gradient_of(F.cross_entropy(model(x[i : i + 1]), y[i : i + 1]), model) for i in index]
    ).double()
    mean = each.mean(0)
    trace = ((each - mean) ** 2).sum().item() / (len(each) - 1)
    # A mean of n of N examples exceeds the full gradient's square by trΣ (1/n − 1/N).
    signal = (mean @ mean).item() - trace * (1 / len(each) - 1 / N)
    curves = {name: values[0] for name, values in got.curves.items()}
    assert curves["gradient_covariance_trace"] == pytest.approx(trace, rel=1e-3)
    assert curves["mean_gradient_norm"] == pytest.approx(math.sqrt(signal), rel=1e-3)
    assert curves["noise_scale"] == pytest.approx(trace / signal, rel=1e-3)


@pytest.mark.parametrize("micro_batch", [1000, 5])
def test_batches_of_all_sizes_at_the_initial_weights(digits, micro_batch, monkeypatch):
    monkeypatch.setattr(probes, "POPULATION", N)
    one = small(probes=("batch-gradients",), learning_rate=0.2)
    got, _ = run(one, digits, micro_batch=micro_batch)
    sizes = [1, 2, 4, 8, 16, 32, 64, 128, N]
    assert [n for n in sizes if f"batch_gradient_variance/{n}" in got.curves] == sizes
    # By plain autograd, and each step taken by the weights themselves.
    model = build_model(one, digits)
    x, y = (part[torch.randperm(N, generator=stream(0, "probe/examples"))]
            for part in digits.train_arrays())  # fmt: skip
    seed = stream(0, "probe/batch-gradients/0").initial_seed()
    generator = torch.Generator().manual_seed(seed)
    weights = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    for n in sizes:
        gradients, own, whole = [], [], []
        for _ in range(3 if n < N else 1):
            index = torch.randperm(N, generator=generator)[:n]
            nn.utils.vector_to_parameters(weights, model.parameters())
            before = [F.cross_entropy(model(x[i]), y[i]) for i in (index, slice(None))]
            gradients.append(gradient_of(before[0], model))
            nn.utils.vector_to_parameters(weights - 0.2 * gradients[-1], model.parameters())
            after = [F.cross_entropy(model(x[i]), y[i]) for i in (index, slice(None))]
            for falls, a, b in zip((own, whole), before, after, strict=True):
                falls.append((a - b).item() / 0.2)
        g = torch.stack(gradients).double()
        curves = {name: values[0] for name, values in got.curves.items()}
        first = g[:, : 64 * 64].abs().mean().item()
        assert curves[f"batch_gradient_abs/{n}/layers.0.weight"] == pytest.approx(first, rel=1e-3)
        last = g[:, -10:].abs().mean().item()
        assert curves[f"batch_gradient_abs/{n}/layers.1.bias"] == pytest.approx(last, rel=1e-3)
        spread = ((g - g.mean(0)) ** 2).sum().item() / max(1, len(g) - 1)
        assert curves[f"batch_gradient_variance/{n}"] == pytest.approx(spread, rel=1e-3)
        assert curves[f"batch_loss_drop/{n}"] == pytest.approx(np.mean(own), rel=2e-3)
        assert curves[f"whole_loss_drop/{n}"] == pytest.approx(np.mean(whole), rel=2e-3, abs=1e-4)


def test_each_epochs_way_and_loss(digits):
    one = small(probes=("epochs",), learning_rate=0.3, steps=None, epochs=1.5, batch_size=50)
    got, _ = run(one, digits)
    x, y = digits.train_arrays()
    assert len(got.curves["epoch_loss"]) == 3
    assert got.curves["epoch_loss"][0] == pytest.approx(
        F.cross_entropy(build_model(one, digits)(x), y).item(), rel=1e-3
    )
    assert got.curves["epoch_loss"][-1] == pytest.approx(got.metrics["train_loss"], rel=1e-3)
    # Six updates: four an epoch, and two of a second one. All are logged, each with its length.
    assert got.curves["step"] == list(range(1, 7))
    lengths = np.split(np.array(got.curves["stride_abs"]), [4])
    assert got.curves["epoch_stride"] == pytest.approx([sum(part) for part in lengths], rel=1e-3)


@pytest.mark.parametrize("probe", sorted(probes._LAYER_PROBES))
def test_layers_curvature_is_the_diagonals_beside_the_whole_sets_gradient(
    digits, monkeypatch, probe
):
    monkeypatch.setattr(probes, "PROBE_EXAMPLES", 64)
    got, model = run(small(probes=(probe,), batch_size=N), digits)
    assert got.curves["layer_curvature_epoch"] == [0, 1]
    x, y = digits.train_arrays()
    bias = model.layers[1].bias
    (g,) = torch.autograd.grad(F.cross_entropy(model(x), y), bias)
    (part,) = torch.autograd.grad(of_subset(digits, model)[1], bias, create_graph=True)
    h = torch.stack(
        [torch.autograd.grad(part[i], bias, retain_graph=True)[0][i] for i in range(10)]
    )

    def median(values):
        return values.detach().abs().sort().values[4].item()

    radius, ratio = (1 + g**2) ** 1.5 / h.abs(), bias / g
    for quantity, values in {
        "layer_radius": radius,
        "layer_ratio": ratio,
        "layer_error": ratio / radius,
        "layer_distance": g / h,
    }.items():
        found = got.curves[f"{quantity}/layers.1.bias"]
        assert found[-1] == pytest.approx(median(values), rel=1e-2), quantity
    low, high = (got.curves[f"layer_error_{q}/layers.1.bias"][-1] for q in ("low", "high"))
    assert low < got.curves["layer_error/layers.1.bias"][-1] < high
    assert got.curves["layer_negative/layers.1.bias"][-1] == (h < 0).float().mean().item()


@pytest.mark.parametrize("micro_batch", [1000, 10])
def test_random_draws_lie_around_the_start(digits, micro_batch):
    got, _ = run(small(probes=("random-draws",)), digits, micro_batch=micro_batch)
    model = build_model(small(), digits)
    at_start = of_subset(digits, model)[1].item()
    generator = stream(0, "probe/random-draws")
    weights = nn.utils.parameters_to_vector(model.parameters()).detach()
    for distance, change in zip(
        got.curves["random_draw_distance"], got.curves["random_draw_loss_change"], strict=True
    ):
        v = torch.randn(len(weights), generator=generator)
        z = 10 * torch.rand((), generator=generator).item()
        nn.utils.vector_to_parameters(weights + z * v / v.norm(), model.parameters())
        assert distance == pytest.approx(z, rel=1e-3)
        assert change == pytest.approx(of_subset(digits, model)[1].item() - at_start, rel=1e-3)


def test_a_net_that_diverges_has_numbers_that_are_none(images):
    one = config(norm="none", learning_rate=1e18, momentum=0.0, probes=WITHOUT_GHOSTS)
    got, _ = run(one, images)
    assert got.status == "diverged"
    points = len(got.curves["step"])
    assert points >= 1
    for name in ("sharpness", "batch_sharpness", "noise_scale"):
        assert len(got.curves[name]) == points
        assert math.isnan(got.curves[name][-1])


def test_probes_know_every_task(images):
    some = ("sharpness", "batch-sharpness", "gradient-statistics", "random-draws")
    picture = config(
        model="autoencoder", norm=None, augment="none", learning_rate=1e-3, steps=1, probes=some
    )
    got, _ = run(picture, images)
    assert all(math.isfinite(v) for values in got.curves.values() for v in values)
    words = torch.randint(0, 20, (36 * 40,), generator=torch.Generator().manual_seed(0))
    vocabulary = tuple(f"w{k}" for k in range(20))
    text = Corpus("ptb", words, words[:200], words[:200], vocabulary)
    one = config(
        dataset="ptb", model="lstm-small", norm=None, augment="none", batch_size=4, steps=1,
        learning_rate=0.1, probes=some,
    )  # fmt: skip
    got, _ = run(one, text)
    assert all(not math.isnan(v) for values in got.curves.values() for v in values)


def test_too_few_examples_for_a_noise_scale_are_refused_before_training(monkeypatch):
    monkeypatch.setattr("sgdnoise.optim.backward", lambda *_: pytest.fail("trained"))
    tiny = made_up.tinted(pixels=8, train=7)
    one = config(batch_size=4, probes=("gradient-statistics",))
    with pytest.raises(InputError, match="at least 8"):
        run(one, tiny)


def test_only_the_plain_loop_has_probes(digits):
    one = small(probes=("weight-distance",))
    assert "probes" in why_not_graphed(one)
    assert is_stacked(small())
    assert not is_stacked(one)
    assert [len(b) for b in bundles([one, one.replace(seed=1)], "cuda")] == [1, 1]
    with pytest.raises(InputError, match="probes"):
        train_stacked([one], digits, lambda c: build_model(c, digits))
