"""Folders of images in ImageNet's layout.

    PATH/train/CLASS/*.JPEG      PATH/val/CLASS/*.JPEG      PATH/SHA256SUMS (optional)

Nobody but its owner knows what such a folder should hold. If it has a `SHA256SUMS`, as
`find train val -type f | xargs -d '\\n' sha256sum > SHA256SUMS` writes it, every image is hashed
before it is decoded. Resizing and cropping are torchvision's, on uint8.
"""

from __future__ import annotations

import hashlib
import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from sgdnoise.data.dataset import Dataset, balanced_subset, from_arrays
from sgdnoise.data.store import data_roots, named_path
from sgdnoise.errors import InputError, shown
from sgdnoise.progress import bar

IMAGE_FOLDER = "image-folder"

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".webp")

IMAGENET_MOMENTS = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

IN_MEMORY_LIMIT = 8 << 30
"""Bytes up to which a decoded folder is taken into memory as a whole."""

SPLITS = {"train": "train", "val": "test"}


def find_image_folder(name: str) -> Path:
    """The folder of `image-folder:PATH`: PATH itself, or under the first data root that has it.

    Raises:
        InputError: no PATH, or nothing there with `train` and `val`.
    """
    path = name.partition(":")[2]
    if not path:
        raise InputError(
            f"{IMAGE_FOLDER} needs a path: {IMAGE_FOLDER}:PATH, with PATH/train/CLASS/"
        )
    places = [Path(path), *(root / path for root in data_roots())]
    for place in places:
        # Unlike Path.is_dir, no error where nothing may be read, or where a name is too long.
        if all(os.path.isdir(place / split) for split in SPLITS):
            return place
    raise InputError(
        f"no image folder at {', '.join(map(named_path, places))}: it needs a folder train and a "
        "folder val, each with a folder for every class"
    )


