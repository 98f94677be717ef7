"""How many training examples a data set has: for those that only count, without torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sgdnoise.config import RunConfig

TRAIN_SIZES = {
    "digits": 1024,
    "mnist": 60000,
    "fashion-mnist": 60000,
    "cifar10": 50000,
    "cifar10-16": 50000,
    "cifar100": 50000,
}
"""Of the image data sets that have a name."""


def train_size(name: str) -> int:
    """Number of training examples, of text sequences, without loading or fetching anything.

    Raises:
        InputError: an unknown name, or an image folder that is not there.
    """
    if name in TRAIN_SIZES:
        return TRAIN_SIZES[name]
    from sgdnoise.data.registry import other_train_size

    return other_train_size(name)


def images_of(config: RunConfig) -> int:
    """How many training examples a run has: its subset, or all that its data set has."""
    return config.train_size or train_size(config.dataset)
