"""Many runs of one small MLP at once: their weights stacked, one matrix product for all.

A step of a run this small is all call overhead; a stack of R runs pays it once. Everything of a
run, from its initialisation to its data order, comes from its own config, so that a run gives the
same numbers in whatever bundle it trains. Forward and backward pass are written out: the chain of
linear layers and ReLUs under softmax cross-entropy has a short one, and autograd would double the
time. `tests/test_stacked.py` holds them to the plain autograd loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
from torch import nn

from sgdnoise.config import RunConfig
from sgdnoise.data import Dataset
from sgdnoise.errors import InputError
from sgdnoise.schedule import log_spaced_steps
from sgdnoise.training.result import CURVE_POINTS, Result, Status, is_stacked, significant
from sgdnoise.training.schedules import multipliers
from sgdnoise.training.streams import batch_indices

_INDEX_BUDGET = 1 << 21
"""Batch indices drawn ahead, at most: 16 MiB, whatever the batch size and the number of runs."""


@dataclass
class _Stack:
    """Stacked parameters in one buffer of shape (runs, parameters), with a view for each layer."""

    flat: torch.Tensor
    weights: list[torch.Tensor]
    biases: list[torch.Tensor]

    @classmethod
    def like(cls, shapes: list[tuple[int, int]], runs: int) -> _Stack:
        """Zeros for layers of shape (inputs, outputs)."""
        flat = torch.zeros(runs, sum((a + 1) * b for a, b in shapes))
        weights, biases, at = [], [], 0
        for a, b in shapes:
            weights.append(flat[:, at : at + a * b].view(runs, a, b))
            at += a * b
            biases.append(flat[:, at : at + b].view(runs, 1, b))
            at += b
        return cls(flat, weights, biases)


def _stack(modules: list[nn.Module]) -> _Stack:
    layers = [[m for m in module.modules() if isinstance(m, nn.Linear)] for module in modules]
    shapes = [(layer.in_features, layer.out_features) for layer in layers[0]]
    stack = _Stack.like(shapes, len(modules))
    with torch.no_grad():
        for run, of_run in enumerate(layers):
            for k, layer in enumerate(of_run):
                stack.weights[k][run].copy_(layer.weight.T)
                stack.biases[k][run, 0].copy_(layer.bias)
    return stack


def _logits(stack: _Stack, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Outputs (runs, examples, classes), and each layer's input."""
    inputs = [x]
    for weight, bias in zip(stack.weights[:-1], stack.biases[:-1], strict=True):
        inputs.append(torch.baddbmm(bias, inputs[-1], weight).relu_())
    return torch.baddbmm(stack.biases[-1], inputs[-1], stack.weights[-1]), inputs


def _gradients(stack: _Stack, out: _Stack, x: torch.Tensor, targets: torch.Tensor) -> None:
    """The gradient of each run's mean cross-entropy, written into `out`.

    Args:
        stack: the parameters.
        out: receives the gradient.
        x: inputs, shape (runs, B, features).
        targets: one-hot, shape (runs, B, classes).
    """
    logits, inputs = _logits(stack, x)
    logits.sub_(logits.amax(-1, keepdim=True)).exp_()
    # Softmax by hand: torch's own is an order slower along so short an axis.
    delta = logits.div_(logits.sum(-1, keepdim=True)).sub_(targets).div_(x.shape[1])
    for k in reversed(range(len(stack.weights))):
        torch.bmm(inputs[k].transpose(1, 2), delta, out=out.weights[k])
        torch.sum(delta, 1, keepdim=True, out=out.biases[k])
        if k:
            delta = torch.bmm(delta, stack.weights[k].transpose(1, 2))
            delta = torch.ops.aten.threshold_backward(delta, inputs[k], 0)


