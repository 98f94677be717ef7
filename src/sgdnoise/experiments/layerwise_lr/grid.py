"""G20's experiment: layer-wise learning rates across batch sizes (§4 and §5, figure 16)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from sgdnoise.study.grid import Sweep, rounded
from sgdnoise.study.scales import CIFAR10, CPU, DIGITS, METHODS, rates, sweep_of
from sgdnoise.study.study import Experiment

RULES = ("momentum", "lars", "percent-delta", "mclr")
"""Heavy ball, and the three rules that G20 reads as averages of the radius of curvature."""

MORE_RULES = (*RULES, "nesterov", "lamb", "mclr-signed")
"""Beside them Nesterov's momentum, which tuned does as well as LARS (Nado et al. 2021); LAMB, which
G20 names; and MCLR read to the letter, with medians of numbers that have signs."""

_OF_ONE_RATE: dict[str, dict[str, Any]] = {
    "momentum": {},
    "nesterov": {"nesterov": True},
    "lamb": {"optimizer": "lamb"},
}
"""The rules that have a learning rate and nothing else to tune, with the fields that make them."""


def layerwise_lr(
    base: dict[str, Any],
    *,
    epochs: float,
    sizes: Iterable[int],
    offset: int,
    cap: int,
    centres: Mapping[str, int],
    reach: int,
    rules: Iterable[str] = RULES,
) -> list[Sweep]:
    """Figure 16 over batch sizes: each rule with its own rate tuned at each of them.

    Momentum's rate is ε/(1 − m), about the linear rule. A layer-wise rule has two: γ, which by
    itself moves the biases and the norms' scales, is set to what the linear rule gives momentum;
    the trust coefficient η is tuned, as γη/(1 − m), by which part of its own norm a layer moves.
    Its grid is centred on the square root of the batch size: at the equilibrium of weight decay
    and gradient noise, a layer's relative step grows as the square root of its learning rate. LAMB
    has one rate, by which part of its own norm a layer moves; its grid is of γ/(1 − β₁), though
    its momentum is a mean, and is centred likewise. Every rule has as many rates to choose from.

    Args:
        base: the scale's fields.
        epochs: the budget, the same for all.
        sizes: log₂ of the batch sizes.
        offset: of the linear rule, ε_eff = B / 2^offset.
        cap: log₂ of its upper bound.
        centres: for each layer-wise rule, log₂ of the centre at B = 2^offset.
        reach: steps of two to either side of a centre.
        rules: which.
    """
    momentum = METHODS["momentum"]
    sweeps = []
    for rule in rules:
        for k in sizes:
            linear = min(k - offset, cap)
            fixed: dict[str, Any] = {"momentum": momentum, "batch_size": 2**k, "epochs": epochs}
            layerwise = centres.get(rule, 0) + (k - offset) // 2
            if rule in _OF_ONE_RATE:
                fixed |= _OF_ONE_RATE[rule]
                axes = rates(layerwise if rule in centres else linear, reach)
            else:
                fixed["optimizer"] = rule
                fixed["learning_rate"] = rounded(2.0**linear * (1 - momentum))
                axes = rates(layerwise, reach, "layerwise_rate")
            sweeps.append(sweep_of(base, {"method": rule, "batch_size": 2**k}, fixed, axes))
    return sweeps


_OPEN = (
    "G20 gives neither learning rates nor weight decay, epochs, augmentation or seeds: here they "
    "are S20's, with the rate of each rule tuned at each batch size on the test set, as S20 tunes "
    "its own."
)

_CENTRES = {"lars": -4, "percent-delta": -1, "mclr": -4}

_on_cifar10 = partial(
    layerwise_lr,
    {**CIFAR10, "model": "resnet18"},
    epochs=20.0,
    offset=7,
    cap=3,
    centres=_CENTRES,
    reach=2,
)


def _figure_16() -> list[Sweep]:
    """What G20 states: ResNet-18, CIFAR-10, 1,024 and from 8,192 on."""
    return _on_cifar10(sizes=(10, 13))


EXPERIMENT = Experiment(
    name="layerwise-lr",
    sweeps={
        # Centred on pilots of one run a rate (seed 900, no record kept) at B = 128 and 1,024, 30
        # epochs. The smallest batch stands for G20's 1,024 of 50,000, which is 21 of these.
        "digits": partial(
            layerwise_lr,
            DIGITS,
            epochs=20.0,
            sizes=(5, 7, 9, 10),
            offset=6,
            cap=2,
            centres={"lars": -4, "percent-delta": -3, "mclr": -6, "mclr-signed": -8, "lamb": -3},
            reach=2,
            rules=MORE_RULES,
        ),
        "cpu": partial(
            layerwise_lr,
            CPU,
            epochs=12.0,
            sizes=(5, 7, 9, 11),
            offset=7,
            cap=2,
            centres=_CENTRES,
            reach=2,
        ),
        "gpu": partial(_on_cifar10, sizes=(9, 10, 12, 13, 14)),
    },
    seeds={"digits": 5, "cpu": 3, "gpu": 3},
    reference={"": _figure_16},
    reference_states=("data", "net", "batch sizes"),
    remarks={"": _OPEN},
)
