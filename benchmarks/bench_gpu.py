"""On a GPU: whole epochs beside the loops that people write, and ghost norm beside batch norm.

WRN-16-4 on 50,000 images of 32 × 32 pixels, ghosts of 64, momentum, bfloat16, random crops and
mirroring, everything that a run does included: order and crops drawn on the CPU, curves, looks at
the test set. What is prepared once a run (compiling, capturing) is outside of the times. Baselines
have plain batch norm, which is the easier net. Ours and the baselines alternate, and the medians
count. Each row names the floors: what arithmetic and memory traffic alone would take.

`make bench-gpu` prints the table; it takes about five minutes.
"""

from __future__ import annotations

import itertools
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from benchmarks.floors import Ceilings, best_seconds, ceilings, floors, synchronise, work_of
from benchmarks.row import Row
from sgdnoise import data, models
from sgdnoise.config import RunConfig, make_config
from sgdnoise.data import Dataset
from sgdnoise.data.augment import augmentation
from sgdnoise.data.dataset import from_arrays
from sgdnoise.errors import InputError
from sgdnoise.ghost_norm import GhostBatchNorm, ghost_sizes
from sgdnoise.training import graphed
from sgdnoise.training.devices import arithmetic, require_cuda
from sgdnoise.training.graphed import GraphedRun, own_stream, train_graphed
from sgdnoise.training.result import bundles
from sgdnoise.training.run import build_model
from sgdnoise.training.single import train_single
from sgdnoise.training.state import MICRO_BATCH, RunState

MODEL, GHOST = "wrn-16-4", 64
ASKED = {1024: 0.50, 256: 3600 / 7000, 128: 0.65, 16: 1.0}
"""Seconds of a run-epoch that have to be reached on one H200, by batch size."""

ALONE = (1024, 128)
"""Batch sizes at which a single run is timed; others as many at once as a sweep would train."""

REPEATS = 3
GRADIENT_ERROR = 2e-2
"""How far bfloat16 gradients may be from float32 ones, relative, at `GRADIENT_JUDGED_AT`."""
GRADIENT_BATCHES = (128, 1024, 8192, 49_152)
GRADIENT_JUDGED_AT = 49_152
"""Nearly all of CIFAR-10, because at a usual batch size no arithmetic in bfloat16 can do it.

A ReLU whose input is nearly zero may open in one precision and stay shut in the other. That is
noise on each example's gradient, in no direction, and the rows show how it averages away. A wrong
kernel is wrong in one direction, and no batch averages that away. How little it takes to flip a
gate the rows tell too: by the float32 gradient of images that were rounded to bfloat16, and nothing
else.
"""


@dataclass(frozen=True)
class Setting:
    """What is trained, and where: tests make it tiny.

    Attributes:
        images: on the CPU.
        device: where to train.
        model: the net.
        ghost: ghost batch size.
        told: where the images come from, for the notes.
    """

    images: Dataset
    device: torch.device
    model: str = MODEL
    ghost: int = GHOST
    told: str = ""

    def config(self, batch: int, **changes: Any) -> RunConfig:
        """A run at this batch size, as the evidence is trained."""
        base = {
            "dataset": self.images.name,
            "model": self.model,
            "norm": "ghost",
            "ghost_batch_size": self.ghost,
            "batch_size": batch,
            # S20's best at B = 1,024 is an effective 8, and less in proportion at smaller batches.
            "learning_rate": 0.8 * batch / 1024,
            "momentum": 0.9,
            "weight_decay": 5e-4,
            "augment": "s20",
            "precision": "bfloat16",
            "steps": 1,
        }
        return make_config(**{**base, **changes})

    @property
    def on_device(self) -> Dataset:
        """The images where they are trained on."""
        return self.images.to(self.device)


def find_images(count: int = 50_000, pixels: int = 32) -> tuple[Dataset, str]:
    """CIFAR-10, or where it is not at hand, made-up images with a tint for each class."""
    try:
        return data.load("cifar10"), "CIFAR-10"
    except InputError:
        return made_up(count, 10_000, pixels), "made-up images"


