"""Training steps as CUDA graphs, for one run or for several small ones side by side.

The semantics are those of the plain loop (`single`): the same draws in the same order, the same
curves, the same step of divergence, the same checkpoints. What differs is who does the work. The
data set lies on the device as uint8; a thread draws the order and the crops of the next chunk of
steps, about an epoch, on the CPU, and a few kernels make all its inputs at once. Gradients of a
micro-batch are one graph, the update is another; both find their place through counters that lie
on the device, so that the host only replays them, and hears of the losses once a chunk, at logged
steps and at evaluations. Batches above the micro-batch replay the gradients' graph once a part. A
run whose batch size changes on the way has graphs of its own for each stretch of one size.

On a CPU nothing is captured and the same functions are called: that is how the tests compare this
loop with the plain one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from sgdnoise import optim
from sgdnoise.config import RunConfig
from sgdnoise.data import Dataset
from sgdnoise.training.checkpoints import checkpoint_of
from sgdnoise.training.result import Result
from sgdnoise.training.state import (
    MICRO_BATCH,
    RunState,
    Stopped,
    noise_of,
    own_global_stream,
    parts,
    precision,
)
from sgdnoise.training.streams import batch_indices, stream

CHUNK_EXAMPLES = 1 << 16
"""Examples whose inputs are made at once: about an epoch of CIFAR-10."""

CHUNK_BYTES = 1 << 30
"""Bound on what these inputs take, however large the images."""

_PIECE = 4096
"""Examples a crop kernel takes: its addresses are eight bytes a pixel."""

_WARM_UPS = 3
"""Calls before capture, in which libraries choose their kernels and compile them."""


class Graph:
    """A function without arguments or result, captured once and replayed; on a CPU, called.

    What it reads and writes has to stay where it is. It must have run before, so that nothing is
    compiled or loaded during the capture, which itself computes nothing.

    Args:
        function: what to capture, on the current stream.
        device: where its tensors lie.
        pool: memory shared with other graphs that never run at the same time.
        generator: where its random numbers come from, from `own_generator`; None for no numbers.
    """

    def __init__(
        self,
        function: Callable[[], None],
        device: torch.device,
        pool: Any = None,
        generator: torch.Generator | None = None,
    ) -> None:
        if device.type != "cuda":
            self._call: Callable[[], None] = function
            return
        graph = torch.cuda.CUDAGraph()
        here = torch.cuda.current_stream(device)
        # Threads of other runs may pin memory meanwhile: only this one has to refrain.
        capture = torch.cuda.graph(graph, pool, here, capture_error_mode="thread_local")
        with _drawing_from(generator), capture:
            function()
        # The function itself is let go: it would keep the run, and its memory, alive in a circle.
        self._call = graph.replay

    def __call__(self) -> None:
        self._call()


def own_stream(
    device: torch.device, place: int = 0
) -> Callable[[], contextlib.AbstractContextManager]:
    """What to enter whenever a run's work is launched: on a GPU, the stream of its place."""
    if device.type != "cuda":
        return contextlib.nullcontext
    return partial(torch.cuda.stream, _stream(device, place))


@functools.cache
def _stream(device: torch.device, place: int) -> torch.cuda.Stream:
    # Kept from bundle to bundle: libraries keep a workspace for every stream they have seen.
    return torch.cuda.Stream(device)


def own_generator(device: torch.device) -> torch.Generator | None:
    """Random numbers of one run on a GPU, so that graphs on other streams do not share them."""
    if device.type != "cuda":
        return None
    return torch.cuda.default_generators[device.index].clone_state()


@contextlib.contextmanager
def _drawing_from(generator: torch.Generator | None) -> Iterator[None]:
    """Lends the GPU's default generator, which dropout draws from, another one's state."""
    if generator is None:
        yield
        return
    default = torch.cuda.default_generators[generator.device.index]
    before = default.graphsafe_get_state()
    default.graphsafe_set_state(generator)
    try:
        yield
    finally:
        default.graphsafe_set_state(before)


