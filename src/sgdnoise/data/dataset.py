"""An image data set in memory: uint8 tensors, their labels, and how they are normalised.

Images stay uint8 until a batch is made of them: a quarter of the memory, and on a GPU the whole
set fits. Subsets and pooled versions are exact functions of the whole set, so that a name and a
size say which examples are meant, on every machine.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from dataclasses import dataclass

import numpy as np
import torch

from sgdnoise.errors import InputError

SUBSET_SEED = 0
"""Of the one order in which subsets take examples; another seed would be another data set."""

Moments = tuple[tuple[float, ...], tuple[float, ...]]
"""Channel means and standard deviations of pixel / scale."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test images of one data set, on one device.

    Images lie as convolutions take them, (N, C, H, W), so that no batch has to be transposed.

    Attributes:
        name: as `sgdnoise data` knows it.
        train_images: uint8, (N, C, H, W).
        train_labels: int64, (N,), in [0, number of classes).
        test_images: uint8, (M, C, H, W).
        test_labels: int64, (M,).
        classes: the classes' names, in the order of the labels.
        scale: the largest value a pixel can have: 255, but 16 for digits.
        mean: channel means of pixel / scale over the whole training set (of subsets too, so that
            one image is one input whatever the subset).
        std: channel standard deviations, likewise.
    """

    name: str
    train_images: torch.Tensor
    train_labels: torch.Tensor
    test_images: torch.Tensor
    test_labels: torch.Tensor
    classes: tuple[str, ...]
    scale: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of types, shapes and bytes of the tensors, hexadecimal: equal for equal data."""
        total = hashlib.sha256()
        for tensor in (self.train_images, self.train_labels, self.test_images, self.test_labels):
            array = tensor.cpu().numpy()
            total.update(f"{array.dtype}{array.shape}".encode())
            total.update(np.ascontiguousarray(array).data)
        return total.hexdigest()

    @property
    def train_size(self) -> int:
        """Number of training examples."""
        return len(self.train_labels)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width

    @property
    def device(self) -> torch.device:
        """Where the tensors lie."""
        return self.train_images.device

    def to(self, device: torch.device | str) -> Dataset:
        """The same data on another device."""
        moved = {
            name: getattr(self, name).to(device)
            for name in ("train_images", "train_labels", "test_images", "test_labels")
        }
        return dataclasses.replace(self, **moved)

    def normalise(self, images: torch.Tensor) -> torch.Tensor:
        """(pixel / scale − mean) / std by channel, float32: uint8 images to a model's inputs."""
        return standardise(images, self.scale, self.mean, self.std)

    def train_arrays(self) -> tuple[torch.Tensor, torch.Tensor]:
        """All training images, normalised to float32 (four times their memory), and labels."""
        return self.normalise(self.train_images), self.train_labels

    def test_arrays(self) -> tuple[torch.Tensor, torch.Tensor]:
        """All test images, normalised to float32 (four times their memory), and labels."""
        return self.normalise(self.test_images), self.test_labels


def standardise(
    images: torch.Tensor, scale: int, mean: tuple[float, ...], std: tuple[float, ...]
) -> torch.Tensor:
    """(pixel / scale − mean) / std by channel, as float32, for images (B, C, H, W).

    The constants are folded in float64 and rounded once. Subtraction and product are separate
    operations, never fused, so that every device rounds alike.
    """
    shift, factor = _columns(scale, mean, std, images.device)
    return images.to(torch.float32).sub_(shift).mul_(factor)


@functools.lru_cache(maxsize=64)
def _columns(
    scale: int, mean: tuple[float, ...], std: tuple[float, ...], device: torch.device
) -> torch.Tensor:
    # Kept: to move them to a GPU is to wait for it.
    shift = torch.tensor([scale * m for m in mean], dtype=torch.float64)
    factor = torch.tensor([1 / (scale * s) for s in std], dtype=torch.float64)
    return torch.stack([shift, factor]).float().to(device)[..., None, None]


