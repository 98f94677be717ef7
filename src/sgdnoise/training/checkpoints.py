"""Checkpoint files: written whole or not at all, and read only as they were written."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import os
import sys
from pathlib import Path
from typing import Any

import torch

from sgdnoise.config import RunConfig

_MARK = b"sgdnoise checkpoint, sha256 of what follows: "


def checkpoint_of(folder: Path | None, config: RunConfig) -> Path | None:
    """Where the checkpoint of a run lies; None without a folder."""
    return None if folder is None else folder / f"{config.id}.pt"


def write_checkpoint(path: Path, saved: dict[str, Any]) -> None:
    """Writes a checkpoint with the sum of its content: whole, or not at all.

    Raises:
        OSError: when it cannot be written; the one before, if any, stays.
    """
    buffer = io.BytesIO()
    torch.save(saved, buffer)
    content = buffer.getvalue()
    temporary = path.with_suffix(".tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with temporary.open("wb") as file:
            file.write(_MARK + hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What a checkpoint holds, its tensors on the CPU.

    Raises:
        OSError: when it cannot be read.
        ValueError: when it is no checkpoint, cut short, or altered.
    """
    head, _, content = path.read_bytes().partition(b"\n")
    if head != _MARK + hashlib.sha256(content).hexdigest().encode():
        raise ValueError("its sha256 does not fit")
    saved = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    if not isinstance(saved, dict):
        raise ValueError("it is no checkpoint")
    return saved


@functools.cache
def say_unwritable(folder: Path, why: str) -> None:
    """Said once a process: the next try is 20 s later, and the next run's."""
    say(f"no checkpoint can be written to {folder} ({why}): a run that is stopped starts anew")


def say(line: str) -> None:
    print(f"sgdnoise: {line}", file=sys.stderr, flush=True)
