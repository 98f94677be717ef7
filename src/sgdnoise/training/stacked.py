"""Many runs of one small MLP at once, in a compiled loop that trains one run after the other.

A step of a run this small is all call overhead; compiled, it has none (see `mlp_kernel`). A bundle
shares what is left: the data, the order of a seed's examples, the trip through Python. Everything
of a run, from its initialisation to its data order, comes from its own config, so that a run gives
the same numbers in whatever bundle it trains. Forward and backward pass are written out: the chain
of linear layers and ReLUs under softmax cross-entropy has a short one. `tests/test_stacked.py`
holds them to the plain autograd loop.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import numpy as np
import torch
from torch import nn

from sgdnoise.config import RunConfig, Status
from sgdnoise.data import Dataset
from sgdnoise.errors import InputError
from sgdnoise.schedule import log_spaced_steps
from sgdnoise.training.mlp_kernel import evaluate, flushed_denormals, pack, train_steps
from sgdnoise.training.result import CURVE_POINTS, Result, is_stacked, significant
from sgdnoise.training.schedules import multipliers
from sgdnoise.training.streams import batch_indices

_EXAMPLES_AT_ONCE = 1 << 20
"""Examples seen by all runs between two reports of progress: half a second, 8 MiB of indices."""


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
            (bfloat16, augmentation, clipping, gradient noise, discarded examples, phases, a reset
            of the momentum, probes).
    """
    first = configs[0]
    unfit = [config.id for config in configs if not is_stacked(config)]
    if unfit:
        raise InputError(
            f"run {unfit[0]} asks for what a stack of runs does not know (another update rule, "
            "augmentation, clipping, gradient noise, discarding, phases, a reset of the momentum, "
            "probes, bfloat16): train it alone"
        )
    began = perf_counter()
    size = len(dataset.train_labels)
    every = first.batches(size)
    total = every.total_steps
    train_set, test_set = (
        (x.flatten(1).contiguous().numpy(), y.numpy())
        for x, y in (dataset.train_arrays(), dataset.test_arrays())
    )

    nets = [[m for m in build(c).modules() if isinstance(m, nn.Linear)] for c in configs]
    flat = torch.stack([pack(layers) for layers in nets]).numpy()
    sizes = np.array([nets[0][0].in_features, *(layer.out_features for layer in nets[0])])
    start_flat, velocity = flat.copy(), np.zeros_like(flat)
    first_tensor = nets[0][0].weight.numel()

    momentum = np.array([config.momentum for config in configs], np.float32)
    decay = np.array([config.weight_decay for config in configs], np.float32)
    # Of what shapes a schedule, runs of a bundle differ in the decay factor alone.
    one_with = {config.decay_factor: config for config in configs}
    shape_of = {factor: multipliers(config, every) for factor, config in one_with.items()}
    # float64 products rounded once, as the scalar learning rate of an optimizer is.
    rates = np.stack(
        [
            (shape_of[config.decay_factor] * config.learning_rate).astype(np.float32)
            for config in configs
        ]
    )

    # Runs that share a seed share their batches: draw each order once.
    seeds = sorted({config.seed for config in configs})
    order_of = np.array([seeds.index(config.seed) for config in configs])
    one_of = {config.seed: config for config in configs}
    chunk = max(1, _EXAMPLES_AT_ONCE // (first.batch_size * len(configs)))

    curves: list[dict[str, list[float]]] = [
        {"step": [], "train_loss": [], "test_accuracy": [], "distance": []} for _ in configs
    ]
    status: list[Status] = ["done"] * len(configs)
    final: list[dict[str, float]] = [{} for _ in configs]

    running = np.ones(len(configs), dtype=bool)

    def measure(step: int) -> None:
        train_loss, train_accuracy = evaluate(flat, sizes, *train_set, running)
        test_loss, test_accuracy = evaluate(flat, sizes, *test_set, running)
        squares = (flat.astype(np.float64) - start_flat) ** 2
        in_first = squares[:, :first_tensor].sum(1)
        distance = np.sqrt(in_first + squares[:, first_tensor:].sum(1))
        for run, curve in enumerate(curves):
            numbers = {
                "train_loss": float(train_loss[run]),
                "train_accuracy": float(train_accuracy[run]),
                "test_loss": float(test_loss[run]),
                "test_accuracy": float(test_accuracy[run]),
                "distance": float(distance[run]),
                "distance_first_tensor": float(np.sqrt(in_first[run])),
            }
            if running[run] and not all(np.isfinite(v) for v in numbers.values()):
                running[run] = False
                status[run] = "diverged"
                final[run] = {"diverged_at": step}
            if not running[run]:
                continue
            final[run] = {name: significant(value) for name, value in numbers.items()}
            curve["step"].append(step)
            for name in ("train_loss", "test_accuracy", "distance"):
                curve[name].append(significant(numbers[name], 4))

    measured_at = log_spaced_steps(total, CURVE_POINTS)
    step = 0
    for stop in sorted({*range(chunk, total, chunk), *measured_at, total}):
        batches = np.stack(
            [batch_indices(one_of[seed], size, step, stop).numpy() for seed in seeds]
        )
        with flushed_denormals():
            train_steps(
                flat,
                velocity,
                sizes,
                *train_set,
                batches,
                order_of,
                np.ascontiguousarray(rates[:, step:stop]),
                momentum,
                decay,
                running,
                first.nesterov,
            )
            if stop in measured_at:
                measure(stop)
        if on_step is not None:
            on_step(stop - step)
        step = stop
    seconds = (perf_counter() - began) / len(configs)
    return [
        Result(config, status[run], final[run], curves[run], seconds)
        for run, config in enumerate(configs)
    ]
