"""Augmentation of a batch at once, on its device: normalise, pad, crop, mirror.

The random numbers of a batch are drawn from the run's own CPU generator and then moved, and all
arithmetic is element by element, so that a run sees the same inputs on every device. One batch
costs one gather: a crop and its mirror image are only other addresses in the padded image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch.nn import functional as F

from sgdnoise.data.dataset import Dataset, Moments, standardise
from sgdnoise.data.image_folder import IMAGENET_MOMENTS
from sgdnoise.errors import InputError

NAMES = ("none", "s20", "wrn", "h17")
"""The augmentations that a run config can name; `augmentation` says what each does."""

Border = Literal["mean", "reflect"] | int
"""What is around an image: the channel means (0 once normalised), itself mirrored, or a level."""


@dataclass(frozen=True)
class Augmentation:
    """How the images of one data set become a model's inputs.

    Attributes:
        pad: pixels added on every side before an image is cropped to its own size at random.
        border: what these pixels hold.
        mirror: whether half of the images are mirrored left to right.
        scale: the largest value a pixel can have.
        moments: channel means and standard deviations of the normalisation.
    """

    pad: int
    border: Border
    mirror: bool
    scale: int
    moments: Moments

    def inputs(self, images: torch.Tensor) -> torch.Tensor:
        """Normalised only, as a model is evaluated: uint8 (B, C, H, W) to float32."""
        return standardise(images, self.scale, *self.moments)

    def draw(self, batch: int, generator: torch.Generator) -> torch.Tensor:
        """The random part of one batch, from a CPU generator.

        Returns:
            int64 (3, B), on the CPU: top and left of the crop in the padded image, uniform in
            0 … 2 · pad, and 1 for an image that is mirrored, 0 for others.
        """
        corners = torch.randint(0, 2 * self.pad + 1, (2, batch), generator=generator)
        flips = torch.randint(0, 2, (1, batch), generator=generator)
        return torch.cat([corners, flips if self.mirror else torch.zeros_like(flips)])

    def apply(self, images: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
        """The inputs that these draws make of a batch.

        Args:
            images: uint8, (B, C, H, W), on any device.
            draws: as `draw` gives them.

        Returns:
            float32, (B, C, H, W), contiguous, on the images' device.
        """
        batch, channels, height, width = images.shape
        if self.pad == 0 and not self.mirror:
            return self.inputs(images)
        padded = self._padded(images)
        top, left, flip = draws.to(images.device)[..., None]
        rows = top + torch.arange(height, device=images.device)
        columns = torch.arange(width, device=images.device)
        columns = left + torch.where(flip == 1, width - 1 - columns, columns)
        address = rows[:, :, None] * padded.shape[3] + columns[:, None, :]
        address = address.view(batch, 1, -1).expand(-1, channels, -1)
        return padded.flatten(2).gather(2, address).view(images.shape)

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Draws and applies: what a training step does with uint8 images (B, C, H, W)."""
        return self.apply(images, self.draw(len(images), generator))

    def _padded(self, images: torch.Tensor) -> torch.Tensor:
        """The normalised images with their border."""
        inputs = self.inputs(images)
        pad = self.pad
        if self.border == "reflect":
            return F.pad(inputs, (pad, pad, pad, pad), mode="reflect")
        if self.border == "mean":
            return F.pad(inputs, (pad, pad, pad, pad))
        batch, channels, height, width = images.shape
        level = images.new_full((1, channels, 1, 1), self.border)
        border = self.inputs(level)
        padded = border.repeat(batch, 1, height + 2 * pad, width + 2 * pad)
        padded[..., pad : pad + height, pad : pad + width] = inputs
        return padded


def augmentation(name: str, dataset: Dataset) -> Augmentation:
    """The augmentation of this name for this data set.

    - `none`: the data set's own channel moments, nothing random.
    - `s20`: pad 4, crop, mirror (S20 §4), the data set's own moments. S20 does not say with what
      it pads; here with 0 after normalisation, the mean of the data, as is usual.
    - `wrn`: likewise, but padded with the image's own reflection: what S20's net was published
      with (Zagoruyko and Komodakis 2016, their code).
    - `h17`: colour images padded by 4 with level 127, grey ones by 2 with 0, cropped and mirrored
      (MNIST's digits too); ImageNet's moments for colour and 0.5, 0.5 for grey (H17's code).

    "Pad 4" is for 32 pixels: other sides get an eighth, so that pooled images move as far, in
    proportion, as whole ones do.

    Raises:
        InputError: an unknown name.
    """
    channels, height, _ = dataset.image_shape
    own = (dataset.mean, dataset.std)
    pad = height // 8
    if name == "none":
        return Augmentation(0, "mean", False, dataset.scale, own)
    if name == "s20":
        return Augmentation(pad, "mean", True, dataset.scale, own)
    if name == "wrn":
        return Augmentation(pad, "reflect", True, dataset.scale, own)
    if name == "h17":
        if channels == 3:
            return Augmentation(pad, 127, True, dataset.scale, IMAGENET_MOMENTS)
        return Augmentation(2, 0, True, dataset.scale, ((0.5,), (0.5,)))
    raise InputError(f"no augmentation is called {name!r}: choose from {', '.join(NAMES)}")
