"""S20's table 1: momentum over batch sizes, the same updates for all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from sgdnoise.config import RunConfig
from sgdnoise.study.grid import Key, Sweep
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


FAIR: Key = (("train_size", 1000),)
"""The variant whose largest batch, all of its images, can be fitted."""

# Log₂ of the rates that the grids are centred on, from a pilot of one run a rate (seed 900, no
# record kept): the test accuracy was best at 2^-1 of 2^-4 … 2^1 with B = 16, at 2^1 of 2^-3 … 2^2
# with 64, and at 2^3 of 2^-1 … 2^3 with 256; with 1,000 it was flat from 2^1 to 2^3 (50.4, 49.7,
# 50.4 %) and lower on either side. After 1,000 updates B = 1,000 classified all training images
# rightly, with a loss between 0.0016 and 0.0052 at any of these rates.
_FAIR_CENTRES = {16: -1, 64: 1, 256: 3, 1000: 2}


def fair_step() -> list[Sweep]:
    """Table 1 on so few images that the largest batch fits them all."""
    return [
        sweep_of(
            CPU,
            {"method": "momentum", "batch_size": size, **dict(FAIR)},
            {"momentum": METHODS["momentum"], "batch_size": size, "steps": 1000, **dict(FAIR)},
            rates(centre, 2),
        )
        for size, centre in _FAIR_CENTRES.items()
    ]


def _at_cpu() -> list[Sweep]:
    """Both sizes of training set; on the larger one no batch size fits its data."""
    unfitted = constant_step(CPU, steps=256, sizes=(6, 8, 10, 11, 12), offset=7, cap=2, reach=2)
    return fair_step() + [replace(sweep, most_seeds=3) for sweep in unfitted]


def _fair_first(seeds: int) -> list[RunConfig]:
    """The fair test seed by seed, all batch sizes, so that a part of it compares like with like."""
    return [
        sweep.config((k,), seed)
        for seed in range(seeds)
        for sweep in fair_step()
        for k in range(sweep.frozen[0][0], sweep.frozen[0][1] + 1)
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
        "cpu": _at_cpu,
        # A 25th of the updates: 8 epochs at B = 1,024, 128 at 16,384.
        "gpu": partial(
            constant_step, CIFAR10, steps=390, sizes=(8, 10, 12, 14), offset=7, cap=4, reach=2
        ),
        "paper": partial(
            constant_step, CIFAR10, steps=9765, sizes=range(8, 16), offset=7, cap=3, reach=3
        ),
    },
    seeds={"digits": 15, "cpu": 5, "gpu": 3, "paper": 15},
    reference_states=S20_STATES,
    reference_seeds=15,
    remarks=S20_REMARKS,
    first={"cpu": _fair_first},
)
