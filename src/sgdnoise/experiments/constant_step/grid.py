"""S20's table 1: momentum over batch sizes, the same updates for all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from sgdnoise.study.grid import Key, Sweep
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
    base: dict[str, Any], *, steps: int, sizes: Iterable[int], offset: int, cap: int, reach: int
) -> list[Sweep]:
    """Table 1: momentum over batch sizes, the same number of updates for all; see above."""
    return [
        sweep_of(
            base,
            {"method": "momentum", "batch_size": 2**k},
            {"momentum": METHODS["momentum"], "batch_size": 2**k, "steps": steps},
            rates(min(k - offset, cap), reach),
        )
        for k in sizes
    ]


FAIR: Key = (("train_size", 1000),)
"""The variant of scale `cpu` in which the largest batch is the whole training set, and fits it."""


def fair(*, steps: int, centres: Mapping[int, int], reach: int) -> list[Sweep]:
    """Table 1 on so few images that the largest batch can be fitted on two cores.

    Args:
        steps: updates, the same for all.
        centres: log₂ of the learning rate that each batch size's grid is centred on.
        reach: steps of two to either side of it.
    """
    return [
        sweep_of(
            CPU,
            {"method": "momentum", "batch_size": size, **dict(FAIR)},
            {
                "momentum": METHODS["momentum"],
                "batch_size": size,
                "steps": steps,
                **dict(FAIR),
            },
            rates(centre, reach),
        )
        for size, centre in centres.items()
    ]


def _cpu() -> list[Sweep]:
    """5,000 images, which 256 updates leave unfitted; then the fair test on 1,000.

    The fair one is centred on pilots of one run a rate (seed 900, no record kept): test accuracy
    was best at 2^-1 of 2^-4 … 2^1 with B = 16, at 2^1 of 2^-3 … 2^2 with 64, and at 2^3 of 2^-1 …
    2^5 with 256; with 1,000 it was flat from 2^1 to 2^3 (50.4, 49.7, 50.4 %) and lower at 2^0 and
    2^4. After 1,000 updates B = 1,000 classified all training images, with a loss between 0.0016
    and 0.0052 at any of these rates.
    """
    few_updates = constant_step(CPU, steps=256, sizes=(6, 8, 10, 11, 12), offset=7, cap=2, reach=2)
    return few_updates + fair(steps=1000, centres={16: -1, 64: 1, 256: 3, 1000: 2}, reach=2)


EXPERIMENT = Experiment(
    name="constant-step",
    sweeps={
        # 1,280 updates: 40 epochs at B = 32. The largest batch is the whole training set, without
        # any noise. Centred as the constant epoch budget is.
        "digits": partial(
            constant_step, DIGITS, steps=1280, sizes=range(3, 11), offset=5, cap=1, reach=3
        ),
        "cpu": _cpu,
        # A 25th of the updates: 8 epochs at B = 1,024, 128 at 16,384.
        "gpu": partial(
            constant_step, CIFAR10, steps=390, sizes=(8, 10, 12, 14), offset=7, cap=4, reach=2
        ),
        "paper": partial(
            constant_step, CIFAR10, steps=9765, sizes=range(8, 16), offset=7, cap=3, reach=3
        ),
    },
    seeds={"digits": 15, "cpu": 3, "gpu": 3, "paper": 15},
    variant_seeds={FAIR: 5},
    reference_seeds=15,
    remarks=S20_REMARKS,
)
