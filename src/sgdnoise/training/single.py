"""One run at a time, of any model: the plain loop, with everything a config can ask for.

The loop itself is `train_single`; the rest is what it measures and how it stops and goes on.
Every draw is addressed by epoch or step (`streams`), so that a run resumed from a checkpoint gives
the bits of an uninterrupted one on a CPU.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

import torch
from torch import nn

from sgdnoise import optim
from sgdnoise.config import RunConfig
from sgdnoise.data import Corpus, Dataset
from sgdnoise.errors import InputError
from sgdnoise.ghost_norm import ghost_sizes
from sgdnoise.schedule import log_spaced_steps
from sgdnoise.training.result import CURVE_POINTS, Result, significant
from sgdnoise.training.schedules import multipliers
from sgdnoise.training.streams import batch_indices, stream
from sgdnoise.training.tasks import Split, Task, task_of

MICRO_BATCH = 1024
"""Most predictions that are in memory at once: batches above are summed over parts."""

EVALUATION_BATCH = 1000
"""Likewise, of an evaluation."""

EVALUATION_SHARE = 0.05
"""Part of a run's arithmetic that measuring it on the test set on the way may take."""

CHECKPOINT_SECONDS = 20.0


@dataclass
class _Progress:
    """What a run has measured so far: with the weights, all that a checkpoint holds."""

    step: int = 0
    loss_sum: float = 0.0
    loss_count: int = 0
    seconds: float = 0.0
    diverged_at: int | None = None
    curves: dict[str, list[float]] = field(default_factory=dict)

    def add(self, **numbers: float) -> None:
        for name, value in numbers.items():
            self.curves.setdefault(name, []).append(value)


