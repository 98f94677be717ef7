"""S20's figure 1: SGD and momentum over batch sizes, the same epochs for all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from math import log2
from typing import Any

from sgdnoise.config import RunConfig
from sgdnoise.schedule import scale_learning_rate
from sgdnoise.study.grid import Sweep
from sgdnoise.study.scales import (
    CIFAR10,
    CPU,
    DIGITS,
    METHODS,
    S20_REMARKS,
    S20_STATES,
    rates,
    sweep_of,
)
from sgdnoise.study.study import Experiment


def constant_epoch(
    base: dict[str, Any],
    *,
    epochs: float,
    sizes: Iterable[int],
    offset: int,
    caps: Mapping[str, int],
    reach: int,
    halvings: int = 2,
) -> list[Sweep]:
    """Figure 1: SGD and momentum over batch sizes, the same epochs for all.

    Args:
        base: the scale's fields.
        epochs: the budget.
        sizes: log₂ of the batch sizes.
        offset: of the linear scaling rule that centres the grids, ε_eff = B / 2^offset.
        caps: log₂ of the centre's upper bound, by method.
        reach: steps of two to either side of the centre.
        halvings: how often the spacing about an optimum is halved.
    """
    return [
        sweep_of(
            base,
            {"method": method, "batch_size": 2**k},
            {"momentum": momentum, "batch_size": 2**k, "epochs": epochs},
            rates(min(k - offset, caps[method]), reach),
            halvings=halvings,
        )
        for method, momentum in METHODS.items()
        for k in sizes
    ]


# Scales gpu and paper are centred on S20's table 1, ε_eff = 2³ at B = 1,024, and its linear rule;
# the caps on where figure 1c and table 1 have their flat part.
_constant_epoch_paper = partial(
    constant_epoch,
    CIFAR10,
    epochs=200.0,
    sizes=range(4, 14),
    offset=7,
    caps={"sgd": 2, "momentum": 3},
    reach=3,
)


def _anchor_runs(seeds: int) -> list[RunConfig]:
    """B = 1,024 at the learning rate of table 1, and B = 128 at what linear scaling gives."""
    momentum = {
        dict(sweep.key)["batch_size"]: sweep
        for sweep in _constant_epoch_paper()
        if dict(sweep.key)["method"] == "momentum"
    }
    # Table 1's row at B = 1,024, which is figure 1's setting too, has ε_eff = 8.
    rate = {size: scale_learning_rate(8.0, size, 1024, "linear") for size in (1024, 128)}
    return [
        momentum[size].config((round(log2(rate[size])),), seed)
        for seed in range(seeds)
        for size in rate
    ]


EXPERIMENT = Experiment(
    name="constant-epoch",
    sweeps={
        # Seven learning rates about ε_eff ∝ B, levelling off, where a pilot with three other seeds
        # (900 to 902) had its optima. The edge rule mends the grid where this was off.
        "digits": partial(
            constant_epoch,
            DIGITS,
            epochs=40.0,
            sizes=range(11),
            offset=5,
            caps={"sgd": -1, "momentum": 1},
            reach=3,
        ),
        # Centred on the temperature of S20's table 1 at B = 1,024, 2^3 / 2^10, up to where plain
        # SGD and momentum are likely to meet the curvature; no pilot was run. Not refined: with
        # three seeds the intervals of the rates stay wider than a step.
        "cpu": partial(
            constant_epoch,
            CPU,
            epochs=30.0,
            sizes=(4, 6, 8, 10, 12),
            offset=7,
            caps={"sgd": 0, "momentum": 2},
            reach=2,
            halvings=0,
        ),
        "gpu": partial(
            constant_epoch,
            CIFAR10,
            epochs=12.0,
            sizes=(4, 6, 8, 10, 12),
            offset=7,
            caps={"sgd": 2, "momentum": 3},
            reach=2,
            # Three seeds first: what a lent GPU's minutes are worth most for.
            halvings=0,
        ),
        "paper": _constant_epoch_paper,
    },
    seeds={"digits": 15, "cpu": 3, "gpu": 3, "paper": 15},
    reference_states=S20_STATES,
    reference_seeds=15,
    remarks=S20_REMARKS,
    first={"paper": _anchor_runs},
)
