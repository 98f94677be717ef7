"""A run on the way: what it has measured, how it is evaluated, logged, saved and taken up again.

Both loops that train one run after another's steps share it: the plain one (`single`) and the one
of CUDA graphs (`graphed`). So either goes on from the other's checkpoint.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import itertools
import math
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from sgdnoise import optim
from sgdnoise.config import RunConfig
from sgdnoise.data import Corpus, Dataset
from sgdnoise.errors import InputError
from sgdnoise.ghost_norm import ghost_sizes
from sgdnoise.provenance import code_digest
from sgdnoise.schedule import BatchSchedule, log_spaced_steps
from sgdnoise.training.checkpoints import (
    read_checkpoint,
    say,
    say_unwritable,
    write_checkpoint,
)
from sgdnoise.training.result import CURVE_POINTS, Result, significant
from sgdnoise.training.schedules import multipliers
from sgdnoise.training.streams import stream
from sgdnoise.training.tasks import Split, Task, task_of

MICRO_BATCH = 1024
"""Most predictions that are in memory at once: batches above are summed over parts."""

EVALUATION_BATCH = 1000
"""Likewise, of an evaluation."""

EVALUATION_SHARE = 0.05
"""Part of a run's arithmetic that measuring it on the test set on the way may take."""

CHECKPOINT_SECONDS = 20.0


class Stopped(Exception):
    """The deadline came before the run's end: it goes on from its checkpoint, if it has one."""


@dataclass
class Progress:
    """What a run has measured so far: with the weights, all that a checkpoint holds."""

    step: int = 0
    loss_sum: float = 0.0
    loss_count: float = 0
    epoch_sum: float = 0.0
    epoch_count: float = 0
    seconds: float = 0.0
    diverged_at: int | None = None
    curves: dict[str, list[float]] = field(default_factory=dict)

    def add(self, **numbers: float) -> None:
        for name, value in numbers.items():
            self.curves.setdefault(name, []).append(value)


