"""The data sets by name: fetch, verify, load."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from sgdnoise.data import files as fs
from sgdnoise.data import store
from sgdnoise.data.dataset import (
    Dataset,
    Moments,
    balanced_subset,
    channel_moments,
    from_arrays,
    pool_2x2,
    stratified_split,
)
from sgdnoise.data.files import Arrays
from sgdnoise.data.image_folder import IMAGE_FOLDER, ImageFolder, find_image_folder
from sgdnoise.data.sizes import TRAIN_SIZES
from sgdnoise.data.store import FileSet
from sgdnoise.data.text import PTB_SEQUENCES
from sgdnoise.errors import InputError

DIGITS_TRAIN_SIZE = TRAIN_SIZES["digits"]
DIGITS_DIGEST = "sha256:87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"
"""Of scikit-learn's 1,797 images of 8 × 8 and their labels, as bytes."""

_TEN = tuple("0123456789")

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class _Images:
    """How an image data set is had and read.

    Attributes:
        files: what it consists of; None for the digits, which scikit-learn carries.
        read: gives its arrays and its classes' names.
        scale: the largest value a pixel can have.
        pool: whether its images are means of 2 × 2 blocks of those.
        moments: channel means and standard deviations, to the five digits that are customary, so
            that no machine's rounding enters a run; None computes them.
    """

    files: Callable[[], FileSet] | None
    read: Callable[[], tuple[Arrays, tuple[str, ...]]]
    scale: int = 255
    pool: bool = False
    moments: Moments | None = None