def train_single(
    config: RunConfig,
    dataset: Dataset | Corpus,
    model: nn.Module,
    *,
    checkpoint: Path | None = None,
    micro_batch: int = MICRO_BATCH,
    on_step: Callable[[int], None] | None = None,
) -> Result:
    """Trains one run, on the device where the data set lies.

    Args:
        config: the run.
        dataset: what it trains on; the model is moved to its device.
        model: freshly initialised.
        checkpoint: a file that is written every 20 s, taken up if it is there, and removed at
            the end.
        micro_batch: predictions in memory at once, one of each image. Batches above are summed
            over parts of whole ghost batches, which gives the same gradient; but a batch that
            discards examples, or whose norm spans it, stays whole.
        on_step: called with the number of steps just done.

    Returns:
        The result. Final `train_loss` and `train_accuracy` (or the task's other score) are those of
        the whole training set, neither augmented nor in batches; `train_loss` along the curve is
        the mean loss of the batches since the last point, as trained on.

    Raises:
        InputError: for what cannot be trained, before any training.
    """
    task = task_of(config, dataset, model)
    device = task.train.targets.device
    size = len(task.train.targets)
    total = config.total_steps(size)
    # As the inputs: see `tasks`.
    model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    _check(config, task, model)
    model.train()
    optimizer = optim.build_optimizer(
        config.optimizer,
        model,
        learning_rate=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        trust_coefficient=config.trust_coefficient,
        generator=stream(config.seed, "curvature"),
    )
    start = [p.detach().clone() for p in model.parameters()]
    rates = multipliers(config, total) * config.learning_rate
    logged = set(log_spaced_steps(total, CURVE_POINTS))
    evaluated = evaluation_steps(total, config.batch_size, len(task.test.targets))
    progress = _resume(checkpoint, config, model, optimizer)
    has_dropout = any(isinstance(m, nn.modules.dropout._DropoutNd) for m in model.modules())
    discard_steps = (
        math.inf
        if config.discard_epochs is None
        else config.discard_epochs * size / config.batch_size
    )
    saved_at = monotonic()
    began = perf_counter() - progress.seconds
    with _own_global_stream(has_dropout, device):
        for step, index in _batches(config, size, progress.step, total):
            for group in optimizer.param_groups:
                group["lr"] = float(rates[step])
            if has_dropout:
                torch.manual_seed(stream(config.seed, f"dropout/{step}").initial_seed())
            draws = task.draw(config.batch_size, stream(config.seed, f"augment/{step}"))
            weigh = _weights(config, step, discarding=step < discard_steps)
            optimizer.zero_grad(set_to_none=True)
            loss = 0.0
            for part in _parts(config, model, micro_batch // task.predictions):
                chosen = index[part].to(device)
                x = task.inputs(task.train.examples[chosen], draws[:, part])
                with _precision(config, device):
                    outputs = task.outputs(model, x)
                losses = task.losses(outputs, task.train.targets[chosen])
                part_loss = (weigh(losses, part) * losses).sum() / config.batch_size
                optim.backward(optimizer, part_loss)
                loss += part_loss.item()
            if not math.isfinite(loss):
                progress.diverged_at = step + 1
                break
            if config.clip_norm is not None:
                optim.clip_gradient(model.parameters(), config.clip_norm, step, config.clip_steps)
            progress.loss_sum += loss
            progress.loss_count += 1
            progress.step = step + 1
            if progress.step in logged:
                _log(progress, model, optimizer, start)
            else:
                optimizer.step()
            if progress.step in evaluated:
                _, score = evaluate(task, task.test, model, config)
                test = {f"test_{task.score}": significant(score, 4)}
                progress.add(test_step=progress.step, **test)
            if on_step is not None:
                on_step(1)
            if checkpoint is not None and monotonic() - saved_at > CHECKPOINT_SECONDS:
                progress.seconds = perf_counter() - began
                _save(checkpoint, config, model, optimizer, progress)
                saved_at = monotonic()
    result = _result(config, task, model, start, progress, perf_counter() - began)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    return result


def evaluation_steps(total: int, batch_size: int, test_size: int) -> set[int]:
    """When a run looks at the test set on its way: up to eight times, evenly, the end not counted.

    As often as costs at most `EVALUATION_SHARE` of the training's arithmetic, a step being three
    times a forward pass.
    """
    affordable = int(EVALUATION_SHARE * 3 * total * batch_size / test_size)
    count = min(8, affordable)
    return {round(total * k / (count + 1)) for k in range(1, count + 1)} - {0, total}


@torch.no_grad()
def evaluate(task: Task, split: Split, model: nn.Module, config: RunConfig) -> tuple[float, float]:
    """Loss and score of a whole set, in evaluation mode: of images, nats and percent."""
    training = model.training
    model.eval()
    device = split.targets.device
    loss, score = (torch.zeros((), dtype=torch.float64, device=device) for _ in range(2))
    size = max(1, EVALUATION_BATCH // task.predictions)
    for examples, targets in zip(*(part.split(size) for part in split), strict=True):
        with _precision(config, device):
            outputs = task.outputs(model, task.inputs(examples))
        losses = task.losses(outputs, targets)
        loss += losses.double().sum()
        score += task.scores(outputs, targets, losses).double().sum()
    model.train(training)
    count = len(split.targets)
    return float(loss) / count, task.total(float(score) / count)


@torch.no_grad()
def _check(config: RunConfig, task: Task, model: nn.Module) -> None:
    """Refuses what would fail on the way."""
    for norm in model.modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            ghost = getattr(norm, "ghost_batch_size", config.batch_size)
            if min(ghost_sizes(config.batch_size, ghost)) < 2:
                raise InputError(
                    f"batch size {config.batch_size} with batch norm over {ghost} examples leaves "
                    "it a single one: choose at least 2, even if ghosts are of 2, or norm none"
                )
    width = task.outputs(model.eval(), task.inputs(task.train.examples[:1])).shape[-1]
    if width != task.width:
        raise InputError(
            f"the model has {width} outputs where its data need {task.width}: "
            "build it with as many as there are classes"
        )


def _batches(
    config: RunConfig, size: int, start: int, total: int
) -> Iterator[tuple[int, torch.Tensor]]:
    """Steps and the examples of each, drawn some way ahead."""
    ahead = max(1, (1 << 20) // config.batch_size)
    for first in range(start, total, ahead):
        drawn = batch_indices(config, size, first, min(total, first + ahead))
        yield from zip(range(first, total), drawn, strict=False)


def _parts(config: RunConfig, model: nn.Module, micro_batch: int) -> list[slice]:
    """The parts of a batch that go through the model one after another."""
    size = config.batch_size
    norms = any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in model.modules())
    # What is chosen or estimated over the whole batch needs it whole.
    spans = (norms and config.norm != "ghost") or config.optimizer.startswith("cblr")
    if size <= micro_batch or config.discard_fraction or spans:
        return [slice(0, size)]
    ghost = config.ghost_batch_size if norms else 1
    step = max(ghost, micro_batch // ghost * ghost)
    edges = list(range(0, size, step))
    # A remainder below half a ghost belongs to the last ghost, and so to its part.
    if len(edges) > 1 and 2 * (size - edges[-1]) < ghost:
        edges.pop()
    return [slice(a, b) for a, b in zip(edges, [*edges[1:], size], strict=True)]


def _weights(
    config: RunConfig, step: int, discarding: bool
) -> Callable[[torch.Tensor, slice], torch.Tensor]:
    """What each example's loss of a part is weighed with; 1 unless the config says otherwise."""
    noise = None
    if config.gradient_noise:
        generator = stream(config.seed, f"noise/{step}")
        noise = optim.noise_weights(config.batch_size, config.gradient_noise, generator)

    def weigh(losses: torch.Tensor, part: slice) -> torch.Tensor:
        weights = torch.ones_like(losses)
        if config.discard_fraction and discarding:
            weights = optim.discard_weights(losses.detach(), config.discard_fraction)
        if noise is not None:
            weights = weights * noise[part].to(losses.device)
        return weights

    return weigh


def _precision(config: RunConfig, device: torch.device) -> contextlib.AbstractContextManager:
    if config.precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


@contextlib.contextmanager
def _own_global_stream(needed: bool, device: torch.device) -> Iterator[None]:
    """Leaves the caller's global generator alone while dropout draws from it."""
    if not needed:
        yield
        return
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield


def _flat(tensors: Iterable[torch.Tensor]) -> torch.Tensor:
    return torch.cat([t.detach().reshape(-1) for t in tensors])


def _log(
    progress: _Progress,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    start: list[torch.Tensor],
) -> None:
    """Takes the step, and records it: losses, distances, gradient and stride (G20 figures 3, 4)."""
    params = list(model.parameters())
    gradient = _flat([p.grad for p in params if p.grad is not None])
    before = _flat(params)
    optimizer.step()
    stride = _flat(params) - before
    moved, first = _distance(params, start)
    rounded = {
        "train_loss": progress.loss_sum / progress.loss_count,
        "distance": moved,
        "distance_first_tensor": first,
        "gradient_norm": float(gradient.norm()),
        "gradient_abs": float(gradient.abs().mean()),
        "stride_norm": float(stride.norm()),
        "stride_abs": float(stride.abs().mean()),
    }
    progress.add(step=progress.step, **{k: significant(v, 4) for k, v in rounded.items()})
    progress.loss_sum, progress.loss_count = 0.0, 0


def _distance(params: list[nn.Parameter], start: list[torch.Tensor]) -> tuple[float, float]:
    """‖w − w₀‖ over all parameters, and over the first tensor alone, which H17's code logged."""
    squares = [
        float((p.detach() - s).double().square().sum()) for p, s in zip(params, start, strict=True)
    ]
    return math.sqrt(sum(squares)), math.sqrt(squares[0])


def _result(
    config: RunConfig,
    task: Task,
    model: nn.Module,
    start: list[torch.Tensor],
    progress: _Progress,
    seconds: float,
) -> Result:
    metrics: dict[str, float] = {}
    if progress.diverged_at is None:
        for name, split in (("train", task.train), ("test", task.test)):
            loss, score = evaluate(task, split, model, config)
            metrics |= {f"{name}_loss": loss, f"{name}_{task.score}": score}
        moved = _distance(list(model.parameters()), start)
        metrics |= {"distance": moved[0], "distance_first_tensor": moved[1]}
        if not all(map(math.isfinite, metrics.values())):
            progress.diverged_at = progress.step
    if progress.diverged_at is not None:
        return Result(
            config,
            "diverged",
            {"diverged_at": progress.diverged_at},
            progress.curves,
            seconds,
        )
    return Result(
        config,
        "done",
        {name: significant(value) for name, value in metrics.items()},
        progress.curves,
        seconds,
    )


def _save(
    path: Path,
    config: RunConfig,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    progress: _Progress,
) -> None:
    state: dict[str, Any] = {
        "id": config.id,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "progress": dataclasses.asdict(progress),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    torch.save(state, temporary)
    temporary.replace(path)


def _resume(
    path: Path | None, config: RunConfig, model: nn.Module, optimizer: torch.optim.Optimizer
) -> _Progress:
    """Where to go on: from the checkpoint if there is a sound one of this run, else the start."""
    if path is None or not path.exists():
        return _Progress()
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        if state["id"] != config.id:
            return _Progress()
    except Exception:  # whatever is wrong with a checkpoint, the run can still start anew
        return _Progress()
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    return _Progress(**state["progress"])
