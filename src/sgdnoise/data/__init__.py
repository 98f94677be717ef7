"""The data sets: fetched, verified, loaded as uint8 tensors, augmented in batches."""

from sgdnoise.data.dataset import Dataset
from sgdnoise.data.registry import load, train_size

__all__ = ["Dataset", "load", "train_size"]