def _digits() -> tuple[Arrays, tuple[str, ...]]:
    """scikit-learn's digits, split 1,024 to 773 in the classes' proportions."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images, labels = bunch.images.astype(np.uint8)[..., None], bunch.target.astype(np.uint8)
    file = store.DataFile("digits", DIGITS_DIGEST)
    store.check(
        images.tobytes() + labels.tobytes(),
        file,
        "scikit-learn's digits are not those that this package was made with",
        "install another version of scikit-learn",
    )
    train, test = stratified_split(labels, len(_TEN), DIGITS_TRAIN_SIZE, "digits")
    arrays = {
        "train_images": images[train],
        "train_labels": labels[train],
        "test_images": images[test],
        "test_labels": labels[test],
    }
    return arrays, _TEN


def _mnist() -> tuple[Arrays, tuple[str, ...]]:
    return fs.read_idx(store.read(fs.mnist())), _TEN


def _fashion_mnist() -> tuple[Arrays, tuple[str, ...]]:
    return fs.read_idx(store.read(fs.fashion_mnist())), fs.FASHION_MNIST_CLASSES


def _cifar10() -> tuple[Arrays, tuple[str, ...]]:
    return fs.read_cifar10(store.read(fs.cifar10())), fs.CIFAR10_CLASSES


def _cifar100() -> tuple[Arrays, tuple[str, ...]]:
    return fs.read_cifar100(store.read(fs.cifar100()))


_IMAGES = {
    "digits": _Images(None, _digits, scale=16),
    "mnist": _Images(fs.mnist, _mnist, moments=((0.13066,), (0.30811,))),
    "fashion-mnist": _Images(fs.fashion_mnist, _fashion_mnist, moments=((0.28604,), (0.35302,))),
    "cifar10": _Images(
        fs.cifar10,
        _cifar10,
        moments=((0.49140, 0.48216, 0.44653), (0.24703, 0.24349, 0.26159)),
    ),
    "cifar10-16": _Images(
        fs.cifar10,
        _cifar10,
        pool=True,
        moments=((0.49189, 0.48265, 0.44702), (0.23808, 0.23469, 0.25359)),
    ),
    "cifar100": _Images(fs.cifar100, _cifar100),
}

_FILES: dict[str, Callable[[], FileSet]] = {
    **{name: images.files for name, images in _IMAGES.items() if images.files is not None},
    "ptb": fs.ptb,
}

NAMES = (*_IMAGES, "ptb", f"{IMAGE_FOLDER}:PATH")
"""What can stand for NAME in `sgdnoise data fetch|verify NAME`."""


@dataclass(frozen=True)
class VerifyReport:
    """A data set whose every file was read and is what it should be.

    Attributes:
        name: of the data set.
        lines: one for each file: its hash and where it lies.
    """

    name: str
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join([*self.lines, f"{self.name}: verified"])


def load(name: str, *, train_size: int | None = None, image_size: int | None = None) -> Dataset:
    """A data set in memory; what is missing is fetched first, and every file is verified.

    Args:
        name: one of `NAMES`, but for text (`load_text`). `cifar10-16` is CIFAR-10 mean-pooled to
            16 × 16 and rounded to whole levels. `image-folder:PATH` holds `train/CLASS/…` and
            `val/CLASS/…`; PATH is absolute or lies under a data root.
        train_size: takes the fixed, class-balanced subset of this size (`balanced_subset`); None
            for all. The test set stays whole.
        image_size: side of an image folder's images, 224 if None; not for other data sets.

    Raises:
        InputError: an unknown name, a subset that cannot be had, a file that is altered, or
            missing and not to be fetched.
    """
    if _is_folder(name):
        folder = ImageFolder(find_image_folder(name), image_size=image_size or 224)
        return folder.in_memory(name, train_size=train_size)
    if image_size is not None:
        raise InputError(f"image_size is for image folders: {name} has its own size, leave it out")
    spec = _lookup_images(name)
    arrays, classes = spec.read()
    moments = spec.moments or channel_moments(arrays["train_images"], spec.scale)
    if train_size is not None:
        chosen = balanced_subset(arrays["train_labels"], len(classes), train_size, name)
        for key in ("train_images", "train_labels"):
            arrays[key] = arrays[key][chosen]
    if spec.pool:
        for key in ("train_images", "test_images"):
            arrays[key] = pool_2x2(arrays[key])
    return from_arrays(name, arrays, classes, scale=spec.scale, moments=moments)


def other_train_size(name: str) -> int:
    """`train_size` of what is no named image data set: of text, or of an image folder.

    Raises:
        InputError: an unknown name, or an image folder that is not there.
    """
    if name == "ptb":
        return PTB_SEQUENCES
    if _is_folder(name):
        return len(ImageFolder(find_image_folder(name)).labels["train"])
    _lookup_images(name)
    return TRAIN_SIZES[name]


def fetch(name: str) -> Path:
    """Makes a data set's files be there, verified; returns the folder that holds them.

    Raises:
        InputError: an unknown name, an altered file in a data root, or no source that answers.
        FailureError: the cache cannot be written.
    """
    if name == "digits":
        import sklearn.datasets

        _digits()
        return Path(sklearn.datasets.__file__).parent / "data"
    if _is_folder(name):
        return find_image_folder(name)
    return store.fetch(_lookup(name, _FILES)())


def verify(name: str) -> VerifyReport:
    """Reads and hashes every file of a data set, wherever it lies; fetches nothing.

    Of an image folder, whose contents only its owner knows, every image is decoded, and compared
    with the folder's `SHA256SUMS` if it has one.

    Raises:
        InputError: an unknown name, or a file that is missing or altered.
    """
    if name == "digits":
        _digits()
        return VerifyReport(name, (f"ok  {DIGITS_DIGEST}  embedded in scikit-learn",))
    if _is_folder(name):
        return VerifyReport(name, ImageFolder(find_image_folder(name)).verify())
    return VerifyReport(name, tuple(map(str, store.verify(_lookup(name, _FILES)()))))


def _is_folder(name: str) -> bool:
    return name.partition(":")[0] == IMAGE_FOLDER


def _lookup_images(name: str) -> _Images:
    if name == "ptb":
        raise InputError(f"ptb is text: choose from {', '.join(_IMAGES)} where images are needed")
    return _lookup(name, _IMAGES)


def _lookup(name: str, table: dict[str, _Value]) -> _Value:
    try:
        return table[name]
    except KeyError:
        raise InputError(
            f"no data set is called {name!r}: choose from {', '.join(NAMES)}"
        ) from None
