"""Image folders in ImageNet's layout: listing, decoding, and what is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sgdnoise import data
from sgdnoise.data.image_folder import ImageFolder
from sgdnoise.errors import InputError

NAMES = ("apple", "pear", "zebra")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three classes, four training images and two others each, of many sizes, modes and formats."""
    monkeypatch.setenv("SGDNOISE_QUIET", "1")
    monkeypatch.setenv("SGDNOISE_DATA", str(tmp_path))
    random = np.random.default_rng(3)
    root = tmp_path / "fruit"
    for split, count in (("train", 4), ("val", 2)):
        for label, name in enumerate(NAMES):
            (root / split / name).mkdir(parents=True)
            for k in range(count):
                height, width = random.integers(20, 60, 2)
                # A class has a shade of its own, under some noise.
                pixels = 80 * label + random.integers(0, 60, (height, width, 3))
                picture = Image.fromarray(pixels.astype(np.uint8))
                if k == 1:
                    picture = picture.convert("L")
                picture.save(root / split / name / f"{k}.{'JPEG' if k % 2 else 'png'}")
    (root / "train/apple/notes.txt").write_text("not an image")
    return root


def write_sums(root: Path) -> None:
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(root)}\n"
        for path in sorted(root.rglob("*.*"))
        if path.suffix != ".txt"
    ]
    (root / "SHA256SUMS").write_text("".join(lines))


def test_it_is_listed_as_torchvision_lists_it(folder: Path) -> None:
    from sgdnoise.data.torchvision_compat import torchvision

    ours = ImageFolder(folder)
    assert ours.classes == NAMES
    for split, name in (("train", "train"), ("test", "val")):
        theirs = torchvision.datasets.ImageFolder(str(folder / name))
        assert [str(path) for path in ours.paths[split]] == [path for path, _ in theirs.samples]
        assert ours.labels[split].tolist() == theirs.targets


@pytest.mark.parametrize(("size", "shorter"), [(14, 16), (224, 256)])
def test_test_images_are_torchvisions_resize_and_centre(
    folder: Path, size: int, shorter: int
) -> None:
    from sgdnoise.data.torchvision_compat import torchvision, transforms

    ours = ImageFolder(folder, image_size=size).in_memory("fruit")
    resize = transforms.Resize(shorter, antialias=True)
    chain = transforms.Compose([transforms.PILToTensor(), resize, transforms.CenterCrop(size)])
    theirs = torchvision.datasets.ImageFolder(str(folder / "val"), transform=chain)
    assert ours.test_images.dtype == torch.uint8
    assert torch.equal(ours.test_images, torch.stack([image for image, _ in theirs]))
    assert ours.test_labels.tolist() == theirs.targets


def test_it_is_loaded_by_name_under_a_root_or_by_path(folder: Path) -> None:
    by_name = data.load("image-folder:fruit", image_size=14)
    by_path = data.load(f"image-folder:{folder}", image_size=14)
    assert by_name.digest == by_path.digest
    assert by_name.train_images.shape == (12, 3, 14, 14)
    assert by_name.classes == NAMES
    assert data.train_size("image-folder:fruit") == 12
    subset = data.load("image-folder:fruit", image_size=14, train_size=6)
    assert subset.train_labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.fetch("image-folder:fruit") == folder
    assert "12 images in 3 classes, decoded" in str(data.verify("image-folder:fruit"))


def test_checksums_are_used_where_there_are_some(folder: Path) -> None:
    write_sums(folder)
    assert "as SHA256SUMS has them" in str(data.verify("image-folder:fruit"))
    path = folder / "val/pear/0.png"
    Image.new("RGB", (30, 30)).save(path)  # another image, sound in itself
    for call in (data.verify, data.load):
        with pytest.raises(InputError, match=r"0.png is truncated or altered"):
            call("image-folder:fruit")
    Image.new("RGB", (30, 30)).save(folder / "val/pear/new.png")
    with pytest.raises(InputError, match=r"SHA256SUMS has no line for .*new\.png"):
        ImageFolder(folder)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"lost\n", "no hash and path in line 1, but 'lost'"),
        (b"\n" + b"a" * 5000, "no hash and path in line 2, but 'aaa.*…"),
        (b"\xff\xfe\n", "no UTF-8 text"),
        (None, "cannot be read"),
    ],
)
def test_what_is_no_list_of_hashes_is_refused(
    folder: Path, content: bytes | None, message: str
) -> None:
    sums = folder / "SHA256SUMS"
    if content is None:
        sums.mkdir()
    else:
        sums.write_bytes(content)
    for call in (data.verify, data.load):
        with pytest.raises(InputError, match=f"SHA256SUMS .*{message}") as error:
            call("image-folder:fruit")
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 400


def test_checksums_that_lead_nowhere_are_refused(folder: Path) -> None:
    (folder / "SHA256SUMS").symlink_to(folder / "gone")
    with pytest.raises(InputError, match="SHA256SUMS cannot be read"):
        data.verify("image-folder:fruit")


def test_a_split_that_cannot_be_listed_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def closed(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("sgdnoise.data.image_folder.os.scandir", closed)
    with pytest.raises(InputError, match="train cannot be read: Permission denied"):
        data.load("image-folder:fruit")


@pytest.mark.parametrize("name", ["train/pear/0.png", "train/pear/3.JPEG"])
def test_a_truncated_image_is_named(folder: Path, name: str) -> None:
    path = folder / name
    path.write_bytes(path.read_bytes()[:200])
    for call in (data.verify, data.load):
        with pytest.raises(InputError, match="cannot be decoded") as error:
            call("image-folder:fruit")
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)


def test_other_classes_in_val_than_in_train_are_refused(folder: Path) -> None:
    (folder / "val/zebra").rename(folder / "val/horse")
    with pytest.raises(InputError, match=r"3 classes in train and 3 in val.* horse, zebra"):
        data.load("image-folder:fruit")
    (folder / "val/horse/0.png").unlink()
    (folder / "val/horse/1.JPEG").unlink()
    (folder / "val/horse").rmdir()
    with pytest.raises(InputError, match=r"3 classes in train and 2 in val.* zebra"):
        data.train_size("image-folder:fruit")


def test_an_empty_class_is_refused(folder: Path) -> None:
    for path in (folder / "val/pear").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="val/pear has no images"):
        ImageFolder(folder)


def test_no_classes_are_refused(tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / split).mkdir()
    with pytest.raises(InputError, match="no class folders"):
        ImageFolder(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [("image-folder", "needs a path"), ("image-folder:nowhere", "no image folder at nowhere")],
)
def test_folders_that_are_not_there_are_refused(folder: Path, name: str, message: str) -> None:
    for call in (data.load, data.fetch, data.verify, data.train_size):
        with pytest.raises(InputError, match=message):
            call(name)


def test_a_path_of_thousands_of_characters_is_refused_in_a_short_line(folder: Path) -> None:
    with pytest.raises(InputError, match=r"no image folder at xxx.*…") as error:
        data.load("image-folder:" + "x" * 5000)
    assert len(str(error.value)) < 800


def test_what_does_not_fit_in_memory_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sgdnoise.data.image_folder.IN_MEMORY_LIMIT", 18 * 3 * 14 * 14 - 1)
    with pytest.raises(InputError, match=r"takes .* at 14 pixels"):
        data.load("image-folder:fruit", image_size=14)
