"""The record of a result: what it was made with, beside what it came to."""

from __future__ import annotations

import contextlib
import platform
import re
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from sgdnoise.provenance import code_digest
from sgdnoise.records.record import Record

if TYPE_CHECKING:
    from sgdnoise.training.result import Result


def record_of(result: Result) -> Record:
    """A result with its provenance: code, packages, device, precision, seconds, date."""
    return Record(
        config=result.config,
        status=result.status,
        metrics=dict(result.metrics),
        curves={name: list(values) for name, values in result.curves.items()},
        provenance={
            **environment(result.device),
            "precision": result.config.precision,
            "seconds": round(result.seconds, 3),
            "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        },
        reason=result.reason,
    )


@cache
def environment(device: str = "cpu") -> dict[str, str]:
    """Where and with what a run was trained: all that a record says beside its config.

    Args:
        device: kind of device that it trained on, `cpu` or `cuda`.
    """
    import torch

    from sgdnoise import __version__

    where = {"device": _processor()}
    if device == "cuda":
        where = {
            "device": torch.cuda.get_device_name(),
            "cuda": str(torch.version.cuda),
            "cudnn": str(torch.backends.cudnn.version()),
            # What training sets, see `training.devices`: where float32 is asked for, it is.
            "tf32": "off",
        }
    return {
        "code": code_digest(),
        **where,
        "python": platform.python_version(),
        "sgdnoise": __version__,
        "torch": torch.__version__,
        "numpy": metadata.version("numpy"),
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
        if found:
            return f"CPU, {found[1].strip()}"
    return f"CPU, {platform.processor() or platform.machine()}"
