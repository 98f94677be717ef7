"""Momentum over batch sizes on training sets of several sizes, under two budgets.

Sclocchi and Wyart (2024) have the batch size at which noise ceases to decide grow as a power of the
training set's size. The same runs tell how the tuned rate scales with the batch size where every
batch size gets the same epochs, and where each gets the same updates.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import log2
from typing import Any

from sgdnoise.study.grid import Sweep
from sgdnoise.study.scales import DIGITS, METHODS, rates, sweep_of
from sgdnoise.study.study import Experiment

IMAGES = (128, 256, 512, 1024)
"""Training sets, class-balanced; the last is all that scale `digits` trains on."""

ENDS = (128, 1024)
"""Those of the step budget."""

UPDATES = 1280
"""The step budget: 40 epochs of 1,024 images at B = 32, and of 128 images at B = 4."""

LARGEST_RATIO = 512
"""Images over the smallest batch size, so that the smallest batch costs no more than 20,480
updates."""


def halves(images: int) -> list[int]:
    """Batch sizes 1, 2, 3, 4, 6, 8, … up to all images: two an octave."""
    ones = [2**k for k in range(int(log2(images)) + 1)]
    both = sorted({*ones, *(3 * size // 2 for size in ones if size > 1)})
    return [size for size in both if images / LARGEST_RATIO <= size <= images]


def octaves(images: int) -> list[int]:
    """Those that are powers of two."""
    return [size for size in halves(images) if log2(size).is_integer()]


def _sweeps(
    images: int, sizes: Iterable[int], cap: int, budget: dict[str, Any], more: dict[str, Any]
) -> list[Sweep]:
    """One training set under one budget; the rates are centred on ε_eff = B/32 up to 2^cap."""
    return [
        sweep_of(
            DIGITS,
            {"method": "momentum", "batch_size": size, "train_size": images, **more},
            {
                "momentum": METHODS["momentum"],
                "batch_size": size,
                "train_size": images,
                **budget,
            },
            rates(min(round(log2(size)) - 5, cap), 2),
            halvings=1,
        )
        for size in sizes
    ]


def _digits() -> list[Sweep]:
    epochs = [
        sweep
        for images in IMAGES
        for sweep in _sweeps(images, halves(images), 1, {"epochs": 40.0}, {})
    ]
    updates = {"steps": UPDATES}
    return epochs + [
        sweep for images in ENDS for sweep in _sweeps(images, octaves(images), 2, updates, updates)
    ]


EXPERIMENT = Experiment(
    name="training-set-size",
    # Momentum alone: its boundary lies further out than plain SGD's, so that also on 128 images
    # enough batch sizes lie below it. Centres and caps are those of a pilot with three seeds (900
    # to 902, no record kept): with 40 epochs the best of whole powers of two were 2^-4, 2^-3, 2^-1,
    # 2^0 and 2^1 at B = 1, 4, 16, 64 and 128 of 128 images, and 2^-2, 2^1 and 2^1 at 4, 64 and 512
    # of 1,024; with 1,280 updates 2^-4, 2^-3 and 2^-2 at 1, 4 and 16 of 128 (flat from 64 on), and
    # 2^-4, 2^-2, 2^0, 2^2 and 2^2 at 2, 8, 32, 128 and 512 of 1,024. Two batch sizes an octave and
    # five seeds, in place of one and more: boundaries and slopes rest on batch sizes.
    sweeps={"digits": _digits},
    seeds={"digits": 5},
    remarks={
        "digits": "Not an experiment of the three papers: S20's protocol on scikit-learn's digits "
        "and an MLP 64-64-10, momentum alone, on 128, 256, 512 and 1,024 images with 40 epochs, "
        "and on 128 and 1,024 with 1,280 updates."
    },
)
