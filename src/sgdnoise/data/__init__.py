"""The data sets: fetched, verified, loaded as uint8 tensors, augmented in batches.

What is named here is imported when it is first asked for: whoever asks for a size alone loads no
torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sgdnoise.data.augment import Augmentation, augmentation
    from sgdnoise.data.dataset import Dataset
    from sgdnoise.data.registry import NAMES, VerifyReport, fetch, load, verify
    from sgdnoise.data.sizes import images_of, train_size
    from sgdnoise.data.text import Corpus, load_text

__all__ = [
    "NAMES",
    "Augmentation",
    "Corpus",
    "Dataset",
    "VerifyReport",
    "augmentation",
    "fetch",
    "images_of",
    "load",
    "load_text",
    "train_size",
    "verify",
]

_HOMES = {
    "augment": ("Augmentation", "augmentation"),
    "dataset": ("Dataset",),
    "registry": ("NAMES", "VerifyReport", "fetch", "load", "verify"),
    "sizes": ("images_of", "train_size"),
    "text": ("Corpus", "load_text"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
