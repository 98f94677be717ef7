"""A bundle: records that one machine made, in one file, for another checkout to take in.

It is compressed text: first a line of JSON that says what follows, then the records' lines as the
store has them. There are no paths in it, so that reading one cannot write anywhere. The first line
names for each experiment and scale how many lines follow and their sha256; each line carries its
own. Equal records give equal bytes.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sgdnoise import __version__
from sgdnoise.config import canonical_json
from sgdnoise.errors import FailureError, InputError, shown
from sgdnoise.records.record import Record
from sgdnoise.records.store import shown_path

MOST_BYTES = 100 << 20
"""Of the text in a bundle: four times what the book's own store may take."""

_MOST_HEAD = 1 << 20

_KIND = "records of sgdnoise"
_FORMAT = 1

Place = tuple[str, str]
"""Scale and experiment."""


@dataclass(frozen=True)
class Bundle:
    """What a bundle holds.

    Attributes:
        version: of the package that wrote it.
        records: sound records by scale and experiment, each run once.
    """

    version: str
    records: dict[Place, list[Record]]


def check_target(path: Path) -> None:
    """Refuses a file that no bundle can be written to.

    Raises:
        InputError: when something that is no bundle is there, or its folder is not there.
        FailureError: when its folder cannot be written.
    """
    if os.path.lexists(path):
        _check_is_bundle(path)
    folder = path.parent
    if not os.path.isdir(folder):  # unlike Path.is_dir, no error for a name too long
        raise InputError(f"cannot write {shown_path(path)}: its folder is not there, name another")
    if not os.access(folder, os.W_OK):
        raise FailureError(
            f"cannot write {shown_path(path)}: its folder is not writable, name another"
        )


def write_bundle(path: Path, records: Mapping[Place, Iterable[Record]]) -> str:
    """Writes records to a file, whole or not at all.

    Args:
        path: the file; another bundle there is replaced.
        records: by scale and experiment; their order within one does not matter.

    Returns:
        The file's sha256.

    Raises:
        InputError: when something that is no bundle is there, its folder is not there, or there
            are too many records.
        FailureError: when the file cannot be written.
    """
    check_target(path)
    files, content = [], b""
    for (scale, experiment), some in sorted(records.items()):
        lines = b"".join(r.line().encode() + b"\n" for r in sorted(some, key=lambda r: r.id))
        files.append(
            {
                "scale": scale,
                "experiment": experiment,
                "records": lines.count(b"\n"),
                "sha256": hashlib.sha256(lines).hexdigest(),
                "code": sorted({str(record.provenance["code"]) for record in some}),
            }
        )
        content += lines
    head = {"kind": _KIND, "format": _FORMAT, "sgdnoise": __version__, "files": files}
    text = canonical_json(head).encode() + b"\n" + content
    if len(text) > MOST_BYTES:
        raise InputError(
            f"these records take {len(text) >> 20} MB, a bundle at most {MOST_BYTES >> 20}: "
            "make several, with --scale and --experiment"
        )
    packed = gzip.compress(text, mtime=0)
    temporary = path.with_name(f".{path.name[:100]}-{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(packed)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise FailureError(f"cannot write {shown_path(path)} ({why}): give another file") from None
    finally:
        with contextlib.suppress(OSError, ValueError):
            temporary.unlink(missing_ok=True)
    return hashlib.sha256(packed).hexdigest()


def read_bundle(path: Path) -> Bundle:
    """What a bundle holds, checked to the last byte.

    Raises:
        InputError: one line that says what is wrong with it.
    """
    lines = io.BytesIO(_unpacked(path))
    head = _head(path, lines.readline())
    records: dict[Place, list[Record]] = {}
    number, version = 1, head["sgdnoise"]
    for file in head["files"]:
        place = file["scale"], file["experiment"]
        if place in records:
            raise _no_bundle(path, f"it has {'/'.join(place)} twice")
        here: dict[str, Record] = {}
        summed = hashlib.sha256()
        for _ in range(file["records"]):
            line = lines.readline()
            number += 1
            if not line.endswith(b"\n"):
                raise _no_bundle(path, "it ends before its last record")
            summed.update(line)
            record = _record(path, number, line[:-1], version)
            if record.id in here:
                raise _no_bundle(path, f"line {number} is run {record.id} a second time")
            here[record.id] = record
        if summed.hexdigest() != file["sha256"]:
            raise _no_bundle(path, f"the sha256 of {'/'.join(place)} does not fit")
        if sorted({str(r.provenance["code"]) for r in here.values()}) != file["code"]:
            raise _no_bundle(path, f"{'/'.join(place)} was made by other code than it says")
        records[place] = list(here.values())
    if lines.read(1):
        raise _no_bundle(path, "more follows its last record")
    return Bundle(version, records)


def _unpacked(path: Path) -> bytes:
    most = MOST_BYTES
    try:
        if path.stat().st_size > most:
            raise _no_bundle(path, f"it is larger than {most >> 20} MB")
        with gzip.open(path) as file:
            text = file.read(most + 1)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise _no_bundle(path, "it is damaged or another kind of file") from None
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read {shown_path(path)} ({why}): give a bundle's file") from None
    if len(text) > most:
        raise _no_bundle(path, f"it unpacks to more than {most >> 20} MB")
    return text


def _head(path: Path, line: bytes) -> dict[str, Any]:
    """The first line, of its shape."""
    try:
        head = json.loads(line)
    except (ValueError, RecursionError):
        head = None
    if not isinstance(head, dict) or head.get("kind") != _KIND:
        raise _no_bundle(path, "its first line does not say so")
    if head.get("format") != _FORMAT:
        raise _no_bundle(
            path, f"it is of format {shown(head.get('format'))}, this package knows {_FORMAT}"
        )
    kinds = {"scale": str, "experiment": str, "records": int, "sha256": str, "code": list}
    files = head.get("files")
    if not (
        isinstance(head.get("sgdnoise"), str)
        and isinstance(files, list)
        and all(isinstance(f, dict) and f.keys() == kinds.keys() for f in files)
        and all(type(f[name]) is kind for f in files for name, kind in kinds.items())
        and all(f["records"] > 0 for f in files)
    ):
        raise _no_bundle(path, "its first line does not say what follows")
    return head


def _record(path: Path, number: int, line: bytes, version: str) -> Record:
    try:
        text = line.decode()
        record = Record.parse(text)
    except UnicodeDecodeError:
        raise _no_bundle(path, f"line {number} is no text") from None
    except ValueError as error:
        said = " ".join(str(error).split())[:300]
        other = f"; sgdnoise {shown(version)} wrote it" if version != __version__ else ""
        raise _no_bundle(path, f"line {number} {said}{other}") from None
    if record.line() != text:
        raise _no_bundle(path, f"line {number} is not written as the store writes it")
    if record.status == "failed":
        raise _no_bundle(path, f"line {number} is of a run that failed")
    return record


def _check_is_bundle(path: Path) -> None:
    """Refuses to write over what is no bundle."""
    try:
        with gzip.open(path) as file:
            _head(path, file.readline(_MOST_HEAD))
    except (OSError, EOFError, zlib.error, ValueError):
        raise InputError(
            f"{shown_path(path)} is there and is no bundle of records: give another file"
        ) from None


def _no_bundle(path: Path, why: str) -> InputError:
    return InputError(
        f"{shown_path(path)} is no sound bundle of records: {why}; nothing was taken from it, "
        "make it anew with `sgdnoise records bundle`"
    )
