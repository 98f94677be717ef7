"""Made-up curves of the probes of `gradient-statistics`, by formula."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from sgdnoise.config import RunConfig

TENSORS = {
    "digits-mlp": ("layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias"),
    "alexnet-cifar": ("classifier.1.weight", "classifier.1.bias", "classifier.4.weight"),
    "wrn-10-1": (
        "conv.weight",
        "block.0.weight",
        "block.1.weight",
        "block.2.weight",
        "norm.weight",
        "fc.weight",
    ),
}

POPULATION = 1024
SIZES = [2**k for k in range(11)]
STEPS = [1, 10, 100]


@dataclass(frozen=True)
class Law:
    """What the made-up runs measure; the default is G20's world, where every claim of it holds.

    Attributes:
        floor: what is left of mean |g| with all examples, where the noise of one is 1.
        bend: power of n by which batch gradients fall.
        finite: whether they lose what a batch of all examples has no noise for.
        variance: power of n by which covariance falls.
        signal: |G|² over trΣ.
        excess: factor of the covariance over trΣ/n.
        own, whole: power of n by which a step's fall of either loss goes.
        step: power of n by which steps go, but for the rate.
        first: power of n by which the first epoch's fall of the loss an update goes.
        ends: log₂ of the fluctuation at each end over that in the middle.
        spread: log₂ of the largest radius over the smallest.
        off: log₂ of |w/g| over the radius.
        near: power of n by which the distance to the minimum goes.
        jitter: relative noise between seeds.
    """

    floor: float = 0.0
    bend: float = -0.5
    finite: bool = False
    variance: float = -1.0
    signal: float = 1e-4
    excess: float = 1.0
    own: float = -1.0
    whole: float = -1.0
    step: float = -0.5
    first: float = -1.0
    ends: tuple[float, float] = (2.0, 2.0)
    spread: float = 6.0
    off: float = 0.0
    near: float = -0.5
    jitter: float = 0.01


TRAIN = {"digits": 1024, "cifar10-16": 2048, "cifar10": 50_000}
MIDDLE = {"digits": 64, "cifar10-16": 128, "cifar10": 512}

G20 = Law()


def probe_curves(config: RunConfig, law: Law = G20) -> dict[str, list[float]]:
    """The curves that a run's probes add, beside `step`."""
    rng = np.random.default_rng([config.seed, config.batch_size, round(1e6 * config.learning_rate)])

    def off() -> float:
        return float(np.exp(law.jitter * rng.standard_normal()))

    names = TENSORS[config.model]
    n = config.batch_size
    curves: dict[str, list[float]] = {}
    if "batch-gradients" in config.probes:
        seed = {name: off() for name in (*names, "variance", "batch", "whole")}
        for b in SIZES:
            left = 1 - b / POPULATION if law.finite else 1.0
            for name in names:
                size = math.hypot(law.floor, b**law.bend * math.sqrt(left)) * seed[name]
                curves[f"batch_gradient_abs/{b}/{name}"] = _shrinking(size * off())
            variance = law.excess * b**law.variance * seed["variance"]
            curves[f"batch_gradient_variance/{b}"] = [
                0.0 if b == POPULATION else variance * off() for _ in range(1 + len(STEPS))
            ]
            for of, power in (("batch", law.own), ("whole", law.whole)):
                fall = b**power * seed[of] * off()
                curves[f"{of}_loss_drop/{b}"] = _shrinking(fall)
    if "gradient-statistics" in config.probes:
        curves["gradient_covariance_trace"] = [1.0] * len(STEPS)
        curves["mean_gradient_norm"] = [math.sqrt(law.signal) * off()] * len(STEPS)
        curves["noise_scale"] = [1 / law.signal] * len(STEPS)
    if "epochs" in config.probes:
        epochs = round(config.epochs or 1)
        updates = max(1, round(TRAIN[config.dataset] / n))
        step = config.learning_rate * n**law.step * off()
        curves["epoch_stride"] = [step * updates] * epochs
        fall = config.learning_rate * updates * n**law.first * 1e-3 * off()
        away = math.log2(n / MIDDLE[config.dataset])
        rough = 1e-6 * 2.0 ** (law.ends[int(away > 0)] * min(1.0, abs(away) / 2)) * off()
        curves["epoch_loss"] = [
            1.0 - bool(k) * fall + bool(k > 1) * rough * (-1) ** k for k in range(epochs + 1)
        ]
    if any(name.startswith("layer-") for name in config.probes):
        curves["layer_curvature_epoch"] = [0, 1, 3]
        for k, name in enumerate(names):
            radius = 2.0 ** (law.spread * k / (len(names) - 1)) * off()
            ratio = radius * 2.0**law.off * off()
            quantities = {
                "layer_radius": radius,
                "layer_ratio": ratio,
                "layer_error_low": 0.5 * ratio / radius,
                "layer_error": ratio / radius,
                "layer_error_high": 2 * ratio / radius,
                "layer_distance": n**law.near * off(),
                "layer_negative": 0.1,
            }
            curves |= {f"{q}/{name}": [value] * 3 for q, value in quantities.items()}
    return curves


def _shrinking(value: float) -> list[float]:
    """A number at the start and at the steps that follow, smaller at each."""
    return [value * 0.9**k for k in range(1 + len(STEPS))]
