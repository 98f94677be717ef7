"""Training: stacked digits runs against eager loops, and the engine against the plainest loop."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from time import perf_counter

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.floors import best_seconds
from benchmarks.row import Row
from sgdnoise import data, models
from sgdnoise.config import RunConfig, make_config
from sgdnoise.data import Dataset
from sgdnoise.data.dataset import from_arrays
from sgdnoise.experiments.generalization_gap.grid import recipe
from sgdnoise.schedule import log_spaced_steps
from sgdnoise.training.result import CURVE_POINTS
from sgdnoise.training.run import build_model
from sgdnoise.training.schedules import multipliers
from sgdnoise.training.single import train_single
from sgdnoise.training.stacked import train_stacked
from sgdnoise.training.streams import batch_indices

RUNS, STEPS = 64, 500
IMAGE_STEPS, BATCH = 40, 128
WARM_UP = 5
"""Steps of a loop over images that do not count."""


def rows() -> Iterator[Row]:
    """The bundle at three batch sizes, then WRN-10-1 and F1 at B = 128."""
    torch.set_num_threads(1)
    digits = data.load("digits")
    for batch_size in (1, 4, 16):
        yield _bundle(digits, batch_size)
    yield _wide_resnet()
    yield _ladder()


def _bundle(digits: Dataset, batch_size: int) -> Row:
    runs = [
        make_config(
            dataset="digits",
            model="digits-mlp",
            batch_size=batch_size,
            learning_rate=2.0**-k * batch_size / 16,
            momentum=0.5,
            weight_decay=5e-4,
            steps=STEPS,
            seed=seed,
        )
        for k in range(4, 8)
        for seed in range(RUNS // 4)
    ]
    build = partial(build_model, dataset=digits)
    ours, losses = _best(
        2, lambda: [r.metrics["train_loss"] for r in train_stacked(runs, digits, build)]
    )
    sets = [(x.flatten(1), y) for x, y in (digits.train_arrays(), digits.test_arrays())]
    baseline, eager = _best(2, lambda: [_eager(run, digits, sets) for run in runs])
    gap = max(abs(a - b) for a, b in zip(losses, eager, strict=True))
    if gap > 1e-5:
        raise AssertionError(f"final losses differ by {gap:.1e} at batch size {batch_size}")
    return Row(
        f"{RUNS} digits runs, B = {batch_size}, as one bundle",
        ours,
        baseline,
        15.0,
        f"losses within {gap:.0e}",
        f"{STEPS} steps, measured at the same ones, one thread, best of 2; baseline: an eager "
        "loop a run",
    )


def _eager(run: RunConfig, digits: Dataset, sets: list[tuple[torch.Tensor, torch.Tensor]]) -> float:
    """The loop that a good engineer writes first, with the curves that a record keeps."""
    model = build_model(run, digits)
    optimizer = torch.optim.SGD(
        model.parameters(), run.learning_rate, run.momentum, weight_decay=run.weight_decay
    )
    x, y = sets[0]
    rates = multipliers(run, run.batches(len(y))) * run.learning_rate
    measured_at = set(log_spaced_steps(STEPS, CURVE_POINTS))
    curve: list[tuple[float, float]] = []
    for step, index in enumerate(batch_indices(run, len(y), 0, STEPS)):
        optimizer.param_groups[0]["lr"] = float(rates[step])
        loss = F.cross_entropy(model(x[index]), y[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step + 1 in measured_at:
            with torch.no_grad():
                for inputs, labels in sets:
                    logits = model(inputs)
                    right = (logits.argmax(1) == labels).double().mean().item()
                    curve.append((F.cross_entropy(logits, labels).item(), right))
    return curve[-2][0]


def _wide_resnet() -> Row:
    config = make_config(
        dataset="made-up",
        model="wrn-10-1",
        norm="ghost",
        batch_size=BATCH,
        learning_rate=0.1,
        momentum=0.9,
        weight_decay=5e-4,
        augment="s20",
        steps=IMAGE_STEPS,
    )
    return _engine(
        config,
        _made_up(32, 3),
        0.85,
        "WRN-10-1 at B = 128: the engine, all included",
        "same net; ghost norm, augmentation and logging are ours alone",
    )


WANTED, CORES = 20_000, 2
"""Images a second that H17's ladder asks for in its small-batch rung, and on how many cores."""


