"""S20's figure 2: momentum at one batch size over epoch budgets, tuned for either objective."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from sgdnoise.study.grid import Axis, Key, Sweep
from sgdnoise.study.protocol import TEST_ACCURACY, TRAIN_LOSS
from sgdnoise.study.scales import (
    CIFAR10,
    CPU,
    DIGITS,
    METHODS,
    S20_BUDGETS,
    S20_REMARKS,
    S20_STATES,
    rates,
    sweep_of,
)
from sgdnoise.study.study import Experiment


def unlimited_epochs(
    base: dict[str, Any],
    *,
    batch_size: int,
    budgets: Iterable[int],
    grids: Mapping[Key, tuple[Axis, ...]],
    halvings: int = 2,
) -> list[Sweep]:
    """Figure 2: momentum at one batch size over epoch budgets, tuned for either objective.

    Args:
        base: the scale's fields.
        batch_size: one that is noise-dominated in the constant epoch budget.
        budgets: in epochs.
        grids: the learning rates for each variant, a variant being fields that it has otherwise
            than the base; under (), the base as it is.
        halvings: how often the spacing about an optimum is halved.
    """
    return [
        sweep_of(
            base,
            {"method": "momentum", **dict(variant), "epochs": epochs},
            {
                "momentum": METHODS["momentum"],
                "batch_size": batch_size,
                "epochs": float(epochs),
                **dict(variant),
            },
            grid,
            objectives=(TEST_ACCURACY, TRAIN_LOSS),
            halvings=halvings,
        )
        for variant, grid in grids.items()
        for epochs in budgets
    ]


_GHOST: Key = (("norm", "ghost"),)
_NO_NORM: Key = (("norm", "none"),)
_NO_DECAY: Key = (("weight_decay", 0.0),)

EXPERIMENT = Experiment(
    name="unlimited-epochs",
    sweeps={
        # B = 8 is noise-dominated in the constant epoch budget. A factor of 128 in epochs, as in
        # S20. The sweeps without weight decay were added after those with it had been seen: they
        # test what that page then offered as the reason for its result.
        "digits": partial(
            unlimited_epochs,
            DIGITS,
            batch_size=8,
            budgets=[10 * 2**k for k in range(8)],
            grids={(): rates(-3, 3), _NO_DECAY: rates(-3, 3)},
        ),
        # 1,000 images, a factor of 32 in epochs. Centred on pilots of one run a rate (seed 900, no
        # record kept). With ghosts the test accuracy was best at 2^-1: of 2^-2 … 2^0 at 8 epochs,
        # and of up to 2^-1 at 128 and 256; there 256 epochs leave a training loss of 0.014. Without
        # norms it was best at 2^-2 of 2^-4 … 2^0 at 8 epochs and of 2^-6 … 2^0 at 128 (2^0
        # diverged), and at 256 better at 2^-4 than at 2^-2: these fit 87 % (0.37), not all.
        "cpu": partial(
            unlimited_epochs,
            {**CPU, "train_size": 1000},
            batch_size=16,
            budgets=[8 * 2**k for k in range(6)],
            grids={_GHOST: rates(-1, 2), _NO_NORM: rates(-2, 2)},
        ),
        "gpu": partial(
            unlimited_epochs,
            CIFAR10,
            batch_size=64,
            budgets=(10, 20, 40, 80),
            grids={_GHOST: rates(-1, 2), _NO_NORM: rates(-2, 2)},
            halvings=0,
        ),
        "paper": partial(
            unlimited_epochs,
            CIFAR10,
            batch_size=64,
            budgets=S20_BUDGETS,
            grids={_GHOST: rates(-2, 3), _NO_NORM: rates(-3, 3)},
        ),
    },
    seeds={"digits": 7, "cpu": 5, "gpu": 3, "paper": 15},
    reference_states=S20_STATES,
    reference_seeds=15,
    remarks={
        **S20_REMARKS,
        "digits": "Only the net without batch norm: this one has none; instead, with weight decay "
        "and without.",
    },
)
