"""The data sets by name."""

from __future__ import annotations

import numpy as np

from sgdnoise.data.dataset import Dataset, balanced_subset, from_arrays, stratified_split
from sgdnoise.errors import InputError

DIGITS_TRAIN_SIZE = 1024


def load(name: str, *, train_size: int | None = None) -> Dataset:
    """A data set in memory."""
    if name != "digits":
        raise InputError(f"no data set is called {name!r}: choose from digits")
    arrays, classes = _digits()
    if train_size is not None:
        chosen = balanced_subset(arrays["train_labels"], len(classes), train_size, name)
        arrays["train_images"] = arrays["train_images"][chosen]
        arrays["train_labels"] = arrays["train_labels"][chosen]
    return from_arrays(name, arrays, classes, scale=16)


def train_size(name: str) -> int:
    """Number of training examples, without loading them."""
    return DIGITS_TRAIN_SIZE


def _digits() -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images, labels = bunch.images.astype(np.uint8)[..., None], bunch.target.astype(np.uint8)
    train, test = stratified_split(labels, 10, DIGITS_TRAIN_SIZE, "digits")
    arrays = {
        "train_images": images[train],
        "train_labels": labels[train],
        "test_images": images[test],
        "test_labels": labels[test],
    }
    return arrays, tuple("0123456789")