def from_arrays(
    name: str,
    arrays: dict[str, np.ndarray],
    classes: tuple[str, ...],
    *,
    scale: int = 255,
    moments: Moments | None = None,
) -> Dataset:
    """A data set of decoded arrays.

    Args:
        name: of the data set.
        arrays: uint8 `train_images` and `test_images` (N, H, W, C), and the uint8 or integer
            `train_labels` and `test_labels` (N,).
        classes: names of the classes.
        scale: the largest value a pixel can have.
        moments: mean and standard deviation by channel; None computes them.

    Raises:
        InputError: labels and images differ in number, or a label names no class.
    """
    for split in ("train", "test"):
        images, labels = arrays[f"{split}_images"], arrays[f"{split}_labels"]
        if len(images) != len(labels):
            raise InputError(
                f"{name} has {len(images)} {split} images and {len(labels)} labels: "
                "the files do not belong together"
            )
        if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(classes):
            raise InputError(
                f"{name} has {len(classes)} classes, but its {split} labels run from "
                f"{labels.min()} to {labels.max()}: the files do not belong together"
            )
    mean, std = moments or channel_moments(arrays["train_images"], scale)
    return Dataset(
        name=name,
        **{
            key: torch.from_numpy(np.array(array.transpose(0, 3, 1, 2), order="C"))
            if key.endswith("images")
            else torch.from_numpy(array.astype(np.int64))
            for key, array in arrays.items()
        },
        classes=classes,
        scale=scale,
        mean=mean,
        std=std,
    )


def channel_moments(images: np.ndarray, scale: int) -> Moments:
    """Mean and standard deviation of pixel / scale by channel, of uint8 (N, H, W, C).

    From counts of the 256 values, in integers, and rounded to five digits, so that the order in
    which a machine adds does not enter a run's inputs.
    """
    values = np.arange(256, dtype=np.float64) / scale
    means, stds = [], []
    for channel in range(images.shape[3]):
        counts = np.zeros(256, np.int64)
        for at in range(0, len(images), 4096):  # bincount makes eight bytes of each
            counts += np.bincount(images[at : at + 4096, ..., channel].ravel(), minlength=256)
        mean = counts @ values / counts.sum()
        means.append(round(float(mean), 5))
        stds.append(round(float(np.sqrt(counts @ (values - mean) ** 2 / counts.sum())), 5))
    return tuple(means), tuple(stds)


def balanced_subset(labels: np.ndarray, classes: int, size: int, name: str) -> np.ndarray:
    """Indices of the fixed, class-balanced subset of this size, ascending.

    Every class gives size // classes examples, the first size % classes classes one more. Each
    class has one fixed order, so a smaller subset lies within a larger one. The whole set is a
    subset of itself, balanced or not.

    Raises:
        InputError: more examples than there are, or fewer than classes, or more of one class than
            it has.
    """
    if size == len(labels):
        return np.arange(size)
    if not classes <= size < len(labels):
        raise InputError(
            f"a subset of {size} training examples of {name}: choose from {classes} (one a class) "
            f"to {len(labels)} (all)"
        )
    quotas = np.full(classes, size // classes)
    quotas[: size % classes] += 1
    return _take(labels, quotas, name)


def stratified_split(
    labels: np.ndarray, classes: int, train_size: int, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Ascending indices of a fixed split whose parts have the classes' proportions.

    Each class gives the training part its share of it, rounded down, and the classes with the
    largest remainders one more.
    """
    shares = np.bincount(labels, minlength=classes) * train_size / len(labels)
    quotas = np.floor(shares).astype(int)
    short = train_size - quotas.sum()
    quotas[np.argsort(quotas - shares, kind="stable")[:short]] += 1
    train = _take(labels, quotas, name)
    return train, np.setdiff1d(np.arange(len(labels)), train)


def _take(labels: np.ndarray, quotas: np.ndarray, name: str) -> np.ndarray:
    # RandomState, not default_rng: numpy has frozen its streams for good.
    order = np.random.RandomState(SUBSET_SEED).permutation(len(labels))
    chosen = []
    for label, quota in enumerate(quotas):
        of_class = order[labels[order] == label]
        if len(of_class) < quota:
            raise InputError(
                f"a subset of {quotas.sum()} examples of {name} takes {quota} of class {label}, "
                f"which has {len(of_class)}: choose a smaller subset"
            )
        chosen.append(of_class[:quota])
    return np.sort(np.concatenate(chosen))


def pool_2x2(images: np.ndarray) -> np.ndarray:
    """Means of 2 × 2 blocks of uint8 (N, H, W, C), rounded half up to uint8.

    Integers throughout, so that every machine gets the same bytes; rounding moves a pixel by at
    most half a level, far below the noise of a photograph.
    """
    shape = (len(images), images.shape[1] // 2, images.shape[2] // 2, images.shape[3])
    pooled = np.empty(shape, np.uint8)
    # In pieces that fit a core's cache: three times as fast.
    for at in range(0, len(images), 256):
        piece = images[at : at + 256]
        total = piece[:, ::2, ::2].astype(np.uint16)
        for row, column in ((0, 1), (1, 0), (1, 1)):
            total += piece[:, row::2, column::2]
        pooled[at : at + 256] = (total + 2) >> 2
    return pooled
