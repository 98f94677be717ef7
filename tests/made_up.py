"""Made-up images, and stores in which every run that an experiment asks for ended as one says."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from made_up_gradients import probe_curves

from sgdnoise.analysis import Estimate, Interval, Reading, Regimes, Tuning
from sgdnoise.analysis.intervals import quantile
from sgdnoise.analysis.locate import Located
from sgdnoise.config import RunConfig
from sgdnoise.data.dataset import Dataset, from_arrays
from sgdnoise.experiments import study_of
from sgdnoise.records.made import record_of
from sgdnoise.records.record import Record
from sgdnoise.records.store import Store
from sgdnoise.study.grid import Key
from sgdnoise.study.study import Experiment, Study
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
        "gradient_abs": [0.1 / (1 - config.discard_fraction), 0.05, 0.02],
    }
    if "sharpness" in config.probes:
        curves |= {"train_loss": [2.3, 1.0, 0.5], "sharpness": [8.0, 4.0, 3.0]}
        curves |= {"batch_sharpness": [4.0, 3.0, 5.0]}
    if "epochs" in config.probes:
        curves |= probe_curves(config)
    if "epoch-loss" in config.probes:
        curves["epoch_mean_loss"] = [config.learning_rate / epoch for epoch in range(1, 9)]
    metrics = {"train_accuracy": accuracy, "train_loss": 1.0, **metrics}
    return record_of(Result(config, "done", metrics, curves, seconds))


def records(configs: Iterable[RunConfig], ending: Ending) -> list[Record]:
    return [record(config, ending) for config in configs]


def filled(study: Study, ending: Ending) -> dict[str, Record]:
    """All that a study needs, by run, to the last fresh seed."""
    there: dict[str, Record] = {}
    while todo := study.missing(there):
        there |= {config.id: record(config, ending) for config in todo}
    return there


def fill(folder: Path, experiment: Experiment, scale: str, seeds: int, ending: Ending) -> Store:
    """The store of the folder with all that the experiment needs, to the last fresh seed."""
    store = Store(folder)
    study = Study.of(experiment, scale, seeds)
    store.append(*study.place, filled(study, ending).values())
    return store


def reading(name: str, scale: str, seeds: int, ending: Ending) -> Reading:
    """An experiment's reading of all that it needs."""
    study = study_of(name, scale, seeds)
    return Reading(study, filled(study, ending))


AtRate = Callable[[RunConfig, float], float]
"""What a run comes to, from its config and log₂ of its effective learning rate."""


def noisy(accuracy: AtRate, loss: AtRate | None = None, spread: float = 0.02) -> Ending:
    """Endings by formula, each accuracy off by some points at random.

    An infinite accuracy stands for a run that diverged; without a formula the loss is 1.
    """
    rng = np.random.default_rng(0)

    def ending(config: RunConfig) -> dict[str, float]:
        rate = math.log2(config.effective_learning_rate)
        value = accuracy(config, rate) + spread * rng.standard_normal()
        return {"test_accuracy": value, "train_loss": loss(config, rate) if loss else 1.0}

    return ending


def two_regimes(config: RunConfig, rate: float) -> float:
    """Linear scaling up to B = 32 for SGD and 256 for momentum, then a cliff and a fall."""
    knee = 5 if config.momentum == 0 else 8
    size = math.log2(config.batch_size)
    peak = min(size, knee) - 5
    if rate > peak + 2.2:
        return math.inf
    return 98 - 0.4 * (rate - peak) ** 2 - 0.5 * max(0, size - knee)


def diverged(config: RunConfig) -> dict[str, float]:
    """The ending of a run that is lost."""
    return {"test_accuracy": math.inf}


def rising(config: RunConfig) -> dict[str, float]:
    """Better the larger the rate, however large: every optimum lies on an edge of its grid."""
    rate = math.log2(config.effective_learning_rate * (config.trust_coefficient or 1))
    value = 70 + rate + 0.01 * (config.seed % 7)
    return {"test_accuracy": value, "train_accuracy": 100.0, "train_loss": 2.0**-value}


def exactly(value: float, low: float | None = None, high: float | None = None) -> Interval:
    """An interval, a tenth to either side unless told otherwise."""
    return Interval(
        value, value * 0.9 if low is None else low, value * 1.1 if high is None else high
    )


def regimes(
    slope: float | Interval = 1.0,
    boundary: float | Interval = 32.0,
    level: float | Interval = 2.0,
    carried: int = 4,
    bends: bool = True,
) -> Regimes:
    """The fitted regimes of a method, as said."""
    given = [one if isinstance(one, Interval) else exactly(one) for one in (slope, boundary, level)]
    return Regimes(*given, carried, bends)


NO_REGIMES = regimes(*[Interval(math.nan, math.nan, math.nan)] * 3, carried=0)
"""Where too few optima lie inside their grids."""


def estimate(value: float, half: float = 0.0, dof: float = 12) -> Estimate:
    """An estimate, by half of its 95% interval."""
    return Estimate(value, half / quantile(dof), dof)


Fresh = Callable[[dict[str, Any], str], Estimate]
"""What fresh seeds reached, by a sweep's key and the objective."""

Peaks = Callable[[dict[str, Any]], Located]
"""The tuned rate, by a sweep's key."""


@dataclass(frozen=True, eq=False)
class Told(Reading):
    """A reading without records: what fresh seeds reached and which rates are best is told."""

    fresh: Fresh | None = None
    peaks: Peaks | None = None

    def reached(self, key: Key, objective: str = "test_accuracy") -> Estimate:
        assert self.fresh is not None
        return self.fresh(dict(key), objective)

    def tuned(
        self, objective: str = "test_accuracy", variant: Key | None = None
    ) -> dict[Key, Tuning]:
        assert self.peaks is not None
        assert objective == "test_accuracy"
        return {
            key: replace(one, peak=self.peaks(dict(key)))
            for key, one in _not_run(self.study.experiment.name, self.study.scale).tuned().items()
        }


@functools.cache
def _not_run(name: str, scale: str) -> Reading:
    return Reading(study_of(name, scale, 2), {})


def told(
    name: str,
    scale: str,
    fresh: Fresh | None = None,
    peaks: Peaks | None = None,
    **said: Regimes,
) -> Reading:
    """An experiment's reading as told."""
    none = _not_run(name, scale)
    other = Told(none.study, {}, fresh, peaks)
    other.__dict__.update(regimes=said, known=none.known, states=none.states)
    return other


def with_regimes(of: Reading, **said: Regimes) -> Reading:
    """The same reading with regimes as said in place of those that are fitted."""
    other = Reading(of.study, of.records)
    other.__dict__["regimes"] = said  # where the cached property keeps what it found
    return other


def by_itself(word, effect, half, margin, parts=2):
    """What `every` adds to an undecided claim, of its worst part, whose sign should be positive."""
    against = effect + half < 0
    if word != "undecided" or not (against or abs(effect) + half <= margin):
        return ""
    alone = "contradicted" if against else "absent"
    return f" By itself that part would be {alone}; as one of {parts} it is not."
