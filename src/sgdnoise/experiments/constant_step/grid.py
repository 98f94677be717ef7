"""S20's table 1: momentum over batch sizes, the same updates for all."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from sgdnoise.study.grid import Sweep
from sgdnoise.study.scales import (
    CIFAR10,
    CPU,
    DIGITS,
    METHODS,
    S20_REMARKS,
    rates,
    sweep_of,
)
from sgdnoise.study.study import Experiment


def constant_step(
    base: dict[str, Any],
    *,
    steps: int,
    sizes: Iterable[int],
    offset: int,
    cap: int,
    reach: int,
    halvings: int = 0,
) -> list[Sweep]:
    """Table 1: momentum over batch sizes, the same number of updates for all; see above."""
    return [
        sweep_of(
            base,
            {"method": "momentum", "batch_size": 2**k},
            {"momentum": METHODS["momentum"], "batch_size": 2**k, "steps": steps},
            rates(min(k - offset, cap), reach),
            halvings=halvings,
        )
        for k in sizes
    ]


EXPERIMENT = Experiment(
    name="constant-step",
    sweeps={
        # 1,280 updates: 40 epochs at B = 32. The largest batch is the whole training set, without
        # any noise. Centred as the constant epoch budget is.
        "digits": partial(
            constant_step,
            DIGITS,
            steps=1280,
            sizes=range(3, 11),
            offset=5,
            cap=1,
            reach=3,
            halvings=2,
        ),
        "cpu": partial(
            constant_step, CPU, steps=256, sizes=(6, 8, 10, 11, 12), offset=7, cap=2, reach=2
        ),
        # A 25th of the updates: 8 epochs at B = 1,024, 128 at 16,384.
        "gpu": partial(
            constant_step, CIFAR10, steps=390, sizes=(8, 10, 12, 14), offset=7, cap=4, reach=2
        ),
        "paper": partial(
            constant_step, CIFAR10, steps=9765, sizes=range(8, 16), offset=7, cap=3, reach=3
        ),
    },
    seeds={"digits": 15, "cpu": 3, "gpu": 3, "paper": 15},
    reference_seeds=15,
    remarks=S20_REMARKS,
)
