"""The grids: which runs each figure and table needs, at each scale, and how a grid grows.

`grid` holds what an experiment is; `bases` what the runs of a scale share; `s20`, `g20` and `h17`
the papers' experiments. Grids are frozen: `tests/test_experiments.py` holds them to their digests.
"""

from __future__ import annotations

from sgdnoise.errors import InputError
from sgdnoise.experiments.constant_epoch.grid import ANCHORS, CONSTANT_EPOCH
from sgdnoise.experiments.constant_step.grid import CONSTANT_STEP
from sgdnoise.experiments.generalization_gap.grid import GENERALIZATION_GAP
from sgdnoise.experiments.initial_final_lr.grid import INITIAL_FINAL_LR
from sgdnoise.experiments.layerwise_lr.grid import LAYERWISE_LR
from sgdnoise.experiments.unlimited_epochs.grid import UNLIMITED_EPOCHS
from sgdnoise.study.grid import (
    FRESH_SEED,
    Axis,
    Experiment,
    Key,
    Listed,
    Outcome,
    Sweep,
    SweepState,
    advance,
    grid_points,
)
from sgdnoise.study.scales import CIFAR10, CPU, DIGITS, METHODS, SCALES

__all__ = [
    "ANCHORS",
    "CIFAR10",
    "CPU",
    "DIGITS",
    "EXPERIMENTS",
    "FRESH_SEED",
    "METHODS",
    "SCALES",
    "Axis",
    "Experiment",
    "Key",
    "Listed",
    "Outcome",
    "Sweep",
    "SweepState",
    "advance",
    "experiment_named",
    "grid_points",
]

EXPERIMENTS = {
    experiment.name: experiment
    for experiment in [
        CONSTANT_EPOCH,
        CONSTANT_STEP,
        UNLIMITED_EPOCHS,
        INITIAL_FINAL_LR,
        GENERALIZATION_GAP,
        LAYERWISE_LR,
    ]
}


def experiment_named(name: str, scale: str) -> Experiment:
    """The experiment of a name, at a scale that it stands at.

    Raises:
        InputError: for an unknown experiment or scale; the legal ones are listed.
    """
    if name not in EXPERIMENTS:
        raise InputError(
            f"no experiment is called {name!r}: choose one of {', '.join(EXPERIMENTS)}, or all"
        )
    if scale not in SCALES:
        raise InputError(f"no scale is called {scale!r}: choose one of {', '.join(SCALES)}")
    experiment = EXPERIMENTS[name]
    if scale not in experiment.sweeps:
        raise InputError(
            f"{name} does not stand at scale {scale}: choose one of {', '.join(experiment.sweeps)}"
        )
    return experiment
