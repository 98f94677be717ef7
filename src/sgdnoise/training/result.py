"""What training gives back, and which runs train together."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from sgdnoise import data
from sgdnoise.config import RunConfig, canonical_json

Status = Literal["done", "diverged", "failed"]

CURVE_POINTS = 14
"""How many log-spaced steps a run is measured at; 14 a run keep thousands of records small."""

STACKED = {"digits-mlp"}
"""Models whose runs train as one bundle of stacked weights."""

MOST_STACKED = 128
"""Runs in a bundle, at most: enough to drown the overhead of a call."""

_MOST_WORK = 2.0e6
"""Stacked run-steps in a bundle, at most: about 20 s of one core, all that a kill can lose."""

_PLAIN: dict[str, object] = {
    "optimizer": "sgd",
    "augment": "none",
    "clip_norm": None,
    "gradient_noise": 0.0,
    "discard_fraction": 0.0,
    "precision": "float32",
}

# Fields in which the runs of one bundle may differ: all else fixes the shapes and the step count.
_FREE_IN_BUNDLE = {"learning_rate", "momentum", "weight_decay", "decay_factor", "seed"}


@dataclass(frozen=True)
class Result:
    """One finished run.

    Attributes:
        config: what was run.
        status: `done`; `diverged` when a loss or a weight stopped being finite; `failed` when the
            run could not be finished for a reason outside of it, told by `reason`.
        metrics: final numbers, by name: losses in nats, accuracies in percent.
        curves: measurements at the step counts in `curves["step"]`, one list a quantity.
        seconds: the run's share of the wall time of its bundle.
        reason: why a run failed, one line.
    """

    config: RunConfig
    status: Status
    metrics: dict[str, float]
    curves: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    reason: str | None = None


def significant(value: float, digits: int = 6) -> float:
    """The value rounded to significant digits: what a record keeps of a float32 measurement."""
    if not math.isfinite(value) or value == 0:
        return value
    return round(value, digits - 1 - math.floor(math.log10(abs(value))))


def is_stacked(config: RunConfig) -> bool:
    """Whether the run trains in a stack of others: a small net under plain SGD or momentum."""
    fits = all(getattr(config, name) == value for name, value in _PLAIN.items())
    return config.model in STACKED and fits


def bundle_key(config: RunConfig) -> str:
    """What the runs of one bundle share: two runs may train together if this is equal."""
    if is_stacked(config):
        shared = {k: v for k, v in config.identity().items() if k not in _FREE_IN_BUNDLE}
        return canonical_json(shared)
    return config.id


def bundles(configs: Iterable[RunConfig]) -> list[list[RunConfig]]:
    """Groups of runs that train together, in a fixed order, each at most half a minute of work.

    Runs of a stacked model go together when they agree in all that fixes shapes and step counts.
    All others train alone.
    """
    groups: dict[str, list[RunConfig]] = defaultdict(list)
    for config in configs:
        groups[bundle_key(config)].append(config)
    parts = []
    for group in groups.values():
        most = _most_in_bundle(group[0])
        parts += [group[start : start + most] for start in range(0, len(group), most)]
    return parts


def _most_in_bundle(config: RunConfig) -> int:
    steps = config.total_steps(config.train_size or data.train_size(config.dataset))
    # A stacked run's step costs about as much by itself as by 16 of its examples.
    return max(1, min(MOST_STACKED, int(_MOST_WORK / (steps * (1 + config.batch_size / 16)))))
