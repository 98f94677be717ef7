"""The data sets: fetched, verified, loaded as uint8 tensors, augmented in batches."""

from sgdnoise.data.augment import Augmentation, augmentation
from sgdnoise.data.dataset import Dataset
from sgdnoise.data.registry import NAMES, VerifyReport, fetch, load, train_size, verify
from sgdnoise.data.text import Corpus, load_text

__all__ = [
    "NAMES",
    "Augmentation",
    "Corpus",
    "Dataset",
    "VerifyReport",
    "augmentation",
    "fetch",
    "load",
    "load_text",
    "train_size",
    "verify",
]