class _Batches:
    """The batches of one stretch of a run, a chunk of steps at a time, in tensors that stay.

    Attributes:
        size: examples in a batch, B.
        end: the first step that is not in the stretch.
        inputs: (steps · B, H, W, C) in the run's precision, batch after batch.
        targets: (steps · B, ...).
        weights: of the examples' losses, (steps · B,), float32; None where all weigh 1.
        steps: steps in a chunk, at most.
    """

    def __init__(self, state: RunState, thread: ThreadPoolExecutor) -> None:
        self._state, self._thread = state, thread
        self._next: Future[list[Tensor]] | None = None
        first = state.progress.step
        self.size, self.end = state.batches.at(first).batch_size, state.batches.end(first)
        task = state.task
        image = task.inputs(task.train.examples[:1]).movedim(1, -1)[0]
        dtype = torch.float32 if state.config.precision == "float32" else torch.bfloat16
        most = min(CHUNK_EXAMPLES, CHUNK_BYTES // (image.numel() * dtype.itemsize))
        self.steps = min(self.end - first, max(1, most // self.size))
        rows = self.steps * self.size
        self.inputs = torch.zeros(rows, *image.shape, dtype=dtype, device=state.device)
        self.targets = task.train.targets.new_zeros(rows, *task.train.targets.shape[1:])
        noisy = state.config.gradient_noise > 0
        self.weights = torch.zeros(rows, device=state.device) if noisy else None

    def _draw(self, first: int) -> list[Tensor]:
        """Which examples the steps from `first` on take, the draws of their inputs, weights."""
        state, config = self._state, self._state.config
        steps = range(first, min(first + self.steps, self.end))
        index = batch_indices(config, state.size, steps.start, steps.stop).flatten()
        draws = [
            state.task.draw(self.size, stream(config.seed, f"augment/{step}")) for step in steps
        ]
        drawn = [index, torch.cat(draws, 1)]
        if self.weights is not None:
            drawn.append(torch.cat([noise_of(config, step, self.size) for step in steps]))
        return [t.pin_memory() for t in drawn] if state.device.type == "cuda" else drawn

    def fill(self, first: int) -> int:
        """Makes the batches of the steps from `first` on; gives the first step that is not in."""
        task = self._state.task
        ahead = self._next or self._thread.submit(self._draw, first)
        drawn = [t.to(self.inputs.device, non_blocking=True) for t in ahead.result()]
        index, draws = drawn[:2]
        if self.weights is not None:
            self.weights[: len(index)] = drawn[2]
        stop = first + len(index) // self.size
        if stop < self.end:
            self._next = self._thread.submit(self._draw, stop)
        for at in range(0, len(index), _PIECE):
            rows = slice(at, min(at + _PIECE, len(index)))
            images = task.inputs(task.train.examples[index[rows]], draws[:, rows])
            self.inputs[rows] = images.movedim(1, -1)
        self.targets[: len(index)] = task.train.targets[index]
        return stop


class GraphedRun:
    """One stretch of a run, of one batch size, whose steps are replayed.

    Everything of it lies on the stream that it was made on.

    Args:
        state: where it starts; its optimizer is taken over.
        micro_batch: examples in memory at once.
        thread: draws the chunks ahead.
    """

    def __init__(self, state: RunState, micro_batch: int, thread: ThreadPoolExecutor) -> None:
        self.state = state
        self.batches = _Batches(state, thread)
        device, config = state.device, state.config
        self.params: list[Tensor] = list(state.model.parameters())
        batch = parts(config, state.model, micro_batch, self.batches.size)
        self.sizes = [part.stop - part.start for part in batch]
        # Places: the next example and the next part of the chunk, the next step of the run.
        self.example, self.part, self.step = (
            torch.zeros(1, dtype=torch.int64, device=device) for _ in range(3)
        )
        self.ramp = torch.arange(max(self.sizes), device=device)
        self.losses = torch.zeros(self.batches.steps * len(self.sizes), device=device)
        self.rates = torch.from_numpy(state.rates).to(device, torch.float32)
        self.rate = torch.zeros((), device=device)
        for group in state.optimizer.param_groups:
            group["lr"] = self.rate
        for p in self.params:
            p.grad = torch.zeros_like(p)
        self.generator = own_generator(device) if state.has_dropout else None
        clips = {self._clips(state.progress.step), self._clips(self.batches.end - 1)}
        gradients = {size: partial(self._gradient, size) for size in self.sizes}
        updates = {clip: partial(self._update, clip) for clip in clips}
        self._warm_up([*gradients.values(), *updates.values()])
        pool = torch.cuda.graph_pool_handle() if device.type == "cuda" else None
        self.gradients = {k: Graph(f, device, pool, self.generator) for k, f in gradients.items()}
        self.updates = {k: Graph(f, device, pool) for k, f in updates.items()}

    def _clips(self, step: int) -> bool:
        config = self.state.config
        return config.clip_norm is not None and (
            config.clip_steps is None or step < config.clip_steps
        )

    def _gradient(self, size: int) -> None:
        """Adds the gradient of the next `size` examples, and notes their part of the loss."""
        state, task = self.state, self.state.task
        rows = self.example + self.ramp[:size]
        x = self.batches.inputs.index_select(0, rows).movedim(-1, 1)
        # Weights are cast within the graph: what a cache keeps would outlive its memory.
        with precision(state.config, state.device, cache=False):
            outputs = task.outputs(state.model, x)
        losses = task.losses(outputs, self.batches.targets.index_select(0, rows))
        if self.batches.weights is not None:
            losses = self.batches.weights.index_select(0, rows) * losses
        loss = losses.sum() / self.batches.size
        add_up(self._held_gradients(), torch.autograd.grad(loss, self.params))
        self.losses.index_copy_(0, self.part, loss.detach().view(1))
        self.example += size
        self.part += 1

    def _held_gradients(self) -> list[Tensor]:
        return optim.gradients_of(self.params)

    def _update(self, clip: bool) -> None:
        self._before_update(clip)
        self.state.optimizer.step()
        self._after_update()

    def _before_update(self, clip: bool) -> None:
        self.rate.copy_(self.rates.index_select(0, self.step)[0])
        if clip:
            assert self.state.config.clip_norm is not None
            optim.clip_gradient(self.params, self.state.config.clip_norm)

    def _after_update(self) -> None:
        torch._foreach_zero_(self._held_gradients())
        self.step += 1

    def _place(self, step: int) -> None:
        """To the start of the chunk, which is this step of the run."""
        self.example.zero_()
        self.part.zero_()
        self.step.fill_(step)

    @torch.no_grad()
    def _put_back(self, kept: list[Tensor], moments: dict[tuple[Tensor, str], Tensor]) -> None:
        for tensor, value in zip(self._tensors(), kept, strict=True):
            tensor.copy_(value)
        for p, values in self.state.optimizer.state.items():
            for name, tensor in values.items():
                if isinstance(tensor, Tensor):
                    # What had no moments yet has them now, and they start from zero.
                    tensor.copy_(moments[p, name]) if (p, name) in moments else tensor.zero_()
        torch._foreach_zero_(self._held_gradients())

    def _tensors(self) -> list[Tensor]:
        return [*self.params, *self.state.model.buffers()]

    def _warm_up(self, functions: list[Callable[[], None]]) -> None:
        """Runs every function as often as its capture needs, and leaves no trace of that."""
        kept = [tensor.detach().clone() for tensor in self._tensors()]
        moments = {}
        for p, values in self.state.optimizer.state.items():
            for name, value in values.items():
                if isinstance(value, Tensor):
                    # A fused update wants all of a parameter's tensors laid out as it is.
                    values[name] = torch.empty_like(p).copy_(value)
                    moments[p, name] = value
        for function in functions * _WARM_UPS:
            self._place(0)
            with _drawing_from(self.generator):
                function()
        self._put_back(kept, moments)
        if self.state.device.type == "cuda":
            torch.cuda.current_stream(self.state.device).synchronize()

    def seed_dropout(self, step: int) -> None:
        """What the plain loop seeds the generator with before this step."""
        seed = self.state.dropout_seed(step)
        if self.generator is None:
            torch.manual_seed(seed)
        else:
            self.generator.manual_seed(seed)

    def replay(
        self, seconds: Callable[[], float], on_step: Callable[[int], None] | None
    ) -> Generator[None, None, bool]:
        """Trains to the end of the stretch, giving way after each step that was launched.

        Args:
            seconds: how long the run has taken.
            on_step: called with numbers of steps done since the last call.

        Returns:
            Whether the run goes on: whether all losses were finite.

        Raises:
            Stopped: at the deadline, with the checkpoint written.
        """
        state, progress = self.state, self.state.progress
        has_dropout = state.has_dropout
        going = True
        while going and progress.step < self.batches.end:
            first = progress.step
            stop = self.batches.fill(first)
            self._place(first)
            for step in range(first, stop):
                state.begin(step)
                if has_dropout:
                    self.seed_dropout(step)
                for size in self.sizes:
                    self.gradients[size]()
                if step + 1 in state.logged:
                    going = self._hear(first, step + 1, on_step)
                    if not going:
                        break
                    self._before_update(self._clips(step))
                    state.log()
                    self._after_update()
                else:
                    self.updates[self._clips(step)]()
                if step + 1 in state.evaluated:
                    going = self._hear(first, step + 1, on_step)
                    if not going:
                        break
                    state.look_at_test_set()
                yield
            going = going and self._hear(first, stop, on_step)
            progress.seconds = seconds()
            if going:
                state.pause()
        return going

    def _hear(self, first: int, stop: int, on_step: Callable[[int], None] | None) -> bool:
        """Waits for the losses up to step `stop` of the chunk from `first`; are they finite?"""
        count, step = len(self.sizes), self.state.progress.step
        heard = self.losses[(step - first) * count : (stop - first) * count].tolist()
        finite = all(
            self.state.count(sum(heard[at : at + count])) for at in range(0, len(heard), count)
        )
        if on_step is not None and self.state.progress.step > step:
            on_step(self.state.progress.step - step)
        return finite


def _train(
    state: RunState,
    micro_batch: int,
    thread: ThreadPoolExecutor,
    seconds: Callable[[], float],
    on_step: Callable[[int], None] | None,
) -> Generator[None, None, Result | None]:
    """Trains a run stretch by stretch, giving way after each step; in the end, gives its result.

    None stands for a run that its deadline stopped.
    """
    going, before = True, state.progress.seconds

    def so_far() -> float:
        return before + seconds()

    while going and state.progress.step < state.total:
        stretch = GraphedRun(state, micro_batch, thread)
        try:
            going = yield from stretch.replay(so_far, on_step)
        except Stopped:
            return None
        del stretch  # and its memory, before the next one takes its own
    result = state.result()
    return dataclasses.replace(result, seconds=so_far())


def add_up(into: list[Tensor], new: tuple[Tensor, ...]) -> None:
    """Adds tensors to tensors, in few kernels where two of a pair are laid out alike."""
    pairs = list(zip(into, new, strict=True))
    alike = [pair for pair in pairs if pair[0].stride() == pair[1].stride()]
    if alike:
        torch._foreach_add_([a for a, _ in alike], [b for _, b in alike])
    for a, b in pairs:
        if a.stride() != b.stride():
            a.add_(b)


def train_graphed(
    configs: list[RunConfig],
    dataset: Dataset,
    build: Callable[[RunConfig], nn.Module],
    *,
    checkpoints: Path | None = None,
    micro_batch: int = MICRO_BATCH,
    on_step: Callable[[int], None] | None = None,
    deadline: float | None = None,
) -> list[Result | None]:
    """Trains runs of one bundle side by side, each on a stream of its own.

    Args:
        configs: runs that `why_not_graphed` allows, which agree in all that fixes their shapes.
        dataset: what they train on, where they train.
        build: gives the freshly initialised model of a run.
        checkpoints: folder of a run's file, as in `train_single`.
        micro_batch: as in `train_single`.
        on_step: called with numbers of steps done since the last call, of whichever run.
        deadline: `time.time()` from which on runs stop, at the end of their chunk.

    Returns:
        One result a run, in order; None for a run that the deadline stopped.

    Raises:
        InputError: for what cannot be trained, before any training.
    """
    device = dataset.device
    cuda = device.type == "cuda"
    began = perf_counter()
    results: list[Result | None] = [None] * len(configs)
    with ThreadPoolExecutor(1) as thread, contextlib.ExitStack() as stack:
        # On a GPU every run draws dropout from a generator of its own.
        stack.enter_context(own_global_stream(not cuda, device))
        live = []
        for place, config in enumerate(configs):
            on = own_stream(device, place)
            with on():
                file = checkpoint_of(checkpoints, config)
                state = RunState.open(config, dataset, build(config), file, deadline, fused=cuda)
            share = lambda: (perf_counter() - began) / len(configs)  # noqa: E731
            live.append((place, on, _train(state, micro_batch, thread, share, on_step)))
        while live:
            for item in list(live):
                place, on, steps = item
                try:
                    with on():
                        next(steps)
                except StopIteration as end:
                    results[place] = end.value
                    live.remove(item)
    return results
