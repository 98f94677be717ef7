"""Made-up images, and stores in which every run that an experiment asks for ended as one says."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path

import torch

from sgdnoise.config import RunConfig
from sgdnoise.data.dataset import Dataset, from_arrays
from sgdnoise.experiments import Experiment
from sgdnoise.records.store import Record, Store, record_of
from sgdnoise.study.plan import missing
from sgdnoise.training.result import Result

Ending = Callable[[RunConfig], dict[str, float]]
"""The final metrics of a run; a test accuracy of infinity stands for one that diverged."""


def tinted(pixels: int, train: int) -> Dataset:
    """Colour images whose class, of four, is their tint: `train` to learn from, 96 to test with."""
    generator = torch.Generator().manual_seed(0)
    arrays = {}
    for split, count in (("train", train), ("test", 96)):
        labels = torch.randint(0, 4, (count,), generator=generator)
        images = torch.randint(0, 200, (count, pixels, pixels, 3), generator=generator)
        images[..., 0] += 14 * labels[:, None, None]
        arrays[f"{split}_images"] = images.to(torch.uint8).numpy()
        arrays[f"{split}_labels"] = labels.numpy()
    return from_arrays("made-up", arrays, ("a", "b", "c", "d"))


WIDE_RESNET = {
    "dataset": "made-up",
    "model": "wrn-10-1",
    "norm": "ghost",
    "batch_size": 32,
    "learning_rate": 0.05,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "augment": "s20",
}
"""Fields of a small run on `tinted` images, but for its ghost size and its budget."""


def record(config: RunConfig, ending: Ending, seconds: float = 1.0) -> Record:
    """The record of a run that ended so, with a curve of three points."""
    metrics = ending(config)
    if not math.isfinite(metrics["test_accuracy"]):
        return record_of(Result(config, "diverged", {"diverged_at": 1}, {}, seconds))
    accuracy = metrics["test_accuracy"]
    curves = {
        "step": [1.0, 10.0, 100.0],
        "train_loss": [2.3, 1.5, 1.0],
        "distance": [0.1, 1.0, 2.0],
        "test_step": [50.0],
        "test_accuracy": [accuracy - 5],
    }
    metrics = {"train_accuracy": accuracy, "train_loss": 1.0, **metrics}
    return record_of(Result(config, "done", metrics, curves, seconds))


def records(configs: Iterable[RunConfig], ending: Ending) -> list[Record]:
    return [record(config, ending) for config in configs]


def fill(folder: Path, experiment: Experiment, scale: str, seeds: int, ending: Ending) -> Store:
    """The store of the folder with all that the experiment needs, to the last fresh seed."""
    store = Store(folder)
    while todo := missing(experiment, scale, seeds, store.read(scale, experiment.name)):
        store.append(scale, experiment.name, records(todo, ending))
    return store
