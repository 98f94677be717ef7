"""Files of lines: read whole, added to, or written anew, on disk before a call returns."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

MOST_SAID = 300
"""Characters that a complaint tells of a line, at most: a damaged one may hold anything."""


def lines_of(path: Path) -> list[bytes]:
    """The lines of a file that are not empty, without their newlines; none without a file."""
    content = path.read_bytes() if path.exists() else b""
    return [line for line in content.split(b"\n") if line.strip()]


def add_new_lines(path: Path, lines: list[bytes]) -> None:
    """Adds what a file lacks: a writer that was killed may have added some before."""
    there = set(lines_of(path))
    # A line that a killed writer left unfinished stays as it is, on a line of its own.
    start = b"\n" if is_cut_short(path) else b""
    write_synced(path, "ab", start + b"".join(line + b"\n" for line in lines if line not in there))


def replace_lines(path: Path, lines: list[bytes]) -> None:
    """Writes a file anew, whole or not at all."""
    temporary = path.with_suffix(".tmp")
    write_synced(temporary, "wb", b"".join(line + b"\n" for line in lines))
    temporary.replace(path)


def write_synced(path: Path, mode: Literal["ab", "wb"], content: bytes) -> None:
    """Writes to a file, on disk before this returns."""
    with path.open(mode) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def is_cut_short(path: Path) -> bool:
    """Whether a file ends inside of a line; its last byte tells."""
    try:
        with path.open("rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return False
            file.seek(-1, os.SEEK_END)
            return file.read() != b"\n"
    except FileNotFoundError:
        return False