def _ladder(steps: int = 5 * IMAGE_STEPS) -> Row:
    """The small-batch rung of H17's ladder on images of MNIST's shape, beside its arithmetic."""
    config = make_config(
        dataset="made-up",
        **{
            **recipe({"model": "f1"}, "SB", epochs=1.0, small=BATCH, batch_size=32 * BATCH),
            "epochs": None,
            "steps": steps,
        },
    )
    images = _made_up(28, 1)
    row = _engine(
        config,
        images,
        0.75,
        "F1 at B = 128, H17's small batch: the engine, all included",
        "same net; augmentation, clipping and logging are ours alone",
    )
    speed = (steps - WARM_UP) * BATCH / row.ours_s
    told = of_the_peak(speed, flops_an_image(build_model(config, images)), peak_of_a_layer())
    return replace(row, note=f"{row.note}; {told}")


def flops_an_image(net: nn.Module) -> int:
    """Operations of the products of a net of linear layers, for an image forward and backward.

    A layer from n to m numbers takes 2nm forward, 2nm for its weights' gradient and 2nm for its
    inputs'; the first layer's inputs are the image and need none.
    """
    layers = [one for one in net.modules() if isinstance(one, nn.Linear)]
    sizes = [2 * one.in_features * one.out_features for one in layers]
    return 3 * sum(sizes) - sizes[0]


def peak_of_a_layer(width: int = 512, batch_size: int = BATCH) -> float:
    """Operations a second of one bare float32 product of a hidden layer's shape, the best call."""
    x, w = torch.randn(batch_size, width), torch.randn(width, width)
    return 2 * batch_size * width**2 / best_seconds(lambda: x @ w, torch.device("cpu"), 200)


def of_the_peak(speed: float, flops: float, peak: float) -> str:
    """What share of a thread's peak a number of images a second takes, and the wanted number would.

    Args:
        speed: images a second of one process with one thread.
        flops: operations an image.
        peak: operations a second of one thread.
    """
    return (
        f"{flops / 1e6:.2f} MFLOP an image, and a bare product of a hidden layer's shape does "
        f"{peak / 1e9:.0f} GFLOP/s: so at most {peak / flops:,.0f} images/s, of which this is "
        f"{speed * flops / peak:.0%}; {WANTED:,} on {CORES} cores would be "
        f"{WANTED / CORES * flops / peak:.0%} of both cores' peak"
    )


def _made_up(side: int, channels: int) -> Dataset:
    """Made-up images, since a net's speed does not depend on what it sees."""
    generator = torch.Generator().manual_seed(0)

    def split(n: int) -> tuple[torch.Tensor, torch.Tensor]:
        shape = (n, side, side, channels)
        pixels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
        return pixels, torch.randint(0, 10, (n,), generator=generator)

    (x, y), (u, v) = split(2000), split(100)
    arrays = {"train_images": x, "train_labels": y, "test_images": u, "test_labels": v}
    return from_arrays("made-up", {k: t.numpy() for k, t in arrays.items()}, tuple("abcdefghij"))


def _engine(config: RunConfig, images: Dataset, required: float, name: str, agreement: str) -> Row:
    """Images a second of the engine, beside a plain loop over the same net with batch norm."""
    steps = config.total_steps(len(images.train_labels))

    def ours() -> float:
        ticks: list[float] = []
        train_single(
            config,
            images,
            build_model(config, images),
            on_step=lambda _: ticks.append(perf_counter()),
        )
        return ticks[-1] - ticks[WARM_UP - 1]

    def plain() -> float:
        inputs, labels = images.train_arrays()
        model = models.build(config.model, input_shape=images.image_shape, norm="batch", seed=0)
        optimizer = torch.optim.SGD(
            model.parameters(), config.learning_rate, 0.9, weight_decay=config.weight_decay
        )
        ticks = []
        for step in range(steps):
            chosen = torch.arange(step * BATCH, (step + 1) * BATCH) % len(labels)
            loss = F.cross_entropy(model(inputs[chosen]), labels[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            ticks.append(perf_counter())
        return ticks[-1] - ticks[WARM_UP - 1]

    # Interleaved, so that a busy neighbour slows both.
    times = [(ours(), plain()) for _ in range(3)]
    mine, theirs = (statistics.median(t) for t in zip(*times, strict=True))
    speed = (steps - WARM_UP) * BATCH / mine
    return Row(
        name,
        mine,
        theirs,
        required,
        agreement,
        f"{speed:.0f} images/s, one thread, medians of 3 interleaved; baseline: plain eager loop",
    )


def _best(times: int, work: Callable[[], list[float]]) -> tuple[float, list[float]]:
    seconds, result = float("inf"), []
    for _ in range(times):
        start = perf_counter()
        result = work()
        seconds = min(seconds, perf_counter() - start)
    return seconds, result
