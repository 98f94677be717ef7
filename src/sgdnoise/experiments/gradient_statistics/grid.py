"""G20's experiment: gradients, steps, losses and curvature across batch sizes (§2, §4.1, §5.1).

Fixed recipes, plain SGD at a constant learning rate, every seed kept. G20 gives no rule for the
learning rate, so there are two:

- equal: one rate at every batch size, which is what equations 6 and 8 speak of.
- scaled: the power law through the two pairs of batch size and rate that G20 prints, at nearly the
  linear rule.

They meet at one batch size, at which batches of every size are also drawn at the same weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import partial
from typing import Any

from sgdnoise.config import Probe
from sgdnoise.papers.numbers import printed
from sgdnoise.study.grid import Sweep, rounded
from sgdnoise.study.scales import CPU, sweep_of
from sgdnoise.study.study import Experiment

RULES = ("equal", "scaled")

STATISTICS: tuple[Probe, ...] = ("batch-gradients", "gradient-statistics")
"""Probes of the runs at the batch size where the rules meet."""


def scaled_rate(batch_size: int, meet: int, rate: float) -> float:
    """The power law through G20's two printed pairs, scaled to be `rate` at `meet`."""
    sizes, rates = (
        [printed(f"G20-{place}.{name}").value for place in ("F13", "F11")]
        for name in ("batch_size", "learning_rate")
    )
    power = math.log(rates[1] / rates[0]) / math.log(sizes[1] / sizes[0])
    return rounded(rate * (batch_size / meet) ** power)


def gradient_statistics(
    base: dict[str, Any],
    *,
    epochs: float,
    sizes: Iterable[int],
    meet: int,
    rate: float,
    layers: Iterable[int],
    curvature: Probe = "layer-gauss-newton",
) -> list[Sweep]:
    """Each batch size under both rules of the learning rate.

    Args:
        base: data and model.
        epochs: the budget, the same for all.
        sizes: the batch sizes, `meet` among them.
        meet: the batch size at which the rules agree.
        rate: the learning rate there.
        layers: batch sizes at which, at equal rate, the curvature of layers is measured.
        curvature: the probe that measures it.
    """
    sweeps = []
    for rule in RULES:
        for size in sizes:
            if rule == "scaled" and size == meet:
                continue
            probes: list[Probe] = ["epochs"]
            if rule == "equal":
                probes += STATISTICS if size == meet else ()
                probes += [curvature] if size in layers else []
            fixed = {
                "schedule": "constant",
                "sampling": "reshuffle",
                "batch_size": size,
                "learning_rate": rate if rule == "equal" else scaled_rate(size, meet, rate),
                "epochs": epochs,
                "probes": tuple(sorted(probes)),
            }
            sweeps.append(sweep_of(base, {"rule": rule, "batch_size": size}, fixed, (), best=1.0))
    return sweeps


_ALEXNET = {"dataset": "cifar10", "model": "alexnet-cifar"}


def _figures() -> list[Sweep]:
    """What G20 states: AlexNet, CIFAR-10, and batches from 32 to 49,152 (figures 5 and 8)."""
    low = round(printed("G20-F5.least_batch_size").value)
    high = round(printed("G20-F5.most_batch_size").value)
    sizes = [*(low * 2**k for k in range(math.floor(math.log2(high / low)) + 1)), high]
    return gradient_statistics(
        _ALEXNET, epochs=1.0, sizes=sizes, meet=sizes[4], rate=0.005, layers=()
    )


EXPERIMENT = Experiment(
    name="gradient-statistics",
    sweeps={
        # From a batch of 4 to the whole training set. At 0.1 a pilot at B = 64 (seed 900, no record
        # kept) fitted 99.6 % of the training set in 30 epochs. Its numbers of batches of all sizes
        # at the same weights were looked at, and the draws from every size chosen after them.
        "digits": partial(
            gradient_statistics,
            {"dataset": "digits", "model": "digits-mlp"},
            epochs=30.0,
            sizes=[2**k for k in range(2, 11)],
            meet=64,
            rate=0.1,
            layers=(4, 64, 1024),
            curvature="layer-curvature",
        ),
        # Its curvature was first estimated from 32 random vectors. The estimate's noise was larger
        # than the curvature in all tensors but one: those runs were replaced, the claims kept.
        "cpu": partial(
            gradient_statistics,
            {
                **{k: CPU[k] for k in ("dataset", "model", "norm", "ghost_batch_size")},
                "train_size": 2048,
            },
            epochs=10.0,
            sizes=(32, 128, 512, 2048),
            meet=128,
            rate=0.1,
            layers=(32, 128, 2048),
        ),
        "gpu": partial(
            gradient_statistics,
            {**_ALEXNET, "precision": "bfloat16"},
            epochs=20.0,
            sizes=(32, 128, 512, 2048, 8192, 32768),
            meet=512,
            rate=0.005,
            layers=(32, 512, 32768),
        ),
    },
    seeds={"digits": 5, "cpu": 5, "gpu": 3},
    reference={"": _figures},
    reference_states=("data", "net", "batch sizes"),
    remarks={
        "": "G20 gives neither learning rates nor epochs, weight decay, momentum or seeds for its "
        "figures: here plain SGD at a constant rate, without weight decay, by two rules of the "
        "rate, equal at all batch sizes and scaled as between the two pairs that G20 prints."
    },
)
