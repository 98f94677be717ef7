"""Augmentation: against a loop over images and torchvision's operations; the law of its draws."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from sgdnoise import data
from sgdnoise.data import Augmentation, Dataset, augmentation
from sgdnoise.data.augment import NAMES
from sgdnoise.data.dataset import from_arrays
from sgdnoise.errors import InputError

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def made(channels: int = 3, side: int = 32, count: int = 40) -> Dataset:
    random = np.random.default_rng(2)
    images = random.integers(0, 256, (count, side, side, channels), dtype=np.uint8)
    labels = np.zeros(count, np.uint8)
    arrays = {"train_images": images, "train_labels": labels}
    return from_arrays(
        "made", {**arrays, "test_images": images[:2], "test_labels": labels[:2]}, ("a",)
    )


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def by_loop(images: torch.Tensor, draws: torch.Tensor, how: Augmentation) -> torch.Tensor:
    """One image at a time, pixel by pixel in numpy's float64, from the definition."""
    result = []
    mean, std = (np.array(m)[:, None, None] for m in how.moments)
    for image, (top, left, flip) in zip(images.numpy(), draws.T.tolist(), strict=True):
        pixels = (image / how.scale - mean) / std
        widths = [(0, 0), (how.pad, how.pad), (how.pad, how.pad)]
        if how.border == "reflect":
            padded = np.pad(pixels, widths, mode="reflect")
        else:
            level = 0 if how.border == "mean" else (how.border / how.scale - mean) / std
            padded = np.pad(pixels, widths) + level * (1 - np.pad(np.ones_like(pixels), widths))
        crop = padded[:, top : top + image.shape[1], left : left + image.shape[2]]
        result.append(crop[:, :, ::-1] if flip else crop)
    return torch.from_numpy(np.stack(result))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("channels", "side"), [(3, 32), (3, 16), (1, 28)])
def test_a_batch_is_what_a_loop_over_images_makes(name: str, channels: int, side: int) -> None:
    dataset = made(channels, side)
    how = augmentation(name, dataset)
    draws = how.draw(40, generator())
    batch = how.apply(dataset.train_images, draws)
    assert batch.dtype == torch.float32
    assert batch.is_contiguous()
    expected = by_loop(dataset.train_images, draws, how)
    # float32 arithmetic on values up to 4.
    torch.testing.assert_close(batch.double(), expected, rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("name", "channels", "mode", "fill"),
    [("h17", 3, "constant", 127), ("h17", 1, "constant", 0), ("wrn", 3, "reflect", 0)],
)
def test_it_is_torchvisions_pad_crop_flip_and_normalise(
    name: str, channels: int, mode: str, fill: int
) -> None:
    """H17's code is exactly this chain (Pad, RandomCrop, flip, ToTensor, Normalize)."""
    from sgdnoise.data.torchvision_compat import transforms

    f = transforms.functional
    side = 32 if channels == 3 else 28
    dataset = made(channels, side)
    how = augmentation(name, dataset)
    if name == "h17":
        moments = IMAGENET if channels == 3 else ((0.5,), (0.5,))
        pad = 4 if channels == 3 else 2
    else:
        moments, pad = (dataset.mean, dataset.std), 4
    draws = how.draw(40, generator())
    theirs = []
    for image, (top, left, flip) in zip(dataset.train_images, draws.T.tolist(), strict=True):
        # torchvision reflects floats only in older versions: convert first for all.
        image = f.pad(image.float(), [pad], fill=fill, padding_mode=mode) / 255
        image = f.crop(image, top, left, side, side)
        image = f.horizontal_flip(image) if flip else image
        theirs.append(f.normalize(image, *moments))
    batch = how.apply(dataset.train_images, draws)
    torch.testing.assert_close(batch, torch.stack(theirs), rtol=0, atol=3e-6)