class ImageFolder:
    """The images of one folder, decoded on demand.

    Attributes:
        root: the folder.
        image_size: side of the square images that these become, in pixels.
        classes: names of the class folders, sorted; their order numbers the labels.
        paths: the images of `train` and `test` (the folder `val`), sorted.
        labels: int64 labels of these.
    """

    def __init__(self, root: Path, image_size: int = 224) -> None:
        """Lists the folder; decodes nothing.

        Raises:
            InputError: no images, an empty class, other classes in `val` than in `train`, a folder
                that cannot be read, or a `SHA256SUMS` that is no list of hashes.
        """
        self.root = root
        self.image_size = image_size
        try:
            names = {
                split: sorted(entry.name for entry in os.scandir(root / split) if entry.is_dir())
                for split in SPLITS
            }
        except OSError as error:
            raise InputError(f"{error.filename} cannot be read: {error.strerror}") from None
        if names["train"] != names["val"]:
            odd = sorted(set(names["train"]) ^ set(names["val"]))
            raise InputError(
                f"{root} has {len(names['train'])} classes in train and {len(names['val'])} in "
                f"val; only one of them has {', '.join(odd[:3])}"
                f"{' and others' if len(odd) > 3 else ''}: both need the same class folders"
            )
        self.classes = tuple(names["train"])
        if not self.classes:
            raise InputError(f"{root} has no class folders: images lie in train/CLASS/, val/CLASS/")
        self.paths: dict[str, list[Path]] = {}
        self.labels: dict[str, torch.Tensor] = {}
        for folder, split in SPLITS.items():
            paths, labels = [], []
            for label, name in enumerate(self.classes):
                of_class = sorted(
                    path
                    for path in (root / folder / name).rglob("*")
                    if path.suffix.lower() in EXTENSIONS
                )
                if not of_class:
                    raise InputError(
                        f"{root / folder / name} has no images ({', '.join(EXTENSIONS)}): "
                        "every class needs some in train and in val"
                    )
                paths += of_class
                labels += [label] * len(of_class)
            self.paths[split] = paths
            self.labels[split] = torch.tensor(labels)
        self.checksums = self._checksums()

    def _checksums(self) -> dict[Path, str] | None:
        """The hashes that `SHA256SUMS` gives, or None without one."""
        sums = self.root / "SHA256SUMS"
        if not os.path.lexists(sums):
            return None
        try:
            text = sums.read_text("utf-8")
        except OSError as error:
            raise InputError(
                f"{sums} cannot be read ({error.strerror}): write it anew, or remove it"
            ) from None
        except UnicodeDecodeError:
            raise InputError(f"{sums} is no UTF-8 text: write it anew, or remove it") from None
        known = {}
        for number, line in enumerate(text.splitlines(), 1):
            words = line.split(maxsplit=1)
            if len(words) == 1:
                raise InputError(
                    f"{sums} has no hash and path in line {number}, but {shown(words[0])}: "
                    "write it anew, or remove it"
                )
            if words:
                known[self.root / words[1].lstrip("*")] = words[0]
        for split in self.paths:
            for path in self.paths[split]:
                if path not in known:
                    raise InputError(f"{sums} has no line for {path}: write it anew, or remove it")
        return known

    def _open(self, path: Path) -> torch.Tensor:
        """The image, hashed if its hash is known, as uint8 (3, H, W)."""
        from PIL import Image

        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from None
        if self.checksums is not None:
            found = hashlib.sha256(data).hexdigest()
            if found != self.checksums[path]:
                raise InputError(
                    f"{path} is truncated or altered (sha256 {found}, SHA256SUMS says "
                    f"{self.checksums[path]}): replace it"
                )
        try:
            with Image.open(io.BytesIO(data)) as picture:
                array = np.array(picture.convert("RGB"))
        # PIL raises whatever its decoders do: SyntaxError for a broken PNG, OSError for a short.
        except Exception as error:
            raise InputError(f"{path} cannot be decoded ({error}): replace or remove it") from None
        return torch.from_numpy(array).permute(2, 0, 1)

    def _centre(self, path: Path) -> torch.Tensor:
        """Shorter side to 256/224 of the size, then the centre: what ImageNet is tested on."""
        from sgdnoise.data.torchvision_compat import transforms

        f = transforms.functional
        image = f.resize(self._open(path), [round(self.image_size * 256 / 224)], antialias=True)
        return f.center_crop(image, [self.image_size, self.image_size])

    def in_memory(self, name: str, *, train_size: int | None = None) -> Dataset:
        """The centres of all images as a `Dataset`, with ImageNet's channel moments.

        Raises:
            InputError: they would take more than `IN_MEMORY_LIMIT` bytes, or a subset that cannot
                be had.
        """
        chosen = {split: torch.arange(len(self.paths[split])) for split in self.paths}
        if train_size is not None:
            labels = self.labels["train"].numpy()
            subset = balanced_subset(labels, len(self.classes), train_size, name)
            chosen["train"] = torch.from_numpy(subset)
        size = sum(map(len, chosen.values())) * 3 * self.image_size**2
        if size > IN_MEMORY_LIMIT:
            raise InputError(
                f"{name} takes {size / 2**30:.0f} GiB at {self.image_size} pixels, more than the "
                f"{IN_MEMORY_LIMIT >> 30} GiB that are taken into memory: choose a smaller "
                "train_size or image_size"
            )
        arrays = {}
        for split, indices in chosen.items():
            # One buffer, filled image by image: joining a list would double the memory.
            images = np.empty((len(indices), self.image_size, self.image_size, 3), np.uint8)
            paths = [self.paths[split][i] for i in indices.tolist()]
            with (
                ThreadPoolExecutor(os.cpu_count()) as pool,
                bar(desc=f"{name} {split}", total=len(paths), leave=False) as progress,
            ):
                for at, image in enumerate(pool.map(self._centre, paths)):
                    images[at] = image.permute(1, 2, 0).numpy()
                    progress.update()
            arrays[f"{split}_images"] = images
            arrays[f"{split}_labels"] = self.labels[split][indices].numpy()
        return from_arrays(name, arrays, self.classes, moments=IMAGENET_MOMENTS)

    def verify(self) -> tuple[str, ...]:
        """Reads and decodes every image.

        Returns:
            A line for each split.

        Raises:
            InputError: an image that is altered or cannot be decoded.
        """
        lines = []
        how = "decoded" if self.checksums is None else "as SHA256SUMS has them"
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for folder, split in SPLITS.items():
                paths = self.paths[split]
                with bar(desc=folder, total=len(paths), leave=False) as progress:
                    for _ in pool.map(self._size, paths):
                        progress.update()
                lines.append(
                    f"ok  {len(paths)} images in {len(self.classes)} classes, {how}  "
                    f"{self.root / folder}"
                )
        return tuple(lines)

    def _size(self, path: Path) -> torch.Size:
        return self._open(path).shape
