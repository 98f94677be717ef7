"""One run at a time, of any model: the plain loop, with everything a config can ask for.

Every draw is addressed by epoch or step (`streams`), so that a run resumed from a checkpoint gives
the bits of an uninterrupted one on a CPU. What a run is beside its loop stands in `state`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter

import torch
from torch import nn

from sgdnoise import optim
from sgdnoise.config import RunConfig
from sgdnoise.data import Corpus, Dataset
from sgdnoise.schedule import BatchSchedule
from sgdnoise.training.probes import Probes
from sgdnoise.training.result import Result
from sgdnoise.training.state import (
    MICRO_BATCH,
    RunState,
    noise_of,
    own_global_stream,
    parts,
    precision,
)
from sgdnoise.training.streams import batch_indices, stream


def train_single(
    config: RunConfig,
    dataset: Dataset | Corpus,
    model: nn.Module,
    *,
    checkpoint: Path | None = None,
    micro_batch: int = MICRO_BATCH,
    on_step: Callable[[int], None] | None = None,
    deadline: float | None = None,
) -> Result:
    """Trains one run, on the device where the data set lies.

    Args:
        config: the run.
        dataset: what it trains on; the model is moved to its device.
        model: freshly initialised.
        checkpoint: a file that is written every 20 s, and taken up if it is there. It is there
            still at the end, until the result is recorded.
        micro_batch: predictions in memory at once, one of each image. Batches above are summed
            over parts of whole ghost batches, which gives the same gradient; but a batch that
            discards examples, or whose norm spans it, stays whole.
        on_step: called with the number of steps just done.
        deadline: `time.time()` from which on the run stops, after its step.

    Returns:
        The result. Final `train_loss` and `train_accuracy` (or the task's other score) are those of
        the whole training set, neither augmented nor in batches; `train_loss` along the curve is
        the mean loss of the batches since the last point, as trained on.

    Raises:
        InputError: for what cannot be trained, before any training.
        Stopped: at the deadline, with the checkpoint written.
    """
    state = RunState.open(config, dataset, model, checkpoint, deadline)
    task, optimizer, progress, device = state.task, state.optimizer, state.progress, state.device
    has_dropout = state.has_dropout
    probes = Probes(state, micro_batch // task.predictions)
    began = perf_counter() - progress.seconds
    probes.start()
    with own_global_stream(has_dropout, device):
        for step, index in _batches(config, state.batches, state.size, progress.step):
            size = len(index)
            state.begin(step)
            for group in optimizer.param_groups:
                group["lr"] = float(state.rates[step])
            if has_dropout:
                torch.manual_seed(state.dropout_seed(step))
            draws = task.draw(size, stream(config.seed, f"augment/{step}"))
            weigh = _weights(config, step, size, discarding=_discards(state, step))
            optimizer.zero_grad(set_to_none=True)
            loss = 0.0
            for part in parts(config, model, micro_batch // task.predictions, size):
                chosen = index[part].to(device)
                x = task.inputs(task.train.examples[chosen], draws[:, part])
                with precision(config, device):
                    outputs = task.outputs(model, x)
                losses = task.losses(outputs, task.train.targets[chosen])
                part_loss = (weigh(losses, part) * losses).sum() / size
                optim.backward(optimizer, part_loss)
                loss += part_loss.item()
            if not state.count(loss):
                break
            if config.clip_norm is not None:
                optim.clip_gradient(model.parameters(), config.clip_norm, step, config.clip_steps)
            probes.before_update()
            if progress.step in state.logged:
                state.log()
                probes.measure()
            else:
                optimizer.step()
            probes.after_update()
            if progress.step in state.evaluated:
                state.look_at_test_set()
            if on_step is not None:
                on_step(1)
            progress.seconds = perf_counter() - began
            state.pause()
    result = state.result()
    return dataclasses.replace(result, seconds=perf_counter() - began)


def _batches(
    config: RunConfig, batches: BatchSchedule, train_size: int, start: int
) -> Iterator[tuple[int, torch.Tensor]]:
    """Steps and the examples of each, drawn some way ahead within a phase."""
    first = start
    while first < batches.total_steps:
        ahead = max(1, (1 << 20) // batches.at(first).batch_size)
        stop = min(first + ahead, batches.end(first))
        drawn = batch_indices(config, train_size, first, stop)
        yield from zip(range(first, stop), drawn, strict=True)
        first = stop


def _discards(state: RunState, step: int) -> bool:
    """Whether a step belongs to the epochs that discard: whether its examples begin in them."""
    epochs = state.config.discard_epochs
    # The tolerance: 1.1 epochs of 200 examples are 220, where the product comes out above it.
    return epochs is None or state.batches.seen(step) < epochs * state.size * (1 - 1e-12)


def _weights(
    config: RunConfig, step: int, size: int, discarding: bool
) -> Callable[[torch.Tensor, slice], torch.Tensor]:
    """What each example's loss of a part is weighed with; 1 unless the config says otherwise."""
    noise = noise_of(config, step, size) if config.gradient_noise else None

    def weigh(losses: torch.Tensor, part: slice) -> torch.Tensor:
        weights = torch.ones_like(losses)
        if config.discard_fraction and discarding:
            order = losses.detach()
            if config.discard_by == "random":
                order = torch.rand(size, generator=stream(config.seed, f"discard/{step}"))
            weights = optim.discard_weights(order.to(losses.device), config.discard_fraction)
        if noise is not None:
            weights = weights * noise[part].to(losses.device)
        return weights

    return weigh