def test_s20_pads_with_the_mean() -> None:
    dataset = made()
    how = augmentation("s20", dataset)
    corner = torch.tensor([[0], [0], [0]])  # the crop at the top left, not mirrored
    batch = how.apply(dataset.train_images[:1], corner)
    assert (batch[..., :4, :] == 0).all()
    assert (batch[..., :4] == 0).all()
    torch.testing.assert_close(
        batch[..., 4:, 4:], how.inputs(dataset.train_images[:1])[..., :28, :28]
    )


@pytest.mark.parametrize(("side", "pad"), [(32, 4), (16, 2), (224, 28)])
def test_padding_is_in_proportion(side: int, pad: int) -> None:
    assert augmentation("s20", made(3, side, 2)).pad == pad


def test_none_changes_nothing() -> None:
    dataset = made()
    how = augmentation("none", dataset)
    assert torch.equal(how(dataset.train_images, generator()), dataset.train_arrays()[0])


def test_evaluation_is_normalised_as_training_is() -> None:
    dataset = made()
    how = augmentation("h17", dataset)
    centre = torch.tensor([[4], [4], [0]])
    assert torch.equal(
        how.apply(dataset.train_images[:1], centre), how.inputs(dataset.train_images[:1])
    )
    assert not torch.equal(how.inputs(dataset.train_images), dataset.train_arrays()[0])


def test_digits_keep_their_own_scale() -> None:
    digits = data.load("digits")
    inputs = augmentation("none", digits).inputs(digits.train_images)
    assert torch.equal(inputs, digits.train_arrays()[0])
    assert augmentation("s20", digits)(digits.train_images, generator()).shape == inputs.shape


def test_draws_are_uniform_and_independent() -> None:
    how = augmentation("s20", made())
    n = 90_000
    top, left, flip = how.draw(n, generator())
    joint = torch.bincount((top * 9 + left) * 2 + flip, minlength=162).double()
    assert len(joint) == 162
    # χ² with 161 degrees of freedom: mean 161, standard deviation 18; five of them.
    chi2 = float(((joint - n / 162) ** 2 / (n / 162)).sum())
    assert 71 < chi2 < 251


def test_draws_come_from_the_generator_alone() -> None:
    dataset = made()
    how = augmentation("s20", dataset)
    torch.manual_seed(1)
    first = how(dataset.train_images, generator(7))
    torch.manual_seed(2)
    assert torch.equal(first, how(dataset.train_images, generator(7)))
    assert not torch.equal(first, how(dataset.train_images, generator(8)))
    state = torch.get_rng_state()
    how(dataset.train_images, generator(7))
    assert torch.equal(state, torch.get_rng_state())


def test_images_are_left_as_they_are() -> None:
    dataset = made()
    before = dataset.train_images.clone()
    for name in NAMES:
        augmentation(name, dataset)(dataset.train_images, generator())
    assert torch.equal(before, dataset.train_images)


def test_unknown_names_are_told_the_legal_ones() -> None:
    with pytest.raises(InputError, match="'s21': choose from none, s20, wrn, h17"):
        augmentation("s21", made())


def test_it_costs_little_beside_a_training_step() -> None:
    """A WRN-10-1 step on 128 images of 16 × 16 takes over 25 ms on a core; this may take 5 %."""
    dataset = made(3, 16, 128)
    how, draw = augmentation("s20", dataset), generator()
    seconds = []
    threads = torch.get_num_threads()
    # As a worker trains: two threads on a core that others use too wait for each other.
    torch.set_num_threads(1)
    try:
        for _ in range(30):
            began = time.perf_counter()
            how(dataset.train_images, draw)
            seconds.append(time.perf_counter() - began)
    finally:
        torch.set_num_threads(threads)
    # The fastest of thirty: what others do on the machine is not of interest here.
    assert min(seconds) < 1.25e-3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", NAMES)
def test_devices_give_the_same_bits(name: str) -> None:
    dataset = made()
    how = augmentation(name, dataset)
    on_gpu = how(dataset.train_images.cuda(), generator())
    assert torch.equal(on_gpu.cpu(), how(dataset.train_images, generator()))
