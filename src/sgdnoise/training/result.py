"""What training gives back, and which runs train together."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from sgdnoise import data
from sgdnoise.config import RunConfig, Status, canonical_json

CURVE_POINTS = 14
"""How many log-spaced steps a run is measured at; 14 a run keep thousands of records small."""

STACKED = {"digits-mlp"}
"""Models whose runs train as one bundle of stacked weights."""

MOST_STACKED = 128
"""Runs in a bundle, at most: enough to drown the overhead of a call."""

_MOST_WORK = 2.0e6
"""Stacked run-steps in a bundle, at most: 4 s of one core as measured, well below the 30 s that a
kill may lose."""

MOST_SIDE_BY_SIDE = 8
"""Runs on streams of one GPU, at most: as many queues feed it."""

_EXAMPLES_SIDE_BY_SIDE = 512
"""Examples that all of these have in flight together: more fill a GPU already."""

_UNGRAPHED: dict[str, str] = {
    "discard_fraction": "chooses examples by their losses, for some epochs only",
    "probes": "measures curvature on the way, by passes and draws of its own",
}
_UNGRAPHED_OPTIMIZERS = {
    "cblr": "differentiates twice, with probes drawn on the CPU",
    "cblr-exact": "differentiates as often as there are parameters",
    "lamb": "counts steps and holds its learning rate on the host",
}

_PLAIN: dict[str, object] = {
    "optimizer": "sgd",
    "augment": "none",
    "clip_norm": None,
    "gradient_noise": 0.0,
    "discard_fraction": 0.0,
    "phases": (),
    "probes": (),
    "momentum_reset": False,
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
        device: kind of device that it trained on, `cpu` or `cuda`.
    """

    config: RunConfig
    status: Status
    metrics: dict[str, float]
    curves: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    reason: str | None = None
    device: str = "cpu"


def significant(value: float, digits: int = 6) -> float:
    """The value rounded to significant digits: what a record keeps of a float32 measurement."""
    if not math.isfinite(value) or value == 0:
        return value
    return round(value, digits - 1 - math.floor(math.log10(abs(value))))


def is_stacked(config: RunConfig) -> bool:
    """Whether the run trains in a stack of others: a small net under plain SGD or momentum."""
    fits = all(getattr(config, name) == value for name, value in _PLAIN.items())
    return config.model in STACKED and fits


def why_not_graphed(config: RunConfig) -> str | None:
    """Why a run's steps cannot be replayed as CUDA graphs, so that the plain loop trains it.

    None where they can: images under SGD and the layer-wise rules, with any norm, dropout,
    clipping, augmentation, sampling, schedule, phases and noise, and with or without a reset of
    the momentum.
    """
    if config.dataset == "ptb":
        return "a recurrent net"
    if config.optimizer in _UNGRAPHED_OPTIMIZERS:
        return f"{config.optimizer} {_UNGRAPHED_OPTIMIZERS[config.optimizer]}"
    return next(
        (f"{name} {why}" for name, why in _UNGRAPHED.items() if getattr(config, name)), None
    )


def is_side_by_side(config: RunConfig, device: str) -> bool:
    """Whether the run trains beside others of its shape, on streams of one GPU."""
    return device == "cuda" and not is_stacked(config) and why_not_graphed(config) is None


def bundle_key(config: RunConfig, device: str = "cpu") -> str:
    """What the runs of one bundle share: two runs may train together if this is equal."""
    if is_stacked(config) or is_side_by_side(config, device):
        shared = {k: v for k, v in config.identity().items() if k not in _FREE_IN_BUNDLE}
        return canonical_json(shared)
    return config.id


def bundles(configs: Iterable[RunConfig], device: str = "cpu") -> list[list[RunConfig]]:
    """Groups of runs that train together, in a fixed order.

    Runs of a stacked model go together when they agree in all that fixes shapes and step counts, at
    most half a minute of work at once. So do, on a GPU, runs of batches so small that one alone
    would leave it idle. All others train alone.

    Args:
        configs: the runs.
        device: `cpu` or `cuda`, where they will train.
    """
    groups: dict[str, list[RunConfig]] = defaultdict(list)
    for config in configs:
        groups[bundle_key(config, device)].append(config)
    parts = []
    for group in groups.values():
        most = _most_in_bundle(group[0])
        parts += [group[start : start + most] for start in range(0, len(group), most)]
    return parts


def _most_in_bundle(config: RunConfig) -> int:
    if not is_stacked(config):
        return max(1, min(MOST_SIDE_BY_SIDE, _EXAMPLES_SIDE_BY_SIDE // config.largest_batch_size))
    steps = config.total_steps(data.images_of(config))
    # A stacked run's step costs about as much by itself as by some ten of its examples.
    return max(1, min(MOST_STACKED, int(_MOST_WORK / (steps * (1 + config.batch_size / 16)))))
