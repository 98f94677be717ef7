"""H17's experiment: the ladder that closes the generalization gap, rung by rung (§6, table 1)."""

from __future__ import annotations

from functools import partial
from typing import Any

from sgdnoise.schedule import H17_REGIMES, scale_learning_rate
from sgdnoise.study.grid import Sweep, rounded
from sgdnoise.study.scales import sweep_of
from sgdnoise.study.study import Experiment

RUNGS = ("SB", "LB", "+LR", "+GBN", "+RA")
"""H17's names, in table 1's order. Each keeps what the one before it changed, SB apart."""


def generalization_gap(
    base: dict[str, Any], *, epochs: float, small: int, large: int
) -> list[Sweep]:
    """Table 1 for one net: fixed recipes, nothing tuned, every seed kept.

    - SB: the net's own regime at the small batch, batch norm.
    - LB: the same regime, epoch for epoch, at the large batch, its norms over all of it.
    - +LR: with the learning rate times √(LB/SB).
    - +GBN: with ghosts of the small batch's size.
    - +RA: with every period LB/SB times as long, so that there are as many updates as in SB.

    The regime's phases are fractions of the budget (`schedule.H17_REGIMES`).

    Args:
        base: data, and a model that has a regime there.
        epochs: the budget of all rungs but the last.
        small: SB, which is also the ghost.
        large: LB.
    """
    regime = H17_REGIMES[base["model"]]
    scaled = scale_learning_rate(regime.learning_rate, large, small, "sqrt")
    shared = {
        "schedule": "h17",
        "augment": "h17",
        "sampling": "reshuffle",
        "momentum": regime.momentum,
        "weight_decay": regime.weight_decay,
        # In H17's code on every step of every run; the paper speaks of the first iterations.
        "clip_norm": 5.0,
        "ghost_batch_size": small,
    }
    sweeps = []
    for at, rung in enumerate(RUNGS):
        fixed = {
            **shared,
            "batch_size": small if rung == "SB" else large,
            "learning_rate": rounded(scaled if at >= RUNGS.index("+LR") else regime.learning_rate),
            "norm": "ghost" if at >= RUNGS.index("+GBN") else "batch",
            "epochs": epochs * (large / small if rung == "+RA" else 1),
        }
        sweeps.append(sweep_of(base, {"rung": rung}, fixed, (), best=1.0))
    return sweeps


_RESNET44 = {"dataset": "cifar10", "model": "resnet44", "precision": "bfloat16"}

_F1 = {"dataset": "mnist", "model": "f1"}

_CODE = (
    "Regime, clipping and augmentation are those of H17's code; that code also forgets the "
    "momentum at every epoch's start, which is left out as an accident."
)

EXPERIMENT = Experiment(
    name="generalization-gap",
    sweeps={
        "cpu": partial(
            generalization_gap,
            {**_F1, "train_size": 6000},
            epochs=20.0,
            small=32,
            large=1024,
        ),
        "gpu": partial(generalization_gap, _RESNET44, epochs=20.0, small=128, large=4096),
        "paper": partial(generalization_gap, _RESNET44, epochs=200.0, small=128, large=4096),
    },
    seeds={"cpu": 5, "gpu": 3, "paper": 3},
    reference={"cpu": partial(generalization_gap, _F1, epochs=50.0, small=128, large=4096)},
    remarks={"": _CODE, "paper": "The paper names no length: 200 epochs are its code's default."},
)
