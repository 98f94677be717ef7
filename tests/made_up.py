"""Made-up records: stores in which every run that an experiment asks for ended as one says."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path

from sgdnoise.config import RunConfig
from sgdnoise.experiments import Experiment
from sgdnoise.records import Record, Store, record_of
from sgdnoise.sweep import missing
from sgdnoise.training.result import Result

Ending = Callable[[RunConfig], dict[str, float]]
"""The final metrics of a run; a test accuracy of infinity stands for one that diverged."""


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