def _evaluate(
    stack: _Stack, x: torch.Tensor, labels: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean cross-entropy in nats and accuracy in percent of each run, shape (runs,)."""
    logits, _ = _logits(stack, x.expand(stack.flat.shape[0], *x.shape))
    picked = logits.gather(2, labels.expand(logits.shape[0], -1)[..., None])[..., 0]
    losses = (logits.logsumexp(-1) - picked).double().mean(1)
    return losses, (logits.argmax(-1) == labels).double().mean(1) * 100


def train_stacked(
    configs: list[RunConfig],
    dataset: Dataset,
    build: Callable[[RunConfig], nn.Module],
    on_step: Callable[[int], None] | None = None,
) -> list[Result]:
    """Trains the runs of one bundle, all at once, in float32 on the CPU.

    Args:
        configs: runs that agree in data, model, batch size, budget and sampling.
        dataset: what they train on.
        build: gives the freshly initialised module of a run: linear layers with ReLUs between.
        on_step: called with the number of steps just done, now and then, for a progress bar.

    Returns:
        One result a run, in order. A run whose numbers stop being finite is `diverged`, at the
        first measured step where that is seen, and keeps what was measured before.

    Raises:
        InputError: for a batch larger than the training set, and for what only single runs know
            (bfloat16, augmentation, clipping, gradient noise, discarded examples).
    """
    first = configs[0]
    unfit = [config.id for config in configs if not is_stacked(config)]
    if unfit:
        raise InputError(
            f"run {unfit[0]} asks for what a stack of runs does not know (another update rule, "
            "augmentation, clipping, gradient noise, discarding, bfloat16): train it alone"
        )
    began = perf_counter()
    size = len(dataset.train_labels)
    total = first.total_steps(size)
    x_train, y_train = dataset.train_arrays()
    x_test, y_test = dataset.test_arrays()
    x_train, x_test = x_train.flatten(1), x_test.flatten(1)
    one_hot = nn.functional.one_hot(y_train, len(dataset.classes)).float()

    stack = _stack([build(config) for config in configs])
    start_flat = stack.flat.clone()
    first_tensor = stack.weights[0][0].numel()
    gradient = _Stack.like([(w.shape[1], w.shape[2]) for w in stack.weights], len(configs))
    velocity = torch.zeros_like(stack.flat)

    def column(values: list[float]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float32)[:, None]

    momentum = column([config.momentum for config in configs])
    decay = column([config.weight_decay for config in configs])
    has_momentum, has_decay = bool(momentum.any()), bool(decay.any())
    # float64 products rounded once, as the scalar learning rate of an optimizer is.
    rates = np.stack([multipliers(config, total) * config.learning_rate for config in configs], 1)

    # Runs that share a seed share their batches: draw each order once.
    seeds = sorted({config.seed for config in configs})
    order_of = torch.tensor([seeds.index(config.seed) for config in configs])
    one_of = {config.seed: config for config in configs}
    chunk = max(1, _INDEX_BUDGET // (first.batch_size * len(configs)))

    curves: list[dict[str, list[float]]] = [
        {"step": [], "train_loss": [], "test_accuracy": [], "distance": []} for _ in configs
    ]
    status: list[Status] = ["done"] * len(configs)
    final: list[dict[str, float]] = [{} for _ in configs]

    def measure(step: int) -> None:
        train_loss, train_accuracy = _evaluate(stack, x_train, y_train)
        test_loss, test_accuracy = _evaluate(stack, x_test, y_test)
        moved = (stack.flat - start_flat).double()
        distance, in_first = moved.norm(dim=1), moved[:, :first_tensor].norm(dim=1)
        for run, curve in enumerate(curves):
            numbers = {
                "train_loss": float(train_loss[run]),
                "train_accuracy": float(train_accuracy[run]),
                "test_loss": float(test_loss[run]),
                "test_accuracy": float(test_accuracy[run]),
                "distance": float(distance[run]),
                "distance_first_tensor": float(in_first[run]),
            }
            if status[run] == "done" and not all(np.isfinite(v) for v in numbers.values()):
                status[run] = "diverged"
                final[run] = {"diverged_at": step}
            if status[run] != "done":
                continue
            final[run] = {name: significant(value) for name, value in numbers.items()}
            curve["step"].append(step)
            for name in ("train_loss", "test_accuracy", "distance"):
                curve[name].append(significant(numbers[name], 4))

    step, indices, drawn_from = 0, torch.empty(0), 0
    measured_at = set(log_spaced_steps(total, CURVE_POINTS))
    with torch.no_grad():
        while step < total:
            if step == drawn_from + len(indices):
                stop = min(total, step + chunk)
                orders = [batch_indices(one_of[seed], size, step, stop) for seed in seeds]
                indices, drawn_from = torch.stack(orders, 1), step
            index = indices[step - drawn_from][order_of]
            flat_index = index.view(-1)
            x = x_train.index_select(0, flat_index).view(*index.shape, -1)
            targets = one_hot.index_select(0, flat_index).view(*index.shape, -1)
            _gradients(stack, gradient, x, targets)
            update = gradient.flat
            if has_decay:
                update.addcmul_(stack.flat, decay)
            if has_momentum:
                update = velocity.mul_(momentum).add_(update)
            stack.flat.addcmul_(update, torch.from_numpy(rates[step])[:, None].float(), value=-1)
            step += 1
            if step in measured_at:
                measure(step)
            if on_step is not None and (step % 256 == 0 or step == total):
                on_step(step % 256 or 256)
    seconds = (perf_counter() - began) / len(configs)
    return [
        Result(config, status[run], final[run], curves[run], seconds)
        for run, config in enumerate(configs)
    ]