@dataclass(eq=False)
class RunState:
    """One run on the way, on the device where its data lie; `open` starts it or takes it up.

    Attributes:
        start: copies of the initial parameters.
        batches: the batch size of each step.
        rates: the learning rate of each step, float64.
        logged: steps at which curves are measured.
        evaluated: steps at which the test set is looked at.
    """

    config: RunConfig
    task: Task
    model: nn.Module
    optimizer: torch.optim.Optimizer
    start: list[torch.Tensor]
    batches: BatchSchedule
    rates: np.ndarray
    logged: set[int]
    evaluated: set[int]
    checkpoint: Path | None
    deadline: float | None
    progress: Progress = field(default_factory=Progress)
    _saved_at: float = field(default_factory=time.monotonic)

    @classmethod
    def open(
        cls,
        config: RunConfig,
        dataset: Dataset | Corpus,
        model: nn.Module,
        checkpoint: Path | None,
        deadline: float | None = None,
        fused: bool = False,
    ) -> RunState:
        """The state of a run at its start, or at its checkpoint if there is a sound one.

        Args:
            config: the run.
            dataset: what it trains on; the model is moved to its device.
            model: freshly initialised.
            checkpoint: a file, which need not be there.
            deadline: `time.time()` from which on the run stops at its next occasion.
            fused: whether SGD's update is one kernel.

        Raises:
            InputError: for what cannot be trained.
        """
        task = task_of(config, dataset, model)
        device = task.train.targets.device
        size = len(task.train.targets)
        batches = config.batches(size)
        total = batches.total_steps
        # As the inputs: see `tasks`.
        model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        _check(batches, task, model)
        model.train()
        optimizer = optim.build_optimizer(
            config.optimizer,
            model,
            learning_rate=config.learning_rate,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            trust_coefficient=config.trust_coefficient,
            generator=stream(config.seed, "curvature"),
            fused=fused,
            nesterov=config.nesterov,
        )
        state = cls(
            config,
            task,
            model,
            optimizer,
            start=[p.detach().clone() for p in model.parameters()],
            batches=batches,
            rates=multipliers(config, batches) * config.learning_rate,
            logged=set(log_spaced_steps(total, CURVE_POINTS)),
            evaluated=evaluation_steps(total, batches.examples / total, len(task.test.targets)),
            checkpoint=checkpoint,
            deadline=deadline,
        )
        state._resume()
        return state

    @property
    def device(self) -> torch.device:
        """Where the run trains."""
        return self.task.train.targets.device

    @property
    def total(self) -> int:
        """Number of updates."""
        return self.batches.total_steps

    @property
    def size(self) -> int:
        """Number of training examples."""
        return len(self.task.train.targets)

    @property
    def has_dropout(self) -> bool:
        """Whether training draws from the global generator."""
        kinds = nn.modules.dropout._DropoutNd
        return any(isinstance(m, kinds) and m.p > 0 for m in self.model.modules())

    def dropout_seed(self, step: int) -> int:
        """What the generator that dropout draws from is seeded with before a step."""
        return stream(self.config.seed, f"dropout/{step}").initial_seed()

    def begin(self, step: int) -> None:
        """What comes before a step: where an epoch starts, a momentum to be reset is zeroed."""
        if self.config.momentum_reset and self._starts_epoch(step):
            for moments in self.optimizer.state.values():
                if moments.get("momentum_buffer") is not None:
                    moments["momentum_buffer"].zero_()

    def _starts_epoch(self, step: int) -> bool:
        before = self.batches.seen(step - 1) if step else 0
        return self.batches.seen(step) // self.size > before // self.size

    def count(self, loss: float) -> bool:
        """Takes the loss of one more step; whether it is finite, so that the run goes on."""
        progress = self.progress
        if not math.isfinite(loss):
            progress.diverged_at = progress.step + 1
            return False
        # In batches of the run's own size, so that a curve's point is a mean over examples.
        weight = self.batches.at(progress.step).batch_size / self.config.batch_size
        progress.loss_sum += weight * loss
        progress.loss_count += weight
        progress.step += 1
        if "epoch-loss" in self.config.probes:
            progress.epoch_sum += weight * loss
            progress.epoch_count += weight
            if progress.step == self.total or self._starts_epoch(progress.step):
                mean = progress.epoch_sum / progress.epoch_count
                progress.add(epoch_mean_loss=significant(mean, 4))
                progress.epoch_sum, progress.epoch_count = 0.0, 0
        return True

    def log(self) -> None:
        """Takes the step and records it: loss, distances, gradient, stride (G20 figures 3, 4)."""
        progress = self.progress
        params = list(self.model.parameters())
        gradient = _flat([p.grad for p in params if p.grad is not None])
        before = _flat(params)
        self.optimizer.step()
        stride = _flat(params) - before
        moved, first = _distance(params, self.start)
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

    def look_at_test_set(self) -> None:
        """Measures the score on the test set, for the curve."""
        _, score = evaluate(self.task, self.task.test, self.model, self.config)
        test = {f"test_{self.task.score}": significant(score, 4)}
        self.progress.add(test_step=self.progress.step, **test)

    def pause(self) -> None:
        """Writes the checkpoint if it is time for it; the run goes on if it cannot be written.

        Raises:
            Stopped: past the deadline, with the checkpoint written; not after the last step, when
                only the result is to be made.
        """
        late = self.deadline is not None and time.time() >= self.deadline
        late = late and self.progress.step < self.total
        if self.checkpoint is not None and (
            late or time.monotonic() - self._saved_at > CHECKPOINT_SECONDS
        ):
            self._save(self.checkpoint)
            self._saved_at = time.monotonic()
        if late:
            raise Stopped

    def result(self) -> Result:
        """The finished run's result, from its final evaluation.

        The checkpoint stays, for the result is not recorded yet: who records it removes the file.
        """
        progress, metrics = self.progress, dict[str, float]()
        if progress.diverged_at is None:
            for name, split in (("train", self.task.train), ("test", self.task.test)):
                loss, score = evaluate(self.task, split, self.model, self.config)
                metrics |= {f"{name}_loss": loss, f"{name}_{self.task.score}": score}
            moved = _distance(list(self.model.parameters()), self.start)
            metrics |= {"distance": moved[0], "distance_first_tensor": moved[1]}
            if not all(map(math.isfinite, metrics.values())):
                progress.diverged_at = progress.step
        if progress.diverged_at is not None:
            metrics = {"diverged_at": progress.diverged_at}
        return Result(
            self.config,
            "done" if progress.diverged_at is None else "diverged",
            {name: significant(value) for name, value in metrics.items()},
            progress.curves,
            progress.seconds,
        )

    def _save(self, path: Path) -> None:
        """Writes the checkpoint; a run that cannot is none the worse, and says so once."""
        saved: dict[str, Any] = {
            "id": self.config.id,
            "code": code_digest(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "progress": dataclasses.asdict(self.progress),
        }
        try:
            write_checkpoint(path, saved)
        except OSError as error:
            say_unwritable(path.parent, error.strerror or str(error))

    def _resume(self) -> None:
        """Goes on from the checkpoint; where it does not fit in whatever way, starts anew."""
        path = self.checkpoint
        if path is None or not os.path.lexists(path):
            return
        before = copy.deepcopy((self.model.state_dict(), self.optimizer.state_dict()))
        try:
            self._take(read_checkpoint(path))
        except Exception as error:  # the run can start anew whatever is wrong
            self.model.load_state_dict(before[0])
            self.optimizer.load_state_dict(before[1])
            why = str(error).strip().partition("\n")[0][:200] or type(error).__name__
            say(f"the checkpoint {path} is left out ({why}): its run starts anew")

    def _take(self, saved: dict[str, Any]) -> None:
        """Takes over what a checkpoint holds, if all of it fits; half of it may be taken if not."""
        if saved.keys() != {"id", "code", "model", "optimizer", "progress"}:
            raise ValueError("its fields are others")
        if saved["id"] != self.config.id:
            raise ValueError("it is another run's")
        if saved["code"] != code_digest():
            raise ValueError("other code wrote it")
        progress = Progress(**saved["progress"])
        if not _is_sound(progress, self.batches, self.config.batch_size):
            raise ValueError("its progress is none of this run")
        optimizer = saved["optimizer"]
        params = [p for group in self.optimizer.param_groups for p in group["params"]]
        for place, values in optimizer["state"].items():
            for value in values.values():
                if torch.is_tensor(value) and value.dim() and value.shape != params[place].shape:
                    raise ValueError("its optimizer has other shapes")
        # How a step is computed is this engine's to say, not that of the one that saved.
        pairs = zip(self.optimizer.param_groups, optimizer["param_groups"], strict=True)
        for ours, theirs in pairs:
            theirs |= {k: ours[k] for k in ("lr", "foreach", "fused") if k in ours}
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(optimizer)
        self.progress = progress


def _is_sound(progress: Progress, batches: BatchSchedule, batch_size: int) -> bool:
    """Whether what was read is what a run of these batches may have measured on its way."""
    sums = (progress.loss_sum, progress.epoch_sum, progress.epoch_count, progress.seconds)
    numbers = (*sums, *itertools.chain(*progress.curves.values()))
    return (
        type(progress.step) is int
        and type(progress.loss_count) in (int, float)  # a float with the first loss that counts
        and progress.diverged_at is None
        and 0 <= progress.step <= batches.total_steps
        and 0 <= round(progress.loss_count * batch_size) <= batches.seen(progress.step)
        and all(isinstance(number, float | int) for number in numbers)
    )


def evaluation_steps(total: int, batch_size: float, test_size: int) -> set[int]:
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
        with precision(config, device):
            outputs = task.outputs(model, task.inputs(examples))
        losses = task.losses(outputs, targets)
        loss += losses.double().sum()
        score += task.scores(outputs, targets, losses).double().sum()
    model.train(training)
    count = len(split.targets)
    return float(loss) / count, task.total(float(score) / count)


@torch.no_grad()
def _check(batches: BatchSchedule, task: Task, model: nn.Module) -> None:
    """Refuses what would fail on the way."""
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        for size in (stretch.batch_size for stretch in batches.stretches):
            ghost = getattr(norm, "ghost_batch_size", size)
            if size == 1:
                raise InputError(
                    "batch size 1 leaves batch norm a single one: choose at least 2, or norm none"
                )
            if min(ghost_sizes(size, ghost)) < 2:
                raise InputError(
                    f"batch size {size} in ghosts of {ghost} leaves the last of them a single one: "
                    f"choose a multiple of {ghost}, or larger ghosts"
                )
    width = task.outputs(model.eval(), task.inputs(task.train.examples[:1])).shape[-1]
    if width != task.width:
        raise InputError(
            f"the model has {width} outputs where its data need {task.width}: "
            "build it with as many as there are classes"
        )


def epoch_ends(state: RunState) -> dict[int, int]:
    """The updates with which an epoch ends, and its number; the run's last one ends one too."""
    whole = [state.batches.seen(step) // state.size for step in range(state.total + 1)]
    ends = [step for step in range(1, state.total + 1) if whole[step] > whole[step - 1]]
    if not ends or ends[-1] != state.total:
        ends.append(state.total)
    return {step: epoch for epoch, step in enumerate(ends, 1)}


def parts(
    config: RunConfig, model: nn.Module, micro_batch: int, size: int | None = None
) -> list[slice]:
    """The parts of a batch that go through the model one after another.

    Args:
        config: the run.
        model: its model.
        micro_batch: examples in a part, at most, but for what has to stay together.
        size: examples in the batch; None for the run's own batch size.
    """
    size = config.batch_size if size is None else size
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


def noise_of(config: RunConfig, step: int, size: int) -> torch.Tensor:
    """What `gradient_noise` weighs the losses of a step's batch with: (size,), on the CPU."""
    generator = stream(config.seed, f"noise/{step}")
    return optim.noise_weights(size, config.gradient_noise, generator)


def precision(
    config: RunConfig, device: torch.device, cache: bool = True
) -> contextlib.AbstractContextManager:
    """Autocast of a bfloat16 run; weights cast anew at each use unless they are cached."""
    if config.precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=cache)


@contextlib.contextmanager
def own_global_stream(needed: bool, device: torch.device) -> Iterator[None]:
    """Leaves the caller's global generator alone while dropout draws from it."""
    if not needed:
        yield
        return
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield


def _flat(tensors: Iterable[torch.Tensor]) -> torch.Tensor:
    return torch.cat([t.detach().reshape(-1) for t in tensors])


def _distance(params: list[nn.Parameter], start: list[torch.Tensor]) -> tuple[float, float]:
    """‖w − w₀‖ over all parameters, and over the first tensor alone, which H17's code logged."""
    squares = [
        float((p.detach() - s).double().square().sum()) for p, s in zip(params, start, strict=True)
    ]
    return math.sqrt(sum(squares)), math.sqrt(squares[0])
