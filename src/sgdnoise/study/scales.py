"""What the runs of a scale share: data, net, and S20's protocol (§4) unless told otherwise."""

from __future__ import annotations

from typing import Any

from sgdnoise.study.grid import Axis, Sweep

SCALES = ("digits", "cpu", "gpu", "paper")

METHODS = {"sgd": 0.0, "momentum": 0.9}

DIGITS = {
    "dataset": "digits",
    "model": "digits-mlp",
    "weight_decay": 5e-4,
    "sampling": "reshuffle",
    "schedule": "hold-then-decay",
}
"""Scale `digits`: MLP 64-64-10 without normalisation on 1,024 of scikit-learn's digits."""

CPU = {
    "dataset": "cifar10-16",
    "train_size": 5000,
    "model": "wrn-10-1",
    "norm": "ghost",
    "ghost_batch_size": 16,
    "weight_decay": 5e-4,
    "augment": "s20",
    "sampling": "reshuffle",
    "schedule": "hold-then-decay",
}
"""Scale `cpu`: WRN-10-1 on 5,000 images of CIFAR-10 pooled to 16 × 16. The ghost is 16, so that it
is one size at every batch size."""

CIFAR10 = {
    "dataset": "cifar10",
    "model": "wrn-16-4",
    "norm": "ghost",
    "ghost_batch_size": 64,
    "weight_decay": 5e-4,
    "augment": "s20",
    "sampling": "reshuffle",
    "schedule": "hold-then-decay",
    "precision": "bfloat16",
}
"""Scales `gpu` and `paper`: S20's WRN-16-4 on all of CIFAR-10, ghosts of 64; a smaller batch is one
ghost. Forward and backward pass are in bfloat16; weights, statistics and loss in float32."""


def sweep_of(
    base: dict[str, Any],
    key: dict[str, Any],
    fixed: dict[str, Any],
    axes: tuple[Axis, ...],
    **options: Any,
) -> Sweep:
    """A sweep at a scale: the scale's fields, but for those that this one fixes otherwise."""
    return Sweep(tuple(key.items()), tuple({**base, **fixed}.items()), axes, **options)


def rates(centre: int, reach: int, name: str = "effective_learning_rate") -> tuple[Axis, ...]:
    """One axis in factors of two: 2^centre and `reach` steps to either side."""
    return (Axis(name, centre - reach, centre + reach),)


DIGITS_LEAVES_OUT = (
    "An MLP without normalisation on 1,024 small images of digits, in place of a WRN-16-4 on "
    "CIFAR-10: no convolution, no augmentation"
)
CPU_LEAVES_OUT = (
    "A WRN-10-1 on 5,000 images of CIFAR-10, mean-pooled to 16 × 16, in place of a WRN-16-4 on "
    "all 50,000 at 32 × 32; ghosts of 16 in place of 64"
)
GPU_LEAVES_OUT = (
    "S20's net and data, with the forward and backward pass in bfloat16 (S20 names no precision)"
)
PAPER_LEAVES_OUT = (
    "Nothing of the protocol that S20's text gives. What it leaves open is chosen here: the extent "
    "of the learning-rate grid, padding with the mean, and bfloat16 in the forward and backward "
    "pass."
)

# Every budget up to 128 times the shortest, as S20 has them.
S20_BUDGETS = tuple(50 * 2**k for k in range(8))
