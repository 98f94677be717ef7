"""S20's figure 3: initial and final learning rate, each tuned by itself."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from sgdnoise.study.grid import Axis, Sweep
from sgdnoise.study.protocol import TEST_ACCURACY, TRAIN_LOSS
from sgdnoise.study.scales import (
    CIFAR10,
    CPU,
    DIGITS,
    METHODS,
    S20_BUDGETS,
    S20_REMARKS,
    S20_STATES,
    sweep_of,
)
from sgdnoise.study.study import Experiment


def initial_final_lr(
    base: dict[str, Any], *, batch_size: int, budgets: Iterable[int], initial: Axis, final: Axis
) -> list[Sweep]:
    """Figure 3: as figure 2, with initial and final learning rate tuned each by itself."""
    return [
        sweep_of(
            base,
            {"method": "momentum", "epochs": epochs},
            {
                "momentum": METHODS["momentum"],
                "batch_size": batch_size,
                "epochs": float(epochs),
            },
            (initial, final),
            objectives=(TEST_ACCURACY, TRAIN_LOSS),
            best=5 / 7,
        )
        for epochs in budgets
    ]


def _initial(low: int, high: int) -> Axis:
    return Axis("effective_learning_rate", low, high)


def _final(low: int, high: int) -> Axis:
    # In steps of four: S20 finds that the final learning rate matters little.
    return Axis("final_learning_rate", low, high, step=2)


EXPERIMENT = Experiment(
    name="initial-final-lr",
    sweeps={
        "digits": partial(
            initial_final_lr,
            DIGITS,
            batch_size=8,
            budgets=(20, 80, 320),
            initial=_initial(-5, -1),
            final=_final(-7, -3),
        ),
        # On 1,000 images, as figure 2, whose pilots' best initial rates these lie about. The final
        # ones lie about those of pilots at 48 epochs, one run a rate (seed 900, no record kept):
        # from 2^-1, final rates of 2^-11, 2^-8, 2^-6 and 2^-4 gave 50.0, 50.3, 50.9 and 50.7 %, and
        # training losses of 0.72, 0.62, 0.53 and 0.48.
        "cpu": partial(
            initial_final_lr,
            {**CPU, "train_size": 1000},
            batch_size=16,
            budgets=(12, 48, 192),
            initial=_initial(-3, 0),
            final=_final(-4, -1),
        ),
        "gpu": partial(
            initial_final_lr,
            CIFAR10,
            batch_size=64,
            budgets=(10, 20, 40),
            initial=_initial(-3, 1),
            final=_final(-7, -4),
        ),
        "paper": partial(
            initial_final_lr,
            CIFAR10,
            batch_size=64,
            budgets=S20_BUDGETS,
            initial=_initial(-4, 2),
            final=_final(-8, -3),
        ),
    },
    seeds={"digits": 7, "cpu": 5, "gpu": 3, "paper": 7},
    reference_states=S20_STATES,
    reference_seeds=7,
    remarks={
        **S20_REMARKS,
        "": "The learning rates of a curve point are pairs of an initial and a final one, as first "
        "planned; a grid grows on a side that the best ones reach. The final learning rate goes in "
        "steps of four.",
    },
)