def made_up(train: int, test: int, pixels: int) -> Dataset:
    """Noise whose colour tells the class."""
    rng = np.random.default_rng(0)
    arrays: dict[str, np.ndarray] = {}
    for split, count in (("train", train), ("test", test)):
        labels = rng.integers(0, 10, count)
        images = rng.integers(0, 200, (count, pixels, pixels, 3), dtype=np.uint8)
        images[..., 0] += (5 * labels[:, None, None]).astype(np.uint8)
        arrays |= {f"{split}_images": images, f"{split}_labels": labels}
    return from_arrays("made-up", arrays, tuple("0123456789"))


def engine_epoch(setting: Setting, batch: int, runs: int, chunks: int = 3) -> float:
    """Seconds of a run-epoch, `runs` of them side by side, after a first chunk of steps.

    Timed from when all runs were done with the first chunk to their end.
    """
    images = setting.on_device
    in_chunk = max(1, graphed.CHUNK_EXAMPLES // batch)
    configs = [setting.config(batch, steps=chunks * in_chunk, seed=seed) for seed in range(runs)]
    ticks: list[tuple[float, int]] = []
    train_graphed(
        configs,
        images,
        partial(build_model, dataset=images),
        on_step=lambda count: ticks.append((time.perf_counter(), count)),
    )
    done = list(itertools.accumulate(count for _, count in ticks))
    first = next(i for i, steps in enumerate(done) if steps >= runs * in_chunk)
    examples = (done[-1] - done[first]) * batch
    return (ticks[-1][0] - ticks[first][0]) * images.train_size / examples


class PerSample(TorchDataset):
    """What a beginner writes: one example at a time, padded, cropped, mirrored and normalised."""

    def __init__(self, images: Dataset) -> None:
        self.images, self.pad = images, images.image_shape[1] // 8
        self.mean = torch.tensor(images.mean)[:, None, None]
        self.std = torch.tensor(images.std)[:, None, None]

    def __len__(self) -> int:
        return self.images.train_size

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self.images.train_images[index].float() / self.images.scale
        side = image.shape[-1]
        padded = F.pad((image - self.mean) / self.std, (self.pad,) * 4)
        top, left = torch.randint(0, 2 * self.pad + 1, (2,)).tolist()
        image = padded[:, top : top + side, left : left + side]
        if torch.rand(()) < 0.5:
            image = image.flip(-1)
        return image, int(self.images.train_labels[index])


def plain_loop(setting: Setting, batch: int, workers: int = 2) -> Iterator[float]:
    """The loop everyone starts from: float32, a DataLoader, the loss printed at each step."""
    loader = DataLoader(PerSample(setting.images), batch, shuffle=True, num_workers=workers)
    model = _batch_norm_net(setting)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
    for x, y in itertools.chain.from_iterable(itertools.repeat(loader)):
        x, y = x.to(setting.device), y.to(setting.device)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        yield loss.item()


def tuned_loop(setting: Setting, batch: int, workers: int = 16) -> Iterator[float]:
    """With what tuning guides say: bfloat16, channels last, pinned memory, many workers."""
    cuda = setting.device.type == "cuda"
    loader = DataLoader(
        PerSample(setting.images),
        batch,
        shuffle=True,
        num_workers=workers,
        pin_memory=cuda,
        persistent_workers=workers > 0,
        drop_last=True,
    )
    model = _batch_norm_net(setting).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = _fused_sgd(model, setting)
    for x, y in itertools.chain.from_iterable(itertools.repeat(loader)):
        x = x.to(setting.device, non_blocking=True, memory_format=torch.channels_last)
        y = y.to(setting.device, non_blocking=True)
        _half_step(model, optimizer, x, y)
        yield 0.0


def compiled_loop(setting: Setting, batch: int, compiled: bool = True) -> Iterator[float]:
    """torch.compile on data that lie on the device, cropped there a batch at a time."""
    images = setting.on_device
    augment = augmentation("s20", images)
    model = _batch_norm_net(setting).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = _fused_sgd(model, setting)
    forward = torch.compile(model) if compiled else model
    generator = torch.Generator().manual_seed(0)
    while True:
        for index in torch.randperm(images.train_size, device=setting.device).split(batch):
            if len(index) < batch:
                continue  # another shape would be compiled anew
            draws = augment.draw(batch, generator)
            if setting.device.type == "cuda":  # pinned, else every step would wait for the GPU
                draws = draws.pin_memory().to(setting.device, non_blocking=True)
            x = augment.apply(images.train_images[index], draws)
            x = x.contiguous(memory_format=torch.channels_last)
            _half_step(forward, optimizer, x, images.train_labels[index])
            yield 0.0


def _batch_norm_net(setting: Setting) -> nn.Module:
    net = models.build(setting.model, input_shape=setting.images.image_shape, norm="batch", seed=0)
    return net.to(setting.device)


def _fused_sgd(model: nn.Module, setting: Setting) -> torch.optim.SGD:
    fused = setting.device.type == "cuda"
    return torch.optim.SGD(model.parameters(), 0.1, 0.9, weight_decay=5e-4, fused=fused or None)


def _half_step(
    model: Callable[[Tensor], Tensor], optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor
) -> None:
    optimizer.zero_grad(set_to_none=True)
    with torch.autocast(x.device.type, dtype=torch.bfloat16):
        loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()


@dataclass
class Loop:
    """A baseline under way.

    Attributes:
        steps_of: its steps, one an item.
        required: how many times faster ours has to be.
        steps: how many are timed at once.
        tuned: whether cuDNN tries its kernels, which a beginner does not know to ask for.
        failed: why it could not go on, if it could not.
    """

    steps_of: Iterator[float]
    required: float
    steps: int
    tuned: bool = True
    failed: str = ""

    def epoch(self, setting: Setting, batch: int) -> float:
        """Seconds of an epoch, from some more steps; NaN once the loop has failed.

        Workers want shared memory, `torch.compile` a C compiler: what a machine lacks for a
        baseline is no reason to measure nothing at all.
        """
        if self.failed:
            return math.nan
        try:
            with arithmetic(tf32=True, benchmark=self.tuned):
                synchronise(setting.device)
                start = time.perf_counter()
                for _ in itertools.islice(self.steps_of, self.steps):
                    pass
                synchronise(setting.device)
        except Exception as error:
            # One line, and no bar, for a table's cell.
            told = " ".join(str(error).replace("|", "/").split())
            self.failed = f"{type(error).__name__}: {told[:200]}"
            return math.nan
        seconds = (time.perf_counter() - start) / self.steps
        return seconds * setting.images.train_size / batch


class LoopNorm(GhostBatchNorm):
    """Ghost batch norm as a loop: torch's batch norm on each ghost, put together again."""

    def forward(self, x: Tensor) -> Tensor:
        mean, var = self.running_mean, self.running_var
        ghosts = x.split(ghost_sizes(len(x), self.ghost_batch_size))
        parts = [F.batch_norm(g, mean, var, self.weight, self.bias, True, 0.1) for g in ghosts]
        return torch.cat(parts)


class ReshapeNorm(GhostBatchNorm):
    """Ghost batch norm by one call: ghosts become channels, which takes two copies."""

    def forward(self, x: Tensor) -> Tensor:
        size = min(self.ghost_batch_size, len(x))
        ghosts, channels = len(x) // size, x.shape[1]
        # (size, ghosts · channels, ...): the examples of one ghost lie in one channel group.
        folded = x.unflatten(0, (ghosts, size)).transpose(0, 1).flatten(1, 2)
        weight, bias = self.weight.repeat(ghosts), self.bias.repeat(ghosts)
        mean, var = (t.repeat(ghosts) for t in (self.running_mean, self.running_var))  # type: ignore[union-attr]
        out = F.batch_norm(folded, mean, var, weight, bias, True, 0.1)
        with torch.no_grad():
            for running, each in ((self.running_mean, mean), (self.running_var, var)):
                assert running is not None
                running.copy_(each.view(ghosts, channels).mean(0))
        return out.unflatten(1, (ghosts, channels)).transpose(0, 1).flatten(0, 1)


NORMS: dict[str, type[GhostBatchNorm] | None] = {
    "ghost": None,
    "batch": None,
    "loop": LoopNorm,
    "reshape": ReshapeNorm,
}


def prepared(setting: Setting, batch: int, norm: str, precision: str = "bfloat16") -> GraphedRun:
    """A run whose first chunk of batches is made and whose gradients are captured."""
    images = setting.on_device
    named = norm if norm == "batch" else "ghost"
    config = setting.config(batch, norm=named, precision=precision)
    model = build_model(config, images)
    for module in model.modules():
        if type(module) is GhostBatchNorm:
            module.__class__ = NORMS[norm] or GhostBatchNorm
    on = own_stream(setting.device)
    with on(), ThreadPoolExecutor(1) as thread:
        state = RunState.open(config, images, model, None, fused=setting.device.type == "cuda")
        run = GraphedRun(state, MICRO_BATCH, thread)
        run.batches.fill(0)
        synchronise(setting.device)
    return run


def gradient(run: GraphedRun) -> Tensor:
    """The gradient of the first batch, all parameters after one another."""
    run._place(0)
    torch._foreach_zero_(run._held_gradients())
    for size in run.sizes:
        run.gradients[size]()
    whole = torch.cat([g.flatten() for g in run._held_gradients()])
    # The run may be let go now, and the next one's stream, which is not this one, take its memory.
    synchronise(run.state.device)
    return whole


def step_times(
    setting: Setting, batch: int, norms: tuple[str, ...], repeats: int, calls: int = 20
) -> dict[str, float]:
    """Median seconds of forward and backward with each norm, alternating."""
    runs = {norm: prepared(setting, batch, norm) for norm in norms}
    times: dict[str, list[float]] = {norm: [] for norm in norms}

    def steps(run: GraphedRun) -> None:
        for _ in range(calls):
            run._place(0)
            for size in run.sizes:
                run.gradients[size]()

    for _ in range(repeats):
        for norm, run in runs.items():
            seconds = best_seconds(partial(steps, run), setting.device, repeats=1)
            times[norm].append(seconds / calls)
    return {norm: statistics.median(values) for norm, values in times.items()}


def gradient_errors(setting: Setting, batch: int) -> tuple[float, float]:
    """‖g − g₃₂‖/‖g₃₂‖, same batch and weights: of bfloat16, and of rounding the images alone."""
    run = prepared(setting, batch, "ghost", "float32")
    exact = gradient(run)
    run.batches.inputs.copy_(run.batches.inputs.bfloat16())
    rounded = gradient(run)
    rough = gradient(prepared(setting, batch, "ghost"))
    return _off(rough, exact), _off(rounded, exact)


def _off(vector: Tensor, exact: Tensor) -> float:
    return float((vector - exact).norm() / exact.norm())


def curve_gap(setting: Setting, batch: int, epochs: float, seeds: int = 5) -> float:
    """How far graphs in bfloat16 are from the plain float32 loop, in spreads of its seeds.

    The largest difference between the two training-loss curves of seed 0, at any logged step,
    over the range of the float32 curves at that step.
    """
    images = setting.on_device

    def config(seed: int, precision: str) -> RunConfig:
        return setting.config(batch, steps=None, epochs=epochs, seed=seed, precision=precision)

    exact = []
    for seed in range(seeds):
        one = config(seed, "float32")
        exact.append(train_single(one, images, build_model(one, images)).curves["train_loss"])
    build = partial(build_model, dataset=images)
    (rough,) = train_graphed([config(0, "bfloat16")], images, build)
    assert rough is not None
    # Of the first step there is one loss, that of seed 0's first batch; later ones are means.
    low, high = np.min(exact, 0), np.max(exact, 0)
    gaps = np.abs(np.array(rough.curves["train_loss"]) - exact[0]) / (high - low)
    return float(gaps.max())


def rows() -> Iterator[Row]:
    """The table's rows: epochs against what is asked and against the loops, then norms."""
    require_cuda("the rows of `make bench` run on a CPU")
    device = torch.device("cuda", torch.cuda.current_device())
    images, told = find_images()
    yield from rows_of(Setting(images, device, told=told))


def rows_of(setting: Setting) -> Iterator[Row]:
    """The rows of a setting whose device is a GPU."""
    can = ceilings(setting.device)
    least = floors(work_of(setting.model), can, setting.images.train_size)
    where = f"{torch.cuda.get_device_name()}, {setting.told}; {describe(can, least)}"
    with arithmetic():
        errors = {batch: gradient_errors(setting, batch) for batch in GRADIENT_BATCHES}
        gap = curve_gap(setting, 128, 2.0)
    told = ", ".join(f"{e:.1e} ({alone:.1e}) at B = {b}" for b, (e, alone) in errors.items())
    agreement = (
        f"gradient off float32's, in brackets by rounding the images alone: {told}; at most "
        f"{GRADIENT_ERROR:g} at B = {GRADIENT_JUDGED_AT}; loss over two epochs within {gap:.2f} "
        "of the spread of five float32 seeds (at most 1)"
    )
    sound = errors[GRADIENT_JUDGED_AT][0] <= GRADIENT_ERROR and gap <= 1
    cores = min(16, os.cpu_count() or 1)
    loops = {
        "the loop everyone starts from (float32, 2 workers)": Loop(
            plain_loop(setting, 128), 10.0, 60, tuned=False
        ),
        f"a tuned loop (bfloat16, channels last, pinned, {cores} workers)": Loop(
            tuned_loop(setting, 128, cores), 2.0, 200
        ),
        "torch.compile on device-resident data": Loop(compiled_loop(setting, 128), 1.0, 200),
    }
    for loop in loops.values():
        loop.epoch(setting, 128)  # warm-up: workers, kernels, compilation
    cases = [(batch, 1 if batch in ALONE else side_by_side(setting, batch)) for batch in ASKED]
    cases.append((128, side_by_side(setting, 128)))
    times: dict[object, list[float]] = {key: [] for key in [*cases, *loops]}
    for repeat in range(REPEATS):
        for batch, runs in cases:
            if batch == 16 and repeat:
                continue  # one of these takes as long as all others
            with arithmetic():
                chunks = 2 if batch == 16 else 3
                times[batch, runs].append(engine_epoch(setting, batch, runs, chunks))
        for name, loop in loops.items():
            times[name].append(loop.epoch(setting, 128))
    median = {key: statistics.median(seconds) for key, seconds in times.items()}
    for batch, runs in cases:
        seconds = median[batch, runs]
        together = f", {runs} runs side by side, a run-epoch in aggregate" if runs > 1 else ""
        yield Row(
            f"{setting.model}, ghosts of {setting.ghost}, an epoch at B = {batch}{together}",
            seconds,
            ASKED[batch],
            1.0,
            agreement,
            f"baseline: what is asked; {3600 / seconds:.0f} run-epochs an hour; median of "
            f"{len(times[batch, runs])}; {where}",
            sound,
        )
    for name, loop in loops.items():
        yield Row(
            f"{setting.model}, an epoch at B = 128, beside {name}",
            median[128, 1],
            median[name],
            loop.required,
            f"the baseline failed: {loop.failed}"
            if loop.failed
            else "the same net but for the norm, which is plain batch norm in the baseline",
            f"medians of {REPEATS}, alternating; baseline from {loop.steps} steps at a time; "
            f"{where}",
        )
    yield from norm_rows(setting, 1024)


def norm_rows(setting: Setting, batch: int) -> Iterator[Row]:
    """Ghost norm beside batch norm and its own other forms, forward and backward of the net."""
    with arithmetic():
        steps = step_times(setting, batch, tuple(NORMS), repeats=9)
        whole = gradient(prepared(setting, batch, "ghost", "float32"))
        gaps = {
            name: _off(gradient(prepared(setting, batch, name, "float32")), whole)
            for name in ("loop", "reshape")
        }
    for name, required in (("batch", 1 / 1.10), ("loop", 1.0), ("reshape", 1.0)):
        apart = "batch norm is another function"
        if name in gaps:
            apart = f"gradients within {gaps[name]:.1e} in float32, relative"
        what = "batch norm" if name == "batch" else f"ghost norm as a {name}"
        yield Row(
            f"{setting.model}, a step at B = {batch} with ghost norm, beside {what}",
            steps["ghost"],
            steps[name],
            required,
            apart,
            "forward and backward as one graph; medians of 9, alternating",
        )


def side_by_side(setting: Setting, batch: int) -> int:
    """Runs that a sweep would train at once at this batch size."""
    return len(bundles([setting.config(batch, seed=s) for s in range(100)], "cuda")[0])


def describe(can: Ceilings, least: tuple[float, float]) -> str:
    """The floors of an epoch, and the ceilings they come from."""
    return (
        f"floors of an epoch: compute {least[0]:.3f} s at {can.flops / 1e12:.0f} TFLOP/s, memory "
        f"{least[1]:.3f} s at {can.traffic / 1e12:.2f} TB/s"
    )
